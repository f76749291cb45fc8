//! The checks below `health`, each item of a list read as a small configuration of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use larder_server::DEFAULT_TIMEOUT;

use super::super::report::Mistake;
use super::super::typed::{HealthCheck, HealthSubject};
use super::super::value::{Origin, Value};
use super::Reader;

/// registry:2's pause between two looks.
const INTERVAL: Duration = Duration::from_secs(10);

/// The status that a URL must answer with unless another one is named.
const STATUS: usize = 200;

impl Reader<'_> {
    pub(super) fn health(&mut self) -> Vec<HealthCheck> {
        let mut checks = Vec::new();
        if self.boolean("health.storagedriver.enabled", false) {
            checks.push(HealthCheck {
                name: "storagedriver_filesystem".to_owned(),
                subject: HealthSubject::Storage,
                interval: self.seconds("health.storagedriver.interval", INTERVAL),
                threshold: self.threshold("health.storagedriver.threshold"),
            });
        }
        let mut names = BTreeSet::new();
        for list in ["health.file", "health.http", "health.tcp"] {
            for item in self.set_value(list).map(Value::items).unwrap_or_default() {
                let mut reader = Reader { root: item, report: &mut *self.report };
                let check = match list {
                    "health.file" => reader.file_check(&item.origin),
                    "health.http" => reader.http_check(&item.origin),
                    _ => reader.tcp_check(&item.origin),
                };
                let Some(check) = check else { continue };
                if !names.insert(check.name.clone()) {
                    self.invalid(list, &item.origin, "names the same thing twice");
                }
                checks.push(check);
            }
        }
        checks
    }

    fn file_check(&mut self, origin: &Origin) -> Option<HealthCheck> {
        let path = self.named("file", "health.file[].file", origin)?;
        let subject = HealthSubject::File(path.clone().into());
        Some(HealthCheck { name: path, subject, interval: self.seconds("interval", INTERVAL), threshold: 0 })
    }

    fn tcp_check(&mut self, origin: &Origin) -> Option<HealthCheck> {
        let address = self.named("addr", "health.tcp[].addr", origin)?;
        let timeout = self.timeout();
        Some(HealthCheck {
            name: address.clone(),
            subject: HealthSubject::Tcp { address, timeout },
            interval: self.seconds("interval", INTERVAL),
            threshold: self.threshold("threshold"),
        })
    }

    fn http_check(&mut self, origin: &Origin) -> Option<HealthCheck> {
        let uri = self.named("uri", "health.http[].uri", origin)?;
        let url = match uri.parse() {
            Ok(url) => url,
            Err(error) => {
                self.invalid("health.http[].uri", origin, format!("can't be used: {error}"));
                return None;
            }
        };
        let status = self.number("statuscode", 100..=599, STATUS);
        let subject = HealthSubject::Http {
            url,
            headers: self.headers("headers"),
            status: u16::try_from(status).unwrap_or_default(),
            timeout: self.timeout(),
        };
        Some(HealthCheck {
            name: uri,
            subject,
            interval: self.seconds("interval", INTERVAL),
            threshold: self.threshold("threshold"),
        })
    }

    fn named(&mut self, key: &str, path: &'static str, origin: &Origin) -> Option<String> {
        let text = self.text(key).map(|(text, _)| text.to_owned());
        if text.is_none() && self.set_value(key).is_none() {
            self.report
                .error(origin, Mistake::Missing { key: path, why: "a check needs something to look at" });
        }
        text
    }

    /// Nothing and zero mean registry:2's default, which is to wait for ever; Larder gives up at some point.
    fn timeout(&mut self) -> Duration {
        let timeout = self.duration("timeout", DEFAULT_TIMEOUT);
        if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout }
    }

    fn threshold(&mut self, key: &str) -> u64 {
        self.number(key, 0..=usize::MAX, 0) as u64
    }
}
