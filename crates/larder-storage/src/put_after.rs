use std::path::Path;

use crate::disk::{Disk, Stat};
use crate::error::StorageError;

impl Disk {
    /// As [`put`](Disk::put); when the file is written and before it is in its place, `first` is run, which is told
    /// what the file will be. If that fails, nothing appears.
    pub fn put_after(
        &self,
        path: &Path,
        bytes: &[u8],
        first: impl FnOnce(&Stat) -> Result<(), StorageError>,
    ) -> Result<Stat, StorageError> {
        let (staged, stat) = self.stage(bytes, None)?;
        first(&stat).and_then(|()| self.publish(&staged, path)).inspect_err(|_| self.discard(&staged))?;
        Ok(stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DiskOperation;

    #[test]
    fn what_comes_first_is_told_what_the_file_will_be_and_can_keep_it_away() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        let (place, mut told) = (Path::new("a/file"), None);
        let put = disk.put_after(place, b"one", |stat| {
            told = Some(*stat);
            assert_eq!(disk.stat(place)?, None);
            Ok(())
        });
        assert_eq!(Some(put.unwrap()), told);
        assert_eq!(disk.stat(place).unwrap(), told);
        let failed = disk.put_after(place, b"two", |_| {
            Err(StorageError::io(DiskOperation::Write, place, std::io::Error::other("no")))
        });
        assert!(failed.is_err());
        assert_eq!(disk.read(place, 10).unwrap().unwrap(), b"one");
        assert_eq!(disk.list(Path::new("larder/staging")).unwrap().unwrap(), []);
    }
}
