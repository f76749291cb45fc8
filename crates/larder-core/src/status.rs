//! What there is, at a glance: what an operator looks at first.
//!
//! Numbers come from the index and from memory. How much is kept is the one thing that neither knows, as content that nothing refers to any
//! more lies there too: all content is listed, in the background, when somebody asks and the last count is old. So a look costs no walk, and
//! says how old that number is. Of the lengths the index knows all but those of what nothing refers to, which are measured.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use larder_meta::Counts;
use larder_oci::{AdminAccess, Algorithm};

use crate::cache::{CacheCounts, CacheStock};
use crate::collect::LastCollection;
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// A count this old is made anew when somebody asks; or a hundred times older than it took, so that counting never takes more than a
/// hundredth of the time.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// Whoever asks while the content is counted waits this long for it: enough for a house, and less than a person waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// What may be done with the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    ReadWrite,
    /// Nothing changes: `storage.maintenance.readonly`.
    ReadOnly,
    /// Nothing changes for a while.
    Maintenance {
        /// Since when.
        since: SystemTime,
        /// Why, as its operator said.
        reason: Arc<str>,
    },
}

/// The registry at a glance.
#[derive(Clone, Debug)]
pub struct RegistryStatus {
    /// What may be done with it.
    pub mode: Mode,
    /// Repositories, tags, manifests.
    pub counts: Counts,
    /// What is kept; `None` while it is counted for the first time.
    pub content: Option<Content>,
    /// Bytes that are free on the data directory's file system.
    pub free: u64,
    /// How large that is.
    pub disk_size: u64,
    /// What the cache has done since the start.
    pub cache: CacheCounts,
    /// How much of what was fetched was here at the last look at it.
    pub stock: Option<CacheStock>,
    /// Whether the collector is at work.
    pub is_collecting: bool,
    /// The last run that took something away since the start.
    pub last_collection: Option<LastCollection>,
    /// What all runs since the start have freed, in bytes.
    pub freed: u64,
    /// Deletions that can still be undone.
    pub deletions_waiting: usize,
    /// When the oldest of them becomes final.
    pub next_final_at: Option<SystemTime>,
}

/// How much content is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// When it was counted.
    pub at: SystemTime,
    /// Files: layers, configurations, manifests.
    pub files: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// What they would take if every image of every repository had its own.
    pub named_bytes: u64,
}

/// What was counted last.
#[derive(Default)]
pub(crate) struct Counting {
    last: Mutex<Option<(Content, Duration)>>,
    is_running: AtomicBool,
}

/// Held by whoever counts; others don't.
struct Turn(Arc<Inner>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.counting.is_running.store(false, Ordering::Release);
    }
}

impl Registry {
    /// What there is. Costs three counts in the index and a look at the file system; counting the content goes on by itself if that takes
    /// longer than somebody waits.
    pub async fn status(&self, access: &AdminAccess) -> Result<RegistryStatus, RegistryError> {
        if let Some(turn) = self.inner.turn_to_count() {
            let counted = self.asking_the_index(move |inner| {
                let outcome = inner.count_content();
                drop(turn);
                outcome
            });
            // Dropped, the future leaves the count to end by itself.
            if let Ok(outcome) = tokio::time::timeout(PATIENCE, counted).await {
                outcome?;
            }
        }
        let state = self.maintenance_state(access);
        let mode = match state.on {
            Some((since, reason)) => Mode::Maintenance { since, reason },
            None if self.inner.is_read_only() => Mode::ReadOnly,
            None => Mode::ReadWrite,
        };
        let (is_collecting, _) = self.collector_state(access);
        let waiting = self.removed(access);
        let grace = self.inner.settings.collection.grace;
        let (last_collection, freed) = self.inner.collector.freed();
        let (cache, stock) = (self.cache_counts(), self.cache_stock());
        self.asking_the_index(move |inner| {
            Ok(RegistryStatus {
                mode,
                counts: inner.meta.counts()?,
                content: inner.counting.last().map(|(content, _)| content),
                free: inner.disk.free()?,
                disk_size: inner.disk.size()?,
                cache,
                stock,
                is_collecting,
                last_collection,
                freed,
                deletions_waiting: waiting.len(),
                next_final_at: waiting.iter().map(|each| each.time() + grace).min(),
            })
        })
        .await
    }
}

impl Counting {
    fn last(&self) -> Option<(Content, Duration)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn turn_to_count(self: &Arc<Inner>) -> Option<Turn> {
        let now = (self.environment.now)();
        if let Some((content, took)) = self.counting.last() {
            // A clock that went back makes a count no older.
            let age = now.duration_since(content.at).unwrap_or_default();
            if age < FRESH_FOR.max(took * 100) {
                return None;
            }
        }
        let is_mine = !self.counting.is_running.swap(true, Ordering::AcqRel);
        is_mine.then(|| Turn(Arc::clone(self)))
    }

    /// Costs 512 questions to the index, the names of all files, and a look at each that nothing refers to.
    fn count_content(&self) -> Result<(), RegistryError> {
        let (began, at) = (std::time::Instant::now(), (self.environment.now)());
        let mut content = Content { at, files: 0, bytes: 0, named_bytes: 0 };
        for algorithm in Algorithm::ALL {
            for byte in 0..=u8::MAX {
                if self.cache.is_stopping() {
                    return Ok(());
                }
                // After the files: what comes in between isn't counted yet.
                let listed = self.blobs.list(algorithm, byte)?;
                let known = if listed.is_empty() {
                    HashMap::new()
                } else {
                    self.meta.known_contents(algorithm, byte)?
                };
                for digest in listed {
                    let known = known.get(&digest);
                    let size = match known.and_then(|known| known.size) {
                        Some(size) => size,
                        None => match self.blobs.stat(&digest)? {
                            Some(stat) => stat.size,
                            None => continue,
                        },
                    };
                    content.files += 1;
                    content.bytes += size;
                    content.named_bytes += size.saturating_mul(known.map_or(0, |known| known.times_named));
                }
            }
        }
        *self.counting.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((content, began.elapsed()));
        Ok(())
    }
}
