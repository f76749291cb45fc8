use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder_core::{
    Allowance, BlobStream, FetchedManifest, LONGEST_MANIFEST, ManifestHead, Upstream, UpstreamError,
    UpstreamFailure, UpstreamFuture,
};
use larder_oci::{Descriptor, Digest, MediaType, Reference, RepoName, Tag};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::accounts::{Account, candidates};
use crate::ask::{Answer, Ask};
use crate::base_url::BaseUrl;
use crate::mirrors::{Mirror, order};
use crate::settings::Settings;
use crate::snapshot::{AccountSnapshot, UpstreamSnapshot, UrlSnapshot};
use crate::stream::Chunks;
use crate::tokens::Tokens;
use crate::traffic::{Kind, Traffic};
use crate::transport::{Failed, Transport, TransportError};

/// Questions about manifests and sizes that may be out at once. They are small, and blobs don't hold them up.
const SMALL_QUESTIONS: usize = 64;

/// Every type that is stored; a registry converts an image, or denies it, to whom doesn't know its type.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
                              application/vnd.docker.distribution.manifest.list.v2+json, \
                              application/vnd.oci.image.manifest.v1+json, \
                              application/vnd.docker.distribution.manifest.v2+json";

/// Another registry, asked over HTTP.
pub struct RemoteRegistry {
    pub(crate) settings: Settings,
    pub(crate) name: Arc<str>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) mirrors: Vec<Arc<Mirror>>,
    /// The last is nobody in particular.
    pub(crate) accounts: Vec<Arc<Account>>,
    pub(crate) tokens: Tokens,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) small_questions: Semaphore,
    pub(crate) blobs: Arc<Semaphore>,
    /// Small questions that only measure; they end with this.
    pub(crate) probes: Mutex<JoinSet<()>>,
}

impl RemoteRegistry {
    /// A client for this upstream. Asks nothing.
    ///
    /// # Errors
    /// Its file of authorities can't be read, or its proxy is none.
    pub fn new(settings: Settings) -> Result<Arc<RemoteRegistry>, TransportError> {
        let transport = Arc::new(Transport::new(&settings)?);
        let accounts = settings.accounts.iter().cloned().map(Some).chain([None]);
        let accounts: Vec<_> = accounts.map(|account| Arc::new(Account::new(account))).collect();
        let mirror = |base: &BaseUrl| Arc::new(Mirror::new(base.clone(), accounts.len()));
        let mirrors = settings.urls.iter().map(mirror).collect();
        Ok(Arc::new(RemoteRegistry {
            name: settings.name.as_str().into(),
            transport,
            mirrors,
            accounts,
            tokens: Tokens::default(),
            traffic: Arc::default(),
            small_questions: Semaphore::new(SMALL_QUESTIONS),
            blobs: Arc::new(Semaphore::new(settings.concurrency)),
            probes: Mutex::default(),
            settings,
        }))
    }

    /// What is known of it right now.
    pub fn snapshot(&self) -> UpstreamSnapshot {
        let now = Instant::now();
        let measures: Vec<_> = self.mirrors.iter().map(|mirror| mirror.measure(now)).collect();
        let urls = order(&measures).into_iter().filter_map(|place| self.url_snapshot(place, now)).collect();
        let (name, requests) = (self.name.to_string(), self.traffic.requests());
        UpstreamSnapshot { name, urls, requests, received_bytes: self.traffic.bytes() }
    }

    fn url_snapshot(&self, place: usize, now: Instant) -> Option<UrlSnapshot> {
        let mirror = self.mirrors.get(place)?;
        let measure = mirror.measure(now);
        let state = mirror.state();
        let accounts = self.accounts.iter().zip(&state.standings).map(|(account, standing)| {
            let limit = &standing.rate_limit;
            AccountSnapshot {
                label: account.label(),
                limit: limit.limit,
                remaining: limit.remaining,
                window: limit.window,
                renews_in: match limit.allowance(now) {
                    Allowance::Spent { renews_in } => Some(renews_in),
                    Allowance::Plenty | Allowance::Scarce => None,
                },
                login_refused: standing.is_rejected(now),
            }
        });
        Some(UrlSnapshot {
            url: mirror.base.to_string(),
            resting: measure.resting,
            first_byte: measure.first_byte.map(Duration::from_secs_f64),
            bytes_per_second: measure.throughput,
            last_failure: state.last_failure.clone(),
            accounts: accounts.collect(),
        })
    }

