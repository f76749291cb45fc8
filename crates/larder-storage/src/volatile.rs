//! Upload sessions: these survive a crash of the process, not a loss of power.

use std::path::Path;
use std::sync::PoisonError;

use crate::disk::Disk;
use crate::error::StorageError;

impl Disk {
    /// Writes a file of an upload session, without syncing it.
    pub fn put_volatile(&self, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        // Until the file is there, the directories are empty and could be taken for left over.
        let _placing = self.placing.read().unwrap_or_else(PoisonError::into_inner);
        self.create_directory_volatile(path.parent().unwrap_or(Path::new("")))?;
        let mut file = self.create_file(path)?;
        self.write_all(&mut file, path, bytes)
    }

    /// Removes an upload session's directory, without syncing.
    pub fn remove_tree_volatile(&self, path: &Path) -> Result<bool, StorageError> {
        if self.stat(path)?.is_none() {
            return Ok(false);
        }
        self.clear(path)?;
        Ok(true)
    }

    pub(crate) fn create_directory_volatile(&self, path: &Path) -> Result<(), StorageError> {
        if path.as_os_str().is_empty() || self.stat(path)?.is_some_and(|stat| stat.is_directory) {
            return Ok(());
        }
        self.create_directory_volatile(path.parent().unwrap_or(Path::new("")))?;
        self.make_directory(path)
    }
}
