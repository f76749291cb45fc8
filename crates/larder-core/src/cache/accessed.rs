use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use larder_meta::AccessTime;
use larder_oci::{Digest, RepoName};

/// How many are gathered before they must be written. At about 150 bytes each this stays below 16 MB; beyond it the
/// later ones aren't noted, until the next write some seconds later.
const MOST_GATHERED: usize = 100_000;

/// What was asked for since it was last written down. A pull costs an entry in memory and no write.
#[derive(Default)]
pub(super) struct Accessed {
    gathered: Mutex<HashMap<(RepoName, Digest), SystemTime>>,
}

impl Accessed {
    pub(super) fn note(&self, repository: &RepoName, digest: &Digest, at: SystemTime) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repository.clone(), *digest);
        if gathered.len() < MOST_GATHERED || gathered.contains_key(&key) {
            gathered.insert(key, at);
        }
    }

    pub(super) fn take(&self) -> Vec<AccessTime> {
        let gathered = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let access = |((repository, digest), at)| AccessTime { repository, digest, at };
        gathered.into_iter().map(access).collect()
    }
}
