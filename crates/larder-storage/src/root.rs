//! The data directory itself: making it, and keeping other processes off it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::{DiskOperation, StorageError};

/// Where files are written before they are renamed to their place: on the same file system as what
/// they become, and outside every directory that registry:2 reads.
pub(crate) const STAGING: &str = "larder/staging";

/// Held locked while a process works on the directory.
const LOCK: &str = "larder/lock";

/// The longest content of that file, in bytes.
const LONGEST_MARK: u64 = 64;

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

/// The directory's lock, and how this process finds out that the directory is still the one that it has locked.
pub(crate) struct RootLock {
    /// Unlocks when dropped.
    _file: File,
    path: PathBuf,
    place: (u64, u64),
    /// What this process has written into the file; `None` if the disk had no room for it.
    mark: Option<String>,
}

impl RootLock {
    /// An error unless the directory is the one that was locked. A disk that was unmounted leaves an empty directory in
    /// its place, which would take pushes in and lose them when the disk comes back.
    pub(crate) fn confirm(&self) -> io::Result<()> {
        let words = "the data directory is not the one that was opened at the start: it was unmounted, moved or \
                     replaced; put it back, or restart Larder to use what is there";
        let gone = || io::Error::new(io::ErrorKind::NotConnected, words);
        match std::fs::metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.place => Ok(()),
            // Some network and stacked file systems give a file another number each time.
            Ok(metadata) if metadata.len() <= LONGEST_MARK => match &self.mark {
                Some(mark) if *mark != std::fs::read_to_string(&self.path)? => Err(gone()),
                Some(_) | None => Ok(()),
            },
            Ok(_) => Err(gone()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(gone())
            }
            Err(error) => Err(error),
        }
    }
}

impl Disk {
    /// An error if this is not the directory any more that was opened: then nothing follows from what isn't there.
    pub fn confirm(&self) -> Result<(), StorageError> {
        let Some(lock) = &self.lock else { return Ok(()) };
        lock.confirm().map_err(|source| StorageError::io(DiskOperation::Read, self.root(), source))
    }
}

/// Takes the directory's lock: one process at a time.
pub(crate) fn lock(root: &Path) -> Result<RootLock, StorageError> {
    let path = root.join(LOCK);
    let failed = |source| StorageError::io(DiskOperation::Lock, &path, source);
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(StorageError::Locked { path: root.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    let metadata = file.metadata().map_err(failed)?;
    let mark = format!("{:032x}\n", rand::random::<u128>());
    let marked = file.set_len(0).and_then(|()| file.write_all(mark.as_bytes()));
    let place = (metadata.dev(), metadata.ino());
    Ok(RootLock { _file: file, path, place, mark: marked.is_ok().then_some(mark) })
}
