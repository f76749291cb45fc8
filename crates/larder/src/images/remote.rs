//! A registry that is pushed to: HTTP as the OCI Distribution Specification has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use larder_oci::{Digest, Reference, RepoName};
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::ImagesError;
use super::json::at;
use super::login::{self, Login};
use super::read::FoundManifest;
use super::target::Opener;
use crate::ask;
use crate::cli::Import;

/// How much goes in one request, in bytes: a proxy in front may hold a whole request in memory.
const CHUNK: usize = 16 << 20;

/// How often something is begun again after the connection broke or the registry was busy.
const TRIES: u32 = 4;

/// How long a registry may be silent.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most bytes of a refusal that are shown.
const SHOWN: usize = 200;

/// A registry.
pub(super) struct Remote<'a> {
    client: Client,
    base: Url,
    /// What stands before every repository's name.
    prefix: String,
    login: Option<Login>,
    /// What to send with each scope, once it has been asked for.
    authorization: RefCell<HashMap<String, String>>,
    blobs: RefCell<HashMap<Digest, RepoName>>,
    runtime: &'a Runtime,
}

/// One request, so that it can be made again with a login.
struct Ask {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    /// What a token must be good for: scopes, by spaces.
    scope: String,
}

impl<'a> Remote<'a> {
    /// The registry at `host[:port][/prefix]`, with or without `http://` or `https://` in front.
    ///
    /// # Errors
    /// The address means nothing, or a login or a certificate can't be read.
    pub(super) fn at(to: &str, command: &Import, runtime: &'a Runtime) -> Result<Remote<'a>, Box<dyn Error>> {
        let with_scheme = if to.contains("://") {
            to.to_owned()
        } else {
            let host = to.split('/').next().unwrap_or_default();
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
            format!("{}://{to}", if is_here || command.plain_http { "http" } else { "https" })
        };
        let mut base = Url::parse(&with_scheme).map_err(|error| format!("{to}: {error}"))?;
        let prefix = base.path().trim_matches('/').to_owned();
        base.set_path("/v2/");
        let host = base.host_str().unwrap_or_default();
        let host = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let login = match (&command.user, &command.password_file) {
            (Some(user), Some(file)) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                let password = text.trim_end_matches(['\r', '\n']).to_owned();
                Some(Login::Password { user: user.clone(), password })
            }
            (Some(user), None) => {
                let password = ask::prompt(user, "--password-file FILE")?;
                Some(Login::Password { user: user.clone(), password })
            }
            (None, _) => login::find(&host)?,
        };
        let client = Client::builder().read_timeout(PATIENCE).tls_certs_merge(authorities(&host)?).build()?;
        let (authorization, blobs) = (RefCell::default(), RefCell::default());
        Ok(Remote { client, base, prefix, login, authorization, blobs, runtime })
    }

    fn full(&self, repository: &RepoName) -> String {
        if self.prefix.is_empty() { repository.to_string() } else { format!("{}/{repository}", self.prefix) }
    }

    pub(super) fn has_blob(&self, repository: &RepoName, digest: &Digest) -> Result<bool, ImagesError> {
        let name = self.full(repository);
        let from =
            self.blobs.borrow().get(digest).filter(|from| *from != repository).map(|from| self.full(from));
        let there = again_and_again(|| {
            self.runtime.block_on(async {
                let found = self.ask(&self.request(Method::HEAD, &name, &format!("blobs/{digest}"))?).await?;
                if found.status() == StatusCode::OK {
                    return Ok(true);
                }
                expect(found, &[StatusCode::NOT_FOUND]).await?;
                match &from {
                    Some(from) => self.mount(&name, from, digest).await,
                    None => Ok(false),
                }
            })
        })?;
        if there {
            self.blobs.borrow_mut().insert(*digest, repository.clone());
        }
        Ok(there)
    }

