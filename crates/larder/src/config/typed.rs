//! The configuration with types: what the start is wired from. Every value in it has been checked.

use http::{HeaderName, HeaderValue, Uri};
use larder_auth::{ExternalSettings, Group, Rule};
use larder_core::Collection;
use larder_oci::RepoName;
use larder_server::{CheckUrl, Limits, Network};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

mod tls;

pub(crate) use tls::{CertificateSource, ClientAuth, MinimumTls, OrderedCertificate, Tls};

/// Everything that Larder takes from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where images lie and what may happen to them.
    pub(crate) storage: Storage,
    /// Where and how to answer.
    pub(crate) http: Http,
    /// How clients prove who they are.
    pub(crate) auth: Auth,
    /// Who may do what; without it, what `auth` says.
    pub(crate) access: Option<Access>,
    /// The log of who did what, if there is one.
    pub(crate) audit: Option<Audit>,
    /// What is written to the log.
    pub(crate) log: Log,
    /// Who is told of pushes, pulls and deletions; absent when nobody is.
    pub(crate) notifications: Option<Notifications>,
    /// The registries that are fetched from, each with a name and a prefix of its own.
    pub(crate) upstreams: Vec<Upstream>,
    /// Whether `proxy` names one of them, and nobody is asked who he is: then, as in registry:2, nobody pushes.
    pub(crate) is_open_proxy: bool,
    /// `tokenservice.services`: other registries that tokens are given out for.
    pub(crate) token_services: Vec<String>,
    /// `cache`, and `proxy.ttl`
    pub(crate) cache: CacheBounds,
    /// `retention`: what of what was pushed is kept, and for how long.
    pub(crate) retention: larder_core::RetentionRules,
    /// `quotas`: how much repositories may hold together.
    pub(crate) quotas: Vec<larder_core::QuotaRule>,
    /// What has to be well for requests to be answered.
    pub(crate) health: Vec<HealthCheck>,
    /// The most repositories that one page of the catalog may hold; at least 1.
    pub(crate) catalog_max_entries: usize,
    /// The most tags that one page of a repository's list may hold; at least 1.
    pub(crate) tags_max: usize,
}

/// `storage`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// The directory that holds `docker/registry/v2`.
    pub(crate) root_directory: PathBuf,
    /// Whether manifests, tags and blobs may be deleted by request.
    pub(crate) delete_enabled: bool,
    /// What happens to uploads that nobody finished.
    pub(crate) upload_purging: UploadPurging,
    /// When what nothing refers to is taken away.
    pub(crate) collection: Collection,
    /// Whether every write is refused.
    pub(crate) read_only: bool,
    /// How often all that is stored is looked at, and how fast.
    pub(crate) verify: Verify,
}

/// `cache`: how much of what was fetched from upstreams is kept, and how fast what nobody waits for is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheBounds {
    /// How long after it was last asked for; `None`: for ever.
    pub(crate) unused_for: Option<Duration>,
    /// How many bytes of it; `None`: as many as there is room for.
    pub(crate) max_bytes: Option<u64>,
    /// How many bytes are left free beside it.
    pub(crate) min_free_bytes: Option<u64>,
    /// The images that stay.
    pub(crate) keep: Vec<larder_core::Keep>,
    /// How many bytes come in a second of what no client waits for; zero for no bound.
    pub(crate) background_bandwidth: u64,
    /// The images that are fetched ahead.
    pub(crate) warm: Vec<larder_core::WarmEntry>,
}

/// `storage.maintenance.verify`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verify {
    /// The time that one look at everything takes; zero for never.
    pub(crate) every: Duration,
    /// The most bytes that are read in a second; at least 1.
    pub(crate) bytes_per_second: u64,
}

/// `storage.maintenance.uploadpurging`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadPurging {
    /// Whether it runs at all.
    pub(crate) enabled: bool,
    /// How old an upload has to be.
    pub(crate) age: Duration,
    /// The time between two runs; never zero.
    pub(crate) interval: Duration,
    /// Whether it only says what it would remove.
    pub(crate) dry_run: bool,
}

/// `http`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    /// Where to listen.
    pub(crate) addr: ListenAddress,
    /// What all routes stand below: empty, or `/` and a path that doesn't end in one, such as `/images`.
    pub(crate) prefix: String,
    /// The registry's address as clients know it, with scheme and host. A path, if there is one, ends in `/`.
    pub(crate) host: Option<Uri>,
    /// Headers to add to every answer of the API, in the order of the file.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a stop waits for answers that are under way.
    pub(crate) drain_timeout: Duration,
    /// Present when connections are encrypted.
    pub(crate) tls: Option<Tls>,
    /// Whether clients are kept on HTTP/1.1.
    pub(crate) http2_disabled: bool,
    /// The second listener, if there is one.
    pub(crate) debug: Option<Debug>,
    /// The socket file to listen on instead of the address (`http.net: unix`).
    pub(crate) unix_socket: Option<PathBuf>,
    /// Who is believed about the clients behind him.
    pub(crate) trusted_proxies: Vec<Network>,
    /// What clients may cost.
    pub(crate) limits: Limits,
}

