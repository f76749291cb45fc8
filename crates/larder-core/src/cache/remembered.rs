use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use larder_meta::FilesState;
use larder_oci::{Digest, Reference, RepoName};
use tokio::time::Instant;

use super::tags::WhyCopy;

/// How much is remembered. At about 200 bytes each this stays below 20 MB; when it is full, what no longer counts goes
/// first, and then everything: then the upstream is asked once more.
const MOST_REMEMBERED: usize = 100_000;

/// What upstreams have said a moment ago.
#[derive(Default)]
pub(super) struct Remembered {
    tags: Mutex<HashMap<(RepoName, Reference), Known>>,
    missing_blobs: Mutex<HashMap<(RepoName, Digest), Instant>>,
}

/// What is known of a reference without asking.
#[derive(Clone)]
pub(super) enum Known {
    /// The copy is what the upstream has, by its word at that time; until then it isn't asked.
    Fresh { until: Option<Instant>, confirmed: SystemTime },
    /// The copy is served for this reason; until then the upstream isn't asked.
    Copy { until: Instant, why: WhyCopy },
    /// The upstream has no such thing; until then it isn't asked.
    Missing { until: Instant },
    /// Somebody has pushed the tag: the upstream has no say as long as the files are in this state.
    Pushed { state: FilesState },
}

impl Remembered {
    /// What is known and still counts; of a pushed tag whether it does is for the caller to see.
    pub(super) fn of(&self, key: &(RepoName, Reference)) -> Option<Known> {
        let tags = lock(&self.tags);
        let known = tags.get(key)?;
        counts(known, Instant::now()).then(|| known.clone())
    }

    /// When the upstream last confirmed what is here, whether or not that still counts.
    pub(super) fn confirmed(&self, key: &(RepoName, Reference)) -> Option<SystemTime> {
        match lock(&self.tags).get(key)? {
            Known::Fresh { confirmed, .. } => Some(*confirmed),
            Known::Copy { why, .. } => why.confirmed(),
            Known::Missing { .. } | Known::Pushed { .. } => None,
        }
    }

    pub(super) fn note(&self, key: (RepoName, Reference), known: Known) {
        let mut tags = lock(&self.tags);
        if tags.len() >= MOST_REMEMBERED && !tags.contains_key(&key) {
            let now = Instant::now();
            tags.retain(|_, known| counts(known, now));
            if tags.len() >= MOST_REMEMBERED {
                tags.clear();
            }
        }
        tags.insert(key, known);
    }

    pub(super) fn forget(&self, key: &(RepoName, Reference)) {
        lock(&self.tags).remove(key);
    }

    pub(super) fn lacks_blob(&self, repository: &RepoName, digest: &Digest) -> bool {
        let until = lock(&self.missing_blobs).get(&(repository.clone(), *digest)).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn note_missing_blob(&self, repository: &RepoName, digest: &Digest, until: Instant) {
        let mut missing = lock(&self.missing_blobs);
        if missing.len() >= MOST_REMEMBERED {
            missing.clear();
        }
        missing.insert((repository.clone(), *digest), until);
    }
}

fn counts(known: &Known, now: Instant) -> bool {
    match known {
        Known::Fresh { until, .. } => until.is_none_or(|until| now < until),
        Known::Copy { until, .. } | Known::Missing { until } => now < *until,
        Known::Pushed { .. } => true,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