    /// Takes a blob over from another repository, if the registry likes to.
    async fn mount(&self, name: &str, from: &str, digest: &Digest) -> Result<bool, ImagesError> {
        let mut ask = self.request(Method::POST, name, "blobs/uploads/")?;
        ask.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        ask.scope.push_str(&format!(" repository:{from}:pull"));
        let answer = self.ask(&ask).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(true);
        }
        // It began an upload instead.
        if answer.status() == StatusCode::ACCEPTED {
            self.take_back(location(&answer)?, ask.scope).await;
        }
        Ok(false)
    }

    /// Ends an upload that nobody goes on with. One that isn't taken back is purged some day.
    async fn take_back(&self, url: Url, scope: String) {
        let ask = Ask { method: Method::DELETE, url, headers: Vec::new(), body: Bytes::new(), scope };
        let _ = self.ask(&ask).await;
    }

    pub(super) fn put_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        open: &Opener<'_>,
        show: &mut dyn FnMut(u64),
    ) -> Result<(), ImagesError> {
        let name = self.full(repository);
        again_and_again(|| self.runtime.block_on(self.upload(&name, digest, open, show)))?;
        self.blobs.borrow_mut().insert(*digest, repository.clone());
        Ok(())
    }

    async fn upload(
        &self,
        name: &str,
        digest: &Digest,
        open: &Opener<'_>,
        show: &mut dyn FnMut(u64),
    ) -> Result<(), ImagesError> {
        let mut reader = open()?;
        let begin = self.request(Method::POST, name, "blobs/uploads/")?;
        let mut answer = expect(self.ask(&begin).await?, &[StatusCode::ACCEPTED]).await?;
        let mut sent = 0_u64;
        loop {
            let mut chunk = vec![0; CHUNK];
            let filled = match fill(&mut reader, &mut chunk) {
                Ok(filled) => filled,
                Err(source) => {
                    self.take_back(location(&answer)?, begin.scope).await;
                    return Err(ImagesError::Read { what: digest.to_string(), source });
                }
            };
            chunk.truncate(filled);
            let is_last = filled < CHUNK;
            let mut url = location(&answer)?;
            let mut headers = vec![(CONTENT_TYPE, "application/octet-stream".to_owned())];
            let method = if is_last { Method::PUT } else { Method::PATCH };
            if is_last {
                url.query_pairs_mut().append_pair("digest", &digest.to_string());
            }
            if filled > 0 {
                headers.push((CONTENT_RANGE, format!("{sent}-{}", sent + filled as u64 - 1)));
            }
            let ask = Ask { method, url, headers, body: chunk.into(), scope: begin.scope.clone() };
            let asked = self.ask(&ask).await?;
            sent += filled as u64;
            show(sent);
            if is_last {
                expect(asked, &[StatusCode::CREATED, StatusCode::NO_CONTENT]).await?;
                return Ok(());
            }
            answer = expect(asked, &[StatusCode::ACCEPTED]).await?;
        }
    }

    pub(super) fn put_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
        manifest: &FoundManifest,
    ) -> Result<(), ImagesError> {
        let name = self.full(repository);
        let reference = match reference {
            Reference::Tag(tag) => tag.to_string(),
            Reference::Digest(digest) => digest.to_string(),
        };
        let mut ask = self.request(Method::PUT, &name, &format!("manifests/{reference}"))?;
        ask.headers.push((CONTENT_TYPE, manifest.media_type.to_string()));
        ask.body = manifest.bytes.clone().into();
        again_and_again(|| {
            self.runtime
                .block_on(async { expect(self.ask(&ask).await?, &[StatusCode::CREATED]).await.map(drop) })
        })
    }

    fn request(&self, method: Method, name: &str, rest: &str) -> Result<Ask, ImagesError> {
        let url = self.base.join(&format!("{name}/{rest}")).map_err(|error| ImagesError::Content {
            what: format!("{name}/{rest}"),
            problem: error.to_string(),
        })?;
        let scope = format!("repository:{name}:pull,push");
        Ok(Ask { method, url, headers: Vec::new(), body: Bytes::new(), scope })
    }

    /// Asks, and once more with a login if the registry wants one.
    async fn ask(&self, ask: &Ask) -> Result<Response, ImagesError> {
        let known = self.authorization.borrow().get(&ask.scope).cloned();
        let answer = self.send(ask, known.as_deref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(authorization) = self.log_in(challenge.unwrap_or_default(), &ask.scope).await? else {
            return Ok(answer);
        };
        self.authorization.borrow_mut().insert(ask.scope.clone(), authorization.clone());
        self.send(ask, Some(&authorization)).await
    }

    async fn send(&self, ask: &Ask, authorization: Option<&str>) -> Result<Response, ImagesError> {
        let mut request: RequestBuilder = self.client.request(ask.method.clone(), ask.url.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        // A registry elsewhere that an upload is sent on to is not shown this one's login.
        let is_ours = ask.url.origin() == self.base.origin();
        if let Some(authorization) = authorization.filter(|_| is_ours) {
            request = request.header(AUTHORIZATION, authorization);
        }
        if ask.method != Method::GET && ask.method != Method::HEAD {
            request = request.body(ask.body.clone());
        }
        request.send().await.map_err(|error| ImagesError::Ask(ask.url.to_string(), error))
    }

    /// What to show a registry that has answered with this challenge; `None` if there is nothing to show.
    async fn log_in(&self, challenge: &str, scope: &str) -> Result<Option<String>, ImagesError> {
        let basic = self.login.as_ref().and_then(Login::basic);
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(basic);
        }
        let Some(mut url) = parameter(rest, "realm").and_then(|realm| self.base.join(&realm).ok()) else {
            return Ok(None);
        };
        let mut fields: Vec<(&str, String)> = Vec::new();
        fields.extend(parameter(rest, "service").map(|service| ("service", service)));
        let request = match &self.login {
            // docker asks so, too: the scopes in one field, by spaces.
            Some(Login::RefreshToken(token)) => {
                fields.extend([("grant_type", "refresh_token".to_owned()), ("refresh_token", token.clone())]);
                fields.extend([("client_id", "larder".to_owned()), ("scope", scope.to_owned())]);
                let mut form = form_urlencoded::Serializer::new(String::new());
                let form = form.extend_pairs(&fields).finish();
                let kind = "application/x-www-form-urlencoded";
                self.client.post(url.clone()).header(CONTENT_TYPE, kind).body(form)
            }
            _ => {
                fields.extend(scope.split(' ').map(|scope| ("scope", scope.to_owned())));
                url.query_pairs_mut().extend_pairs(&fields);
                let request = self.client.get(url.clone());
                match basic {
                    Some(basic) => request.header(AUTHORIZATION, basic),
                    None => request,
                }
            }
        };
        let answer = request.send().await.map_err(|error| ImagesError::Ask(url.to_string(), error))?;
        let answer = expect(answer, &[StatusCode::OK]).await?;
        let bytes = answer.bytes().await.map_err(|error| ImagesError::Ask(url.to_string(), error))?;
        let token: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = at(&token, &["token"]).as_str().or_else(|| at(&token, &["access_token"]).as_str());
        Ok(token.map(|token| format!("Bearer {token}")))
    }
}

