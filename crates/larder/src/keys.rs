//! API keys on the disk: `larder key …`, which makes and revokes them, and what a server keeps of their use.
//!
//! The file is edited like the users file: read, change, replace, under a lock. A running server looks at it with
//! each request that shows a key, so that what is done here counts at once.

use crate::{
    access::users_files,
    cli::{Key, ThisRegistry},
    config::{self, Auth, Config, ConfigErrors, Environment, NoDataDirectory},
    edited_file::{NotBegun, begin_edit, directory_of},
};
use larder_auth::{
    AuthError, KEY_PREFIX, KeyId, KeyRecord, KeyScope, KeyTable, Keys, LastUses, Narrowing, Password, Users,
    create_key, narrow_key, parse_last_uses,
};
use larder_storage::replace_file;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// For whoever may also read the users' hashes.
const FILE_MODE: u32 = 0o600;
/// How often the keys' last use is written down, if they were used.
const WRITE_USES_EVERY: Duration = Duration::from_secs(60);

/// No key is longer by far.
const LONGEST_KEY: u64 = 64 << 10;

/// A name is for people, for rules and for the log.
const LONGEST_NAME: usize = 100;

/// Why a command did nothing.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// Nothing says where the data lies.
    #[error(transparent)]
    NoDataDirectory(#[from] NoDataDirectory),
    /// A configuration that a start would refuse as well.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A users file or a file of keys that a start would refuse as well, or a text that is no key.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The name can't be a key's.
    #[error("{0:?} can't be a key's name: use up to {LONGEST_NAME} letters, digits, `.`, `_` and `-`")]
    Name(String),
    /// There is such a key.
    #[error("there is a key {0:?} already: choose another name, or revoke it first")]
    Exists(String),
    /// There is no such key.
    #[error("there is no key {0:?}; larder key list shows those that there are")]
    Unknown(String),
    /// Nobody by that name can log in.
    #[error("no users file has a user {0:?}: add the user first, or leave --user out for a key of its own")]
    NoSuchUser(String),
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

impl From<NotBegun> for KeyError {
    fn from(NotBegun { action, path, source }: NotBegun) -> KeyError {
        KeyError::Io { action, path, source }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { action, path: path.to_owned(), source }
}

/// Runs one command: the outcome goes to `output`, what a person should know besides to standard error.
///
/// # Errors
/// Whatever kept the command from being carried out.
pub(crate) fn run(
    command: &Key,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<(), KeyError> {
    let configured = |place: &ThisRegistry| -> Result<Config, KeyError> {
        let source = place.source(environment, may_use_system_directory)?;
        Ok(config::load(&source, environment)?.config)
    };
    let said = match command {
        Key::Create { name, scope, user, expires, place } => {
            create(&configured(place)?, name, scope, user.as_deref(), *expires, now())?
        }
        Key::List { place } => list(&configured(place)?)?,
        Key::Revoke { key, place } => revoke(&configured(place)?, key)?,
        Key::Narrow { within, may, during, key_file } => {
            let narrowing = Narrowing {
                within: within.clone(),
                actions: may.as_ref().map(|may| may.actions.clone()),
                until: during.map(|during| now().saturating_add(during.as_secs())),
            };
            let key = narrow_key(&read_key(key_file.as_deref())?, &narrowing, rand::random())?;
            format!("{}\n", String::from_utf8_lossy(key.expose()))
        }
    };
    output.write_all(said.as_bytes()).map_err(failed("write to", Path::new("standard output")))
}

fn create(
    config: &Config,
    name: &str,
    scopes: &[KeyScope],
    owner: Option<&str>,
    lifetime: Option<Duration>,
    now: u64,
) -> Result<String, KeyError> {
    let may_stand = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(may_stand) {
        return Err(KeyError::Name(name.to_owned()));
    }
    if let Some(owner) = owner
        && Users::open(users_files(config))?.file_of(owner).is_none()
    {
        return Err(KeyError::NoSuchUser(owner.to_owned()));
    }
    let id = KeyId::from(rand::random::<[u8; 8]>());
    let (key, public_key) = create_key(id, rand::random())?;
    let record = KeyRecord {
        id,
        name: name.into(),
        owner: owner.map(Arc::from),
        scopes: scopes.to_vec(),
        created: now,
        expires: lifetime.map(|lifetime| now.saturating_add(lifetime.as_secs())),
        public_key,
    };
    let path = keys_path(config);
    edit(&path, |table| {
        let is_new = table.find_by_name(name).is_none() && table.insert(record);
        if is_new { Ok(()) } else { Err(KeyError::Exists(name.to_owned())) }
    })?;
    let whose = match owner {
        Some(owner) => format!("It does what {owner} may, where its scopes agree"),
        None => {
            format!(
                "It is nobody's: rules in `access` name it as {KEY_PREFIX}{name}, and its scopes are its limit"
            )
        }
    };
    eprintln!(
        "made key {name:?} ({id}) in {}. {whose}. Log in with any user name and the key as the password; \
         it is shown only now:",
        path.display()
    );
    match config.auth {
        Auth::None => eprintln!("warning: no auth is configured, so nobody is asked for a key"),
        Auth::Token(_) => {
            eprintln!("warning: with auth.token only another server's tokens count, and no key does")
        }
        Auth::Htpasswd { .. } | Auth::BuiltIn { .. } => {}
    }
    Ok(format!("{}\n", String::from_utf8_lossy(key.expose())))
}

fn list(config: &Config) -> Result<String, KeyError> {
    let (table, uses) = (read_table(&keys_path(config))?, read_uses(config));
    let mut records: Vec<_> = table.records().collect();
    records.sort_by_key(|record| Arc::clone(&record.name));
    let mut lines =
        vec![["NAME", "ID", "USER", "SCOPES", "CREATED", "EXPIRES", "LAST USED"].map(str::to_owned)];
    for record in records {
        lines.push([
            record.name.to_string(),
            record.id.to_string(),
            record.owner.as_deref().unwrap_or("-").to_owned(),
            record.scopes.iter().map(KeyScope::to_string).collect::<Vec<_>>().join(" "),
            time(record.created),
            record.expires.map_or("never".to_owned(), time),
            uses.of(record.id).map_or("never".to_owned(), time),
        ]);
    }
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or_default()).collect();
    let padded = |line: &[String; 7]| {
        let cells = std::iter::zip(line, &widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    Ok(lines.iter().map(padded).collect())
}

fn revoke(config: &Config, key: &str) -> Result<String, KeyError> {
    let path = keys_path(config);
    let gone = edit(&path, |table| {
        let by_name = table.find_by_name(key).map(|record| record.id);
        let id = by_name.or_else(|| key.parse().ok());
        id.and_then(|id| table.remove(id)).ok_or_else(|| KeyError::Unknown(key.to_owned()))
    })?;
    Ok(format!("revoked key {:?} ({}); it counts no more, nor do tokens given for it\n", gone.name, gone.id))
}

fn read_key(file: Option<&Path>) -> Result<Password, KeyError> {
    let path = file.unwrap_or(Path::new("standard input"));
    let reader: Box<dyn Read> = match file {
        Some(file) => Box::new(File::open(file).map_err(failed("read", file))?),
        None => Box::new(io::stdin().lock()),
    };
    let mut text = String::new();
    reader.take(LONGEST_KEY).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(Password::from(text.trim()))
}

/// The keys of this configuration, for a server.
///
/// # Errors
/// The file of keys can't be used.
pub(crate) fn open(config: &Config) -> Result<Arc<Keys>, AuthError> {
    Ok(Arc::new(Keys::open(keys_path(config), read_uses(config))?))
}

/// Writes down now and then when keys were used last, and once more when `stop` is cancelled.
pub(crate) async fn keep_last_uses(keys: Arc<Keys>, path: PathBuf, stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(WRITE_USES_EVERY, stop.cancelled()).await.is_ok();
        let (keys, path) = (Arc::clone(&keys), path.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || write_uses(&keys, &path)).await {
            tracing::error!(%error, "writing the keys' last use ended early");
        }
        if stopped {
            return;
        }
    }
}

fn write_uses(keys: &Keys, path: &Path) {
    let Some(uses) = keys.last_uses_if_changed() else { return };
    let written = uses
        .to_bytes()
        .map_err(io::Error::other)
        .and_then(|bytes| replace_file(path, &bytes, Some(FILE_MODE)));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "when API keys were last used could not be written down");
    }
}

fn keys_path(config: &Config) -> PathBuf {
    config.storage.root_directory.join("larder/keys.json")
}

/// Where a server keeps when keys were last used: a file of its own, so that it never writes what `larder key` edits.
pub(crate) fn uses_path(config: &Config) -> PathBuf {
    config.storage.root_directory.join("larder/keys-used.json")
}

fn read_uses(config: &Config) -> LastUses {
    fs::read(uses_path(config)).map(|bytes| parse_last_uses(&bytes)).unwrap_or_default()
}

fn read_table(path: &Path) -> Result<KeyTable, KeyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(KeyTable::parse(path, &bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeyTable::default()),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Changes the file, which may not be there yet, while other commands wait.
fn edit<Outcome>(
    path: &Path,
    change: impl FnOnce(&mut KeyTable) -> Result<Outcome, KeyError>,
) -> Result<Outcome, KeyError> {
    let _lock = begin_edit(path)?;
    let is_new = !path.try_exists().map_err(failed("look for", path))?;
    let mut table = read_table(path)?;
    let outcome = change(&mut table)?;
    replace_file(path, &table.to_bytes()?, Some(FILE_MODE)).map_err(failed("replace", path))?;
    if is_new {
        give_to_the_directorys_owner(directory_of(path), path);
    }
    Ok(outcome)
}

/// An operator is often root, and the server that must read the file isn't.
fn give_to_the_directorys_owner(directory: &Path, path: &Path) {
    let (Ok(directory), Ok(file)) = (fs::metadata(directory), fs::metadata(path)) else { return };
    let is_another = directory.uid() != file.uid();
    if is_another && let Err(error) = chown(path, Some(directory.uid()), Some(directory.gid())) {
        eprintln!("warning: check that the registry can read {}: {error}", path.display());
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn time(unix_seconds: u64) -> String {
    // Past that year the time has no form that everybody reads; nobody will mind the difference.
    const END_OF_9999: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(END_OF_9999));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests;
