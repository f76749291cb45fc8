//! What was fetched and is here: how much it is, what goes next, what went.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use larder_meta::Copied;
use larder_oci::{Digest, RepoName, Tag};

use super::Cache;
use super::counters::CacheCounts;
use super::evict::{CacheLimits, Evicted};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// The most that is shown of what goes next, and of what is kept.
const MOST_SHOWN: usize = 1000;

/// Everything that was fetched, in the order in which it goes.
pub(super) struct Stock {
    pub(super) images: Vec<(RepoName, Copied)>,
    /// How many of them are kept whatever happens.
    pub(super) held: usize,
    pub(super) sizes: HashMap<Digest, u64>,
}

/// An image of an upstream that is here.
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
    /// When it goes if nobody asks for it until then; `None`: only for want of room.
    pub unused_at: Option<SystemTime>,
    /// What it is made of and is here, in bytes; others may need a part of it.
    pub bytes: u64,
    /// What keeps it from being evicted, as it is written in the configuration.
    pub held_by: Option<String>,
}

/// What was fetched and is here.
#[derive(Clone, Debug)]
pub struct CacheStatus {
    /// What the cache has done since the start.
    pub counts: CacheCounts,
    /// How much it is.
    pub stock: CacheStock,
    /// The bounds.
    pub limits: CacheLimits,
    /// Bytes that are free on the disk.
    pub free: u64,
    /// Bytes of blobs that are arriving, or had begun to.
    pub arriving: u64,
    /// What goes next, first to go first.
    pub next: Vec<Candidate>,
    /// What would go first if nothing kept it.
    pub held: Vec<Candidate>,
    /// What went last, newest first.
    pub evicted: Vec<Evicted>,
}

/// How much of what was fetched is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStock {
    /// Images, and blobs without one.
    pub images: usize,
    /// Those of them that are kept whatever happens.
    pub held: usize,
    /// What all of it takes, in bytes.
    pub bytes: u64,
}

pub(super) type StatusAnswer = Result<Arc<CacheStatus>, Arc<RegistryError>>;

impl Registry {
    /// What was fetched and is here, what went, and the first so many of what goes next. Looks at all of it; who asks
    /// while somebody else's look is under way gets the same answer.
    pub async fn cache_status(&self, shown: usize) -> Result<Arc<CacheStatus>, RegistryError> {
        let (cache, shown) = (&self.inner.cache, shown.min(MOST_SHOWN));
        let flight = cache.statuses.join(&shown, &cache.tasks, || {
            let registry = self.unreported();
            async move {
                let looked = registry.asking_the_index(move |inner| inner.cache_status(shown)).await;
                looked.map(Arc::new).map_err(Arc::new)
            }
        });
        match flight.answer().await {
            Some(answer) => answer.map_err(RegistryError::Shared),
            // Only a defect ends it without an answer; this one has its own.
            None => self.asking_the_index(move |inner| inner.cache_status(shown)).await.map(Arc::new),
        }
    }

    /// How much of what was fetched was here at the last look at all of it; `None` before the first.
    pub fn cache_stock(&self) -> Option<CacheStock> {
        self.inner.cache.stock()
    }
}

impl Cache {
    pub(super) fn stock(&self) -> Option<CacheStock> {
        *self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_stock(&self, images: usize, held: usize, bytes: u64) -> CacheStock {
        let stock = CacheStock { images, held, bytes };
        *self.stock.lock().unwrap_or_else(PoisonError::into_inner) = Some(stock);
        stock
    }
}

impl Stock {
    /// What all of it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    fn candidate(&self, limits: &CacheLimits, repository: &RepoName, copied: &Copied) -> Candidate {
        Candidate {
            repository: repository.clone(),
            digest: copied.digest,
            tags: copied.tags.clone(),
            last_access: copied.last_access,
            unused_at: limits.unused_for.and_then(|most| copied.last_access.checked_add(most)),
            bytes: copied.contents.iter().filter_map(|digest| self.sizes.get(digest)).sum(),
            held_by: limits.keeping(repository, copied).map(ToString::to_string),
        }
    }
}

impl Inner {
    fn cache_status(&self, shown: usize) -> Result<CacheStatus, RegistryError> {
        self.write_accesses()?;
        let limits = self.cache_limits();
        let stock = self.stock(&AtomicBool::new(false))?;
        let of = |is_held: bool| {
            let images = stock.images.iter();
            images
                .filter(|(repository, copied)| limits.keeping(repository, copied).is_some() == is_held)
                .take(shown)
                .map(|(repository, copied)| stock.candidate(&limits, repository, copied))
                .collect()
        };
        let (next, held) = (of(false), of(true));
        let evicted = self.cache.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(CacheStatus {
            counts: self.cache.counters.counts(self.cache.fills.count()),
            stock: self.cache.note_stock(stock.images.len(), stock.held, stock.bytes()),
            free: self.disk.free()?,
            arriving: self.blobs.arriving_bytes()?,
            next,
            held,
            evicted: evicted.iter().rev().cloned().collect(),
            limits,
        })
    }

    pub(super) fn stock(&self, stop: &AtomicBool) -> Result<Stock, RegistryError> {
        let mut by_age: BTreeMap<SystemTime, Vec<(RepoName, Copied)>> = BTreeMap::new();
        let (mut sizes, mut looked_at) = (HashMap::new(), HashSet::new());
        let (limits, mut held) = (self.cache_limits(), 0);
        for repository in self.meta.repository_names()? {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
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
                held += usize::from(limits.keeping(&repository, &copied).is_some());
                by_age.entry(copied.last_access).or_default().push((repository.clone(), copied));
            }
        }
        Ok(Stock { images: by_age.into_values().flatten().collect(), held, sizes })
    }
}
