//! Whom we are at an upstream: users and passwords from the configuration, from docker's, or from a credential helper.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use larder_oci::RepoName;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::secret::Secret;
use crate::settings::{AccountSettings, CredentialSource};

/// How long a credential helper may take. It may unlock a keychain or ask a cloud, both take a moment.
const HELPER_TIMEOUT: Duration = Duration::from_secs(15);

/// The most bytes that are read of a helper's answer or of a file with credentials.
const LONGEST_CREDENTIALS: u64 = 1 << 20;

/// What docker's helpers say where they know nothing of a host.
const NOT_FOUND: &str = "credentials not found";

/// Under which docker keeps what belongs to Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user under whose name docker keeps a refresh token.
const TOKEN_USER: &str = "<token>";

/// What an upstream is told of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user and a password.
    Password { username: String, password: Secret },
    /// A refresh token, for the token server alone.
    RefreshToken(Secret),
}

/// One account, or nobody in particular.
pub(crate) struct Account {
    settings: Option<AccountSettings>,
    /// What was last read, and what says whether it still counts.
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    credentials: Credentials,
    host: String,
    read: Instant,
    stamp: Option<Stamp>,
}

/// What a file's change changes.
type Stamp = (Option<SystemTime>, u64);

/// Why an account's password isn't known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("the credentials in {} can't be read", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no docker config.json", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} has no credentials for {host}", path.display())]
    Lacking { path: PathBuf, host: String },
    #[error("the credential helper {} can't be run", command.display())]
    Helper { command: PathBuf, source: io::Error },
    #[error("the credential helper {} has failed: {words}", command.display())]
    HelperFailed { command: PathBuf, words: String },
    #[error("the credential helper {} gave no answer in {} s", command.display(), HELPER_TIMEOUT.as_secs())]
    HelperSilent { command: PathBuf },
    #[error("the credential helper {} answers what isn't JSON", command.display())]
    HelperGarbled { command: PathBuf, source: serde_json::Error },
}

impl Account {
    pub(crate) fn new(settings: Option<AccountSettings>) -> Account {
        Account { settings, kept: Mutex::default() }
    }

    /// For people: no secret.
    pub(crate) fn label(&self) -> String {
        match self.settings.as_ref().map(|settings| &settings.source) {
            None => "anonymous".to_owned(),
            Some(CredentialSource::Password { username, .. }) => username.clone(),
            Some(CredentialSource::DockerConfig { path }) => format!("as in {}", path.display()),
            Some(CredentialSource::Helper { command, .. }) => format!("of {}", command.display()),
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.settings.is_none()
    }

    /// Whether the account is for this repository in particular.
    pub(crate) fn is_meant_for(&self, repository: &RepoName) -> bool {
        let patterns = self.settings.as_ref().map(|settings| settings.repositories.as_slice());
        patterns.unwrap_or_default().iter().any(|pattern| pattern.matches(repository))
    }

    /// Whether the account is for every repository that no other is for.
    pub(crate) fn is_general(&self) -> bool {
        self.settings.as_ref().is_none_or(|settings| settings.repositories.is_empty())
    }

    /// The hosts that it was said to be for.
    pub(crate) fn hosts(&self) -> &[String] {
        self.settings.as_ref().map(|settings| settings.hosts.as_slice()).unwrap_or_default()
    }

    /// What this host is told.
    pub(crate) async fn credentials(&self, host: &str) -> Result<Credentials, AccountError> {
        let Some(settings) = &self.settings else { return Ok(Credentials::Anonymous) };
        let (path, lifetime) = match &settings.source {
            CredentialSource::Password { username, password } => {
                return Ok(password_of(username, password.clone()));
            }
            CredentialSource::DockerConfig { path } => (Some(path), None),
            CredentialSource::Helper { lifetime, .. } => (None, *lifetime),
        };
        let mut kept = self.kept.lock().await;
        let stamp = match path {
            Some(path) => Some(stamp(path).await?),
            None => None,
        };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.host == host && kept.stamp == stamp)
            && lifetime.is_none_or(|lifetime| kept.read.elapsed() < lifetime)
        {
            return Ok(kept.credentials.clone());
        }
        let credentials = match &settings.source {
            CredentialSource::DockerConfig { path } => of_docker_config(path, &read(path).await?, host)?,
            CredentialSource::Helper { command, .. } => ask_helper(command, host).await?,
            CredentialSource::Password { username, password } => password_of(username, password.clone()),
        };
        *kept = Some(Kept {
            credentials: credentials.clone(),
            host: host.to_owned(),
            read: Instant::now(),
            stamp,
        });
        Ok(credentials)
    }

