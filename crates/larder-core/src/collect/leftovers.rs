//! Content that has lost its links and could not be removed in that moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_oci::Digest;

/// So many are remembered; beyond that the sweep finds them.
const MOST: usize = 10_000;

/// In memory only: the sweep finds what a process leaves behind.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<Vec<Digest>>);

impl Leftovers {
    pub(super) fn add(&self, digests: &[Digest]) {
        let mut left = self.lock();
        for digest in digests {
            if left.len() < MOST && !left.contains(digest) {
                left.push(*digest);
            }
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        self.lock().retain(|each| each != digest);
    }

    /// In the order in which they came.
    pub(super) fn all(&self) -> Vec<Digest> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
