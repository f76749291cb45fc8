//! Reading content again, to see whether it still is what it is named after.

use std::fs::File;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use larder_oci::{Algorithm, Digest, Hasher};
use rustix::fs::{Advice, fadvise};

use crate::blobs::{Blobs, data_path};
use crate::disk::{Disk, Stat};
use crate::error::{DiskOperation, StorageError};

/// Where damaged content is kept, below the data directory: somebody may want to look at it.
pub const QUARANTINE: &str = "larder/quarantine";

/// How much is read between two questions whether to go on, in bytes.
const AT_ONCE: usize = 1 << 20;

/// What a look at content found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// There is no such content, or another registry's crash left an empty file.
    Absent,
    /// It hashes to its name.
    Sound {
        /// Its length in bytes.
        size: u64,
    },
    /// It doesn't.
    Damaged(Damage),
    /// Whoever sets the pace said stop.
    Stopped,
}

/// Content that doesn't hash to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it hashes to.
    pub found: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The file that was read.
    seen: Stat,
}

impl Blobs {
    /// The content whose hash begins with this byte, a 256th of all, in the order of the digests.
    pub fn shard(&self, algorithm: Algorithm, first_byte: u8) -> Result<Vec<Digest>, StorageError> {
        let shard =
            Path::new("docker/registry/v2/blobs").join(algorithm.as_str()).join(format!("{first_byte:02x}"));
        let entries = self.disk.list(&shard)?.unwrap_or_default();
        let mut digests: Vec<Digest> =
            entries.iter().filter_map(|entry| format!("{algorithm}:{}", entry.name).parse().ok()).collect();
        digests.sort_unstable();
        Ok(digests)
    }

    /// Hashes content. `pace` is told of every stretch that was read, in bytes; it may wait, and may stop.
    ///
    /// The kernel is asked to forget what it holds of the file, before, so that the disk is read and not memory, and
    /// after, so that a look at everything doesn't push out what clients ask for.
    pub fn check(
        &self,
        digest: &Digest,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Checked, StorageError> {
        let path = data_path(digest);
        let Some((file, seen)) = self.disk.open_file(&path)? else { return Ok(Checked::Absent) };
        if seen.size == 0 && *digest != Digest::of(digest.algorithm(), b"") {
            return Ok(Checked::Absent);
        }
        forget(&file);
        let hashed = hash(&file, digest.algorithm(), pace);
        forget(&file);
        let failed = |source| StorageError::io(DiskOperation::Read, &self.disk.root().join(&path), source);
        Ok(match hashed.map_err(failed)? {
            None => Checked::Stopped,
            Some((found, size)) if found == *digest => Checked::Sound { size },
            Some((found, size)) => Checked::Damaged(Damage { found, size, seen }),
        })
    }

    /// Moves damaged content away, so that nobody is given it; durable when this returns. Gives where it lies, or
    /// `None` if a push has mended it meanwhile.
    pub fn set_aside(&self, digest: &Digest, damage: &Damage) -> Result<Option<PathBuf>, StorageError> {
        let place = Path::new(QUARANTINE).join(digest.algorithm().as_str());
        // The inode tells apart what lay under one name, one after the other.
        let to = place.join(format!("{}.{}", digest.hex(), damage.seen.inode));
        let moved = self.disk.move_if_still(&data_path(digest), &damage.seen, &to)?;
        Ok(moved.then_some(to))
    }
}

impl Disk {
    /// Moves a file away if it is still the one that was seen there; durable when this returns. `false` if it isn't:
    /// somebody has put another one in its place, or removed it.
    pub(crate) fn move_if_still(&self, from: &Path, seen: &Stat, to: &Path) -> Result<bool, StorageError> {
        self.create_directory(to.parent().unwrap_or(Path::new("")))?;
        let _excluded = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        if self.stat(from)?.as_ref() != Some(seen) {
            return Ok(false);
        }
        self.rename(from, to)?;
        // What is to be kept is durable before what is to go.
        self.sync_directory(to.parent().unwrap_or(Path::new("")))?;
        self.sync_directory(from.parent().unwrap_or(Path::new("")))?;
        Ok(true)
    }
}

fn hash(
    mut file: &File,
    algorithm: Algorithm,
    pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> std::io::Result<Option<(Digest, u64)>> {
    let (mut hasher, mut size) = (Hasher::new(algorithm), 0);
    let mut buffer = vec![0; AT_ONCE];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Some((hasher.finish(), size)));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        size += read as u64;
        if pace(read as u64).is_break() {
            return Ok(None);
        }
    }
}

/// Only a hint; where it can't be taken, memory is read or filled.
fn forget(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

#[cfg(test)]
mod tests;
