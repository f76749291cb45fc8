//! The checked tree to the typed [`Config`]: defaults, and the rules that concern more than one key.
//!
//! A value that the table's check has refused already reads as unset here, so that it is reported once.

mod notifications;

pub(super) use upstreams::give_way_to_proxy;

use super::{
    Start, access,
    environment::built_in_users_file,
    keys::{DRIVERS, Slot},
    report::{Mistake, Report},
    scalar,
    typed::{Access, Auth, Config, Formatter, Http, Level, ListenAddress, Log, Storage, UploadPurging},
    value::{Content, Entry, Origin, Value},
};
use http::{HeaderName, HeaderValue, Uri};
use larder_core::Collection;
use std::{path::Path, time::Duration};

mod audit;
mod cache;
mod health;
mod letsencrypt;
mod mirrors;
mod retention;
mod quotas;
mod serving;
mod tls;
mod token;
mod token_service;
mod upstreams;
mod verify;

/// registry:2's port, which its shipped configuration names.
const DEFAULT_PORT: u16 = 5000;

/// registry:2 cuts every answer off at once unless it is told otherwise. Nobody wants that, and an operator who does
/// can write `draintimeout: 0`, so Larder waits as long as Kubernetes does before it kills a container.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where registry:2's filesystem driver keeps images when it isn't told.
const ROOT_DIRECTORY: &str = "/var/lib/registry";

/// How many entries a page of the catalog or of a list of tags may hold.
const PAGE_MAX: usize = 1000;

/// Long enough to notice a slip, short enough that a full disk is helped.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// As abandoned uploads: a push that was given up before its manifest is one.
const UNREFERENCED: Duration = Duration::from_secs(168 * 3600);

const UPLOAD_AGE: Duration = Duration::from_secs(168 * 3600);
const UPLOAD_PURGE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Builds the configuration, or as much of it as the mistakes leave; the caller looks at the report.
pub(super) fn build(root: &Value, start: Start<'_>, report: &mut Report) -> Config {
    let mut reader = Reader { root, report };
    let storage = reader.storage(start);
    let auth = reader.auth(start, &storage.root_directory);
    let config = Config {
        http: reader.http(),
        is_open_proxy: auth == Auth::None && reader.text("proxy.remoteurl").is_some(),
        auth,
        access: reader.access(start),
        audit: reader.audit(),
        log: reader.log(),
        notifications: reader.notifications(),
        upstreams: reader.upstreams(),
        token_services: reader.token_services(),
        cache: reader.cache(),
        retention: reader.retention(),
        quotas: reader.quotas(),
        health: reader.health(),
        catalog_max_entries: reader.catalog_max_entries(),
        tags_max: reader.tags_max(),
        storage,
    };
    reader.mirrors_without_login(&config.upstreams, &config.auth, config.access.as_ref());
    config
}

struct Reader<'a> {
    root: &'a Value,
    report: &'a mut Report,
}