/// The authorities that docker and podman believe of this registry, as `.crt` files.
fn authorities(host: &str) -> Result<Vec<Certificate>, Box<dyn Error>> {
    let mut found = Vec::new();
    for directory in ["/etc/docker/certs.d", "/etc/containers/certs.d"] {
        let Ok(entries) = std::fs::read_dir(Path::new(directory).join(host)) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "crt") {
                let failed = |error: Box<dyn Error>| format!("{}: {error}", path.display());
                let bytes = std::fs::read(&path).map_err(|error| failed(error.into()))?;
                found.extend(Certificate::from_pem_bundle(&bytes).map_err(|error| failed(error.into()))?);
            }
        }
    }
    Ok(found)
}

/// Where an upload goes on.
fn location(answer: &Response) -> Result<Url, ImagesError> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    answer.url().join(location).map_err(|error| ImagesError::Content {
        what: answer.url().to_string(),
        problem: format!("it answers with a Location that is none: {error}"),
    })
}

/// An answer of one of these statuses; any other is an error with the registry's own words.
async fn expect(answer: Response, statuses: &[StatusCode]) -> Result<Response, ImagesError> {
    if statuses.contains(&answer.status()) {
        return Ok(answer);
    }
    let (url, status) = (answer.url().to_string(), answer.status().as_u16());
    let bytes = answer.bytes().await.unwrap_or_default();
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let error = said.pointer("/errors/0").unwrap_or(&Value::Null);
    let detail = at(error, &["detail"]).as_str().map_or_else(String::new, |detail| format!(": {detail}"));
    let mut words = match at(error, &["message"]).as_str() {
        Some(message) => format!("{message}{detail}"),
        None => String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect(),
    };
    if status == 401 {
        words.push_str(" (log in with docker login, or give --user and --password-file)");
    }
    Err(ImagesError::Refused { url, status, words })
}

/// Does something until it works or can't work a moment later either.
fn again_and_again<T>(mut what: impl FnMut() -> Result<T, ImagesError>) -> Result<T, ImagesError> {
    let mut attempt = 1;
    loop {
        match what() {
            Err(error) if attempt < TRIES && is_passing(&error) => {
                std::thread::sleep(Duration::from_secs(1 << attempt));
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn is_passing(error: &ImagesError) -> bool {
    match error {
        ImagesError::Ask(..) => true,
        ImagesError::Refused { status, .. } => *status == 429 || (*status >= 500 && *status != 507),
        _ => false,
    }
}

fn fill(reader: &mut dyn std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// A parameter of a challenge, such as `realm="…"`.
fn parameter(text: &str, name: &str) -> Option<String> {
    let at = text.find(&format!("{name}=\""))? + name.len() + 2;
    text.get(at..)?.split('"').next().map(str::to_owned)
}
