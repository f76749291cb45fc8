use std::error::Error;
use std::time::Duration;

use serde_json::Value;

use super::{AskedPlace, DEFAULT_URL, base_url, password};
use crate::config::Environment;
use crate::space::Place;

/// How long Larder may take: a look at everything that it keeps of a large cache.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Larder that is asked.
pub(crate) enum Asked {
    /// One that runs on this machine's data directory, through its socket there.
    Here(Box<Place>),
    /// None runs on the data directory that was named.
    Nobody(Box<Place>),
    /// One that answers at a URL.
    There {
        url: String,
        client: reqwest::Client,
        login: Option<(String, Option<String>)>,
        runtime: tokio::runtime::Runtime,
    },
}

impl Asked {
    pub(crate) fn find(
        asked: &AskedPlace,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Asked, Box<dyn Error>> {
        if asked.server.is_none() {
            let is_named = asked.registry.is_named();
            let here = Place::of(&asked.registry, environment, may_use_system_directory);
            let here = here.and_then(|place| Ok((place.ask("GET", "/healthz")?.is_some(), place)));
            match here {
                Ok((true, place)) => return Ok(Asked::Here(Box::new(place))),
                Ok((false, place)) if is_named => return Ok(Asked::Nobody(Box::new(place))),
                Err(error) if is_named => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        let url = base_url(asked.server.as_deref().unwrap_or(DEFAULT_URL))?.to_string();
        let mut client = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(path) = &asked.ca {
            client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
        }
        let login = match &asked.user {
            Some(user) => Some((user.clone(), password(Some(user), asked.password_stdin)?)),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Asked::There { url, client: client.build()?, login, runtime })
    }

    /// What it answers.
    pub(crate) fn ask(&self, method: &str, target: &str) -> Result<Value, Box<dyn Error>> {
        match self {
            Asked::Here(place) => {
                let answer = place.ask(method, target)?;
                answer.ok_or_else(|| format!("the Larder on {} has stopped", place.root.display()).into())
            }
            Asked::Nobody(place) => Err(format!("{}, or ask another with --server", place.nobody()).into()),
            Asked::There { url, client, login, runtime } => {
                let mut request = client.request(method.parse()?, format!("{url}{target}"));
                if let Some((user, password)) = login {
                    request = request.basic_auth(user, password.as_ref());
                }
                let (status, text) = runtime.block_on(async {
                    let answer =
                        request.send().await.map_err(|error| format!("{url} does not answer: {error}"))?;
                    Ok::<_, Box<dyn Error>>((answer.status(), answer.text().await?))
                })?;
                said(url, status.as_u16(), &text)
            }
        }
    }
}

fn said(url: &str, status: u16, text: &str) -> Result<Value, Box<dyn Error>> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let detail = value.pointer("/errors/0/detail").and_then(Value::as_str);
    match (status, detail) {
        (200, _) => Ok(value),
        (401, _) => Err(format!("{url} wants a user and a password: --user").into()),
        (403, _) => Err(format!("{url} doesn't let this user do that: see --user").into()),
        (_, Some(detail)) => Err(format!("{url} said no ({status}): {detail}").into()),
        (_, None) => Err(format!("{url} answers {status}: is it a Larder?").into()),
    }
}
