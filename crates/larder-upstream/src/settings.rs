use std::path::PathBuf;
use std::time::Duration;

use larder_oci::RepositoryPattern;

use crate::base_url::BaseUrl;
use crate::known::Quirks;
use crate::proxies::EnvironmentProxies;
use crate::secret::Secret;

/// What the operator says of one upstream's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name, for messages and metrics.
    pub name: String,
    /// Where it answers: at least one, the first is asked first until another is measured to be far better.
    pub urls: Vec<BaseUrl>,
    /// Whom we are there. Empty: nobody in particular.
    pub accounts: Vec<AccountSettings>,
    /// Further hosts that redirects and token servers may be on, although they are on another site or in a private range.
    pub hosts: Vec<String>,
    /// Certificate authorities that are trusted beside the system's: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// A proxy for everything that is asked; without it, what the environment says.
    pub proxy: Option<ProxyUrl>,
    /// What that is.
    pub environment: EnvironmentProxies,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the headers of an answer may take, connection, redirects and token included.
    pub answer_timeout: Duration,
    /// How long a body may be silent.
    pub stall_timeout: Duration,
    /// The most blobs that are fetched at once; more wait.
    pub concurrency: usize,
    /// What is particular about it.
    pub quirks: Quirks,
}

/// One account at an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// The repositories that it is for, by their names there. Empty: those that no other account is for.
    pub repositories: Vec<RepositoryPattern>,
    /// The hosts that it is for. Empty: those of the upstream's URLs that are on the first one's site, so that
    /// no mirror learns the password of what it mirrors.
    pub hosts: Vec<String>,
    /// Where its password is.
    pub source: CredentialSource,
}

/// Where an account's user and password are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// In the configuration.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// In docker's `config.json`, or a Kubernetes pull secret, read again when it changes.
    DockerConfig {
        /// The file.
        path: PathBuf,
    },
    /// A docker credential helper says.
    Helper {
        /// The program, run with `get` and the host on its standard input.
        command: PathBuf,
        /// How long its answer counts: `None` for ever, zero for one use (as distribution's `proxy.exec`).
        lifetime: Option<Duration>,
    },
}

/// A proxy's URL. May hold a password: it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(pub(crate) String);

impl From<String> for ProxyUrl {
    fn from(url: String) -> ProxyUrl {
        ProxyUrl(url)
    }
}

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[masked]")
    }
}

impl Settings {
    /// An upstream at these URLs, with the defaults of everything else.
    pub fn new(name: impl Into<String>, urls: Vec<BaseUrl>) -> Settings {
        Settings {
            name: name.into(),
            urls,
            accounts: Vec::new(),
            hosts: Vec::new(),
            ca_file: None,
            proxy: None,
            environment: EnvironmentProxies::of_this_process(),
            connect_timeout: Duration::from_secs(3),
            // Clients give up after 30 s without headers (containerd 2.3).
            answer_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            concurrency: 32,
            quirks: Quirks::default(),
        }
    }
}
