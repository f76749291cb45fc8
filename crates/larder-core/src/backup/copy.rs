//! Into a directory.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use larder_oci::{Algorithm, Digest};
use larder_storage::{Blobs, Copied, Disk, NewFile, StorageError};

use super::files::{self, SmallFile};
use super::snapshot::{self, Archive};
use super::{BackupError, CopyProgress, FORMAT, LeftOut, MARK};

/// How often everything is read again because something had gone when its turn came.
const PASSES: usize = 4;

/// What a backup has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The snapshot's name.
    pub snapshot: String,
    /// The small files in it.
    pub files: u64,
    /// Blobs that it needs.
    pub blobs: u64,
    /// Those that the backup lacked before.
    pub copied: u64,
    /// How many bytes they have.
    pub copied_bytes: u64,
    /// Content that the registry itself couldn't serve: damaged blobs.
    pub damaged: Vec<LeftOut>,
    /// Linked content that isn't in the store; registry:2's garbage collection leaves such links.
    pub absent: u64,
}

/// Backs a data directory up into another directory: what that lacks, and a snapshot.
///
/// # Errors
/// Nothing appears that could be taken for a backup; what was copied stays for the next one.
pub fn backup(
    data: &Path,
    destination: &Path,
    now: SystemTime,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<Backup, BackupError> {
    let source = Arc::new(Disk::open_for_reading(data)?);
    let target = open(data, destination)?;
    let (from, to) = (Blobs::new(Arc::clone(&source)), Blobs::new(Arc::clone(&target)));
    let mut done = Backup::default();
    let mut copying = CopyProgress::default();
    let mut lost: BTreeSet<Digest> = BTreeSet::new();
    for pass in 1..=PASSES {
        let (snapshot, files, wanted) = gather(&source, &target)?;
        done.damaged.clear();
        let lacking = lacking(&from, &to, &wanted, &mut copying)?;
        let mut gone = BTreeSet::new();
        for digest in &lacking {
            copy(&from, &to, digest, &mut done, &mut copying, &mut gone, progress)?;
        }
        // What was lost before is lost for good, or it is new and the next pass shows which.
        if !gone.is_subset(&lost) && pass < PASSES {
            lost = gone;
            continue;
        }
        done.absent = gone.len() as u64;
        (done.files, done.blobs) = (files, wanted.len() as u64 - done.absent - done.damaged.len() as u64);
        done.snapshot = free_name(&target, now)?;
        snapshot::note_absent(&target, &done.snapshot, &gone, &done.damaged)?;
        snapshot.publish(&snapshot::path_of(&done.snapshot))?;
        break;
    }
    Ok(done)
}

/// Opens a directory of backups, or makes one.
pub(super) fn open(data: &Path, destination: &Path) -> Result<Arc<Disk>, BackupError> {
    let (inner, outer) = (real(destination), real(data));
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        return Err(BackupError::Within(destination.to_owned(), data.to_owned()));
    }
    let is_new = match Disk::open_for_reading(destination) {
        Ok(disk) => is_marked(&disk)?.is_none(),
        Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error.into()),
    };
    let disk = Arc::new(Disk::open(destination)?);
    if is_new {
        disk.put(Path::new(MARK), FORMAT.as_bytes())?;
    }
    Ok(disk)
}

/// Where a path leads to, also if its end isn't there yet.
fn real(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(real) =
            std::fs::canonicalize(if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor })
        {
            return missing.iter().rev().fold(real, |real, name| real.join(name));
        }
        missing.extend(ancestor.file_name());
    }
    path.to_owned()
}

/// What a directory's mark says; `None` of an empty one.
///
/// # Errors
/// It holds something else.
pub(super) fn is_marked(disk: &Disk) -> Result<Option<()>, BackupError> {
    match disk.read(Path::new(MARK), 1024)? {
        Some(mark) if mark == FORMAT.as_bytes() => Ok(Some(())),
        Some(mark) => {
            let found = String::from_utf8_lossy(&mark).into_owned();
            Err(BackupError::Format { path: disk.root().to_owned(), found })
        }
        None => {
            let entries = disk.list(Path::new(""))?.unwrap_or_default();
            // `larder` alone: a first backup was killed before it could say what it is; `lost+found`: a disk of its own.
            let is_empty =
                entries.iter().all(|entry| ["larder", "lost+found"].contains(&entry.name.as_str()));
            let own = disk.list(Path::new("larder"))?.unwrap_or_default();
            let is_empty =
                is_empty && own.iter().all(|entry| ["lock", "staging"].contains(&entry.name.as_str()));
            if is_empty { Ok(None) } else { Err(BackupError::NotABackup(disk.root().to_owned())) }
        }
    }
}

