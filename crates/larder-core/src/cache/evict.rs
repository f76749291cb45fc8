//! Keeping what was fetched within bounds: by last access, by size, by what is free on the disk.
//!
//! What comes and goes as a whole is an image: its index, its platforms, its layers. The one that has gone unused the
//! longest goes first. What of it something else still needs stays: another image of the repository, whether fetched
//! or pushed, or any other repository. Links and content go by the collector's rules, behind its fence.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use larder_meta::Copied;
use larder_oci::{Digest, RepoName, RepositoryPattern, Tag};
use tokio_util::sync::CancellationToken;

use super::counters::CacheCounts;
use crate::collect::{Collected, Run, Thing};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};
use crate::upstreams::TagPattern;

/// How often is looked at what has gone unused for too long.
const BETWEEN_LOOKS: Duration = Duration::from_secs(600);

/// How often what was asked for is written down, and is looked whether much has come since the last look.
const BETWEEN_NOTES: Duration = Duration::from_secs(30);

/// So much fetched since the last look is reason for another one, where there is a bound in bytes; or a hundredth of
/// the bound, if that is more.
const MUCH: u64 = 64 << 20;

/// Evictions that are remembered for whoever asks what went.
const REMEMBERED: usize = 100;

/// What of the next to go is shown.
const SHOWN_NEXT: usize = 20;

/// How much of what was fetched is kept, and for how long. Pushed content isn't meant.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug)]
pub struct Keep {
    /// The repositories, by their names here.
    pub repositories: RepositoryPattern,
    /// Only images with such a tag; `None`: all that is in these repositories.
    pub tags: Option<TagPattern>,
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

/// Something that will be evicted some day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its repository.
    pub repository: RepoName,
    /// The manifest, or a blob without one.
    pub digest: Digest,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// When it was last asked for.
    pub last_access: SystemTime,
    /// What it is made of and is here, in bytes; others may need a part of it.
    pub bytes: u64,
}

/// What was fetched and is here.
#[derive(Clone, Debug)]
pub struct CacheStatus {
    /// What the cache has done since the start.
    pub counts: CacheCounts,
    /// Images, and blobs without one.
    pub images: usize,
    /// What all of it takes, in bytes.
    pub bytes: u64,
    /// The bounds.
    pub limits: CacheLimits,
    /// Bytes that are free on the disk.
    pub free: u64,
    /// What goes next, first to go first.
    pub next: Vec<Candidate>,
    /// What went last, newest first.
    pub evicted: Vec<Evicted>,
}

/// Everything that was fetched, in the order in which it goes.
struct Stock {
    images: Vec<(RepoName, Copied)>,
    sizes: HashMap<Digest, u64>,
}

impl Keep {
    fn keeps(&self, repository: &RepoName, tags: &[Tag]) -> bool {
        self.repositories.matches(repository)
            && self.tags.as_ref().is_none_or(|pattern| tags.iter().any(|tag| pattern.matches(tag)))
    }
}

impl Registry {
    /// Sets the bounds, from here on and for what is here already.
    pub fn set_cache_limits(&self, limits: CacheLimits) {
        *self.inner.cache.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Evicts what is beyond the bounds; gives what went.
    pub async fn evict(&self) -> Result<Vec<Evicted>, RegistryError> {
        self.evict_until(&CancellationToken::new()).await
    }

    /// What was fetched and is here, what went and what goes next. Looks at all of it.
    pub async fn cache_status(&self) -> Result<CacheStatus, RegistryError> {
        let counts = self.cache_counts();
        self.asking_the_index(move |inner| {
            inner.write_accesses()?;
            let limits = inner.cache_limits();
            let stock = inner.stock(&AtomicBool::new(false))?;
            let goes = |(repository, copied): &&(RepoName, Copied)| {
                !limits.keep.iter().any(|keep| keep.keeps(repository, &copied.tags))
            };
            let candidate = |(repository, copied): &(RepoName, Copied)| Candidate {
                repository: repository.clone(),
                digest: copied.digest,
                tags: copied.tags.clone(),
                last_access: copied.last_access,
                bytes: copied.contents.iter().filter_map(|digest| stock.sizes.get(digest)).sum(),
            };
            let next = stock.images.iter().filter(goes).take(SHOWN_NEXT).map(candidate).collect();
            let evicted = inner.cache.evicted.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(CacheStatus {
                counts,
                images: stock.images.len(),
                bytes: stock.sizes.values().sum(),
                free: inner.disk.free()?,
                next,
                evicted: evicted.iter().rev().cloned().collect(),
                limits,
            })
        })
        .await
    }

    /// Writes down from time to time what was asked for, and evicts; returns when `stop` is cancelled.
    pub(crate) async fn evict_regularly(&self, stop: &CancellationToken) {
        let (mut last_look, mut fetched) = (tokio::time::Instant::now(), 0);
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(BETWEEN_NOTES) => false,
            };
            if let Err(error) = self.blocking(Inner::write_accesses).await {
                log("what was asked for could not be written down", &error);
            }
            if stopped {
                return;
            }
            let counts = self.cache_counts();
            let bound = self.inner.cache_limits();
            let much = bound.max_size.map_or(MUCH, |size| MUCH.max(size / 100));
            let is_bounded = bound.max_size.is_some() || bound.min_free.is_some();
            let has_grown = is_bounded && counts.bytes_from_upstream.saturating_sub(fetched) >= much;
            if has_grown || last_look.elapsed() >= BETWEEN_LOOKS {
                (last_look, fetched) = (tokio::time::Instant::now(), counts.bytes_from_upstream);
                if let Err(error) = self.evict_until(stop).await {
                    log("what was fetched could not be kept within its bounds; it is tried again", &error);
                }
            }
        }
    }

    async fn evict_until(&self, stop: &CancellationToken) -> Result<Vec<Evicted>, RegistryError> {
        self.stoppable(stop, Inner::evict).await
    }
}

