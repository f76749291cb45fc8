//! Keeping what was fetched within bounds: by last access, by size, by what is free on the disk.
//!
//! What comes and goes as a whole is an image: its index, its platforms, its layers. The one that has gone unused the
//! longest goes first. What of it something else still needs stays: another image of the repository, whether fetched
//! or pushed, or any other repository. Links and content go by the collector's rules, behind its fence.
//!
//! A look at everything that was fetched costs as much as there is. It is taken every ten minutes, and when so much has
//! come since the last one that a bound may have been reached; not with each layer.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use larder_meta::Copied;
use larder_oci::{Digest, RepoName, RepositoryPattern, Tag};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::{Collected, Run, Thing};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};
use crate::upstreams::TagPattern;

/// How often is looked at what has gone unused for too long.
const BETWEEN_LOOKS: Duration = Duration::from_secs(600);

/// How often what was asked for is written down, and how full the disk is looked at.
const BETWEEN_NOTES: Duration = Duration::from_secs(30);

/// The same where what is being put in its place in that moment, and so counts nowhere, may be beyond a bound.
const SOON: Duration = Duration::from_millis(500);

/// With a bound in bytes, so many parts of it make room at once when it is reached: a look at everything for each
/// layer that comes would cost more than the layer.
const SHARE_AT_ONCE: u64 = 100;

/// The same where only a floor of free bytes is set.
const MUCH: u64 = 64 << 20;

/// Beside what is about to come so much is made free on a full disk: its links and the index take room, too.
const SPARE: u64 = 1 << 20;

/// Evictions that are remembered for whoever asks what went.
const REMEMBERED: usize = 100;

/// How much of what was fetched is kept, and for how long. Pushed content isn't meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLimits {
    /// What nobody has asked for in so long goes.
    pub unused_for: Option<Duration>,
    /// What was fetched may take so many bytes together.
    pub max_size: Option<u64>,
    /// So many bytes are to stay free on the disk.
    pub min_free: Option<u64>,
    /// What never goes.
    pub keep: Vec<Keep>,
}

/// Images that are never evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The repositories, by their names here.
    pub repositories: RepositoryPattern,
    /// Which of their images.
    pub images: KeptImages,
}

/// Which images of a repository are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptImages {
    /// All that is in it.
    All,
    /// Those with such a tag, as long as they have it.
    Tagged(TagPattern),
    /// This one.
    Digest(Digest),
}

/// Why something was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEvicted {
    /// Nobody had asked for it for long enough.
    Unused,
    /// All that was fetched took more room than it may.
    TooLarge,
    /// The disk was too full.
    DiskFull,
}

/// Something that was evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its repository.
    pub repository: RepoName,
    /// The manifest, or a blob without one.
    pub digest: Digest,
    /// The tags that pointed at it.
    pub tags: Vec<Tag>,
    /// When it was last asked for.
    pub last_access: SystemTime,
    /// When it went.
    pub at: SystemTime,
    /// Why.
    pub why: WhyEvicted,
    /// What that has freed, in bytes; what others need isn't freed.
    pub bytes: u64,
}

/// What a look at everything that was fetched came to.
struct Looked {
    gone: Vec<Evicted>,
    /// When it is worth another look, whatever is fetched until then.
    again: Duration,
    /// When so many bytes have been fetched since the start, it is worth another look; `None`: however many are.
    look_at: Option<u64>,
}

impl Keep {
    fn keeps(&self, repository: &RepoName, copied: &Copied) -> bool {
        self.repositories.matches(repository)
            && match &self.images {
                KeptImages::All => true,
                KeptImages::Tagged(pattern) => copied.tags.iter().any(|tag| pattern.matches(tag)),
                KeptImages::Digest(digest) => copied.contents.contains(digest),
            }
    }
}

/// As it is written in `cache.keep`.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repositories = &self.repositories;
        match &self.images {
            KeptImages::All => write!(f, "{repositories}"),
            KeptImages::Tagged(pattern) => write!(f, "{repositories}:{pattern}"),
            KeptImages::Digest(digest) => write!(f, "{repositories}@{digest}"),
        }
    }
}

impl CacheLimits {
    /// What keeps this image from being evicted.
    pub(super) fn keeping(&self, repository: &RepoName, copied: &Copied) -> Option<&Keep> {
        self.keep.iter().find(|keep| keep.keeps(repository, copied))
    }

    /// What is freed beyond the bound once it is reached.
    fn at_once(&self) -> u64 {
        self.max_size.map_or(MUCH, |size| (size / SHARE_AT_ONCE).max(1))
    }
}

impl WhyEvicted {
    /// Every reason.
    pub const ALL: [WhyEvicted; 3] = [WhyEvicted::Unused, WhyEvicted::TooLarge, WhyEvicted::DiskFull];

