//! `larder user …`: edits an htpasswd file without losing what else stands in it.
//!
//! An edit is read, change, replace, under a lock, and the replacement is whole or not at all: a registry that reads
//! the file meanwhile sees the old users or the new ones. Only bcrypt is written, since registry:2 accepts nothing else.

use crate::{
    cli::{PasswordSource, User, UsersFile},
    config::{self, Auth, ConfigErrors, Environment, NoDataDirectory, Source, built_in_users_file},
    edited_file::{NotBegun, begin_edit},
};
use htpasswd::{Htpasswd, Verdict};
use larder_auth::{AuthError, DEFAULT_COST, UserTable, htpasswd_line};
use larder_storage::replace_file;
use password::{Password, PasswordError};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};
use thiserror::Error;

mod htpasswd;
mod password;

/// A file that this command makes is nobody else's to read: its hashes can be attacked at leisure.
const NEW_FILE_MODE: u32 = 0o600;
/// No htpasswd file comes near this; a path to something else might.
const FILE_BYTES_LIMIT: u64 = 64 << 20;

/// Why a command did nothing.
#[derive(Debug, Error)]
pub(crate) enum UserError {
    /// Neither a file nor a data directory is known.
    #[error(transparent)]
    NoDataDirectory(#[from] NoDataDirectory),
    /// A configuration that a start would refuse as well.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A configuration that knows no users.
    #[error("{path} names no users file; say which one with --file, or write auth: {{htpasswd: …}} there", path = path.display())]
    NoUsers {
        /// The configuration.
        path: PathBuf,
    },
    /// The name can't be a user's.
    #[error("{name:?} can't be a user's name: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no usable password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No such user.
    #[error("{path} has no user {name:?}", path = path.display())]
    UnknownUser {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The file isn't one.
    #[error("{path} is not an htpasswd file: {problem}", path = path.display())]
    NotHtpasswd {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Hashing failed.
    #[error("could not hash or check the password")]
    Hash(#[source] AuthError),
    /// The file system refused.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl From<NotBegun> for UserError {
    fn from(NotBegun { action, path, source }: NotBegun) -> UserError {
        UserError::Io { action, path, source }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UserError {
    move |source| UserError::Io { action, path: path.to_owned(), source }
}

/// Runs one command: the outcome goes to `output`, what the operator should know besides to standard error.
///
/// # Errors
/// Whatever kept the command from being carried out. A wrong password of `verify` is an outcome, with exit code 1.
pub(crate) fn run(
    command: &User,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<ExitCode, UserError> {
    let (User::Add { users, .. }
    | User::Remove { users, .. }
    | User::List { users }
    | User::Verify { users, .. }) = command;
    let path = users_path(users, environment, may_use_system_directory)?;
    let (said, code) = match command {
        User::Add { name, password, .. } => (add(&path, name, password)?, ExitCode::SUCCESS),
        User::Remove { name, .. } => (remove(&path, name)?, ExitCode::SUCCESS),
        User::List { .. } => (list(&path)?, ExitCode::SUCCESS),
        User::Verify { name, password, .. } => verify(&path, name, password)?,
    };
    output.write_all(said.as_bytes()).map_err(failed("write to", Path::new("standard output")))?;
    Ok(code)
}

fn users_path(
    users: &UsersFile,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<PathBuf, UserError> {
    if let Some(file) = &users.file {
        return Ok(file.clone());
    }
    match users.registry.source(environment, may_use_system_directory)? {
        Source::BuiltIn(data) => Ok(built_in_users_file(&data)),
        Source::File(path) => match config::load(&Source::File(path.clone()), environment)?.config.auth {
            Auth::Htpasswd { path: users, .. } | Auth::BuiltIn { users_file: users, .. } => Ok(users),
            Auth::None | Auth::Token(_) => Err(UserError::NoUsers { path }),
        },
    }
}

fn add(path: &Path, name: &str, source: &PasswordSource) -> Result<String, UserError> {
    check_name(name)?;
    let password = Password::read(source, password::Purpose::Set)?;
    let line =
        htpasswd_line(name, &password.secret(), DEFAULT_COST, rand::random()).map_err(UserError::Hash)?;
    let existed = edit(path, |users| Ok(users.set(name, line)))?;
    warn_of_mistakes(path)?;
    Ok(if existed {
        format!("user {name:?} existed in {} and has the new password now\n", path.display())
    } else {
        format!("added user {name:?} to {}\n", path.display())
    })
}

fn remove(path: &Path, name: &str) -> Result<String, UserError> {
    if !path.try_exists().map_err(failed("look for", path))? {
        return Err(UserError::UnknownUser { name: name.to_owned(), path: path.to_owned() });
    }
    edit(path, |users| {
        if users.remove(name) {
            Ok(())
        } else {
            Err(UserError::UnknownUser { name: name.to_owned(), path: path.to_owned() })
        }
    })?;
    warn_of_mistakes(path)?;
    Ok(format!("removed user {name:?} from {}\n", path.display()))
}

/// A running registry takes up a file as a whole or not at all: one bad line keeps this edit from counting.
fn warn_of_mistakes(path: &Path) -> Result<(), UserError> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    if let Err(mistakes) = UserTable::parse(path, &bytes) {
        eprintln!("warning: a running Larder won't take up this change until the file is mended: {mistakes}");
    }
    Ok(())
}

fn list(path: &Path) -> Result<String, UserError> {
    let users = read(path)?.ok_or_else(|| failed("read", path)(io::ErrorKind::NotFound.into()))?;
    Ok(users.names().into_iter().map(|name| format!("{name}\n")).collect())
}

fn verify(path: &Path, name: &str, source: &PasswordSource) -> Result<(String, ExitCode), UserError> {
    let users = read(path)?.ok_or_else(|| failed("read", path)(io::ErrorKind::NotFound.into()))?;
    let password = Password::read(source, password::Purpose::Compare)?;
    let verdict = users.verify(path, name, &password).map_err(UserError::Hash)?;
    let code = if verdict == Verdict::Right { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((format!("{}\n", verdict.sentence(name)), code))
}

/// A name must survive both the file's lines and Basic authentication, which ends it at the first colon.
fn check_name(name: &str) -> Result<(), UserError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.contains(':') {
        "a colon ends the name in the file and in every request"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if name.starts_with('#') {
        "the file takes a line that starts with # for a comment"
    } else if name.trim() != name {
        "the file's readers cut white space off its lines"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else if matches!(name, "anonymous" | "authenticated") {
        "in access rules it stands for people without a login, or with any"
    } else {
        return Ok(());
    };
    Err(UserError::Name { name: name.to_owned(), problem })
}

fn read(path: &Path) -> Result<Option<Htpasswd>, UserError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let refused = |problem| UserError::NotHtpasswd { path: path.to_owned(), problem };
    if length > FILE_BYTES_LIMIT {
        return Err(refused("it is larger than 64 MiB"));
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    String::from_utf8(bytes)
        .map(|text| Some(Htpasswd::parse(&text)))
        .map_err(|_| refused("it is not UTF-8 text"))
}

/// Changes a file that may not be there yet.
fn edit<Outcome>(
    path: &Path,
    change: impl FnOnce(&mut Htpasswd) -> Result<Outcome, UserError>,
) -> Result<Outcome, UserError> {
    // A link is followed, so that the file it leads to is replaced and not the link.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed("find", path)(error)),
    };
    let _lock = begin_edit(&path)?;
    let mut users = read(&path)?.unwrap_or_default();
    let outcome = change(&mut users)?;
    replace(&path, users.text().as_bytes())?;
    Ok(outcome)
}

/// Replaces the file and keeps its mode and, as far as we may, its owner.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), UserError> {
    let old = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mode = old.as_ref().map_or(NEW_FILE_MODE, |old| old.permissions().mode() & 0o7777);
    replace_file(path, bytes, Some(mode)).map_err(failed("replace", path))?;
    let Some(old) = old else { return Ok(()) };
    let new = fs::metadata(path).map_err(failed("read", path))?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        eprintln!(
            "warning: {} belonged to user {} and group {} and belongs to user {} and group {} now; \
             check that the registry can still read it",
            path.display(),
            old.uid(),
            old.gid(),
            new.uid(),
            new.gid()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
