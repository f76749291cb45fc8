use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use larder_oci::Digest;

use crate::ownership::Ownership;
use crate::room::Shortage;

/// Why storage could not do what was asked. "It isn't there" is never among these: lookups return
/// `Option`.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk or a quota is full. Nothing was published; the operator must free space.
    #[error("no space left to {operation} {}: {shortage}", path.display())]
    NoSpace {
        /// What was tried.
        operation: DiskOperation,
        /// On what.
        path: PathBuf,
        /// What is missing.
        shortage: Box<Shortage>,
        /// The system's error.
        source: io::Error,
    },
    /// The operating system refused. Nothing was published.
    #[error("could not {operation} {}{}", path.display(), whose(*operation, path, source))]
    Io {
        /// What was tried.
        operation: DiskOperation,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The bytes received are not the ones that the client named. The client must send them again.
    #[error("the content hashes to {found}, not to {expected}")]
    DigestMismatch {
        /// The digest that the client gave.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// Stored bytes no longer hash to their name. They are not served.
    #[error("the stored content of {digest} is damaged: {} does not hash to its name", path.display())]
    Corrupt {
        /// The name.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
    /// A file that should be small is not.
    #[error("{} has {size} bytes, more than the {limit} that such a file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Another process works on this directory.
    #[error("another Larder already works on {}: stop it first, or give this one a directory of its own", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
}

/// What was tried when an I/O error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// Create a directory.
    CreateDirectory,
    /// Create a file.
    CreateFile,
    /// Open a file.
    Open,
    /// Read a file or directory.
    Read,
    /// Write bytes.
    Write,
    /// Make a file durable.
    Sync,
    /// Make a directory durable.
    SyncDirectory,
    /// Move a file to its place.
    Rename,
    /// Unlink a file or directory.
    Remove,
    /// Take the directory's lock.
    Lock,
}

impl fmt::Display for DiskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskOperation::CreateDirectory => "create directory",
            DiskOperation::CreateFile => "create",
            DiskOperation::Open => "open",
            DiskOperation::Read => "read",
            DiskOperation::Write => "write",
            DiskOperation::Sync => "sync",
            DiskOperation::SyncDirectory => "sync directory",
            DiskOperation::Rename => "move a file to",
            DiskOperation::Remove => "remove",
            DiskOperation::Lock => "lock",
        })
    }
}

/// Whose the path is, if that is what the system objects to. What is made, moved or removed is its directory's matter.
fn whose(operation: DiskOperation, path: &Path, source: &io::Error) -> String {
    let asked = match operation {
        DiskOperation::CreateDirectory
        | DiskOperation::CreateFile
        | DiskOperation::Rename
        | DiskOperation::Remove => path.parent().unwrap_or(path),
        DiskOperation::Open
        | DiskOperation::Read
        | DiskOperation::Write
        | DiskOperation::Sync
        | DiskOperation::SyncDirectory
        | DiskOperation::Lock => path,
    };
    Ownership::told(asked, source)
}

impl StorageError {
    pub(crate) fn io(operation: DiskOperation, path: &Path, source: io::Error) -> StorageError {
        let directory = path.parent().unwrap_or(path);
        StorageError::io_in(operation, path, directory, None, source)
    }

    /// As [`io`](StorageError::io); on a full disk it tells of the room in `directory`, and of how many bytes were to
    /// be written there, if that is known.
    pub(crate) fn io_in(
        operation: DiskOperation,
        path: &Path,
        directory: &Path,
        needed: Option<u64>,
        source: io::Error,
    ) -> StorageError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let shortage = Box::new(Shortage::of(directory, needed));
                StorageError::NoSpace { operation, path, shortage, source }
            }
            _ => StorageError::Io { operation, path, source },
        }
    }
}