    /// One word of it, for metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            WhyEvicted::Unused => "unused",
            WhyEvicted::TooLarge => "too_large",
            WhyEvicted::DiskFull => "disk_full",
        }
    }
}

impl Registry {
    /// Sets the bounds, from here on and for what is here already.
    pub fn set_cache_limits(&self, limits: CacheLimits) {
        let cache = &self.inner.cache;
        let mut in_force = cache.limits.write().unwrap_or_else(PoisonError::into_inner);
        if *in_force != limits {
            *in_force = limits;
            cache.counters.look_now();
        }
    }

    /// The bounds in force, with the pinned images of the warm list.
    pub fn cache_limits(&self) -> CacheLimits {
        self.inner.cache_limits()
    }

    /// Evicts what is beyond the bounds; gives what went.
    pub async fn evict(&self) -> Result<Vec<Evicted>, RegistryError> {
        Ok(self.look(&CancellationToken::new()).await?.gone)
    }

    /// Writes down from time to time what was asked for, and evicts; returns when `stop` is cancelled.
    pub(crate) async fn evict_regularly(&self, stop: &CancellationToken) {
        let counters = &self.inner.cache.counters;
        let mut next_look = Instant::now();
        loop {
            let next = next_look.min(Instant::now() + BETWEEN_NOTES);
            let has_come = tokio::select! {
                () = stop.cancelled() => break,
                () = counters.much_has_come() => true,
                () = tokio::time::sleep_until(next) => false,
            };
            self.note_what_was_asked_for().await;
            if let Err(error) = self.blocking(|inner| Ok(inner.meta.reserve_room()?)).await {
                log("no room could be kept for the index", &error);
            }
            if has_come || Instant::now() >= next_look || self.is_disk_too_full().await {
                let looked = self.look(stop).await.unwrap_or_else(|error| {
                    log("what was fetched could not be kept within its bounds; it is tried again", &error);
                    Looked { gone: Vec::new(), again: BETWEEN_LOOKS, look_at: None }
                });
                counters.look_at(looked.look_at);
                next_look = Instant::now() + looked.again;
            }
        }
        self.note_what_was_asked_for().await;
    }

    async fn note_what_was_asked_for(&self) {
        if let Err(error) = self.blocking(Inner::write_accesses).await {
            log("what was asked for could not be written down", &error);
        }
    }

    /// Whether the disk has less free than it is to have, and there is something to evict: pushes and other programs
    /// fill it too.
    async fn is_disk_too_full(&self) -> bool {
        let Some(least) = self.inner.cache_limits().min_free else { return false };
        let has_something = self.inner.cache.stock().is_none_or(|stock| stock.images > stock.held);
        let free = self.blocking(|inner| Ok(inner.disk.free()?)).await;
        has_something && free.is_ok_and(|free| free < least)
    }

    async fn look(&self, stop: &CancellationToken) -> Result<Looked, RegistryError> {
        self.stoppable(stop, Inner::look).await
    }
}

impl Inner {
    pub(super) fn cache_limits(&self) -> CacheLimits {
        let mut limits = self.cache.limits.read().unwrap_or_else(PoisonError::into_inner).clone();
        limits.keep.extend(self.pinned());
        limits
    }

    pub(crate) fn write_accesses(&self) -> Result<(), RegistryError> {
        let accesses = self.cache.accessed.take();
        if accesses.is_empty() { Ok(()) } else { Ok(self.meta.note_accesses(&accesses)?) }
    }

    /// Makes room for so many bytes that are about to come from an upstream, whatever the bounds; nothing goes if all
    /// of it together would not be enough.
    pub(super) fn evict_for(&self, coming: u64) -> Result<(), RegistryError> {
        let (limits, stop) = (self.cache_limits(), AtomicBool::new(false));
        if let Err(error) = self.remove_unlinked(&[], &mut Collected::default()) {
            log("content without a link could not be removed to make room", &error);
        }
        if self.disk.free()?.saturating_add(self.stock(&stop)?.bytes()) < coming {
            return Ok(());
        }
        let least = coming.saturating_add(limits.min_free.unwrap_or_default().max(SPARE));
        let limits = CacheLimits { min_free: Some(least), unused_for: None, max_size: None, ..limits };
        self.look_by(&limits, &stop).map(|_| ())
    }

    fn look(&self, stop: &AtomicBool) -> Result<Looked, RegistryError> {
        self.look_by(&self.cache_limits(), stop)
    }

