use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_oci::{Algorithm, Hasher};

use crate::disk::{Disk, Stat};
use crate::error::{DiskOperation, StorageError};

/// How much is read at a time when a half-done upload is hashed again.
const REHASH_BUFFER: usize = 1 << 20;

/// A file that grows and is hashed as it grows, not yet published.
pub struct Staged {
    disk: Arc<Disk>,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    /// The file after this process's last write: another one means that somebody else has written it.
    last_seen: Stat,
}

impl Staged {
    /// A new, empty file at `path`.
    pub fn create(disk: &Arc<Disk>, path: &Path, algorithm: Algorithm) -> Result<Staged, StorageError> {
        disk.create_directory_volatile(path.parent().unwrap_or(Path::new("")))?;
        let file = disk.create_file(path)?;
        let last_seen = stat(disk, path, &file)?;
        Ok(Staged {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            file,
            hasher: Hasher::new(algorithm),
            length: 0,
            last_seen,
        })
    }

    /// Goes on with the file at `path`; what it holds is read once, to be hashed. `None` if there is none.
    pub fn reopen(
        disk: &Arc<Disk>,
        path: &Path,
        algorithm: Algorithm,
    ) -> Result<Option<Staged>, StorageError> {
        let Some((mut reader, last_seen)) = disk.open_file(path)? else { return Ok(None) };
        let full = disk.root().join(path);
        let failed = |source| StorageError::io(DiskOperation::Read, &full, source);
        let mut hasher = Hasher::new(algorithm);
        let mut length = 0_u64;
        let mut buffer = vec![0; REHASH_BUFFER];
        loop {
            let read = reader.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            length += read as u64;
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&full)
            .map_err(|source| StorageError::io(DiskOperation::Open, &full, source))?;
        let (disk, path) = (Arc::clone(disk), path.to_owned());
        Ok(Some(Staged { disk, path, file, hasher, length, last_seen }))
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The algorithm that the bytes are hashed with.
    pub fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// Takes in the next bytes. After an error the file may hold some of them: go on only by
    /// [`reopen`](Staged::reopen), which looks.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.disk.write_all(&mut self.file, &self.path, bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.last_seen = stat(&self.disk, &self.path, &self.file)?;
        Ok(())
    }

    /// Whether the file is still the one, and as, this process has left it: only then is the hash that
    /// was kept along the hash of what lies there.
    pub fn is_untouched(&self) -> Result<bool, StorageError> {
        Ok(self.disk.stat(&self.path)? == Some(self.last_seen))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn hasher(&self) -> Hasher {
        self.hasher.clone()
    }

    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.disk.sync_file(&self.file, &self.path)
    }
}

fn stat(disk: &Disk, path: &Path, file: &File) -> Result<Stat, StorageError> {
    file.metadata()
        .map(|metadata| Stat::of(&metadata))
        .map_err(|source| StorageError::io(DiskOperation::Read, &disk.root().join(path), source))
}
