//! Removing what was found to be garbage.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::StorageError;

impl Disk {
    /// Unlinks files that each have a directory of their own, and these directories; gone for good when this returns.
    ///
    /// Cheaper than one after the other: instead of each file's directory, the one that names these directories is
    /// synced, once. Gives how many files there were.
    pub fn remove_with_directories(&self, files: &[PathBuf]) -> Result<usize, StorageError> {
        let mut removed = 0;
        let mut to_sync: BTreeSet<&Path> = BTreeSet::new();
        for file in files {
            removed += usize::from(self.unlink(file)?);
            let directory = file.parent().unwrap_or(Path::new(""));
            if self.remove_directory_if_empty(directory) {
                to_sync.extend(directory.parent());
            } else if self.stat(directory)?.is_some() {
                // Somebody keeps a file of his own beside it.
                to_sync.insert(directory);
            }
        }
        for directory in to_sync {
            if self.stat(directory)?.is_some() {
                self.sync_directory(directory)?;
            }
        }
        Ok(removed)
    }

    /// Unlinks a file and its directory, if that is empty then, without waiting for the disk: for what is garbage, and
    /// may come back after a loss of power. Gives how long the file was.
    pub(crate) fn remove_garbage(&self, path: &Path) -> Result<Option<u64>, StorageError> {
        let Some(stat) = self.stat(path)? else { return Ok(None) };
        let removed = self.unlink(path)?;
        self.remove_directory_if_empty(path.parent().unwrap_or(Path::new("")));
        Ok(removed.then_some(stat.size))
    }
}