/// All small files, in an archive that has no name yet; how many; and the content that they name.
fn gather(source: &Disk, target: &Arc<Disk>) -> Result<(NewFile, u64, BTreeSet<Digest>), BackupError> {
    let failed = |source| BackupError::Archive { what: "the new snapshot".to_owned(), source };
    // Written in large pieces.
    let buffered = std::io::BufWriter::with_capacity(1 << 18, target.new_file()?);
    let mut archive = Archive::packed(buffered);
    let mut count = 0;
    let wanted = files::read(source, &mut |file: &SmallFile| {
        count += 1;
        archive.add(file).map_err(failed)
    })?;
    let mut buffered = archive.finish_packed().map_err(failed)?;
    buffered.flush().map_err(failed)?;
    let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok((file, count, wanted))
}

fn lacking(
    from: &Blobs,
    to: &Blobs,
    wanted: &BTreeSet<Digest>,
    copying: &mut CopyProgress,
) -> Result<Vec<Digest>, BackupError> {
    let mut lacking = Vec::new();
    (copying.blobs_to_copy, copying.bytes_to_copy) = (copying.blobs, copying.bytes);
    for digest in wanted {
        if to.find(digest)?.is_none() {
            lacking.push(*digest);
            copying.blobs_to_copy += 1;
            copying.bytes_to_copy += from.find(digest)?.map_or(0, |content| content.size());
        }
    }
    Ok(lacking)
}

fn copy(
    from: &Blobs,
    to: &Blobs,
    digest: &Digest,
    done: &mut Backup,
    copying: &mut CopyProgress,
    gone: &mut BTreeSet<Digest>,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<(), BackupError> {
    let mut pace = |bytes| {
        copying.bytes += bytes;
        progress(*copying);
        ControlFlow::Continue(())
    };
    match to.copy_from(from, digest, &mut pace)? {
        Copied::Done(content) => {
            copying.blobs += 1;
            done.copied += 1;
            done.copied_bytes += content.size();
        }
        Copied::Absent | Copied::Stopped => {
            gone.insert(*digest);
        }
        Copied::Damaged { found } => {
            let problem = format!("its bytes hash to {found}");
            done.damaged.push(LeftOut { digest: *digest, problem });
        }
    }
    Ok(())
}

/// The time, for a file's name; with a number if there is one of that name.
fn free_name(disk: &Disk, now: SystemTime) -> Result<String, BackupError> {
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(':', "-");
    let mut name = time.clone();
    for number in 2.. {
        if disk.stat(&snapshot::path_of(&name))?.is_none() {
            break;
        }
        name = format!("{time}.{number}");
    }
    Ok(name)
}

/// Removes all but the newest snapshots, and what only they needed. Gives how many snapshots and blobs went.
///
/// # Errors
/// What isn't removed yet is at the next time.
pub fn prune(destination: &Path, keep: usize) -> Result<(u64, u64), BackupError> {
    let disk = Arc::new(Disk::open(destination)?);
    if is_marked(&disk)?.is_none() {
        return Err(BackupError::NotABackup(destination.to_owned()));
    }
    let names = snapshots_but(&disk, keep.max(1))?;
    for name in &names {
        disk.remove_file(&snapshot::path_of(name))?;
        disk.remove_file(&snapshot::absent_path(name))?;
    }
    // Only now: a snapshot always has its blobs.
    let mut wanted = BTreeSet::new();
    for name in super::snapshots(&disk)? {
        snapshot::read(&disk, &name, &mut |file| {
            wanted.extend(files::names(&file));
            Ok(())
        })?;
    }
    let blobs = Blobs::new(Arc::clone(&disk));
    let mut removed = 0;
    for algorithm in Algorithm::ALL {
        for first_byte in 0..=u8::MAX {
            for digest in blobs.shard(algorithm, first_byte)? {
                if !wanted.contains(&digest) {
                    disk.remove_tree(files::blob_path(&digest).parent().unwrap_or(Path::new("")))?;
                    removed += 1;
                }
            }
        }
    }
    Ok((names.len() as u64, removed))
}

fn snapshots_but(disk: &Disk, keep: usize) -> Result<Vec<String>, BackupError> {
    let mut names = super::snapshots(disk)?;
    names.truncate(names.len().saturating_sub(keep));
    Ok(names)
}
