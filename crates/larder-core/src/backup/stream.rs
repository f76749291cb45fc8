//! Into a stream: one archive of a data directory, blobs first.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;

use larder_oci::{Digest, Hasher};
use larder_storage::{BlobFile, Blobs, Disk};

use super::copy::Backup;
use super::files::{self, SmallFile, blob_path};
use super::snapshot::Archive;
use super::{BackupError, CopyProgress, LeftOut};

/// How often everything is read again because something had gone when its turn came.
const PASSES: usize = 4;

/// Writes a data directory into a stream. Restored by [`restore_stream`](super::restore_stream), or by `tar` alone.
///
/// # Errors
/// The stream is cut short, and no restore takes it for whole: the links come last.
pub fn backup_stream(
    data: &std::path::Path,
    to: impl Write,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<Backup, BackupError> {
    let disk = Arc::new(Disk::open_for_reading(data)?);
    let blobs = Blobs::new(Arc::clone(&disk));
    let mut archive = Archive::plain(to);
    let mut done = Backup::default();
    let mut written: BTreeSet<Digest> = BTreeSet::new();
    let mut copying = CopyProgress::default();
    let mut lost: BTreeSet<Digest> = BTreeSet::new();
    for pass in 1..=PASSES {
        let mut kept: Vec<SmallFile> = Vec::new();
        let wanted = files::read(&disk, &mut |file| {
            kept.push(file.clone());
            Ok(())
        })?;
        let missing: Vec<Digest> = wanted.difference(&written).copied().collect();
        copying.blobs_to_copy = copying.blobs + missing.len() as u64;
        copying.bytes_to_copy = copying.bytes;
        for digest in &missing {
            copying.bytes_to_copy += blobs.find(digest)?.map_or(0, |content| content.size());
        }
        let mut gone = BTreeSet::new();
        for digest in missing {
            let Some(opened) = blobs.open(&digest)? else {
                gone.insert(digest);
                continue;
            };
            let mut hashing = Hashing { opened, hasher: Hasher::new(digest.algorithm()), copying, progress };
            hashing.write(&mut archive, &digest, &mut done)?;
            copying = hashing.copying;
            written.insert(digest);
        }
        // As with a directory: what was lost before is lost for good.
        if !gone.is_subset(&lost) && pass < PASSES {
            lost = gone;
            continue;
        }
        done.absent = gone.len() as u64;
        done.files = kept.len() as u64;
        (done.blobs, done.copied) = (written.len() as u64, written.len() as u64);
        for file in &kept {
            archive.add(file).map_err(BackupError::Stream)?;
        }
        break;
    }
    let mut to = archive.finish().map_err(BackupError::Stream)?;
    to.flush().map_err(BackupError::Stream)?;
    Ok(done)
}

/// A blob on its way into the archive.
struct Hashing<'a> {
    opened: BlobFile,
    hasher: Hasher,
    copying: CopyProgress,
    progress: &'a mut dyn FnMut(CopyProgress),
}

impl Hashing<'_> {
    fn write<W: Write>(
        &mut self,
        archive: &mut Archive<W>,
        digest: &Digest,
        done: &mut Backup,
    ) -> Result<(), BackupError> {
        let size = self.opened.size;
        archive
            .add_from(&blob_path(digest), 0o644, 0, size, Read::take(&mut *self, size))
            .map_err(BackupError::Stream)?;
        let found = self.hasher.clone().finish();
        if found != *digest {
            // It can't be taken back from a stream; whoever restores hashes it again.
            done.damaged.push(LeftOut { digest: *digest, problem: format!("its bytes hash to {found}") });
        }
        self.copying.blobs += 1;
        done.copied_bytes += size;
        Ok(())
    }
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.opened.file.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.copying.bytes += read as u64;
        (self.progress)(self.copying);
        Ok(read)
    }
}
