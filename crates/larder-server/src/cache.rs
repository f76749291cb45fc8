//! `/api/v1/cache`: what was fetched and is here, what the cache has done, and how its upstreams are doing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use larder_core::{CacheCounts, CacheStatus, Candidate, Evicted, WhyEvicted};
use larder_oci::{CatalogAccess, ErrorCode};
use serde_json::{Map, Value, json};

use crate::api::bad;
use crate::error::ApiError;
use crate::request::{Answer, Call, Failure};
use crate::respond;

/// What whoever would push into an open cache hears. What he pushed would be served to everybody as the upstream's.
const TAKES_NO_PUSHES: &str = "this registry is a cache (proxy.remoteurl) that asks nobody who he is, and takes nothing in: \
                               push where it fetches from, or have its operator set auth";

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

impl UrlReport {
    /// Leaves out what is for administrators: who pulls there, and what a failure tells of the network.
    fn conceal(&mut self) {
        self.last_failure = self.last_failure.take().map(|_| "its words are for administrators".to_owned());
        for (at, account) in self.accounts.iter_mut().enumerate() {
            account.account = format!("account {}", at + 1);
        }
    }
}

/// How many images of each list are shown where nobody says so.
const SHOWN: usize = 20;

impl Call {
    /// As registry:2's caches, which refuse every change by everybody.
    pub(crate) fn takes_pushes(&self) -> Result<(), ApiError> {
        if self.options.takes_no_pushes {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(ApiError::new(status, ErrorCode::Unsupported, TAKES_NO_PUSHES));
        }
        Ok(())
    }

    /// For whoever may see what there is. Of the images, those that he may see; what the operator wrote down (accounts, names
    /// that are kept) and the words of failures, which may tell of his network, are for administrators.
    pub(crate) async fn cache_status(&self) -> Answer {
        let identity = self.identify().await?;
        let access = self.app.gate.policy().catalog(&identity)?;
        let is_administrator = self.app.gate.policy().administer(&identity).is_ok();
        let status = self.app.registry.cache_status(self.shown()?).await?;
        let answer = json!({
            "cache": counted(&status.counts),
            "stock": stocked(&status, is_administrator),
            "next": status.next.iter().filter_map(|each| image(each, &access)).collect::<Vec<_>>(),
            "held": status.held.iter().filter_map(|each| image(each, &access)).collect::<Vec<_>>(),
            "evicted": status.evicted.iter().filter_map(|each| gone(each, &access)).collect::<Vec<_>>(),
            "upstreams": self.upstream_reports(is_administrator),
        });
        Ok(respond::json(StatusCode::OK, &answer))
    }

    /// How each of them is doing.
    pub(crate) fn upstream_reports(&self, is_administrator: bool) -> Vec<Value> {
        let mut reports = self.app.observers.upstreams.as_ref().map(|reports| reports()).unwrap_or_default();
        if !is_administrator {
            reports.iter_mut().flat_map(|report| &mut report.urls).for_each(UrlReport::conceal);
        }
        reports.iter().map(upstream).collect()
    }

    /// `?next=`: how many images are wanted of each list.
    fn shown(&self) -> Result<usize, Failure> {
        let Some(text) = self.parameter("next") else { return Ok(SHOWN) };
        Ok(text.parse().map_err(|_| bad(format!("next must be a number of images, it is {text:?}")))?)
    }
}

/// What the cache has done since the start, and does.
pub(crate) fn counted(counts: &CacheCounts) -> Value {
    let by_reason: Map<String, Value> = WhyEvicted::ALL
        .iter()
        .zip(counts.evicted_by_reason)
        .map(|(why, count)| (why.as_str().to_owned(), count.into()))
        .collect();
    json!({
        "hits": counts.hits,
        "misses": counts.misses,
        "stale": counts.stale,
        "bytes_from_cache": counts.bytes_from_cache,
        "bytes_from_upstream": counts.bytes_from_upstream,
        "fills": counts.fills,
        "evicted": counts.evicted,
        "evicted_by_reason": by_reason,
        "evicted_bytes": counts.evicted_bytes,
    })
}

/// How much is here, beside its bounds.
fn stocked(status: &CacheStatus, is_administrator: bool) -> Value {
    let limits = &status.limits;
    let kept = limits.keep.iter().filter(|_| is_administrator);
    json!({
        "images": status.stock.images,
        "held_images": status.stock.held,
        "bytes": status.stock.bytes,
        "arriving_bytes": status.arriving,
        "free_bytes": status.free,
        "max_bytes": limits.max_size,
        "min_free_bytes": limits.min_free,
        "unused_for_seconds": limits.unused_for.map(|time| time.as_secs()),
        "keep": kept.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn image(candidate: &Candidate, access: &CatalogAccess) -> Option<Value> {
    access.shows(&candidate.repository).then(|| {
        json!({
            "repository": candidate.repository,
            "digest": candidate.digest,
            "tags": candidate.tags,
            "bytes": candidate.bytes,
            "last_access": date(candidate.last_access),
            "unused_at": candidate.unused_at.map(date),
            "held_by": candidate.held_by,
        })
    })
}

fn gone(evicted: &Evicted, access: &CatalogAccess) -> Option<Value> {
    access.shows(&evicted.repository).then(|| {
        json!({
            "repository": evicted.repository,
            "digest": evicted.digest,
            "tags": evicted.tags,
            "bytes": evicted.bytes,
            "last_access": date(evicted.last_access),
            "at": date(evicted.at),
            "why": evicted.why.as_str(),
        })
    })
}

pub(crate) fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
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
