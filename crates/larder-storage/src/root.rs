//! The data directory itself: making it, and keeping other processes off it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{DiskOperation, StorageError};

/// Where files are written before they are renamed to their place: on the same file system as what
/// they become, and outside every directory that registry:2 reads.
pub(crate) const STAGING: &str = "larder/staging";

/// Held locked while a process works on the directory.
const LOCK: &str = "larder/lock";

/// Creates the data directory with its ancestors. Their names are durable when this returns: whatever
/// is synced below a directory that a loss of power takes away is lost with it.
pub(crate) fn create(root: &Path) -> Result<(), StorageError> {
    let named_in = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut changed = Vec::new();
    for path in root.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        match std::fs::metadata(path) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => changed.push(named_in(path)),
            Err(source) => return Err(StorageError::io(DiskOperation::Read, path, source)),
        }
    }
    let staging = root.join(STAGING);
    std::fs::create_dir_all(&staging)
        .map_err(|source| StorageError::io(DiskOperation::CreateDirectory, &staging, source))?;
    for directory in changed.iter().rev() {
        File::open(directory)
            .and_then(|opened| opened.sync_all())
            .map_err(|source| StorageError::io(DiskOperation::SyncDirectory, directory, source))?;
    }
    Ok(())
}

/// Takes the directory's lock: one process at a time.
pub(crate) fn lock(root: &Path) -> Result<File, StorageError> {
    let path = root.join(LOCK);
    let failed = |source| StorageError::io(DiskOperation::Lock, &path, source);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked { path: root.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
