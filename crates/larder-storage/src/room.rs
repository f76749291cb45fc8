//! How much room is left on the disk, and how a lack of it is told.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfs;

use crate::disk::Disk;
use crate::error::{DiskOperation, StorageError};

/// What is missing on a disk that is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Where: the data directory, or the directory of a file outside of it.
    pub directory: PathBuf,
    /// Bytes that were to be written, if that is known.
    pub needed: Option<u64>,
    /// Bytes that are free there; `None` if the file system doesn't say.
    pub free: Option<u64>,
    /// Whether no further file can be made there, however many bytes are free: its inodes are used up.
    pub no_more_files: bool,
}

impl Shortage {
    pub(crate) fn of(directory: &Path, needed: Option<u64>) -> Shortage {
        let room = rustix::fs::statvfs(directory).ok();
        Shortage {
            directory: directory.to_owned(),
            needed,
            free: room.as_ref().map(writable),
            // File systems without a table of inodes say that they have none at all.
            no_more_files: room.is_some_and(|room| room.f_files > 0 && room.f_ffree == 0),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        if self.no_more_files {
            return write!(
                f,
                "no further file can be made in {directory}: its file system has no inodes left"
            );
        }
        if let Some(needed) = self.needed {
            write!(f, "{needed} bytes are needed and ")?;
        }
        match self.free {
            Some(free) => write!(f, "{free} bytes are free in {directory}")?,
            None => write!(f, "it can't be told how many are free in {directory}")?,
        }
        match (self.needed, self.free) {
            (Some(needed), Some(free)) if free > needed => f.write_str(", so a quota may be used up"),
            _ => Ok(()),
        }
    }
}

impl Disk {
    /// Bytes that are free on the data directory's file system for this process.
    pub fn free(&self) -> Result<u64, StorageError> {
        let failed = |errno: rustix::io::Errno| {
            StorageError::io(DiskOperation::Read, Path::new(self.root()), errno.into())
        };
        let free = writable(&rustix::fs::statvfs(self.root()).map_err(failed)?);
        Ok(self.pretended_free().map_or(free, |pretended| free.min(pretended)))
    }

    /// How large the data directory's file system is, in bytes.
    pub fn size(&self) -> Result<u64, StorageError> {
        let failed = |errno: rustix::io::Errno| {
            StorageError::io(DiskOperation::Read, Path::new(self.root()), errno.into())
        };
        let room = rustix::fs::statvfs(self.root()).map_err(failed)?;
        Ok(room.f_blocks.saturating_mul(room.f_frsize))
    }

    /// As [`free`](Disk::free), with what the file system sets aside: more than this nobody can write.
    pub(crate) fn free_at_most(&self) -> Result<u64, StorageError> {
        let failed = |errno: rustix::io::Errno| {
            StorageError::io(DiskOperation::Read, Path::new(self.root()), errno.into())
        };
        let room = rustix::fs::statvfs(self.root()).map_err(failed)?;
        Ok(room.f_bfree.saturating_mul(room.f_frsize))
    }
}

/// Without what is set aside for root and for the file system itself.
fn writable(room: &StatVfs) -> u64 {
    room.f_bavail.saturating_mul(room.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_room_is_free_and_a_directory_that_is_gone_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        assert!(disk.free().unwrap() > 0);
        assert!(disk.size().unwrap() >= disk.free().unwrap());
        drop(root);
        assert!(disk.free().is_err());
    }

    #[test]
    fn a_shortage_says_how_much_is_needed_how_much_is_free_and_where() {
        let short =
            Shortage { directory: "/data".into(), needed: Some(4096), free: Some(512), no_more_files: false };
        assert_eq!(short.to_string(), "4096 bytes are needed and 512 bytes are free in /data");
        let unknown = Shortage { needed: None, ..short.clone() };
        assert_eq!(unknown.to_string(), "512 bytes are free in /data");
        let quota = Shortage { free: Some(1 << 30), ..short.clone() };
        assert!(quota.to_string().ends_with("so a quota may be used up"), "{quota}");
        let files = Shortage { no_more_files: true, ..short };
        assert!(files.to_string().contains("no inodes left"), "{files}");
    }
}
