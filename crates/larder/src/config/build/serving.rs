//! How requests are taken in: Larder's own keys below `http`, and the cipher suites.

use std::path::PathBuf;
use std::time::Duration;

use larder_server::{CertificateName, CipherSuite, Limits, Network};

use super::super::report::Mistake;
use super::super::typed::Debug;
use super::super::value::{Content, Origin, Value};
use super::{Reader, listen_address};

/// More would be a mistake in the number of zeros: each connection that sends a head may hold so much.
const LARGEST_HEAD_BYTES: usize = 16 << 20;

impl Reader<'_> {
    pub(super) fn is_unix(&self) -> bool {
        self.text("http.net").is_some_and(|(net, _)| net.eq_ignore_ascii_case("unix"))
    }

    pub(super) fn unix_socket(&mut self) -> Option<PathBuf> {
        if !self.is_unix() {
            return None;
        }
        match self.text("http.addr") {
            Some((text, _)) if text.starts_with('/') => Some(PathBuf::from(text)),
            Some((_, origin)) => {
                self.invalid(
                    "http.addr",
                    origin,
                    "must be the absolute path of a socket file with http.net: unix",
                );
                None
            }
            None => {
                let why = "with http.net: unix it is the path of the socket file";
                let origin = self.section_origin("http.net");
                self.report.error(&origin, Mistake::Missing { key: "http.addr", why });
                None
            }
        }
    }

    pub(super) fn debug(&mut self) -> Option<Debug> {
        const KEY: &str = "http.debug.addr";
        let (text, origin) = self.text(KEY)?;
        let Some(addr) = listen_address(text) else {
            self.invalid(KEY, origin, format!("is {text:?}; write host:port, such as 127.0.0.1:5001"));
            return None;
        };
        let path = self.text("http.debug.prometheus.path").map_or("/metrics", |(path, _)| path);
        if !path.starts_with('/') {
            let origin = self.section_origin("http.debug.prometheus.path");
            self.invalid("http.debug.prometheus.path", &origin, "must be a path that starts with /");
        }
        let is_enabled = self.boolean("http.debug.prometheus.enabled", false);
        Some(Debug { addr, metrics_path: is_enabled.then(|| path.to_owned()) })
    }

    /// An empty list trusts nobody, which is not the same as no list.
    pub(super) fn trusted_proxies(&mut self) -> Vec<Network> {
        const KEY: &str = "http.trustedproxies";
        let value = self.root.entry_at(KEY).map(|entry| &entry.value);
        let Some(Content::List(items)) = value.map(|value| &value.content) else { return Network::private() };
        let mut networks = Vec::new();
        for item in items {
            let Some(text) = item.scalar() else { continue };
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let problem =
                        format!("holds {text:?}, which is neither an address nor a range such as 10.0.0.0/8");
                    self.invalid(KEY, &item.origin, problem);
                }
            }
        }
        networks
    }

    pub(super) fn limits(&mut self) -> Limits {
        let default = Limits::default();
        Limits {
            connections: self.number("http.limits.connections", 1..=usize::MAX, default.connections),
            connections_per_address: self.number(
                "http.limits.connectionsperaddress",
                1..=usize::MAX,
                default.connections_per_address,
            ),
            head_bytes: self.bytes(
                "http.limits.headbytes",
                Limits::LEAST_HEAD_BYTES..=LARGEST_HEAD_BYTES,
                default.head_bytes,
            ),
            idle: self.seconds("http.limits.idletime", default.idle),
            silence: self.seconds("http.limits.bodysilence", default.silence),
        }
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> usize {
        self.within(key, self.integer(key), allowed, default)
    }

    pub(super) fn bytes(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> usize {
        self.within(key, self.size(key), allowed, default)
    }

    fn within(
        &mut self,
        key: &str,
        found: Option<(i64, &Origin)>,
        allowed: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> usize {
        let Some((number, origin)) = found else { return default };
        let number = usize::try_from(number).ok().filter(|number| allowed.contains(number));
        number.unwrap_or_else(|| {
            let problem = match *allowed.end() {
                usize::MAX => format!("must be at least {}", allowed.start()),
                most => format!("must be at least {} and at most {most}", allowed.start()),
            };
            self.invalid(key, origin, problem);
            default
        })
    }

    /// A time that has to be long enough for a client to do something in.
    pub(super) fn seconds(&mut self, key: &str, default: Duration) -> Duration {
        const LEAST: Duration = Duration::from_secs(1);
        let found = self.duration(key, default);
        if let Some((_, origin)) = self.text(key)
            && found < LEAST
        {
            self.invalid(key, origin, "must be at least 1s");
            return default;
        }
        found
    }

    /// Who is known by his certificate must be asked for one.
    pub(super) fn client_name(&mut self, without_authorities: bool) -> Option<CertificateName> {
        const KEY: &str = "http.tls.clientname";
        let words = [
            ("none", None),
            ("cn", Some(CertificateName::CommonName)),
            ("dns", Some(CertificateName::Dns)),
            ("email", Some(CertificateName::Email)),
            ("uri", Some(CertificateName::Uri)),
        ];
        let name = self.word(KEY, &words).flatten();
        if name.is_some()
            && without_authorities
            && let Some((_, origin)) = self.text(KEY)
        {
            self.invalid(KEY, origin, "needs http.tls.clientcas: without them no client shows a certificate");
        }
        name
    }

    /// By Go's names. One that rustls doesn't have is one that nobody should speak any more, so its absence is no
    /// reason to refuse the start; but a list of which nothing is left is.
    pub(super) fn cipher_suites(&mut self) -> Vec<CipherSuite> {
        const KEY: &str = "http.tls.ciphersuites";
        let items = self.set_value(KEY).map(Value::items).unwrap_or_default();
        if self.minimum_tls_is_13() && !items.is_empty() {
            let sentence = "\"http.tls.ciphersuites\" has no effect with minimumtls tls1.3, which has suites of its own.";
            self.report.warn(&self.section_origin(KEY), sentence);
            return Vec::new();
        }
        let mut suites = Vec::new();
        for item in items {
            let Some(name) = item.scalar() else { continue };
            match CipherSuite::named(name) {
                Some(suite) => suites.push(suite),
                None => self.report.warn(
                    &item.origin,
                    format!("{KEY:?} names {name:?}, which is not offered: it is unknown or held unsafe."),
                ),
            }
        }
        if suites.is_empty() && !items.is_empty() {
            let problem = "names no suite that Larder offers; leave it out to offer all that are held safe";
            self.invalid(KEY, &self.section_origin(KEY), problem);
        }
        suites
    }
}

#[cfg(test)]
pub(in crate::config::build) mod tests;
