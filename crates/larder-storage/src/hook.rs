//! Where tests break the disk.
//!
//! Every mutation of the data directory announces itself to a [`DiskHook`] before it happens and
//! after it has. Tests use that to fail, to shorten writes, to stop the world at any step, and to
//! keep a model of what a loss of power would leave. In production there is no hook.

use std::io;
use std::path::Path;

/// One mutation of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation<'a> {
    /// A directory is created.
    CreateDirectory(&'a Path),
    /// A file is created or truncated to nothing.
    CreateFile(&'a Path),
    /// Bytes are appended to a file.
    Write {
        /// The file.
        path: &'a Path,
        /// How many bytes.
        length: usize,
    },
    /// A file's bytes are made durable.
    SyncFile(&'a Path),
    /// A file moves, replacing what was there.
    Rename {
        /// From here.
        from: &'a Path,
        /// To here.
        to: &'a Path,
    },
    /// A directory's entries are made durable.
    SyncDirectory(&'a Path),
    /// A file is unlinked.
    RemoveFile(&'a Path),
    /// An empty directory is removed.
    RemoveDirectory(&'a Path),
}

/// A test's hand on the disk.
pub trait DiskHook: Send + Sync {
    /// Called before the mutation; an error stops it. For a write, the number is how many bytes
    /// may be written in this call (a short write); elsewhere it is not looked at.
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize>;

    /// Called after the mutation succeeded.
    fn after(&self, mutation: Mutation<'_>);

    /// How many bytes are free at most, whatever the file system says; `None`: as it says.
    fn free(&self) -> Option<u64> {
        None
    }
}
