//! Content that arrives from another registry, beside the store until it is whole.
//!
//! It lies in `larder/fills/`, one file per digest, and survives a stop: what has arrived is hashed again and
//! goes on from there. Nothing of it is synced before it is published, so a loss of power may leave anything in
//! such a file; the hash of the whole then tells.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_oci::Digest;

use crate::blobs::Blobs;
use crate::error::{DiskOperation, StorageError};
use crate::staged::Staged;

const ARRIVING: &str = "larder/fills";

/// Content on its way into the store.
pub struct Arriving {
    /// What has arrived, to be appended to and published.
    pub staged: Staged,
    /// The same file, to be read while it grows and after it is published.
    pub reader: Arc<File>,
}

impl Blobs {
    /// Goes on with what has arrived of this content, or begins. One caller at a time per digest.
    pub fn arrive(&self, digest: &Digest) -> Result<Arriving, StorageError> {
        let path = path_of(digest);
        let staged = match Staged::reopen(self.disk(), &path, digest.algorithm())? {
            Some(staged) => staged,
            None => Staged::create(self.disk(), &path, digest.algorithm())?,
        };
        let Some((reader, _)) = self.disk().open_file(&path)? else {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(StorageError::io(DiskOperation::Open, &path, gone));
        };
        Ok(Arriving { staged, reader: Arc::new(reader) })
    }

    /// Forgets what has arrived of this content.
    pub fn forget_arriving(&self, digest: &Digest) -> Result<(), StorageError> {
        self.disk().remove_tree_volatile(&path_of(digest)).map(|_| ())
    }

    /// How many bytes have arrived and aren't published yet, of all contents together.
    pub fn arriving_bytes(&self) -> Result<u64, StorageError> {
        let mut bytes = 0_u64;
        for entry in self.disk().list(Path::new(ARRIVING))?.unwrap_or_default() {
            let stat = self.disk().stat(&Path::new(ARRIVING).join(&entry.name))?;
            bytes = bytes.saturating_add(stat.map_or(0, |stat| stat.size));
        }
        Ok(bytes)
    }

    /// Forgets what nobody has gone on with for so long, except what `goes_on` says is under way. Gives how many.
    pub fn forget_abandoned(
        &self,
        now: SystemTime,
        age: Duration,
        goes_on: impl Fn(&Digest) -> bool,
    ) -> Result<usize, StorageError> {
        let mut forgotten = 0;
        for entry in self.disk().list(Path::new(ARRIVING))?.unwrap_or_default() {
            let path = Path::new(ARRIVING).join(&entry.name);
            let Some(stat) = self.disk().stat(&path)? else { continue };
            let nanoseconds = u64::try_from(stat.modified_nanoseconds).unwrap_or_default();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            let is_old = now.duration_since(modified).is_ok_and(|idle| idle >= age);
            let digest = entry.name.replacen('-', ":", 1).parse::<Digest>();
            if is_old && !digest.is_ok_and(|digest| goes_on(&digest)) {
                self.disk().remove_tree_volatile(&path)?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

fn path_of(digest: &Digest) -> PathBuf {
    Path::new(ARRIVING).join(format!("{}-{}", digest.algorithm(), digest.hex()))
}

#[cfg(test)]
mod tests;
