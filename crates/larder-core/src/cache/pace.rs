//! How fast blobs are fetched that nobody reads: all of them together no faster than the operator says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is fetched in the background may take so much of the line, unless the operator says otherwise: half of a gigabit
/// line, in bytes a second.
pub const DEFAULT_BACKGROUND_BANDWIDTH: u64 = 64 << 20;

/// How often a fill that is held back looks whether somebody reads it now.
pub(super) const LOOK_FOR_READERS: Duration = Duration::from_millis(100);

/// The share of the line that what nobody reads may take.
pub(crate) struct Background {
    /// Bytes a second; zero for no bound.
    bandwidth: AtomicU64,
    /// What was taken so far is paid for at this time.
    paid: Mutex<Option<Instant>>,
}

impl Default for Background {
    fn default() -> Background {
        Background { bandwidth: AtomicU64::new(DEFAULT_BACKGROUND_BANDWIDTH), paid: Mutex::default() }
    }
}

impl Background {
    /// Sets how many bytes may come in a second; zero for no bound.
    pub(super) fn set_bandwidth(&self, bytes_per_second: u64) {
        self.bandwidth.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Takes note of bytes that have come, and gives when the next may be asked for; `None` at once.
    pub(super) fn reserve(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let bandwidth = self.bandwidth.load(Ordering::Relaxed);
        if bandwidth == 0 {
            return None;
        }
        let time = Duration::try_from_secs_f64(bytes as f64 / bandwidth as f64).unwrap_or(Duration::MAX);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = paid.map_or(now, |paid| paid.max(now));
        let until = from.checked_add(time).unwrap_or(from);
        *paid = Some(until);
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_nobody_reads_shares_one_bandwidth() {
        let (background, now) = (Background::default(), Instant::now());
        background.set_bandwidth(1000);
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(background.reserve(1000, now), after(1));
        assert_eq!(background.reserve(2000, now), after(3), "another fill waits its turn");
        let later = now + Duration::from_secs(10);
        assert_eq!(background.reserve(1000, later), after(11), "nothing is saved up");
        background.set_bandwidth(0);
        assert_eq!(background.reserve(1 << 40, later), None);
    }
}
