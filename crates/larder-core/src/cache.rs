//! The pull-through cache: what a repository lacks is fetched from its upstream, once however many ask, and what is
//! here is served whatever becomes of the upstream.
//!
//! - A **blob** that is missing is *filled* (`fill.rs`, `fills.rs`) and read while it grows (`growing.rs`).
//! - A **manifest** by digest is asked for once and fresh for ever. A tag is asked about at most once per window
//!   (`tags.rs`); any failure serves the copy.
//! - What has gone unused for too long, or is too much, goes (`evict.rs`). When something was last asked for is gathered
//!   in memory and written to the index twice a minute.
//! - What was pushed here is never overwritten, and nobody but the repository's own upstream can bring anything into it:
//!   that the store holds some content for another repository gives nobody a right to it.

mod accessed;
mod ahead;
mod adopt;
mod blobs;
mod counters;
mod evict;
mod fill;
mod placing;
mod fills;
mod flights;
mod growing;
mod heal;
mod intake;
mod lists;
mod manifests;
mod pace;
mod passing;
mod patience;
mod remembered;
mod stock;
mod tags;
mod unkept;
mod warm;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use larder_oci::{Descriptor, Digest, Reference, RepoName};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use accessed::Accessed;
use ahead::Ahead;
pub use ahead::{WarmEntry, WarmJob, WarmState};
pub use counters::CacheCounts;
pub(crate) use counters::Counters;
pub use evict::{CacheLimits, Evicted, Keep, KeptImages, WhyEvicted};
use fills::Fills;
use flights::Flights;
pub use growing::{Arrived, ArrivedFuture, Growing};
pub use lists::Listed;
use lists::Lists;
use manifests::Answer;
use pace::Background;
pub use pace::DEFAULT_BACKGROUND_BANDWIDTH;
use remembered::Remembered;
pub use stock::{CacheStatus, CacheStock, Candidate};
pub use tags::{ServedCopy, WhyCopy};
use unkept::Unkept;
pub use warm::{NoImage, NoPlatform, Platform, WarmError, WarmImage, WarmProgress, parse_image};

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};
use crate::upstream::{UpstreamError, UpstreamFailure};
use crate::upstreams::UpstreamRepository;

/// What nobody has gone on with for so long of a blob that had begun to arrive is forgotten.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

type SizeAnswer = Result<Option<Option<u64>>, Arc<RegistryError>>;

/// The cache's state, none of which outlives the process.
#[derive(Default)]
pub(crate) struct Cache {
    fills: Fills,
    sizes: Flights<(RepoName, Digest), SizeAnswer>,
    questions: Flights<(RepoName, Reference), Answer>,
    remembered: Remembered,
    unkept: Unkept,
    tag_lists: Lists<String>,
    referrer_lists: Lists<Descriptor>,
    accessed: Accessed,
    limits: RwLock<CacheLimits>,
    background: Background,
    evicted: Mutex<VecDeque<Evicted>>,
    stock: Mutex<Option<CacheStock>>,
    ahead: Ahead,
    statuses: Flights<usize, stock::StatusAnswer>,
    /// Held by whoever makes room on a full disk: two would evict twice what is needed.
    making_room: tokio::sync::Mutex<()>,
    /// Held by whoever fetches again what was damaged.
    healing: tokio::sync::Mutex<()>,
    pub(crate) counters: Arc<Counters>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Registry {
    /// What the cache has done and does.
    pub fn cache_counts(&self) -> CacheCounts {
        let cache = &self.inner.cache;
        cache.counters.counts(cache.fills.count())
    }

    /// How many bytes of blobs that nobody waits for any more may come in a second, all of them together; zero for no
    /// bound. A blob that somebody reads comes as fast as it can, and so does the rest of one from when he begins.
    pub fn set_background_bandwidth(&self, bytes_per_second: u64) {
        self.inner.cache.background.set_bandwidth(bytes_per_second);
    }

    /// Waits until the manifests that have come from this repository's upstream are in their place: clients have them
    /// before.
    pub async fn until_kept(&self, repository: &RepoName) {
        self.inner.cache.unkept.until_kept(repository).await;
    }

    /// Stops fetching from upstreams and waits until nothing is being written any more. What has arrived of a blob
    /// stays; it goes on after the next start. For the end of the process: nothing is fetched after it.
    pub async fn stop_fetching(&self) {
        let cache = &self.inner.cache;
        cache.stop.cancel();
        cache.tasks.close();
        cache.tasks.wait().await;
        if let Err(error) = self.blocking(Inner::write_accesses).await {
            tracing::error!(%error, "when what was fetched was last asked for could not be written down");
        }
    }

    /// Forgets what had begun to arrive and nobody has gone on with for a day; gives how much.
    pub async fn forget_abandoned_fills(&self) -> Result<usize, RegistryError> {
        self.blocking(|inner| {
            let Some(_change) = inner.begin_change() else { return Ok(0) };
            let now = (inner.environment.now)();
            Ok(inner.blobs.forget_abandoned(now, ABANDONED, |digest| inner.cache.fills.is_running(digest))?)
        })
        .await
    }

    /// Takes note that something was asked for.
    pub(crate) fn note_access(&self, repository: &RepoName, digest: &Digest) {
        self.inner.cache.accessed.note(repository, digest, (self.inner.environment.now)());
    }

    /// Who is asked for what this repository lacks.
    pub(crate) fn upstream_of(&self, repository: &RepoName) -> Option<UpstreamRepository> {
        self.inner.upstreams().of(repository)
    }
}

impl Cache {
    /// Whether the process ends.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }
}

impl UpstreamRepository {
    /// A failure that core has found out itself.
    pub(crate) fn error(&self, failure: UpstreamFailure, detail: &str) -> UpstreamError {
        let name: Arc<str> = self.upstream.name().into();
        UpstreamError { upstream: Arc::clone(&name), host: name, failure, detail: detail.into(), cause: None }
    }

    fn still_silent(&self) -> UpstreamError {
        self.error(UpstreamFailure::TimedOut, "no answer in time")
    }

    fn offline(&self) -> UpstreamError {
        self.error(
            UpstreamFailure::Offline,
            "this is not at hand, and asking the upstream is switched off (offline)",
        )
    }
}
