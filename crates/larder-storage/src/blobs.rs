use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_oci::{Algorithm, Digest};

use crate::disk::{Disk, Stat};
use crate::error::StorageError;
use crate::staged::Staged;

const BLOBS: &str = "docker/registry/v2/blobs";

/// Content by digest, in distribution's layout: `docker/registry/v2/blobs/<algorithm>/<first two hex
/// digits>/<hex>/data`.
///
/// Published content never changes: a file is replaced by one with the same bytes or it is removed.
#[derive(Clone)]
pub struct Blobs {
    pub(crate) disk: Arc<Disk>,
}

/// Proof that the store holds content that hashes to this digest: it was hashed on its way to where
/// it lies. Only this crate makes one, and nothing can be linked into a repository without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    digest: Digest,
    size: u64,
}

/// Published content, open for reading at any offset.
#[derive(Debug)]
pub struct BlobFile {
    /// The file.
    pub file: File,
    /// Its length in bytes.
    pub size: u64,
}

impl Blobs {
    /// The blobs below a data directory.
    pub fn new(disk: Arc<Disk>) -> Blobs {
        Blobs { disk }
    }

    pub(crate) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Opens content for reading, or `None` if it isn't there.
    pub fn open(&self, digest: &Digest) -> Result<Option<BlobFile>, StorageError> {
        let opened = self.disk.open_file(&data_path(digest))?;
        let opened = opened.filter(|(_, stat)| may_be(digest, stat.size));
        Ok(opened.map(|(file, stat)| BlobFile { file, size: stat.size }))
    }

    /// Whether content is published, with its size.
    pub fn find(&self, digest: &Digest) -> Result<Option<Verified>, StorageError> {
        let stat = self.disk.stat(&data_path(digest))?.filter(|stat| may_be(digest, stat.size));
        Ok(stat.map(|stat| Verified { digest: *digest, size: stat.size }))
    }

    /// The bytes of small content, hashed again: damaged bytes are an error and never served.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.read_and_keep_open(digest, limit)?.map(|(bytes, _)| bytes))
    }

    /// As [`read`](Blobs::read), with the file that the bytes were read from.
    pub fn read_and_keep_open(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, File)>, StorageError> {
        let path = data_path(digest);
        let Some((bytes, file)) = self.disk.read_and_keep_open(&path, limit)? else { return Ok(None) };
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            return Err(StorageError::Corrupt { digest: *digest, path: self.disk.root().join(path) });
        }
        Ok(Some((bytes, file)))
    }

    /// Publishes small content; durable when this returns.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<Verified, StorageError> {
        let found = Digest::of(digest.algorithm(), bytes);
        if found != *digest {
            return Err(StorageError::DigestMismatch { expected: *digest, found });
        }
        self.disk.put(&data_path(digest), bytes)?;
        Ok(Verified { digest: *digest, size: bytes.len() as u64 })
    }

    /// Publishes a staged file under the digest it must have; durable when this returns.
    ///
    /// Content that is there already is replaced by the same bytes: a push mends a file that was
    /// damaged on disk. On a digest mismatch the staged file stays as it is, so that the client may
    /// try again. After a failed sync it is removed: what the disk holds of it can't be known.
    pub fn publish(&self, staged: Staged, expected: &Digest) -> Result<Verified, StorageError> {
        let is_known = staged.algorithm() == expected.algorithm() && staged.is_hashed();
        let staged = if is_known && staged.is_untouched()? {
            staged
        } else {
            // Hashed by another algorithm than it is named by, or not to its end, or written by another program since
            // it was hashed: read it once more.
            let path = staged.path().to_owned();
            drop(staged);
            Staged::reopen(&self.disk, &path, expected.algorithm())?.ok_or_else(|| {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                StorageError::io(crate::error::DiskOperation::Open, &path, gone)
            })?
        };
        let found = staged.found();
        if found != *expected {
            return Err(StorageError::DigestMismatch { expected: *expected, found });
        }
        staged.sync().inspect_err(|_| self.disk.discard(staged.path()))?;
        self.disk.publish(staged.path(), &data_path(expected))?;
        Ok(Verified { digest: *expected, size: staged.length() })
    }
}

impl Blobs {
    /// Removes content, without waiting for the disk; gives how many bytes it had, or `None` if it wasn't there.
    ///
    /// Whoever calls this knows that nothing refers to it, and that nobody is about to: a loss of power may bring it
    /// back, as garbage.
    pub fn remove(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.disk.remove_garbage(&data_path(digest))
    }

    /// What is known of the file that holds content, also if it can't hold it; `None` if there is no such file.
    pub fn stat(&self, digest: &Digest) -> Result<Option<Stat>, StorageError> {
        self.disk.stat(&data_path(digest))
    }

    /// The content whose hash begins with this byte, in no particular order: a 256th of all.
    pub fn list(&self, algorithm: Algorithm, first_byte: u8) -> Result<Vec<Digest>, StorageError> {
        let shard = Path::new(BLOBS).join(algorithm.as_str()).join(format!("{first_byte:02x}"));
        let entries = self.disk.list(&shard)?.unwrap_or_default();
        Ok(entries.iter().filter_map(|entry| format!("{algorithm}:{}", entry.name).parse().ok()).collect())
    }
}

impl Verified {
    /// The content's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The content's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Whether a file of this size can hold this content. A crash of another registry leaves empty files;
/// taken for absent, they are mended by the next push.
fn may_be(digest: &Digest, size: u64) -> bool {
    size > 0 || *digest == Digest::of(digest.algorithm(), b"")
}

pub(crate) fn data_path(digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let shard = hex.get(..2).unwrap_or_default();
    Path::new(BLOBS).join(digest.algorithm().as_str()).join(shard).join(&hex).join("data")
}

#[cfg(test)]
mod tests;
