//! `/api/cache`: what the cache has done, and how its upstreams are doing.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::request::{Answer, Call};
use crate::respond;

/// Who knows how the upstreams are doing; asked for every report.
pub type UpstreamReports = Arc<dyn Fn() -> Vec<UpstreamReport> + Send + Sync>;

/// How an upstream is doing. Holds no secret.
#[derive(Clone, Debug)]
pub struct UpstreamReport {
    /// Its name.
    pub name: String,
    /// What its images' names begin with here; `None` for those that no other has.
    pub prefix: Option<String>,
    /// Nothing is asked of it.
    pub offline: bool,
    /// Its URLs, in the order in which they would be asked now.
    pub urls: Vec<UrlReport>,
    /// How often it was asked: for what, with what outcome, how often.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// Bytes of manifests and blobs that came from it.
    pub received_bytes: u64,
}

/// What was measured of one of its URLs.
#[derive(Clone, Debug)]
pub struct UrlReport {
    /// The URL.
    pub url: String,
    /// It has failed and goes last for so long.
    pub resting: Option<Duration>,
    /// How long the headers of an answer take.
    pub first_byte: Option<Duration>,
    /// How fast a large body comes.
    pub bytes_per_second: Option<f64>,
    /// How it failed last.
    pub last_failure: Option<String>,
    /// Its accounts there.
    pub accounts: Vec<AccountReport>,
}

/// How one account stands.
#[derive(Clone, Debug)]
pub struct AccountReport {
    /// The user, or `anonymous`.
    pub account: String,
    /// Pulls that the upstream allows in a window.
    pub limit: Option<u64>,
    /// Pulls that are left.
    pub remaining: Option<u64>,
    /// How long the window is.
    pub window: Option<Duration>,
    /// Nothing that counts is asked for so long.
    pub renews_in: Option<Duration>,
    /// Its password isn't believed.
    pub login_refused: bool,
}

impl Call {
    /// For whoever may see what there is: the names of upstreams and accounts are in it.
    pub(crate) async fn cache_status(&self) -> Answer {
        let identity = self.identify().await?;
        self.app.gate.policy().catalog(&identity)?;
        let counts = self.app.registry.cache_counts();
        let reports = self.app.observers.upstreams.as_ref().map(|reports| reports()).unwrap_or_default();
        let status = json!({
            "cache": {
                "hits": counts.hits,
                "misses": counts.misses,
                "stale": counts.stale,
                "bytes_from_cache": counts.bytes_from_cache,
                "bytes_from_upstream": counts.bytes_from_upstream,
                "fills": counts.fills,
                "evicted": counts.evicted,
                "evicted_bytes": counts.evicted_bytes,
            },
            "upstreams": reports.iter().map(upstream).collect::<Vec<_>>(),
        });
        Ok(respond::json(StatusCode::OK, &status))
    }
}

fn upstream(report: &UpstreamReport) -> Value {
    let requests = report
        .requests
        .iter()
        .map(|(kind, outcome, count)| json!({ "kind": kind, "outcome": outcome, "count": count }));
    json!({
        "name": report.name,
        "prefix": report.prefix,
        "offline": report.offline,
        "urls": report.urls.iter().map(url).collect::<Vec<_>>(),
        "requests": requests.collect::<Vec<_>>(),
        "received_bytes": report.received_bytes,
    })
}

fn url(report: &UrlReport) -> Value {
    json!({
        "url": report.url,
        "resting_seconds": report.resting.map(|rest| rest.as_secs()),
        "first_byte_seconds": report.first_byte.map(|time| time.as_secs_f64()),
        "bytes_per_second": report.bytes_per_second.map(f64::round),
        "last_failure": report.last_failure,
        "accounts": report.accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

fn account(report: &AccountReport) -> Value {
    json!({
        "account": report.account,
        "limit": report.limit,
        "remaining": report.remaining,
        "window_seconds": report.window.map(|window| window.as_secs()),
        "renews_in_seconds": report.renews_in.map(|pause| pause.as_secs()),
        "login_refused": report.login_refused,
    })
}
