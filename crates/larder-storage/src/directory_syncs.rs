use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Syncs of one directory (or of one file that only grows), shared by everybody who waits for one.
///
/// Many pushes at once rename into the same directories. Whoever asks draws a ticket *after* its
/// rename; one fsync that starts after the ticket was drawn covers it. So concurrent askers wait for
/// one fsync instead of queueing for one each, and nobody returns before an fsync that covers it.
#[derive(Default)]
pub(crate) struct DirectorySyncs {
    directories: Mutex<HashMap<PathBuf, Arc<Tickets>>>,
}

#[derive(Default)]
struct Tickets {
    drawn: AtomicU64,
    /// The highest ticket that a finished fsync covers. Held locked while one runs.
    covered: Mutex<u64>,
}

impl DirectorySyncs {
    /// Returns when an fsync that began after this call has finished; `fsync` is run for it at most once.
    pub(crate) fn sync<E>(&self, directory: &Path, fsync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let tickets = {
            let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(directories.entry(directory.to_owned()).or_default())
        };
        let ticket = tickets.drawn.fetch_add(1, Ordering::SeqCst) + 1;
        let result = {
            let mut covered = tickets.covered.lock().unwrap_or_else(PoisonError::into_inner);
            if *covered >= ticket {
                Ok(())
            } else {
                let covers = tickets.drawn.load(Ordering::SeqCst);
                fsync().inspect(|()| *covered = covers)
            }
        };
        self.forget_if_idle(directory, tickets);
        result
    }

    fn forget_if_idle(&self, directory: &Path, tickets: Arc<Tickets>) {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        // One count is ours, one the map's; nobody can gain another while the map is locked.
        if Arc::strong_count(&tickets) == 2 {
            directories.remove(directory);
        }
    }
}

#[cfg(test)]
mod tests;
