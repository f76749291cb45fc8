//! What core asks of another registry. `larder-upstream` answers over HTTP; tests answer with faults.
//!
//! An upstream answers one question at a time and decides alone how: which mirror, which account, how often
//! a connection is tried again. It remembers no content and joins no questions; that several clients want the
//! same thing is core's business.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_oci::{Descriptor, Digest, MediaType, Reference, RepoName, Tag};

/// An upstream's answer on its way. Dropped before it is ready, the question is withdrawn.
pub type UpstreamFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamError>> + Send + 'a>>;

/// Another registry, under the name that the operator gave it.
///
/// Names are those that the upstream itself knows (`library/nginx`). `Ok(None)` is the upstream's own word that
/// it has no such thing; everything else that isn't an answer is an error, also a refusal.
///
/// # Time
///
/// Every future ends by itself: the implementation bounds connecting, the wait for an answer's headers, and the
/// silence between two chunks of a blob. How long a client waits in the end is bounded by core, with less.
///
/// # Cancel safety
///
/// Every future may be dropped at any time; so may a [`BlobStream`].
pub trait Upstream: Send + Sync {
    /// The operator's name for it, for messages, headers and metrics.
    fn name(&self) -> &str;

    /// What may be asked about this repository right now, by what the upstream's latest answers said of its rate
    /// limit. Asks nothing.
    fn allowance(&self, repository: &RepoName) -> Allowance;

    /// What a manifest's reference means right now, without its bytes: `HEAD`.
    fn head_manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<ManifestHead>>;

    /// A manifest's bytes: `GET`. More than [`LONGEST_MANIFEST`](crate::LONGEST_MANIFEST) are
    /// [`Garbled`](UpstreamFailure::Garbled). Core hashes them.
    fn manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<FetchedManifest>>;

    /// A blob's length in bytes, or that there is no such blob. By `HEAD`, or where the upstream answers that
    /// badly by the headers of a `GET` that is then broken off. `Some(None)`: it is there and nobody says how long.
    fn blob_size<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
    ) -> UpstreamFuture<'a, Option<Option<u64>>>;

    /// A blob's bytes from this offset on: `GET`, with a `Range` where `from` isn't 0. Ready when the headers are
    /// there. Called again with what has arrived when the chunks ended early: perhaps on another mirror.
    fn blob<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
        from: u64,
    ) -> UpstreamFuture<'a, Option<BlobStream>>;

    /// All tags of a repository, in any order. So many that they can't be held are [`Garbled`](UpstreamFailure::Garbled),
    /// never a part of them.
    fn tags<'a>(&'a self, repository: &'a RepoName) -> UpstreamFuture<'a, Option<Vec<Tag>>>;

    /// All manifests about another one, in any order; none also where the upstream knows neither.
    fn referrers<'a>(
        &'a self,
        repository: &'a RepoName,
        subject: &'a Digest,
    ) -> UpstreamFuture<'a, Vec<Descriptor>>;
}

/// What may be asked of an upstream, so that a rate limit is spent with care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Everything.
    Plenty,
    /// Near the end of the limit: only what is not at hand.
    Scarce,
    /// Nothing until it renews.
    Spent {
        /// When that is.
        renews_in: Duration,
    },
}

/// What a manifest's reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest; not every upstream says.
    pub digest: Option<Digest>,
    /// Its type; not every upstream says.
    pub media_type: Option<MediaType>,
    /// Its length in bytes; not every upstream says.
    pub size: Option<u64>,
}

/// A manifest as the upstream sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Its bytes, not yet hashed.
    pub bytes: Bytes,
    /// Its type, by the upstream's `Content-Type`.
    pub media_type: Option<MediaType>,
}

/// A blob on its way.
pub struct BlobStream {
    /// The whole blob's length in bytes, if the upstream says so (`Content-Length`, `Content-Range`).
    pub size: Option<u64>,
    /// Where the chunks begin: as asked for, or 0 where the upstream doesn't do ranges.
    pub from: u64,
    /// The bytes.
    pub chunks: Box<dyn BlobChunks>,
}

/// The bytes of a blob on their way.
pub trait BlobChunks: Send {
    /// The next bytes; `None` where the upstream says that the blob ends. A connection that ends early is
    /// [`Cut`](UpstreamFailure::Cut).
    fn next(&mut self) -> UpstreamFuture<'_, Option<Bytes>>;
}

/// Why an upstream gave no answer. Cheap to clone: everybody who waited for the answer is told.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    /// The operator's name for the upstream.
    pub upstream: Arc<str>,
    /// The host that was asked, with its port if that isn't usual.
    pub host: Arc<str>,
    /// What kind of failure it is: what is done about it depends on this alone.
    pub failure: UpstreamFailure,
    /// The same in words that can stand alone, such as `ghcr.io refused the login of user ci`. No secrets.
    pub detail: Arc<str>,
    /// What caused it, for the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The ways in which an upstream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection: the name isn't known, nobody listens, no route.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// TLS could not be agreed upon, or the certificate isn't trusted.
    Tls,
    /// It wants a login, or believes none that we have.
    Unauthorized,
    /// Logged in or not, this repository isn't ours to pull.
    Denied,
    /// Too many requests.
    RateLimited {
        /// When to come back, if it says so or can be told.
        retry_after: Option<Duration>,
    },
    /// Another refusal or a failure of its own.
    Failed {
        /// The status of its answer.
        status: u16,
    },
    /// An answer that makes no sense: wrong bytes for a digest, no manifest, a wrong length.
    Garbled,
    /// The connection broke off before the end.
    Cut,
    /// The operator has switched asking off.
    Offline,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}: {}", self.upstream, self.detail)
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
