use std::path::Path;

use crate::disk::Disk;
use crate::error::{DiskOperation, StorageError};

impl Disk {
    /// Bytes that are free on the data directory's file system for this process.
    pub fn free(&self) -> Result<u64, StorageError> {
        let failed = |errno: rustix::io::Errno| {
            StorageError::io(DiskOperation::Read, Path::new(self.root()), errno.into())
        };
        let room = rustix::fs::statvfs(self.root()).map_err(failed)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_room_is_free_and_a_directory_that_is_gone_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        assert!(disk.free().unwrap() > 0);
        drop(root);
        assert!(disk.free().is_err());
    }
}
