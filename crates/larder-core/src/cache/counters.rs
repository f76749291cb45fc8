use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::evict::WhyEvicted;

/// What the cache has done since the process started.
#[derive(Debug)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    bytes_from_cache: AtomicU64,
    bytes_from_upstream: AtomicU64,
    evicted: [AtomicU64; WhyEvicted::ALL.len()],
    evicted_bytes: AtomicU64,
    /// When so many bytes have come in all, whoever evicts looks again.
    look_at: AtomicU64,
    look: Notify,
}

/// What the cache has done since the process started, and does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Manifests and blobs of repositories with an upstream that were asked for and were here.
    pub hits: u64,
    /// Those that were not.
    pub misses: u64,
    /// Manifests that were served though their upstream could not be asked what their tag means now.
    pub stale: u64,
    /// The length in bytes of what was asked for and was here.
    pub bytes_from_cache: u64,
    /// Bytes that came from upstreams.
    pub bytes_from_upstream: u64,
    /// Blobs on their way right now.
    pub fills: u64,
    /// Images that were evicted, and blobs without one.
    pub evicted: u64,
    /// The same by reason, in the order of [`WhyEvicted::ALL`].
    pub evicted_by_reason: [u64; WhyEvicted::ALL.len()],
    /// What that has freed, in bytes.
    pub evicted_bytes: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            stale: AtomicU64::default(),
            bytes_from_cache: AtomicU64::default(),
            bytes_from_upstream: AtomicU64::default(),
            evicted: Default::default(),
            evicted_bytes: AtomicU64::default(),
            // Nothing is known of what is here yet.
            look_at: AtomicU64::new(u64::MAX),
            look: Notify::default(),
        }
    }
}

impl Counters {
    pub(crate) fn hit(&self, bytes: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.bytes_from_cache.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        let before = self.bytes_from_upstream.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) >= self.look_at.load(Ordering::Relaxed) {
            self.look_now();
        }
    }

    /// Has whoever evicts look at once.
    pub(crate) fn look_now(&self) {
        self.look_at.store(u64::MAX, Ordering::Relaxed);
        self.look.notify_one();
    }

    /// Has whoever evicts look again when so many bytes have come since the start; `None`: however many come.
    pub(crate) fn look_at(&self, bytes: Option<u64>) {
        let at = bytes.unwrap_or(u64::MAX);
        self.look_at.store(at, Ordering::Relaxed);
        if self.bytes_from_upstream.load(Ordering::Relaxed) >= at {
            self.look_now();
        }
    }

    /// Waits until it is time to look.
    pub(crate) async fn much_has_come(&self) {
        self.look.notified().await;
    }

    pub(crate) fn evicted(&self, why: WhyEvicted, bytes: u64) {
        if let Some(count) = self.evicted.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self, fills: usize) -> CacheCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let evicted_by_reason = self.evicted.each_ref().map(of);
        CacheCounts {
            hits: of(&self.hits),
            misses: of(&self.misses),
            stale: of(&self.stale),
            bytes_from_cache: of(&self.bytes_from_cache),
            bytes_from_upstream: of(&self.bytes_from_upstream),
            fills: fills as u64,
            evicted: evicted_by_reason.iter().sum(),
            evicted_by_reason,
            evicted_bytes: of(&self.evicted_bytes),
        }
    }
}