/// `http.debug`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debug {
    /// Where it listens.
    pub(crate) addr: ListenAddress,
    /// Where the metrics are shown, if they are.
    pub(crate) metrics_path: Option<String>,
}

/// An item of `health`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// What it is called in `/debug/health`.
    pub(crate) name: String,
    /// What is looked at.
    pub(crate) subject: HealthSubject,
    /// The time between two looks; never zero.
    pub(crate) interval: Duration,
    /// How many failures in a row count.
    pub(crate) threshold: u64,
}

/// What a health check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthSubject {
    /// The data directory.
    Storage,
    /// A file that must not be there.
    File(PathBuf),
    /// A port that must take connections.
    Tcp {
        /// `host:port`.
        address: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// A URL that must answer.
    Http {
        /// Where.
        url: CheckUrl,
        /// Added to the request, in the order of the file.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The status that is well.
        status: u16,
        /// How long it may take.
        timeout: Duration,
    },
}

/// A TCP address to listen on. Displays as it is written in a file, `:5000` or `127.0.0.1:5000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// A name or address without brackets; empty for every interface, IPv4 and IPv6.
    pub(crate) host: String,
    /// The port; 0 lets the system choose.
    pub(crate) port: u16,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// `auth`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Everybody may do everything.
    None,
    /// Users of a file; each may do everything, nobody else anything.
    Htpasswd {
        /// What the challenge says.
        realm: String,
        /// The file.
        path: PathBuf,
    },
    /// Tokens of another server.
    Token(ExternalSettings),
    /// Larder's own token endpoint: everybody may pull, the users of a file may push. Only a start without a config
    /// file has it.
    BuiltIn {
        /// The file, which need not exist: then there are no users.
        users_file: PathBuf,
        /// What tokens are made for.
        service: String,
    },
}

/// `access`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Who is who.
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    /// In the order of the file.
    pub(crate) rules: Vec<Rule>,
}

/// `audit`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Where it is written.
    pub(crate) file: AuditFile,
    /// Whether pulls that are allowed are in it.
    pub(crate) pulls: bool,
    /// Whether nothing is changed while it can't be written.
    pub(crate) required: bool,
}

/// Where the audit log is written, which only a restart changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditFile {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// The most bytes of one file; absent where another program rotates.
    pub(crate) max_bytes: Option<u64>,
    /// The most full files that are kept; absent for all.
    pub(crate) max_files: Option<usize>,
}

/// `notifications`, with at least one endpoint that isn't disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notifications {
    /// Each with a name of its own.
    pub(crate) endpoints: Vec<NotificationEndpoint>,
    /// Whether messages are registry:3's; else they are registry:2's.
    pub(crate) second_generation: bool,
    /// Whether a manifest's events list what it refers to.
    pub(crate) include_references: bool,
    /// The most events that wait for one endpoint.
    pub(crate) queue_events: usize,
    /// The most bytes that they may take on the disk.
    pub(crate) queue_bytes: u64,
}

/// `notifications.endpoints[]`
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NotificationEndpoint {
    /// Names its queue.
    pub(crate) name: String,
    /// An http or https URL, maybe with a password in it.
    pub(crate) url: String,
    /// Headers to add to each message, in the order of the file.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a message may take; never zero.
    pub(crate) timeout: Duration,
    /// How many attempts follow at once on each other; at least 1.
    pub(crate) threshold: u32,
    /// The first pause after them; never zero.
    pub(crate) backoff: Duration,
    /// Types of content of which nothing is told.
    pub(crate) ignored_media_types: Vec<String>,
    /// Actions of which nothing is told, by their names in messages.
    pub(crate) ignored_actions: Vec<String>,
}

impl fmt::Debug for NotificationEndpoint {
    /// Without the URL and the headers, which may hold passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NotificationEndpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An item of `upstreams`, or `proxy`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// What its images' names begin with here; without it, it has all names that no other has.
    pub(crate) prefix: Option<RepoName>,
    /// Whether a name of one part means `library/<name>` there.
    pub(crate) has_library: bool,
    /// What clients call it by `?ns=`; its name is the first.
    pub(crate) namespaces: Vec<String>,
    /// Names of this registry that are its own, without ports and in lower case.
    pub(crate) host_names: Vec<String>,
    /// A port that is its own.
    pub(crate) addr: Option<ListenAddress>,
    /// When it is asked.
    pub(crate) asked: larder_core::UpstreamSettings,
    /// How it is reached.
    pub(crate) reached: larder_upstream::Settings,
}

/// `log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least important entries that are written.
    pub(crate) level: Level,
    /// Their form.
    pub(crate) formatter: Formatter,
    /// Fields added to each of them, in the order of the file.
    pub(crate) fields: Vec<(String, String)>,
    /// Whether the access log is left out.
    pub(crate) access_log_disabled: bool,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What failed.
    Error,
    /// What will need somebody's attention, too.
    Warn,
    /// What happened, too.
    Info,
    /// How it happened, too.
    Debug,
}

/// `log.formatter`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formatter {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// The same by the names that Logstash has for time and message.
    Logstash,
}
