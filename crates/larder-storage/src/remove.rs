//! Removing what was found to be garbage.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

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

    /// Removes these parts of a directory with all that is below them, if no file is, and then the directory itself and its
    /// ancestors below `top`, as far as they are empty. Gives whether no part is left. With `unchanged_since`, in
    /// nanoseconds since 1970, a part in which something has come or gone since then keeps them all.
    ///
    /// Nobody's file is placed in them meanwhile, and a directory that holds something is never removed. A stop at any
    /// moment leaves fewer empty directories; a loss of power may bring some back.
    pub fn remove_if_empty(
        &self,
        directory: &Path,
        parts: &[&str],
        top: &Path,
        unchanged_since: Option<i64>,
    ) -> Result<bool, StorageError> {
        let parts: Vec<PathBuf> = parts.iter().map(|part| directory.join(part)).collect();
        let _excluded = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        for part in &parts {
            if !self.holds_no_file(part, unchanged_since)? {
                return Ok(false);
            }
        }
        let mut are_gone = true;
        for part in &parts {
            are_gone &= self.remove_empty_directories(part)?;
        }
        let above = directory.ancestors().take_while(|above| *above != top && above.starts_with(top));
        if are_gone {
            let _ = above.take_while(|above| self.remove_directory_if_empty(above)).count();
        }
        Ok(are_gone)
    }

    fn holds_no_file(&self, path: &Path, unchanged_since: Option<i64>) -> Result<bool, StorageError> {
        let Some(stat) = self.stat(path)? else { return Ok(true) };
        if !stat.is_directory || unchanged_since.is_some_and(|since| stat.modified_nanoseconds >= since) {
            return Ok(false);
        }
        for entry in self.list(path)?.unwrap_or_default() {
            if !entry.is_directory || !self.holds_no_file(&path.join(&entry.name), unchanged_since)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn remove_empty_directories(&self, path: &Path) -> Result<bool, StorageError> {
        let Some(entries) = self.list(path)? else { return Ok(true) };
        for entry in entries {
            if !self.remove_empty_directories(&path.join(&entry.name))? {
                return Ok(false);
            }
        }
        Ok(self.remove_directory_if_empty(path))
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