    /// The upstream doesn't believe what was told: it is looked up anew for the next time.
    pub(crate) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

impl Credentials {
    /// The header of Basic authentication.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let Credentials::Password { username, password } = self else { return None };
        let encoded = STANDARD.encode(format!("{username}:{}", password.expose()));
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn password_of(username: &str, password: Secret) -> Credentials {
    if username == TOKEN_USER {
        return Credentials::RefreshToken(password);
    }
    Credentials::Password { username: username.to_owned(), password }
}

async fn stamp(path: &Path) -> Result<Stamp, AccountError> {
    let metadata = tokio::fs::metadata(path).await;
    let metadata = metadata.map_err(|source| AccountError::File { path: path.to_owned(), source })?;
    Ok((metadata.modified().ok(), metadata.len()))
}

async fn read(path: &Path) -> Result<String, AccountError> {
    let failed = |source| AccountError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(LONGEST_CREDENTIALS).read_to_string(&mut text).await.map_err(failed)?;
    Ok(text)
}

/// `~/.docker/config.json`.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

fn of_docker_config(path: &Path, text: &str, host: &str) -> Result<Credentials, AccountError> {
    let config: DockerConfig =
        serde_json::from_str(text).map_err(|source| AccountError::Json { path: path.to_owned(), source })?;
    let lacking = || AccountError::Lacking { path: path.to_owned(), host: host.to_owned() };
    let bare = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        key.split('/').next().unwrap_or_default().to_owned()
    };
    let is_ours = |key: &str| key == HUB_KEY && is_hub(host) || bare(key) == host;
    let (_, auth) = config.auths.iter().find(|(key, _)| is_ours(key)).ok_or_else(lacking)?;
    if !auth.identitytoken.is_empty() {
        return Ok(Credentials::RefreshToken(Secret::from(auth.identitytoken.clone())));
    }
    if !auth.username.is_empty() {
        return Ok(password_of(&auth.username, Secret::from(auth.password.clone())));
    }
    let decoded = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(lacking)?;
    let (username, password) = decoded.split_once(':').ok_or_else(lacking)?;
    // docker writes a NUL behind some passwords.
    Ok(password_of(username, Secret::from(password.trim_end_matches('\0').to_owned())))
}

fn is_hub(host: &str) -> bool {
    host == "docker.io" || host.ends_with(".docker.io")
}

/// What a docker credential helper answers.
#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

async fn ask_helper(command: &Path, host: &str) -> Result<Credentials, AccountError> {
    match run_helper(command, host).await? {
        Some(credentials) => Ok(credentials),
        // docker's own name for Hub, under which `docker login` keeps it.
        None if is_hub(host) => Ok(run_helper(command, HUB_KEY).await?.unwrap_or(Credentials::Anonymous)),
        None => Ok(Credentials::Anonymous),
    }
}

/// `None`: the helper knows nothing of this host.
async fn run_helper(command: &Path, host: &str) -> Result<Option<Credentials>, AccountError> {
    let failed = |source| AccountError::Helper { command: command.to_owned(), source };
    let mut child = tokio::process::Command::new(command)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let talk = async {
        if let Some(mut input) = input {
            // A helper that reads nothing may have closed its end already.
            let _ = input.write_all(host.as_bytes()).await;
        }
        let mut text = String::new();
        if let Some(output) = output {
            output.take(LONGEST_CREDENTIALS).read_to_string(&mut text).await?;
        }
        Ok::<_, io::Error>((child.wait().await?, text))
    };
    let Ok(outcome) = tokio::time::timeout(HELPER_TIMEOUT, talk).await else {
        return Err(AccountError::HelperSilent { command: command.to_owned() });
    };
    let (status, text) = outcome.map_err(failed)?;
    if !status.success() {
        if text.contains(NOT_FOUND) {
            return Ok(None);
        }
        // Its standard output is for people here, by the helpers' protocol; it may still be long.
        let words: String = text.trim().chars().take(200).collect();
        let words = if words.is_empty() { status.to_string() } else { words };
        return Err(AccountError::HelperFailed { command: command.to_owned(), words });
    }
    let helped: Helped = serde_json::from_str(&text)
        .map_err(|source| AccountError::HelperGarbled { command: command.to_owned(), source })?;
    if helped.username.is_empty() && helped.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(password_of(&helped.username, Secret::from(helped.secret))))
}

/// The accounts to try for a repository, in their order: those meant for it, or else the general ones; nobody in
/// particular comes last, so that a public image is had even when a password has run out.
pub(crate) fn candidates<'a>(
    accounts: &'a [Arc<Account>],
    repository: &RepoName,
    is_for_host: impl Fn(&Account) -> bool,
) -> Vec<(usize, &'a Arc<Account>)> {
    let here =
        accounts.iter().enumerate().filter(|(_, account)| account.is_anonymous() || is_for_host(account));
    let meant: Vec<_> = here
        .clone()
        .filter(|(_, account)| account.is_meant_for(repository) || account.is_anonymous())
        .collect();
    if meant.iter().any(|(_, account)| !account.is_anonymous()) {
        return meant;
    }
    here.filter(|(_, account)| account.is_general()).collect()
}

#[cfg(test)]
mod tests;