    async fn ask_about_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
        method: Method,
        kind: Kind,
    ) -> Result<Option<Answer>, UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        self.ask(&Ask {
            repository,
            rest: format!("manifests/{reference}"),
            query: String::new(),
            method,
            headers,
            kind,
        })
        .await
    }

    async fn ask_about_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        method: Method,
        kind: Kind,
        from: u64,
    ) -> Result<Option<Answer>, UpstreamError> {
        let mut headers = HeaderMap::new();
        if from > 0 {
            headers.insert(RANGE, HeaderValue::from_str(&format!("bytes={from}-")).unwrap_or(ALL_BYTES));
        }
        self.ask(&Ask {
            repository,
            rest: format!("blobs/{digest}"),
            query: String::new(),
            method,
            headers,
            kind,
        })
        .await
    }

    pub(crate) async fn small_question(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // Never closed.
        self.small_questions.acquire().await.ok()
    }

    async fn head(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, UpstreamError> {
        let _turn = self.small_question().await;
        let answer =
            match self.ask_about_manifest(repository, reference, Method::HEAD, Kind::ManifestHead).await {
                // Nobody forbids GET.
                Err(UpstreamError { failure: UpstreamFailure::Failed { status: 405 | 501 }, .. }) => {
                    self.ask_about_manifest(repository, reference, Method::GET, Kind::Manifest).await?
                }
                answer => answer?,
            };
        Ok(answer.map(|answer| {
            let headers = answer.response.headers();
            ManifestHead {
                digest: text(headers, "docker-content-digest").and_then(|text| text.parse().ok()),
                media_type: media_type(headers),
                size: text(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()),
            }
        }))
    }

    pub(crate) async fn fetch_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<FetchedManifest>, UpstreamError> {
        let _turn = self.small_question().await;
        let answer = self.ask_about_manifest(repository, reference, Method::GET, Kind::Manifest).await?;
        let Some(answer) = answer else { return Ok(None) };
        let media_type = media_type(answer.response.headers());
        let bytes = self.read_whole(answer, LONGEST_MANIFEST, "a manifest").await?;
        Ok(Some(FetchedManifest { bytes: bytes.into(), media_type }))
    }

    /// A small answer to its end.
    pub(crate) async fn read_whole(
        &self,
        mut answer: Answer,
        most: usize,
        what: &str,
    ) -> Result<Vec<u8>, UpstreamError> {
        let mut bytes = Vec::new();
        loop {
            let next = tokio::time::timeout(self.settings.stall_timeout, answer.response.chunk()).await;
            let failed = match next {
                Ok(Ok(Some(piece))) => {
                    self.traffic.received(piece.len());
                    bytes.extend_from_slice(&piece);
                    if bytes.len() <= most {
                        continue;
                    }
                    Failed {
                        failure: UpstreamFailure::Garbled,
                        host: answer.host.clone(),
                        words: format!("sends {what} of more than {most} bytes"),
                        cause: None,
                    }
                }
                Ok(Ok(None)) => return Ok(bytes),
                Ok(Err(error)) => Failed::of(answer.response.url(), error),
                Err(_) => Failed::stalled(&answer.host, self.settings.stall_timeout),
            };
            answer.mirror.failed(&failed.words, Instant::now());
            return Err(failed.of_upstream(&self.name));
        }
    }

    /// An answer that makes no sense, of the upstream as a whole.
    pub(crate) fn garbled(&self, words: &str) -> UpstreamError {
        let host = self.mirrors.first().map(|mirror| mirror.host.clone()).unwrap_or_default();
        let failure = UpstreamFailure::Garbled;
        Failed { failure, host, words: words.to_owned(), cause: None }.of_upstream(&self.name)
    }

    async fn size(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Option<u64>>, UpstreamError> {
        let _turn = self.small_question().await;
        let head = if self.settings.quirks.no_blob_heads {
            None
        } else {
            match self.ask_about_blob(repository, digest, Method::HEAD, Kind::BlobHead, 0).await {
                Ok(answer) => Some(answer),
                // public.ecr.aws refuses this to everybody, and so do some CDNs.
                Err(error) => match error.failure {
                    UpstreamFailure::Unauthorized
                    | UpstreamFailure::Denied
                    | UpstreamFailure::Failed { status: 400 | 405 | 501 } => None,
                    _ => return Err(error),
                },
            }
        };
        let answer = match head {
            Some(answer) => answer,
            // Broken off by dropping it.
            None => self.ask_about_blob(repository, digest, Method::GET, Kind::Blob, 0).await?,
        };
        Ok(answer.map(|answer| {
            text(answer.response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok())
        }))
    }

    async fn fetch_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        from: u64,
    ) -> Result<Option<BlobStream>, UpstreamError> {
        // Never closed.
        let turn = Arc::clone(&self.blobs).acquire_owned().await.ok();
        let answer = self.ask_about_blob(repository, digest, Method::GET, Kind::Blob, from).await?;
        let Some(answer) = answer else { return Ok(None) };
        let headers = answer.response.headers();
        let length = text(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
        let (begins, size) = if answer.response.status() == StatusCode::PARTIAL_CONTENT {
            match text(headers, CONTENT_RANGE.as_str()).and_then(content_range) {
                Some(told) => told,
                None => {
                    let words = "sends a part of a blob and doesn't say which";
                    return Err(Failed::garbled(answer.response.url(), words, None).of_upstream(&self.name));
                }
            }
        } else {
            (0, length)
        };
        let chunks = Box::new(Chunks::new(self, answer, turn));
        Ok(Some(BlobStream { size, from: begins, chunks }))
    }

    /// How the accounts for a repository rank at one of the URLs: the best comes first.
    pub(crate) fn accounts_in_turn(
        &self,
        mirror: &Mirror,
        repository: &RepoName,
        now: Instant,
    ) -> Vec<usize> {
        let is_for_host = |account: &Account| self.is_for_host(account, mirror);
        let state = mirror.state();
        let mut accounts: Vec<usize> =
            candidates(&self.accounts, repository, is_for_host).into_iter().map(|(place, _)| place).collect();
        let last = self.accounts.len().saturating_sub(1);
        accounts
            .sort_by_key(|place| (*place == last, state.standings.get(*place).map(|each| each.rank(now))));
        accounts
    }

    /// An account's own hosts, or else those on the first URL's site.
    fn is_for_host(&self, account: &Account, mirror: &Mirror) -> bool {
        let url = mirror.base.url();
        if !account.hosts().is_empty() {
            let host = url.host_str().unwrap_or_default();
            return account.hosts().iter().any(|own| *own == mirror.host || own.eq_ignore_ascii_case(host));
        }
        let first = self.mirrors.first().map(|first| first.base.url());
        first.is_some_and(|first| crate::reach::is_same_site(first, url))
    }

    pub(crate) fn probes(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ALL_BYTES: HeaderValue = HeaderValue::from_static("bytes=0-");

impl Upstream for RemoteRegistry {
    fn name(&self) -> &str {
        &self.name
    }

    fn allowance(&self, repository: &RepoName) -> Allowance {
        let now = Instant::now();
        let mut best: Option<Allowance> = None;
        for mirror in &self.mirrors {
            for account in self.accounts_in_turn(mirror, repository, now) {
                let of_account = mirror.standing(account, |standing| standing.rate_limit.allowance(now));
                let better = match (best, of_account) {
                    (Some(Allowance::Plenty), _) | (_, Some(Allowance::Plenty)) => Some(Allowance::Plenty),
                    (Some(Allowance::Scarce), _) | (_, Some(Allowance::Scarce)) => Some(Allowance::Scarce),
                    (Some(Allowance::Spent { renews_in: a }), Some(Allowance::Spent { renews_in: b })) => {
                        Some(Allowance::Spent { renews_in: a.min(b) })
                    }
                    (some, None) | (None, some) => some,
                };
                best = better;
            }
        }
        best.unwrap_or(Allowance::Plenty)
    }

    fn head_manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<ManifestHead>> {
        Box::pin(self.head(repository, reference))
    }

    fn manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<FetchedManifest>> {
        Box::pin(self.fetch_manifest(repository, reference))
    }

    fn blob_size<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
    ) -> UpstreamFuture<'a, Option<Option<u64>>> {
        Box::pin(self.size(repository, digest))
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
        from: u64,
    ) -> UpstreamFuture<'a, Option<BlobStream>> {
        Box::pin(self.fetch_blob(repository, digest, from))
    }

    fn tags<'a>(&'a self, repository: &'a RepoName) -> UpstreamFuture<'a, Option<Vec<Tag>>> {
        Box::pin(self.list_tags(repository))
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepoName,
        subject: &'a Digest,
    ) -> UpstreamFuture<'a, Vec<Descriptor>> {
        Box::pin(self.list_referrers(repository, subject))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    text(headers, CONTENT_TYPE.as_str()).and_then(|text| text.parse().ok())
}

/// `bytes 10-99/100`: where it begins, and the whole length if that is known.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn a_content_range_says_where_it_begins_and_how_long_all_is() {
        for (text, expected) in [
            ("bytes 10-99/100", Some((10, Some(100)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes */100", None),
            ("items 0-1/2", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
