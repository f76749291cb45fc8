//! Moving much at once: copies of content between two directories, and files that are made durable together.

use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use larder_oci::Digest;

use crate::blobs::{Blobs, Verified};
use crate::disk::Disk;
use crate::error::{DiskOperation, StorageError};
use crate::staged::Staged;

/// How much is copied between two questions whether to go on, in bytes.
const AT_ONCE: usize = 1 << 20;

/// What came of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is there now, durably.
    Done(Verified),
    /// The other directory doesn't have it.
    Absent,
    /// What the other directory has doesn't hash to its name; nothing was kept.
    Damaged {
        /// What it hashes to.
        found: Digest,
    },
    /// Whoever sets the pace said stop; nothing was kept.
    Stopped,
}

/// A file that is being written and has no name yet.
pub struct NewFile {
    disk: Arc<Disk>,
    file: File,
    path: PathBuf,
    is_placed: bool,
}

impl Blobs {
    /// Brings content over from another directory, hashing it on the way. `pace` is told of every stretch, in bytes.
    pub fn copy_from(
        &self,
        other: &Blobs,
        digest: &Digest,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Copied, StorageError> {
        let Some(opened) = other.open(digest)? else { return Ok(Copied::Absent) };
        self.take_in(digest, opened.size, opened.file, pace)
    }

    /// Takes content in from wherever it can be read, hashing it on the way. `announced` is how long it will be.
    pub fn take_in(
        &self,
        digest: &Digest,
        announced: u64,
        mut from: impl io::Read,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Copied, StorageError> {
        let path = self.disk.staging_path();
        let mut staged = Staged::create(&self.disk, &path, digest.algorithm())?;
        staged.announce(announced);
        let copied = (|| {
            let mut buffer = vec![0; AT_ONCE];
            loop {
                let read = match from.read(&mut buffer) {
                    Ok(0) => return Ok(true),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => return Err(StorageError::io(DiskOperation::Read, &path, source)),
                };
                staged.append(buffer.get(..read).unwrap_or_default())?;
                if pace(read as u64).is_break() {
                    return Ok(false);
                }
            }
        })();
        match copied {
            Ok(true) => {}
            Ok(false) => {
                self.disk.discard(&path);
                return Ok(Copied::Stopped);
            }
            Err(error) => {
                self.disk.discard(&path);
                return Err(error);
            }
        }
        match self.publish(staged, digest) {
            Ok(content) => Ok(Copied::Done(content)),
            Err(StorageError::DigestMismatch { found, .. }) => {
                self.disk.discard(&path);
                Ok(Copied::Damaged { found })
            }
            Err(error) => Err(error),
        }
    }
}

impl Disk {
    /// Opens a data directory for reading alone, whoever works on it: every change through this is refused.
    ///
    /// # Errors
    /// There is no such directory: whoever reads wants what is in it.
    pub fn open_for_reading(root: &Path) -> Result<Disk, StorageError> {
        std::fs::read_dir(root).map_err(|source| StorageError::io(DiskOperation::Open, root, source))?;
        Ok(Disk::over(root, None, None))
    }

    /// Renames a file to its place without waiting for the disk.
    pub(crate) fn place_volatile(&self, from: &Path, path: &Path) -> Result<(), StorageError> {
        self.create_directory_volatile(path.parent().unwrap_or(Path::new("")))?;
        self.rename(from, path)
    }

    /// Begins a file that gets its name when it is whole.
    pub fn new_file(self: &Arc<Disk>) -> Result<NewFile, StorageError> {
        let path = self.staging_path();
        let file = self.create_file(&path)?;
        Ok(NewFile { disk: Arc::clone(self), file, path, is_placed: false })
    }

    /// Writes and removes a byte: whether the data directory can be written right now.
    pub fn probe(&self) -> Result<(), StorageError> {
        let path = self.staging_path();
        // A full disk refuses the byte and has taken the file's name: don't add one at each probe.
        self.put_volatile(&path, b".").inspect_err(|_| self.discard(&path))?;
        self.unlink(&path).map(|_| ())
    }

    /// Makes everything on the directory's file system durable: for many files that were placed without it.
    pub fn sync_everything(&self) -> Result<(), StorageError> {
        let failed = |source: io::Error| StorageError::io(DiskOperation::Sync, self.root(), source);
        let root = File::open(self.root()).map_err(failed)?;
        rustix::fs::syncfs(&root).map_err(|error| failed(error.into()))
    }
}

impl NewFile {
    /// Gives it its name; durable when this returns.
    pub fn publish(mut self, path: &Path) -> Result<(), StorageError> {
        self.disk.sync_file(&self.file, &self.path)?;
        self.disk.publish(&self.path, path)?;
        self.is_placed = true;
        Ok(())
    }

    /// Gives it its name, a mode and a time (nanoseconds since 1970). Durable only after
    /// [`Disk::sync_everything`].
    pub fn place(mut self, path: &Path, mode: u32, modified_nanoseconds: i64) -> Result<(), StorageError> {
        let failed = |source| StorageError::io(DiskOperation::Write, path, source);
        self.file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed)?;
        let since = Duration::from_nanos(u64::try_from(modified_nanoseconds).unwrap_or_default());
        self.file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + since)).map_err(failed)?;
        self.disk.place_volatile(&self.path, path)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The kind of failure stays: on a full disk the caller tells of it in storage's words.
        self.disk.write_all(&mut self.file, &self.path, bytes).map_err(|error| match error {
            StorageError::NoSpace { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
            StorageError::Io { source, .. } => source,
            other => io::Error::other(other),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            self.disk.discard(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &tempfile::TempDir) -> Arc<Disk> {
        Arc::new(Disk::open(root.path()).unwrap())
    }

    fn on(_: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn only_what_hashes_to_its_name_is_taken_in() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Blobs::new(open(&one)), Blobs::new(open(&two)));
        let digest = Digest::sha256(b"bytes");
        assert_eq!(to.copy_from(&from, &digest, &mut on).unwrap(), Copied::Absent);
        from.put(&digest, b"bytes").unwrap();
        let copied = to.copy_from(&from, &digest, &mut on).unwrap();
        assert!(matches!(copied, Copied::Done(content) if content.size() == 5));
        assert_eq!(to.read(&digest, 9).unwrap().as_deref(), Some(&b"bytes"[..]));
        let damaged = to.take_in(&Digest::sha256(b"other"), 5, &b"bytes"[..], &mut on).unwrap();
        assert_eq!(damaged, Copied::Damaged { found: digest });
        let stopped = to.copy_from(&from, &digest, &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped, Copied::Stopped);
        assert_eq!(std::fs::read_dir(two.path().join("larder/staging")).unwrap().count(), 0);
    }

    #[test]
    fn a_new_file_keeps_the_time_and_mode_it_is_given_and_leaves_nothing_without_a_name() {
        let root = tempfile::tempdir().unwrap();
        let disk = open(&root);
        let mut file = disk.new_file().unwrap();
        file.write_all(b"link").unwrap();
        file.place(Path::new("a/b/link"), 0o640, 1_234_567_890_123_456_789).unwrap();
        disk.sync_everything().unwrap();
        let stat = disk.stat(Path::new("a/b/link")).unwrap().unwrap();
        assert_eq!(stat.modified_nanoseconds, 1_234_567_890_123_456_789);
        let mode = std::fs::metadata(root.path().join("a/b/link")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        drop(disk.new_file().unwrap());
        assert_eq!(std::fs::read_dir(root.path().join("larder/staging")).unwrap().count(), 0);
    }
}
