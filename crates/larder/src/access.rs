//! The `access` section at work: the policy that it makes, and `larder access explain`, which tells what it says.

use crate::{
    cli::{Access, explained_action},
    config::{self, Auth, Config, Environment},
};
use larder_auth::{CERTIFICATE_PREFIX, Group, Mode, Policy, Users};
use larder_oci::{Actor, RepoName, Resource};
use std::{collections::BTreeSet, error::Error, io::Write, path::PathBuf, process::ExitCode, sync::Arc};

/// The files of all users: the one that `auth` names, then those that are groups. Each once.
pub(crate) fn users_files(config: &Config) -> Vec<PathBuf> {
    let first = match &config.auth {
        Auth::None | Auth::Token(_) => None,
        Auth::Htpasswd { path, .. } => Some(path),
        Auth::BuiltIn { users_file, .. } => Some(users_file),
    };
    let groups = config.access.iter().flat_map(|access| access.groups.values());
    let groups = groups.filter_map(|group| match group {
        Group::File(path) => Some(path),
        Group::Listed(_) => None,
    });
    let mut seen = BTreeSet::new();
    first.into_iter().chain(groups).filter(|path| seen.insert(*path)).cloned().collect()
}

/// The policy of the `access` section over these users, if there is such a section.
pub(crate) fn policy(config: &Config, users: Arc<Users>) -> Option<Policy> {
    let access = config.access.as_ref()?;
    Some(Policy::with_rules(access.rules.clone(), access.groups.clone(), users))
}

/// Says whether somebody may do something, and why; the exit code is the answer.
///
/// # Errors
/// A configuration or a users file that a start would refuse as well, and words that name nothing.
pub(crate) fn run(
    command: &Access,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let Access::Explain { user, action, repository, registry } = command;
    let source = registry.source(environment, may_use_system_directory)?;
    let config = config::load(&source, environment)?.config;
    let action = explained_action(action)?;
    let repository: RepoName = repository.parse()?;
    let actor = if user == "anonymous" { Actor::Anonymous } else { Actor::User(user.as_str().into()) };
    let users = Arc::new(Users::open(users_files(&config))?);
    let is_unknown = matches!(actor, Actor::User(_)) && users.file_of(user).is_none();
    let policy = policy(&config, users).unwrap_or_else(|| {
        Policy::new(match config.auth {
            Auth::None => Mode::Open,
            Auth::Htpasswd { .. } => Mode::EveryoneAuthenticated,
            Auth::Token(_) => Mode::ByToken,
            Auth::BuiltIn { .. } => Mode::AnonymousPull,
        })
    });
    let explanation = policy.explain(&actor, action, &Resource::Repository(repository));
    write!(output, "{explanation}")?;
    if user.starts_with(CERTIFICATE_PREFIX) {
        if config.http.tls.as_ref().is_none_or(|tls| tls.client_name.is_none()) {
            writeln!(output, "note: nobody is known by his certificate: set http.tls.clientname")?;
        }
    } else if is_unknown && config.auth != Auth::None {
        writeln!(output, "note: no users file has a user {user:?}, so nobody can log in as such now")?;
    }
    Ok(if explanation.decision.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests;
