use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_oci::RepoName;

/// How many counters the repositories share: two of one counter only make each other's answers look old.
const COUNTERS: usize = 1024;

/// The part of a counter that counts the changes in progress; the rest counts those that have ended.
const IN_PROGRESS: u64 = (1 << 16) - 1;

/// Which state of its files a repository is in, as a number that this process moves on with each change.
pub(crate) struct Changes {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A state of a repository's files: equal as long as this process changes none of them. What was read
/// under one is what the files say as long as [`MetaStore::state`](crate::MetaStore::state) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesState(u64);

/// A change in progress; ended when dropped, also by a failure: a part of it may have happened.
pub(crate) struct Change<'a>(&'a AtomicU64);

impl Default for Changes {
    fn default() -> Changes {
        Changes { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Changes {
    fn counter(&self, repository: &RepoName) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(repository) % COUNTERS as u64).unwrap_or_default();
        self.counters.get(hash)
    }

    /// The state, or `None` while it is being changed.
    pub(crate) fn state(&self, repository: &RepoName) -> Option<FilesState> {
        // Orders what is read of the files after it: a state that was read before a change ended is never
        // given again once it has.
        let counter = self.counter(repository)?.load(Ordering::SeqCst);
        (counter & IN_PROGRESS == 0).then_some(FilesState(counter))
    }

    /// Begins a change: until it is dropped, and for ever after, no earlier state is given.
    pub(crate) fn begin(&self, repository: &RepoName) -> Option<Change<'_>> {
        let counter = self.counter(repository)?;
        counter.fetch_add(1, Ordering::SeqCst);
        Some(Change(counter))
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // One less in progress, one more that has ended.
        self.0.fetch_add(IN_PROGRESS, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_state_is_given_during_a_change_nor_an_old_one_after_it() {
        let changes = Changes::default();
        let (app, other) = ("app".parse().unwrap(), "other".parse().unwrap());
        let before = changes.state(&app).unwrap();
        assert_eq!(changes.state(&app), Some(before));
        let first = changes.begin(&app);
        let second = changes.begin(&app);
        assert_eq!(changes.state(&app), None);
        drop(first);
        assert_eq!(changes.state(&app), None, "the second still runs");
        drop(second);
        let after = changes.state(&app).unwrap();
        assert_ne!(after, before);
        assert_eq!(changes.state(&app), Some(after));
        assert!(changes.state(&other).is_some());
    }
}