    fn look_by(&self, limits: &CacheLimits, stop: &AtomicBool) -> Result<Looked, RegistryError> {
        let mut looked = Looked { gone: Vec::new(), again: BETWEEN_LOOKS, look_at: None };
        // Right after a start clients may still rely on what the process before told them.
        if let Some(until) = self.collector.fence.all_promised_until() {
            let promised = until.saturating_duration_since(std::time::Instant::now());
            looked.again = promised.min(BETWEEN_LOOKS);
            return Ok(looked);
        }
        if let Err(error) = self.write_accesses() {
            log("what was asked for could not be written down before copies are evicted", &error);
        }
        if !self.meta.know_every_reference(stop)? {
            return Ok(looked);
        }
        // These first: what arrives in between is then counted twice, which does no harm.
        let fetched = self.cache.counters.counts(0).bytes_from_upstream;
        let being_placed = self.cache.fills.being_placed();
        let arriving = self.blobs.arriving_bytes()?;
        let (mut stock, now) = (self.stock(stop)?, (self.environment.now)());
        let uncounted = being_placed.iter().filter(|(digest, _)| !stock.sizes.contains_key(digest));
        let uncounted: u64 = uncounted.map(|(_, size)| size).sum();
        let mut total = stock.bytes().saturating_add(arriving);
        let mut free = self.disk.free()?;
        let images = std::mem::take(&mut stock.images);
        let (most, least) = (limits.max_size, limits.min_free);
        // Once the bound is reached, more than the excess goes.
        let most = most.map(|most| if total > most { most.saturating_sub(limits.at_once()) } else { most });
        let mut left = images.len();
        for (repository, copied) in images {
            let unused = now.duration_since(copied.last_access).unwrap_or_default();
            let why = if limits.unused_for.is_some_and(|most| unused >= most) {
                WhyEvicted::Unused
            } else if most.is_some_and(|most| total > most) {
                WhyEvicted::TooLarge
            } else if least.is_some_and(|least| free < least) {
                WhyEvicted::DiskFull
            } else {
                break;
            };
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if limits.keeping(&repository, &copied).is_some() {
                continue;
            }
            let Some(_change) = self.begin_change() else { break };
            let Some(bytes) = self.evict_one(&repository, &copied)? else { continue };
            (total, free) = (total.saturating_sub(bytes), free.saturating_add(bytes));
            left -= 1;
            tracing::info!(
                %repository, digest = %copied.digest, tags = ?copied.tags, bytes, ?why,
                unused_hours = unused.as_secs() / 3600, "a copy was evicted"
            );
            let Copied { digest, tags, last_access, .. } = copied;
            let evicted = Evicted { repository, digest, tags, last_access, at: now, why, bytes };
            self.cache.counters.evicted(why, bytes);
            self.remember_evicted(&evicted);
            looked.gone.push(evicted);
        }
        if limits.max_size.is_some_and(|most| total <= most && total.saturating_add(uncounted) > most) {
            looked.again = SOON;
        }
        self.cache.note_stock(left, stock.held, total.saturating_sub(arriving));
        let below_most = limits.max_size.map(|most| most.saturating_sub(total).max(limits.at_once()));
        let above_least = least.map(|least| free.saturating_sub(least).max(MUCH));
        let room = below_most.into_iter().chain(above_least).min();
        looked.look_at = room.map(|room| fetched.saturating_add(room));
        Ok(looked)
    }

    /// Evicts one image; gives what that has freed, or `None` if it has to stay.
    fn evict_one(&self, repository: &RepoName, copied: &Copied) -> Result<Option<u64>, RegistryError> {
        let link = Thing::Link(repository.clone(), copied.digest);
        if !self.collector.fence.closing(false).close(link) {
            return Ok(None);
        }
        let (doomed, blobs) = if copied.is_manifest {
            if !self.meta.remove_copied_tags(repository, &copied.digest)? {
                return Ok(None);
            }
            (self.meta.doomed_copies(repository, &copied.digest)?, Vec::new())
        } else {
            (Vec::new(), vec![copied.digest])
        };
        let mut done = Collected::default();
        let released = self.release(repository, &doomed, &blobs, Run::default(), &mut done)?;
        if released.blobs.is_empty() && released.manifests.is_empty() {
            return Ok(None);
        }
        let manifests: Vec<Digest> = released.manifests.into_iter().rev().collect();
        let gone: Vec<Digest> = released.blobs.into_iter().chain(manifests).collect();
        // What a manifest named and had no link here, as on a full disk, goes too: nothing else would tell of it.
        let contents = copied.contents.iter().filter(|digest| !gone.contains(digest));
        let contents: Vec<Digest> = contents.chain(&gone).copied().collect();
        self.remove_unlinked(&contents, &mut done)?;
        if let Err(error) = self.meta.forget_accesses(repository, &gone) {
            // Rows of what is gone: nobody asks for them.
            log("when what was evicted was last asked for could not be forgotten", &error.into());
        }
        Ok(Some(done.bytes))
    }

    fn remember_evicted(&self, evicted: &Evicted) {
        let mut list = self.cache.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= REMEMBERED {
            list.pop_front();
        }
        list.push_back(evicted.clone());
    }
}

fn log(message: &str, error: &RegistryError) {
    tracing::error!(error = %error, cause = ?std::error::Error::source(error), "{message}");
}