impl<'a> Reader<'a> {
    fn set_value(&self, path: &str) -> Option<&'a Value> {
        self.root.entry_at(path).map(|entry| &entry.value).filter(|value| !value.is_unset())
    }

    fn text(&self, path: &str) -> Option<(&'a str, &'a Origin)> {
        let value = self.set_value(path)?;
        value.scalar().map(|text| (text, &value.origin))
    }

    fn texts(&self, path: &str) -> Vec<&'a str> {
        self.set_value(path)
            .map(|value| value.items().iter().filter_map(Value::scalar).collect())
            .unwrap_or_default()
    }

    fn boolean(&self, path: &str, default: bool) -> bool {
        self.text(path).and_then(|(text, _)| scalar::boolean(text)).unwrap_or(default)
    }

    fn integer(&self, path: &str) -> Option<(i64, &'a Origin)> {
        let (text, origin) = self.text(path)?;
        scalar::integer(text).map(|number| (number, origin))
    }

    /// Bytes. One that is no size has been reported.
    fn size(&self, path: &str) -> Option<(i64, &'a Origin)> {
        let (text, origin) = self.text(path)?;
        scalar::size(text).ok().map(|bytes| (bytes, origin))
    }

    /// A duration that can't be negative.
    fn duration(&mut self, path: &str, default: Duration) -> Duration {
        let Some((text, origin)) = self.text(path) else { return default };
        let Some(nanoseconds) = scalar::duration_nanoseconds(text) else { return default };
        match u64::try_from(nanoseconds) {
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
            Err(_) => {
                self.invalid(path, origin, "must not be negative");
                default
            }
        }
    }

    fn word<Word: Copy>(&self, path: &str, words: &[(&str, Word)]) -> Option<Word> {
        let (text, _) = self.text(path)?;
        words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    /// Where a section stands, for a mistake that concerns what it doesn't say.
    fn section_origin(&self, path: &str) -> Origin {
        self.root.entry_at(path).map_or_else(|| self.root.origin.clone(), |entry| entry.origin.clone())
    }

    fn invalid(&mut self, key: &str, origin: &Origin, problem: impl Into<String>) {
        self.report.error(origin, Mistake::Invalid { key: key.to_owned(), problem: problem.into() });
    }

    fn storage(&mut self, start: Start<'_>) -> Storage {
        self.one_driver();
        if let Some(value) = self.set_value("storage.delete.enabled")
            && matches!(&value.content, Content::Scalar { text, plain: false } if scalar::boolean(text) == Some(true))
            && matches!(value.origin, Origin::File { .. })
        {
            let sentence =
                "\"storage.delete.enabled\" is true. registry:2 takes it for false, because of the quotes.";
            self.report.warn(&value.origin, sentence);
        }
        let default = match start {
            Start::File => Path::new(ROOT_DIRECTORY),
            Start::BuiltIn(data_directory) => data_directory,
        };
        let root_directory =
            self.text("storage.filesystem.rootdirectory").map_or(default, |(text, _)| Path::new(text));
        Storage {
            root_directory: root_directory.to_owned(),
            delete_enabled: self.boolean("storage.delete.enabled", false),
            upload_purging: self.upload_purging(),
            collection: self.collection(),
            read_only: self.boolean("storage.maintenance.readonly.enabled", false),
            verify: self.verify(),
        }
    }

    /// There must be one driver, and the table's check has the word on which ones Larder has.
    fn one_driver(&mut self) {
        const MISSING: Mistake = Mistake::Missing {
            key: "storage",
            why: "say where images are kept, for instance storage: {filesystem: {rootdirectory: /var/lib/registry}}",
        };
        let Some(storage) = self.root.entry("storage") else {
            return self.report.error(&self.root.origin, MISSING);
        };
        let is_map = matches!(storage.value.content, Content::Map(_) | Content::Null);
        let is_driver = |entry: &&Entry| DRIVERS.contains(&entry.key.as_str());
        let mut drivers: Vec<&Entry> = storage.value.entries().iter().filter(is_driver).collect();
        // The built-in configuration's own driver gives way to one that a variable names.
        if drivers.len() > 1 {
            drivers.retain(|driver| driver.origin != Origin::Default);
        }
        let slot = Slot::root().child("storage");
        let is_known = |key: &str| slot.as_ref().is_some_and(|slot| slot.child(key).is_some());
        let unknown_ones = storage.value.entries().iter().any(|entry| !is_known(&entry.key));
        match drivers.as_slice() {
            [_] => {}
            // An unknown key is probably the misspelt driver, and has been reported.
            [] if !is_map || unknown_ones => {}
            [] => self.report.error(&storage.origin, MISSING),
            [_, second, ..] => {
                let named = names_with_origins(&drivers);
                let mistake = Mistake::NotExactlyOne { section: "storage", what: "driver", named };
                self.report.error(&second.origin, mistake);
            }
        }
    }

    /// registry:2 panics when this section is there and lacks a key; Larder takes the default of what is left out.
    fn upload_purging(&mut self) -> UploadPurging {
        const INTERVAL: &str = "storage.maintenance.uploadpurging.interval";
        let purging = UploadPurging {
            enabled: self.boolean("storage.maintenance.uploadpurging.enabled", true),
            age: self.duration("storage.maintenance.uploadpurging.age", UPLOAD_AGE),
            interval: self.duration(INTERVAL, UPLOAD_PURGE_INTERVAL),
            dry_run: self.boolean("storage.maintenance.uploadpurging.dryrun", false),
        };
        if purging.enabled
            && purging.interval.is_zero()
            && let Some((_, origin)) = self.text(INTERVAL)
        {
            self.invalid(INTERVAL, origin, "must be longer than nothing, or purging would never pause");
        }
        purging
    }

    fn collection(&mut self) -> Collection {
        Collection {
            enabled: self.boolean("storage.maintenance.gc.enabled", true),
            grace: self.duration("storage.maintenance.gc.grace", GRACE),
            unreferenced: self.duration("storage.maintenance.gc.unreferenced", UNREFERENCED),
        }
    }

    fn auth(&mut self, start: Start<'_>, root_directory: &Path) -> Auth {
        let kinds = self.root.entry("auth").map(|auth| auth.value.entries()).unwrap_or_default();
        match kinds {
            [] => match start {
                Start::File => Auth::None,
                Start::BuiltIn(_) => Auth::BuiltIn {
                    users_file: built_in_users_file(root_directory),
                    service: "larder".to_owned(),
                },
            },
            [kind] if kind.key == "htpasswd" => self.htpasswd(),
            [kind] if kind.key == "token" => self.token(),
            [_] => Auth::None,
            [_, second, ..] => {
                let named = names_with_origins(&kinds.iter().collect::<Vec<_>>());
                let mistake =
                    Mistake::NotExactlyOne { section: "auth", what: "kind of authentication", named };
                self.report.error(&second.origin, mistake);
                Auth::None
            }
        }
    }

    fn access(&mut self, start: Start<'_>) -> Option<Access> {
        let access = access::read(self.root, self.report)?;
        let kinds = self.root.entry("auth").map(|auth| auth.value.entries()).unwrap_or_default();
        if start == Start::File && kinds.iter().all(|kind| kind.key == "none") {
            let why = "rules are about users, and without auth nobody is asked who he is; add for instance \
                       auth: {htpasswd: {realm: Registry, path: /etc/larder/users}}";
            self.report.error(&self.section_origin("access"), Mistake::Missing { key: "auth", why });
        }
        Some(access)
    }

    fn htpasswd(&mut self) -> Auth {
        const SECTION: &str = "auth.htpasswd";
        let realm = "it is the name that clients are shown when they have to log in";
        let path = "it is the file that `larder user add --file` writes";
        Auth::Htpasswd {
            realm: self.required(SECTION, "auth.htpasswd.realm", realm),
            path: self.required(SECTION, "auth.htpasswd.path", path).into(),
        }
    }

    /// A text that must be there: its absence is a mistake of the section.
    fn required(&mut self, section: &str, key: &'static str, why: &'static str) -> String {
        match self.text(key) {
            Some((text, _)) => text.to_owned(),
            None => {
                // A value of the wrong kind is there and has been reported.
                if self.set_value(key).is_none() {
                    self.report.error(&self.section_origin(section), Mistake::Missing { key, why });
                }
                String::new()
            }
        }
    }

    fn http(&mut self) -> Http {
        Http {
            addr: self.addr(),
            prefix: self.prefix(),
            host: self.host(),
            headers: self.headers("http.headers"),
            drain_timeout: self.duration("http.draintimeout", DRAIN_TIMEOUT),
            tls: self.tls(),
            http2_disabled: self.boolean("http.http2.disabled", false),
            debug: self.debug(),
            unix_socket: self.unix_socket(),
            trusted_proxies: self.trusted_proxies(),
            limits: self.limits(),
        }
    }

    fn addr(&mut self) -> ListenAddress {
        let default = ListenAddress { host: String::new(), port: DEFAULT_PORT };
        let is_unix = self.is_unix();
        let Some((text, origin)) = self.text("http.addr").filter(|_| !is_unix) else { return default };
        listen_address(text).unwrap_or_else(|| {
            let problem = format!("is {text:?}; write host:port, or :{DEFAULT_PORT} for every interface");
            self.invalid("http.addr", origin, problem);
            default
        })
    }

    fn prefix(&mut self) -> String {
        let Some((text, origin)) = self.text("http.prefix") else { return String::new() };
        let path_only = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#'));
        if !text.starts_with('/') || !path_only {
            self.invalid("http.prefix", origin, "must be a path that starts with /, such as /images/");
        }
        text.trim_end_matches('/').to_owned()
    }

    /// registry:2 passes over a host that isn't a URL, so this is a warning: a start that worked must go on working.
    fn host(&mut self) -> Option<Uri> {
        let (text, origin) = self.text("http.host")?;
        let url = text.parse::<Uri>().ok().filter(|url| {
            let web = matches!(url.scheme_str(), Some("http" | "https"));
            web && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && url.query().is_none()
        });
        let Some(url) = url else {
            let sentence = "\"http.host\" is ignored, as by registry:2: it must be a URL with scheme and host, such as \
                            https://registry.example.com.";
            self.report.warn(origin, sentence);
            return None;
        };
        // distribution keeps a path only if it ends in a slash.
        if url.path().ends_with('/') {
            return Some(url);
        }
        let (scheme, authority) = (url.scheme_str()?, url.authority()?);
        Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/").build().ok()
    }

    fn headers(&mut self, path: &str) -> Vec<(HeaderName, HeaderValue)> {
        self.header_list(path, self.set_value(path))
    }

    fn header_list(&mut self, path: &str, value: Option<&Value>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for entry in value.map(Value::entries).unwrap_or_default() {
            let key = format!("{path}.{}", entry.key);
            let Ok(name) = HeaderName::from_bytes(entry.key.as_bytes()) else {
                self.invalid(&key, &entry.origin, "is not a header's name");
                continue;
            };
            for item in entry.value.items() {
                match item.scalar().unwrap_or_default().parse::<HeaderValue>() {
                    Ok(value) => headers.push((name.clone(), value)),
                    Err(_) => self.invalid(&key, &item.origin, "holds characters that a header can't"),
                }
            }
        }
        headers
    }

    fn log(&mut self) -> Log {
        let levels =
            [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
        let formatters =
            [("text", Formatter::Text), ("json", Formatter::Json), ("logstash", Formatter::Logstash)];
        let fields = self.set_value("log.fields").map(Value::entries).unwrap_or_default();
        Log {
            level: self.word("log.level", &levels).unwrap_or(Level::Info),
            formatter: self.word("log.formatter", &formatters).unwrap_or(Formatter::Text),
            fields: fields.iter().map(|entry| (entry.key.clone(), entry.value.flow_text())).collect(),
            access_log_disabled: self.boolean("log.accesslog.disabled", false),
        }
    }

    fn catalog_max_entries(&self) -> usize {
        let number = self.integer("catalog.maxentries").and_then(|(number, _)| usize::try_from(number).ok());
        number.filter(|number| *number > 0).unwrap_or(PAGE_MAX)
    }

    fn tags_max(&mut self) -> usize {
        const KEY: &str = "tags.maxtags";
        let Some((number, origin)) = self.integer(KEY) else { return PAGE_MAX };
        match usize::try_from(number) {
            Ok(0) => PAGE_MAX,
            Ok(number) => number,
            Err(_) => {
                self.invalid(KEY, origin, "must not be negative");
                PAGE_MAX
            }
        }
    }
}

fn names_with_origins(entries: &[&Entry]) -> String {
    let names = entries.iter().map(|entry| format!("{:?} ({})", entry.key, entry.origin));
    names.collect::<Vec<_>>().join(" and ")
}

/// Reads `host:port`, `[v6]:port` or `:port`.
fn listen_address(text: &str) -> Option<ListenAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '%');
    let well_formed = host.chars().all(|c| plausible(c) || bracketed.is_some() && c == ':');
    let digits_only = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let port = port.parse().ok().filter(|_| well_formed && digits_only)?;
    Some(ListenAddress { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests;
