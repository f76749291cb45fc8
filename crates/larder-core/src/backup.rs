//! Backups of a directory that a server works on, and what is made of them.
//!
//! # What a backup is
//!
//! A directory with the blobs, in distribution's layout, and for each backup that was made a *snapshot*: an archive of
//! all small files (links, users, keys, queues), `snapshots/<time>.tar.gz`. A snapshot appears whole or not at all,
//! after every blob that it needs is there; whatever kills a backup leaves the snapshots from before. Blobs are kept
//! once, whatever the number of snapshots. Without Larder, the two are put together by `cp` and `tar`.
//!
//! As a stream it is one archive of a whole data directory, blobs first.
//!
//! # Why every link in it has its blob
//!
//! Nothing is locked. First the links are read, then the blobs that they name are copied. What is pushed meanwhile is not
//! in the snapshot, with all its links: of each repository its tags are read first, then manifests, then layers, the
//! other way round than a push writes them. What is deleted and collected meanwhile may lack when its turn comes: then
//! everything is read once more, and only what still has a link and no content is left out, and said.

mod copy;
mod files;
mod restore;
mod snapshot;
mod stream;
mod verify;

use std::path::PathBuf;

use larder_oci::Digest;

pub use copy::{Backup, backup, prune};
pub use restore::{RESTORING, Restored, restore, restore_stream};
pub use snapshot::snapshots;
pub use stream::backup_stream;
pub use verify::{BackupVerified, LacksContent, verify_backup};

use crate::error::RegistryError;
use larder_storage::StorageError;

/// Says that a directory holds backups, and of which format.
const MARK: &str = "larder-backup";

/// What the mark says.
const FORMAT: &str = "1\n";

/// Where snapshots lie.
const SNAPSHOTS: &str = "snapshots";

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory holds something that is no backup.
    #[error("{} is not empty and holds no backup: name an empty or a new directory", .0.display())]
    NotABackup(PathBuf),
    /// The backup was made by another version.
    #[error("{} holds backups in a format that this version doesn't know: {found:?}", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// What its mark says.
        found: String,
    },
    /// One lies in the other.
    #[error("{} and {} lie within each other: keep the backup elsewhere, best on another disk", .0.display(), .1.display())]
    Within(PathBuf, PathBuf),
    /// There is no such snapshot.
    #[error("{} has no snapshot {name}; it has: {}", path.display(), if there.is_empty() { "none" } else { there })]
    NoSnapshot {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        there: String,
    },
    /// A restore would overwrite something.
    #[error("{} is not empty: a restore goes into a new directory only", .0.display())]
    NotEmpty(PathBuf),
    /// The archive is damaged.
    #[error("{what} can't be read")]
    Archive {
        /// Which one.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The archive holds something that a backup never does.
    #[error("{what} holds {entry:?}, which no backup of Larder does; nothing of it was taken")]
    Foreign {
        /// Which one.
        what: String,
        /// The entry.
        entry: String,
    },
    /// The disk, on either side.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The repositories could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The stream could not be written.
    #[error("the stream could not be written")]
    Stream(#[source] std::io::Error),
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Bytes that were copied.
    pub bytes: u64,
    /// Bytes that have to be.
    pub bytes_to_copy: u64,
    /// Blobs that were copied.
    pub blobs: u64,
    /// Blobs that have to be.
    pub blobs_to_copy: u64,
}

/// Content that could not be taken along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub problem: String,
}

#[cfg(test)]
mod tests;
