//! Asking a running Larder, as somebody: what `larder problems` and `larder status` begin with.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use larder_doctor::{Fetched, Login, Machine, Password, Target, fetch};
use serde_json::Value;

/// Whom to ask, and as whom.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The registry: registry.lan:5000.
    #[arg(default_value = "localhost:5000")]
    registry: String,
    /// Who may administer it; else the login that docker or podman has for it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from this file; a line break at its end doesn't count.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

/// Somebody who asks one registry.
pub(crate) struct Asker {
    target: Target,
    login: Option<Login>,
    runtime: tokio::runtime::Runtime,
}

impl Asked {
    /// The registry, asked as `user`, whose password stands in the file; without a file it is asked for.
    pub(crate) fn at(registry: String, user: Option<String>, password_file: Option<PathBuf>) -> Asked {
        Asked { registry, user, password_file }
    }

    pub(crate) fn asker(&self) -> Result<Asker, Box<dyn Error>> {
        let target: Target = self.registry.parse()?;
        let login = self.login(&target)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Asker { target, login, runtime })
    }

    fn login(&self, target: &Target) -> Result<Option<Login>, Box<dyn Error>> {
        let Some(user) = &self.user else { return Ok(Machine::here().login(&target.authority())) };
        let password = match &self.password_file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => rpassword::prompt_password(format!("Password of {user}: "))?,
        };
        let password = Password::new(password.trim_end_matches(['\r', '\n']));
        Ok(Some(Login { user: user.clone(), password, source: "--user".to_owned() }))
    }
}

impl Asker {
    pub(crate) fn authority(&self) -> String {
        self.target.authority()
    }

    pub(crate) fn get(&self, path: &str) -> Result<Fetched, Box<dyn Error>> {
        Ok(self.runtime.block_on(fetch(&self.target, path, self.login.as_ref()))?)
    }

    /// An answer in JSON, or why there is none.
    pub(crate) fn json(&self, path: &str) -> Result<Value, Box<dyn Error>> {
        let fetched = self.get(path)?;
        if fetched.status != 200 {
            let words = match fetched.status {
                401 => "it wants a user and a password: --user",
                403 => "this user may not see that",
                404 => "it is no Larder, or an older one",
                _ => fetched.body.trim(),
            };
            return Err(format!("{}: {words}", self.authority()).into());
        }
        Ok(serde_json::from_str(&fetched.body)?)
    }
}
