//! Checks that take a registry out of service: those of registry:2 (`health` in its configuration).
//!
//! Each runs on its own, every so often. While one has failed as often in a row as its threshold says,
//! every answer but `/healthz` is a 503, and `/debug/health` names it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use larder_core::Registry;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

mod ask;

pub use ask::{CheckUrl, CheckUrlError};

/// How long a check may take if nothing else is configured; registry:2 would wait for ever.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One check.
#[derive(Clone)]
pub struct Check {
    /// What it is called in answers: registry:2's names, which monitoring may look for.
    pub name: String,
    /// What is looked at.
    pub subject: Subject,
    /// The time between two looks; the first look comes after one.
    pub interval: Duration,
    /// How many failures in a row count; 0 is as good as 1.
    pub threshold: u64,
}

/// What a check looks at.
#[derive(Clone)]
pub enum Subject {
    /// Whether the data directory can be read.
    Storage(Registry),
    /// A file that says by being there that this registry shall not serve.
    File(PathBuf),
    /// A port that must take connections.
    Tcp {
        /// `host:port`.
        address: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// A URL that must answer `HEAD`.
    Http {
        /// Where.
        url: CheckUrl,
        /// Added to the request.
        headers: HeaderMap,
        /// The status that is well. Redirects are not followed.
        status: u16,
        /// How long it may take.
        timeout: Duration,
    },
}

/// How well the registry is.
#[derive(Default)]
pub struct Health {
    is_failing: AtomicBool,
    /// What fails, and why.
    failing: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// Runs the checks until `stop` is cancelled.
    pub async fn watch(self: Arc<Health>, checks: Vec<Check>, stop: CancellationToken) {
        let tasks: Vec<_> = checks
            .into_iter()
            .map(|check| {
                let (health, stop) = (Arc::clone(&self), stop.clone());
                tokio::spawn(async move { stop.run_until_cancelled(health.repeat(check)).await })
            })
            .collect();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a health check has ended");
            }
        }
    }

    /// Whether a check fails. For each request: costs one look at a number.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// What fails, as registry:2's `/debug/health` says it: names to reasons.
    pub(crate) fn report(&self) -> serde_json::Value {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.iter().map(|(name, reason)| (name.clone(), serde_json::Value::from(reason.clone()))).collect()
    }

    async fn repeat(&self, check: Check) {
        let mut in_a_row = 0_u64;
        loop {
            tokio::time::sleep(check.interval).await;
            match check.subject.look().await {
                Ok(()) => {
                    in_a_row = 0;
                    self.recovered(&check.name);
                }
                Err(reason) => {
                    in_a_row = in_a_row.saturating_add(1);
                    if in_a_row >= check.threshold {
                        self.failed(&check.name, reason);
                    }
                }
            }
        }
    }

    fn failed(&self, name: &str, reason: String) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !failing.contains_key(name) {
            tracing::error!(check = name, reason, "a health check fails: requests are answered with 503");
        }
        failing.insert(name.to_owned(), reason);
        self.is_failing.store(true, Ordering::Relaxed);
    }

    fn recovered(&self, name: &str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(name).is_some() {
            tracing::info!(check = name, "a health check is well again");
            self.is_failing.store(!failing.is_empty(), Ordering::Relaxed);
        }
    }
}

impl Subject {
    async fn look(&self) -> Result<(), String> {
        match self {
            Subject::Storage(registry) => match registry.is_there().await {
                Ok(true) => Ok(()),
                Ok(false) => Err("the data directory is empty: is its volume mounted?".to_owned()),
                Err(error) => Err(with_cause(&error)),
            },
            Subject::File(path) => match found(path).await {
                Ok(_) => Err("file exists".to_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Subject::Tcp { address, timeout } => {
                within(*timeout, async {
                    TcpStream::connect(address)
                        .await
                        .map(drop)
                        .map_err(|error| format!("connection to {address} failed: {error}"))
                })
                .await
            }
            Subject::Http { url, headers, status, timeout } => {
                let found = within(*timeout, url.head(headers)).await?;
                if found == *status {
                    Ok(())
                } else {
                    Err(format!("downstream service returned unexpected status: {found}"))
                }
            }
        }
    }
}

async fn found(path: &Path) -> std::io::Result<Metadata> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || std::fs::symlink_metadata(path)).await?
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(limit))))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
