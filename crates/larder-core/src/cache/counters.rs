use std::sync::atomic::{AtomicU64, Ordering};

/// What the cache has done since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    bytes_from_cache: AtomicU64,
    bytes_from_upstream: AtomicU64,
    evicted: AtomicU64,
    evicted_bytes: AtomicU64,
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
    /// What that has freed, in bytes.
    pub evicted_bytes: u64,
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
        self.bytes_from_upstream.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self, bytes: u64) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self, fills: usize) -> CacheCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: of(&self.hits),
            misses: of(&self.misses),
            stale: of(&self.stale),
            bytes_from_cache: of(&self.bytes_from_cache),
            bytes_from_upstream: of(&self.bytes_from_upstream),
            fills: fills as u64,
            evicted: of(&self.evicted),
            evicted_bytes: of(&self.evicted_bytes),
        }
    }
}
