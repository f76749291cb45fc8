use std::sync::atomic::{AtomicU64, Ordering};

/// A histogram of `N` bounded buckets and one without a bound, to which any thread adds without waiting.
/// (prometheus-client's own takes a lock for each value.)
pub(super) struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    /// Values above all bounds.
    rest: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    pub(super) fn new() -> Histogram<N> {
        Histogram {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            rest: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds a value, whose bucket is known.
    pub(super) fn observe(&self, bucket: usize, value: u64) {
        self.buckets.get(bucket).unwrap_or(&self.rest).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The counts with their bounds, how many there are, and their sum. Values that come meanwhile may be
    /// in one and not in the other: the next scrape has them.
    pub(super) fn read(&self, bounds: impl Iterator<Item = f64>) -> (Vec<(f64, u64)>, u64, u64) {
        let mut buckets: Vec<(f64, u64)> =
            bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect();
        buckets.push((f64::MAX, self.rest.load(Ordering::Relaxed)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        (buckets, count, self.sum.load(Ordering::Relaxed))
    }
}