impl Inner {
    fn cache_limits(&self) -> CacheLimits {
        self.cache.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn write_accesses(&self) -> Result<(), RegistryError> {
        let accesses = self.cache.accessed.take();
        if accesses.is_empty() { Ok(()) } else { Ok(self.meta.note_accesses(&accesses)?) }
    }

    fn evict(&self, stop: &AtomicBool) -> Result<Vec<Evicted>, RegistryError> {
        let (limits, mut gone) = (self.cache_limits(), Vec::new());
        let is_bounded =
            limits.unused_for.is_some() || limits.max_size.is_some() || limits.min_free.is_some();
        // Right after a start clients may still rely on what the process before told them.
        if !is_bounded || self.collector.fence.all_promised_until().is_some() {
            return Ok(gone);
        }
        self.write_accesses()?;
        if !self.meta.know_every_reference(stop)? {
            return Ok(gone);
        }
        let (stock, now) = (self.stock(stop)?, (self.environment.now)());
        let mut total: u64 = stock.sizes.values().sum();
        let mut free = self.disk.free()?;
        for (repository, copied) in stock.images {
            let unused = now.duration_since(copied.last_access).unwrap_or_default();
            let why = if limits.unused_for.is_some_and(|most| unused >= most) {
                WhyEvicted::Unused
            } else if limits.max_size.is_some_and(|most| total > most) {
                WhyEvicted::TooLarge
            } else if limits.min_free.is_some_and(|least| free < least) {
                WhyEvicted::DiskFull
            } else {
                break;
            };
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if limits.keep.iter().any(|keep| keep.keeps(&repository, &copied.tags)) {
                continue;
            }
            let Some(bytes) = self.evict_one(&repository, &copied)? else { continue };
            (total, free) = (total.saturating_sub(bytes), free.saturating_add(bytes));
            tracing::info!(
                %repository, digest = %copied.digest, tags = ?copied.tags, bytes, ?why,
                unused_hours = unused.as_secs() / 3600, "a copy was evicted"
            );
            let Copied { digest, tags, last_access, .. } = copied;
            let evicted = Evicted { repository, digest, tags, last_access, at: now, why, bytes };
            self.cache.counters.evicted(bytes);
            self.remember_evicted(&evicted);
            gone.push(evicted);
        }
        Ok(gone)
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
        for digest in released.blobs.iter().chain(released.manifests.iter().rev()) {
            self.remove_content(digest, &mut done)?;
        }
        let all: Vec<Digest> = released.blobs.into_iter().chain(released.manifests).collect();
        if all.is_empty() {
            return Ok(None);
        }
        self.meta.forget_accesses(repository, &all)?;
        Ok(Some(done.bytes))
    }

    fn remember_evicted(&self, evicted: &Evicted) {
        let mut list = self.cache.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= REMEMBERED {
            list.pop_front();
        }
        list.push_back(evicted.clone());
    }

    fn stock(&self, stop: &AtomicBool) -> Result<Stock, RegistryError> {
        let mut by_age: BTreeMap<SystemTime, Vec<(RepoName, Copied)>> = BTreeMap::new();
        let (mut sizes, mut looked_at) = (HashMap::new(), HashSet::new());
        for repository in self.meta.repository_names()? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for copied in self.meta.copies(&repository)? {
                for digest in &copied.contents {
                    if looked_at.insert(*digest)
                        && let Some(content) = self.blobs.find(digest)?
                    {
                        sizes.insert(*digest, content.size());
                    }
                }
                by_age.entry(copied.last_access).or_default().push((repository.clone(), copied));
            }
        }
        Ok(Stock { images: by_age.into_values().flatten().collect(), sizes })
    }
}

fn log(message: &str, error: &RegistryError) {
    tracing::error!(error = %error, cause = ?std::error::Error::source(error), "{message}");
}
