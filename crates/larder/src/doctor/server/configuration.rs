//! What the server is told, and who its users are.

use std::collections::BTreeSet;
use std::io;

use larder_auth::{AuthError, Users};
use larder_doctor::{Journal, Row, Stage};

use super::{disk, failure, warning};
use crate::access::users_files;
use crate::config::{self, Config, Environment, Source};

/// The configuration, if a start would take it.
pub(super) fn check(journal: &mut Journal<'_>, source: &Source, environment: &Environment) -> Option<Config> {
    let name = match source {
        Source::File(path) => path.display().to_string(),
        Source::BuiltIn(data) => format!("the built-in configuration for {}", data.display()),
    };
    let loaded = match config::load(source, environment) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in &errors.0 {
                journal.find(failure(
                    Stage::Configuration,
                    Row::ConfigInvalid,
                    error.to_string(),
                    "the server doesn't start with it, and a running one doesn't take it up",
                    "put it right, and ask again: larder config check",
                ));
            }
            return None;
        }
    };
    journal.good(Stage::Configuration, format!("{name} can be started from"));
    for told in &loaded.warnings {
        journal.find(warning(
            Stage::Configuration,
            Row::ConfigIgnored,
            told.as_str(),
            "it says something that the server doesn't do",
            "take it out, or see docs/configuration.md for what does the same",
        ));
    }
    users(journal, &loaded.config);
    Some(loaded.config)
}

/// Whether the names that a certificate is ordered for lead anywhere. Where to, from the authority's side, nobody can see from here.
pub(super) async fn hosts(journal: &mut Journal<'_>, config: &Config) {
    let Some(ordered) = crate::certificates::wanted(config) else { return };
    let port = if ordered.addr.is_some() { 80 } else { 443 };
    for host in &ordered.hosts {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => {
                let found: BTreeSet<String> = found.map(|address| address.ip().to_string()).collect();
                let found: Vec<String> = found.into_iter().collect();
                journal.good(
                    Stage::Configuration,
                    format!(
                        "{host} is {}, where the certificate authority asks at port {port}",
                        found.join(" and ")
                    ),
                );
            }
            Err(error) => journal.find(warning(
                Stage::Configuration,
                Row::NameUnknown,
                format!("{host} has no address here: {error}"),
                "a certificate is ordered for it, and the authority looks it up, too",
                format!("publish an A or AAAA record of {host} that leads to this machine; then: dig +short {host}"),
            )),
        }
    }
}

fn users(journal: &mut Journal<'_>, config: &Config) {
    let files = users_files(config);
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for file in files {
        match file.try_exists() {
            Ok(false) => missing.push(file),
            // Why it can't be looked at is told when it is opened.
            Ok(true) | Err(_) => there.push(file),
        }
    }
    for file in missing {
        journal.skip(
            Stage::Configuration,
            format!("{} isn't there yet; a start makes it, with one user", file.display()),
        );
    }
    for file in there {
        match Users::open(vec![file.clone()]) {
            Ok(_) => journal.good(Stage::Configuration, format!("{} can be read", file.display())),
            Err(error) => {
                let causes = crate::doctor::with_causes(&error);
                let fix = match &error {
                    AuthError::FileUnreadable { source, .. }
                        if source.kind() == io::ErrorKind::PermissionDenied =>
                    {
                        disk::permit(&file)
                    }
                    _ => format!("larder user add NAME --file {}", file.display()),
                };
                journal.find(failure(
                    Stage::Configuration,
                    Row::UsersFile,
                    causes,
                    "the server doesn't start with it; a running one keeps the users that it has",
                    fix,
                ));
            }
        }
    }
}
