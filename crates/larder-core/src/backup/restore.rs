//! The way back.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Read, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use larder_oci::Digest;
use larder_storage::{Blobs, Copied, Disk};

use super::files::{self, SmallFile, digest_of_path};
use super::{BackupError, CopyProgress, LeftOut, copy, snapshot, snapshots};

/// Says that a directory is being restored: until it is whole, no server takes it for one.
pub const RESTORING: &str = "larder/restoring";

/// What a restore has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The snapshot, of a directory of backups.
    pub snapshot: Option<String>,
    /// The small files.
    pub files: u64,
    /// The blobs.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Content that the backup couldn't give.
    pub damaged: Vec<LeftOut>,
    /// Linked content that the backup doesn't have; registry:2's garbage collection leaves such links.
    pub absent: u64,
}

/// Makes a data directory from a directory of backups: of the newest snapshot, or of the one that is named.
///
/// A restore that was interrupted is made again by the same call, and goes on.
///
/// # Errors
/// The data directory is not empty, or the backup can't be read: then the directory stays marked as unfinished.
pub fn restore(
    source: &Path,
    name: Option<&str>,
    data: &Path,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<Restored, BackupError> {
    let from = Arc::new(Disk::open_for_reading(source)?);
    if copy::is_marked(&from)?.is_none() {
        return Err(BackupError::NotABackup(source.to_owned()));
    }
    let names = snapshots(&from)?;
    let chosen = match name {
        Some(name) => names.iter().find(|known| *known == name),
        None => names.last(),
    };
    let Some(chosen) = chosen.cloned() else {
        let (path, name) = (source.to_owned(), name.unwrap_or("at all").to_owned());
        return Err(BackupError::NoSnapshot { path, name, there: names.join(", ") });
    };
    let target = begin(data)?;
    let mut done = Restored { snapshot: Some(chosen.clone()), ..Restored::default() };
    let mut wanted = BTreeSet::new();
    snapshot::read(&from, &chosen, &mut |file| {
        wanted.extend(files::names(&file));
        Ok(())
    })?;
    let (blobs_from, blobs_to) = (Blobs::new(Arc::clone(&from)), Blobs::new(Arc::clone(&target)));
    let mut copying = CopyProgress { blobs_to_copy: wanted.len() as u64, ..CopyProgress::default() };
    for digest in &wanted {
        copying.bytes_to_copy += blobs_from.find(digest)?.map_or(0, |content| content.size());
    }
    for digest in &wanted {
        if let Some(content) = blobs_to.find(digest)? {
            // From a restore that was interrupted: it was hashed and synced before it got its name.
            (done.blobs, done.bytes) = (done.blobs + 1, done.bytes + content.size());
            (copying.blobs, copying.bytes) = (copying.blobs + 1, copying.bytes + content.size());
            continue;
        }
        let mut pace = |bytes| {
            copying.bytes += bytes;
            progress(copying);
            ControlFlow::Continue(())
        };
        let copied = blobs_to.copy_from(&blobs_from, digest, &mut pace)?;
        copying.blobs += 1;
        done.note(digest, copied);
    }
    snapshot::read(&from, &chosen, &mut |file| {
        done.files += 1;
        place(&target, &file)
    })?;
    finish(&target)?;
    Ok(done)
}

/// Makes a data directory from an archive of one, packed or not: of [`backup_stream`](super::backup_stream), or of `tar`.
///
/// # Errors
/// As [`restore`].
pub fn restore_stream(
    from: impl Read,
    data: &Path,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<Restored, BackupError> {
    let what = "the archive";
    let failed = |source| BackupError::Archive { what: what.to_owned(), source };
    let target = begin(data)?;
    let blobs = Blobs::new(Arc::clone(&target));
    let mut buffered = io::BufReader::with_capacity(1 << 20, from);
    let is_packed = buffered.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let unpacked: Box<dyn Read> =
        if is_packed { Box::new(GzDecoder::new(buffered)) } else { Box::new(buffered) };
    let mut archive = tar::Archive::new(unpacked);
    let mut done = Restored::default();
    let mut copying = CopyProgress::default();
    let mut wanted = BTreeSet::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let mut file = snapshot::head(&mut entry, what)?;
        let Some(path) = within_data(&file.path) else { continue };
        file.path = path;
        if let Some(digest) = digest_of_path(&file.path) {
            let mut pace = |bytes| {
                copying.bytes += bytes;
                progress(copying);
                ControlFlow::Continue(())
            };
            let size = entry.size();
            let copied = blobs.take_in(&digest, size, &mut entry, &mut pace)?;
            copying.blobs += 1;
            done.note(&digest, copied);
        } else {
            entry.read_to_end(&mut file.bytes).map_err(failed)?;
            wanted.extend(files::names(&file));
            done.files += 1;
            place(&target, &file)?;
        }
    }
    if done.files == 0 && done.blobs == 0 {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it holds no data directory");
        return Err(failed(source));
    }
    for digest in &wanted {
        done.absent += u64::from(blobs.find(digest)?.is_none());
    }
    done.absent = done.absent.saturating_sub(done.damaged.len() as u64);
    finish(&target)?;
    Ok(done)
}

impl Restored {
    fn note(&mut self, digest: &Digest, copied: Copied) {
        match copied {
            Copied::Done(content) => {
                (self.blobs, self.bytes) = (self.blobs + 1, self.bytes + content.size());
            }
            Copied::Absent | Copied::Stopped => self.absent += 1,
            Copied::Damaged { found } => {
                let problem = format!("its bytes hash to {found}");
                self.damaged.push(LeftOut { digest: *digest, problem });
            }
        }
    }
}

/// A path as it stands below a data directory: `tar` of one writes the way to it in front.
fn within_data(path: &Path) -> Option<std::path::PathBuf> {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let images = parts.windows(3).position(|three| three == ["docker", "registry", "v2"]);
    let own = parts.iter().position(|part| *part == "larder");
    let state = parts.len().checked_sub(1).filter(|_| parts.last() == Some(&"scheduler-state.json"));
    let below = parts.get(images.or(own).or(state)?..)?;
    // A `larder` that isn't ours, above or below, has none of our files in it.
    let is_needed = match below {
        ["larder", name, ..] => !files::NOT_NEEDED.contains(name),
        ["larder"] => false,
        ["docker", "registry", "v2", "repositories", rest @ ..] => !rest.contains(&"_uploads"),
        _ => true,
    };
    is_needed.then(|| below.iter().collect())
}

/// Opens a new data directory, or one whose restore was interrupted, and marks it.
fn begin(data: &Path) -> Result<Arc<Disk>, BackupError> {
    if let Ok(disk) = Disk::open_for_reading(data) {
        let is_interrupted = disk.stat(Path::new(RESTORING))?.is_some();
        let entries = disk.list(Path::new(""))?.unwrap_or_default();
        let own = disk.list(Path::new("larder"))?.unwrap_or_default();
        let is_empty = entries.iter().all(|entry| ["larder", "lost+found"].contains(&entry.name.as_str()))
            && own.iter().all(|entry| ["lock", "staging"].contains(&entry.name.as_str()));
        if !is_interrupted && !is_empty {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
    }
    let disk = Arc::new(Disk::open(data)?);
    disk.put(Path::new(RESTORING), b"a restore into this directory has not ended\n")?;
    Ok(disk)
}

fn place(target: &Arc<Disk>, file: &SmallFile) -> Result<(), BackupError> {
    let mut new = target.new_file()?;
    new.write_all(&file.bytes).map_err(|source| larder_storage::StorageError::Io {
        operation: larder_storage::DiskOperation::Write,
        path: file.path.clone(),
        source,
    })?;
    Ok(new.place(&file.path, file.mode, file.modified_nanoseconds)?)
}

fn finish(target: &Disk) -> Result<(), BackupError> {
    target.sync_everything()?;
    target.remove_file(Path::new(RESTORING))?;
    Ok(())
}
