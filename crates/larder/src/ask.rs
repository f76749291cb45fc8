//! Asking a running Larder, as somebody: what `larder problems` and `larder status` begin with.

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use larder_doctor::{Login, Machine, Password, Target, fetch};
use serde_json::Value;

use crate::cli::ThisRegistry;
use crate::config::Environment;
use crate::space::Place;

/// Who is asked when no Larder runs on this machine's data directory.
const LOCAL: &str = "localhost:5000";

/// As whom to ask, and which registry of this machine.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Who may administer it; else the login that docker or podman has for it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from this file; a line break at its end doesn't count.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input; a line break at its end doesn't count.
    #[arg(long, requires = "user", conflicts_with = "password_file")]
    password_stdin: bool,
    #[command(flatten)]
    registry: ThisRegistry,
}

impl Asked {
    /// What the Larder at `server` answers; without one that of this machine's data directory, through its socket there,
    /// which takes no password, or else the one at localhost:5000.
    ///
    /// # Errors
    /// None runs where it should, or it doesn't tell this user.
    pub(crate) fn ask(
        &self,
        server: Option<&str>,
        path: &str,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Value, Box<dyn Error>> {
        if let Some(server) = server {
            return self.there(server, path);
        }
        let is_named = self.registry.is_named();
        let here = Place::of(&self.registry, environment, may_use_system_directory)
            .and_then(|place| Ok((place.ask("GET", path)?, place)));
        match here {
            Ok((Some(answer), _)) => Ok(answer),
            Ok((None, place)) if is_named => Err(place.nobody().into()),
            Ok((None, place)) => self.there(LOCAL, path).map_err(|error| {
                format!("{}, or the registry's address (see --help); and at {error}", place.nobody()).into()
            }),
            Err(error) if is_named => Err(error),
            // The data directory is another user's, or in a container.
            Err(error) => self.there(LOCAL, path).map_err(|other| format!("{error}; and at {other}").into()),
        }
    }

    fn there(&self, server: &str, path: &str) -> Result<Value, Box<dyn Error>> {
        let target: Target = server.parse()?;
        let login = self.login(&target)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let fetched = runtime
            .block_on(fetch(&target, path, login.as_ref()))
            .map_err(|error| format!("{}: {error}", target.authority()))?;
        if fetched.status == 200 {
            return Ok(serde_json::from_str(&fetched.body)?);
        }
        let words = match fetched.status {
            401 => "it wants a user and a password: --user",
            403 => "this user may not see that",
            404 => "it is no Larder, or an older one",
            _ => fetched.body.trim(),
        };
        Err(format!("{}: {words}", target.authority()).into())
    }

    fn login(&self, target: &Target) -> Result<Option<Login>, Box<dyn Error>> {
        let Some(user) = &self.user else { return Ok(Machine::here().login(&target.authority())) };
        let password = match &self.password_file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None if self.password_stdin => {
                let mut password = String::new();
                std::io::stdin().read_to_string(&mut password)?;
                password
            }
            None => prompt(user, "--password-stdin or --password-file FILE")?,
        };
        let password = Password::new(password.trim_end_matches(['\r', '\n']));
        Ok(Some(Login { user: user.clone(), password, source: "--user".to_owned() }))
    }
}

/// Asks for a password at the terminal. Where there is none, the error says which options take its place.
pub(crate) fn prompt(user: &str, otherwise: &str) -> Result<String, Box<dyn Error>> {
    rpassword::prompt_password(format!("Password of {user}: ")).map_err(|error| {
        format!("could not ask for the password of {user} at a terminal; give it with {otherwise}: {error}")
            .into()
    })
}
