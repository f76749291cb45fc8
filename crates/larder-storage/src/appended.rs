//! Private files that only grow: a queue's segments and the like.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::disk::Disk;
use crate::error::{DiskOperation, StorageError};

/// A file that is appended to by one writer and synced by any number of waiters, who share syncs.
///
/// After a failure the file is not appended to any more: what was written may be torn, and after a failed sync
/// nobody knows what the disk holds. The writer begins another file.
pub struct Appended {
    file: File,
    length: u64,
    durable: AppendedSync,
}

/// Makes what was appended so far durable. Cheap to clone.
#[derive(Clone)]
pub struct AppendedSync {
    disk: Arc<Disk>,
    path: PathBuf,
    file: Arc<File>,
    /// How it has failed, once it has.
    failed: Arc<OnceLock<io::ErrorKind>>,
}

impl Appended {
    /// Makes an empty file, replacing what was there; its name is durable when this returns.
    pub fn create(disk: &Arc<Disk>, path: &Path) -> Result<Appended, StorageError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        disk.create_directory(parent)?;
        let file = disk.create_file(path)?;
        disk.sync_directory(parent)?;
        Appended::over(disk, path, file, 0)
    }

    /// Goes on with a file, or makes it; its name is durable when this returns.
    pub fn open(disk: &Arc<Disk>, path: &Path) -> Result<Appended, StorageError> {
        let Some(stat) = disk.stat(path)? else { return Appended::create(disk, path) };
        let full = disk.root().join(path);
        let file = OpenOptions::new()
            .append(true)
            .open(&full)
            .map_err(|source| StorageError::io(DiskOperation::Open, &full, source))?;
        Appended::over(disk, path, file, stat.size)
    }

    fn over(disk: &Arc<Disk>, path: &Path, file: File, length: u64) -> Result<Appended, StorageError> {
        let second = file
            .try_clone()
            .map_err(|source| StorageError::io(DiskOperation::Open, &disk.root().join(path), source))?;
        let durable = AppendedSync {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            file: Arc::new(second),
            failed: Arc::default(),
        };
        Ok(Appended { file, length, durable })
    }

    /// Appends; survives a crash of the process, and a loss of power once [`AppendedSync::sync`] has returned.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.durable.refuse_after_failure()?;
        let AppendedSync { disk, path, failed, .. } = &self.durable;
        disk.write_all(&mut self.file, path, bytes).inspect_err(|error| note(failed, error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether nothing has failed, so that it can be appended to.
    pub fn is_sound(&self) -> bool {
        self.durable.failed.get().is_none()
    }

    /// What its waiters sync with.
    pub fn durable(&self) -> AppendedSync {
        self.durable.clone()
    }
}

impl AppendedSync {
    /// Everything that was appended before this call is durable when this returns.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.disk.sync_shared(&self.path, || {
            self.refuse_after_failure()?;
            self.disk.sync_file(&self.file, &self.path).inspect_err(|error| note(&self.failed, error))
        })
    }

    /// The kernel reports a failed sync once and then forgets it: whoever asks after that must not hear "done".
    fn refuse_after_failure(&self) -> Result<(), StorageError> {
        let Some(kind) = self.failed.get() else { return Ok(()) };
        let source = io::Error::new(*kind, "an earlier write to this file failed");
        Err(self.disk.failed(DiskOperation::Write, &self.disk.root().join(&self.path), source))
    }
}

/// Of the first failure, a full disk is told to those who come after it, too.
fn note(failed: &OnceLock<io::ErrorKind>, error: &StorageError) {
    let kind = match error {
        StorageError::NoSpace { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    let _ = failed.set(kind);
}

#[cfg(test)]
mod tests;
