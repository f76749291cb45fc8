use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::directory_syncs::DirectorySyncs;
use crate::error::{DiskOperation, StorageError};
use crate::hook::{DiskHook, Mutation};
use crate::names::Names;
use crate::root::{self, RootLock, STAGING};

/// How many directories are remembered as durable. At about 150 bytes each this stays below 10 MB;
/// when it is full it starts over, which costs some extra syncs and nothing else.
const REMEMBERED_DIRECTORIES: usize = 50_000;

/// The data directory: the root below which every path of this crate lies.
pub struct Disk {
    root: PathBuf,
    syncs: DirectorySyncs,
    /// Directories of which this process knows that they and their names are on disk.
    durable: Mutex<BTreeSet<PathBuf>>,
    hook: Option<Arc<dyn DiskHook>>,
    /// Shared by whoever puts a file in its place; excluded while one is looked at and moved aside.
    pub(crate) placing: RwLock<()>,
    /// Without it nothing may be changed.
    pub(crate) lock: Option<RootLock>,
}

/// What is known of a file or directory without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub size: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Last change of its content, nanoseconds since 1970.
    pub modified_nanoseconds: i64,
    /// Its number in the file system: another one after it was replaced.
    pub inode: u64,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name. Names that aren't UTF-8 are not listed: nothing of ours or distribution's has one.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it is a symbolic link to something that isn't there: a disk that isn't mounted, perhaps.
    pub leads_nowhere: bool,
}

impl Disk {
    /// Opens the data directory, creating it if need be, and takes its lock: one process at a time.
    pub fn open(root: &Path) -> Result<Disk, StorageError> {
        Disk::open_with(root, None)
    }

    /// As [`open`](Disk::open), with a test's hook on every mutation.
    pub fn open_with(root: &Path, hook: Option<Arc<dyn DiskHook>>) -> Result<Disk, StorageError> {
        root::create(root)?;
        let lock = root::lock(root)?;
        let disk = Disk::over(root, hook, Some(lock));
        disk.empty_staging()?;
        Ok(disk)
    }

    pub(crate) fn over(root: &Path, hook: Option<Arc<dyn DiskHook>>, lock: Option<RootLock>) -> Disk {
        let (syncs, durable, placing) = (DirectorySyncs::default(), Mutex::default(), RwLock::default());
        Disk { root: root.to_owned(), syncs, durable, hook, placing, lock }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    // Reading.

    /// What is at `path`, or `None` if nothing is.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>, StorageError> {
        let path = self.root.join(path);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Stat::of(&metadata))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(StorageError::io(DiskOperation::Read, &path, source)),
        }
    }

    /// The whole of a small file, or `None` if there is none. More than `limit` bytes are an error.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.read_and_keep_open(path, limit)?.map(|(bytes, _)| bytes))
    }

    /// As [`read`](Disk::read), with the file that the bytes were read from.
    pub(crate) fn read_and_keep_open(
        &self,
        path: &Path,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, File)>, StorageError> {
        let Some((mut file, stat)) = self.open_file(path)? else { return Ok(None) };
        let path = self.root.join(path);
        if stat.size > limit {
            return Err(StorageError::TooLarge { path, size: stat.size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or_default());
        file.read_to_end(&mut bytes)
            .map_err(|source| StorageError::io(DiskOperation::Read, &path, source))?;
        Ok(Some((bytes, file)))
    }

    /// A file opened for reading, or `None` if there is none. What is neither a file nor a directory is an error: nobody
    /// waits at a named pipe for its other end.
    pub fn open_file(&self, path: &Path) -> Result<Option<(File, Stat)>, StorageError> {
        let path = self.root.join(path);
        let failed = |source| StorageError::io(DiskOperation::Open, &path, source);
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() && !metadata.is_dir() {
                    let words = "it is neither a file nor a directory; remove it, or put back the file that was there";
                    return Err(failed(io::Error::new(io::ErrorKind::InvalidData, words)));
                }
                Ok(metadata.is_file().then(|| (file, Stat::of(&metadata))))
            }
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// What a directory holds, in no particular order; `None` if there is no such directory.
    pub fn list(&self, path: &Path) -> Result<Option<Vec<Entry>>, StorageError> {
        let path = self.root.join(path);
        let failed = |source| StorageError::io(DiskOperation::Read, &path, source);
        let listing = match std::fs::read_dir(&path) {
            Ok(listing) => listing,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            // A symbolic link counts as what it points at: people link repositories to other disks.
            let (is_directory, leads_nowhere) = if kind.is_symlink() {
                let target = self.stat(&path.join(entry.file_name()))?;
                (target.is_some_and(|stat| stat.is_directory), target.is_none())
            } else {
                (kind.is_dir(), false)
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_directory, leads_nowhere });
            }
        }
        Ok(Some(entries))
    }

    // Writing, durably.

    /// Writes a file, whole or not at all; durable when this returns. Gives its new [`Stat`].
    pub fn put(&self, path: &Path, bytes: &[u8]) -> Result<Stat, StorageError> {
        let mut stats = self.put_all(&[(path, bytes)])?;
        stats.pop().ok_or_else(|| {
            StorageError::io(DiskOperation::Write, path, io::Error::other("nothing was written"))
        })
    }

    /// Writes several files that may appear in any order; all are durable when this returns.
    /// Cheaper than one after the other: a directory that names several is synced once.
    pub fn put_all(&self, files: &[(&Path, &[u8])]) -> Result<Vec<Stat>, StorageError> {
        let files: Vec<_> = files.iter().map(|(path, bytes)| (*path, *bytes, None)).collect();
        self.put_all_dated(&files)
    }

    /// As [`put_all`](Disk::put_all); where there is one, a file's last change is set to this many nanoseconds since 1970.
    pub fn put_all_dated(&self, files: &[(&Path, &[u8], Option<i64>)]) -> Result<Vec<Stat>, StorageError> {
        let mut stats = Vec::with_capacity(files.len());
        let mut names = Names::default();
        for (path, bytes, modified) in files {
            let (staged, stat) = self.stage(bytes, *modified)?;
            self.place(&staged, path, &mut names).inspect_err(|_| self.discard(&staged))?;
            stats.push(stat);
        }
        self.sync_names(names)?;
        Ok(stats)
    }

    /// Moves a synced file to `path`; durable when this returns.
    pub(crate) fn publish(&self, from: &Path, path: &Path) -> Result<(), StorageError> {
        let mut names = Names::default();
        self.place(from, path, &mut names)?;
        self.sync_names(names)
    }

    /// Renames a file to its place, whose directory is made with its ancestors. Nothing of that is durable before
    /// [`sync_names`](Disk::sync_names).
    fn place(&self, from: &Path, path: &Path, names: &mut Names) -> Result<(), StorageError> {
        let _placing = self.placing.read().unwrap_or_else(PoisonError::into_inner);
        let parent = path.parent().unwrap_or(Path::new(""));
        names.change(parent);
        match self.make_directories(parent, names).and_then(|()| self.rename(from, path)) {
            Err(StorageError::Io { source, .. }) if is_absence(&source) => {
                // Somebody else removed a directory that this process remembered: make it again.
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
                names.made.clear();
                self.make_directories(parent, names)?;
                self.rename(from, path)
            }
            placed => placed,
        }
    }

    /// Unlinks a file; durable when this returns. `false` if there was none.
    pub fn remove_file(&self, path: &Path) -> Result<bool, StorageError> {
        let removed = self.unlink(path)?;
        if removed {
            self.sync_directory(path.parent().unwrap_or(Path::new("")))?;
        }
        Ok(removed)
    }

    /// Removes a directory and all that is in it; durable when this returns. `false` if there was none.
    ///
    /// The directory is first moved out of the way, so that it vanishes in one step.
    pub fn remove_tree(&self, path: &Path) -> Result<bool, StorageError> {
        if self.stat(path)?.is_none() {
            return Ok(false);
        }
        self.forget_durable(path);
        let grave = self.staging_path();
        self.rename(path, &grave)?;
        self.sync_directory(path.parent().unwrap_or(Path::new("")))?;
        // What is left in the staging directory is garbage: the next start clears it.
        let _ = self.clear(&grave);
        Ok(true)
    }

    /// Removes a directory if it is empty, without waiting for the disk: tidying up, nothing more. Gives whether it did.
    pub fn remove_directory_if_empty(&self, path: &Path) -> bool {
        let full = self.root.join(path);
        let removed =
            self.announce(Mutation::RemoveDirectory(&full)).is_ok() && std::fs::remove_dir(&full).is_ok();
        if removed {
            self.forget_durable(path);
            self.done(Mutation::RemoveDirectory(&full));
        }
        removed
    }

    // The steps. Each announces itself to the hook.

    pub(crate) fn create_file(&self, path: &Path) -> Result<File, StorageError> {
        let full = self.root.join(path);
        let failed = |source| self.failed(DiskOperation::CreateFile, &full, source);
        self.announce(Mutation::CreateFile(&full)).map_err(failed)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&full).map_err(failed)?;
        self.done(Mutation::CreateFile(&full));
        Ok(file)
    }

    pub(crate) fn write_all(&self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        self.write_of(file, path, bytes, bytes.len() as u64)
    }

    /// As [`write_all`](Disk::write_all), for bytes that are a part of `needed` which are to come.
    pub(crate) fn write_of(
        &self,
        file: &mut File,
        path: &Path,
        bytes: &[u8],
        needed: u64,
    ) -> Result<(), StorageError> {
        let full = self.root.join(path);
        let failed =
            |source| StorageError::io_in(DiskOperation::Write, &full, &self.root, Some(needed), source);
        let mut rest = bytes;
        while !rest.is_empty() {
            let mutation = Mutation::Write { path: &full, length: rest.len() };
            let allowed = self.announce(mutation).map_err(failed)?;
            let piece = rest.get(..allowed.min(rest.len())).unwrap_or(rest);
            let written = match file.write(piece) {
                Ok(0) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(failed(source)),
            };
            self.done(Mutation::Write { path: &full, length: written });
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> Result<(), StorageError> {
        let full = self.root.join(path);
        let failed = |source| self.failed(DiskOperation::Sync, &full, source);
        self.announce(Mutation::SyncFile(&full)).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        self.done(Mutation::SyncFile(&full));
        Ok(())
    }

    /// Runs a sync of one file, shared by all who ask for it at the same time.
    pub(crate) fn sync_shared(
        &self,
        path: &Path,
        sync: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.syncs.sync(&self.root.join(path), sync)
    }

    pub(crate) fn sync_directory(&self, path: &Path) -> Result<(), StorageError> {
        let full = self.root.join(path);
        let failed = |source| self.failed(DiskOperation::SyncDirectory, &full, source);
        self.syncs.sync(&full, || {
            self.announce(Mutation::SyncDirectory(&full)).map_err(failed)?;
            File::open(&full).and_then(|directory| directory.sync_all()).map_err(failed)?;
            self.done(Mutation::SyncDirectory(&full));
            Ok(())
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that renames")]
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        let (from, to) = (self.root.join(from), self.root.join(to));
        let failed = |source| self.failed(DiskOperation::Rename, &to, source);
        self.announce(Mutation::Rename { from: &from, to: &to }).map_err(failed)?;
        std::fs::rename(&from, &to).map_err(failed)?;
        self.done(Mutation::Rename { from: &from, to: &to });
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that unlinks")]
    pub(crate) fn unlink(&self, path: &Path) -> Result<bool, StorageError> {
        let full = self.root.join(path);
        let failed = |source| StorageError::io(DiskOperation::Remove, &full, source);
        self.announce(Mutation::RemoveFile(&full)).map_err(failed)?;
        match std::fs::remove_file(&full) {
            Ok(()) => {
                self.done(Mutation::RemoveFile(&full));
                Ok(true)
            }
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    pub(crate) fn make_directory(&self, path: &Path) -> Result<(), StorageError> {
        let full = self.root.join(path);
        let failed = |source| self.failed(DiskOperation::CreateDirectory, &full, source);
        self.announce(Mutation::CreateDirectory(&full)).map_err(failed)?;
        match std::fs::create_dir(&full) {
            Ok(()) => {
                self.done(Mutation::CreateDirectory(&full));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes everything below and at `path`, leaves first. A symbolic link is removed itself: what
    /// it points at is not ours to remove.
    pub(crate) fn clear(&self, path: &Path) -> Result<(), StorageError> {
        let full = self.root.join(path);
        let failed = |source| StorageError::io(DiskOperation::Remove, &full, source);
        match std::fs::symlink_metadata(&full) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return self.unlink(path).map(|_| ()),
            Err(error) if is_absence(&error) => return Ok(()),
            Err(source) => return Err(failed(source)),
        }
        for entry in self.list(path)?.unwrap_or_default() {
            self.clear(&path.join(&entry.name))?;
        }
        self.announce(Mutation::RemoveDirectory(&full)).map_err(failed)?;
        match std::fs::remove_dir(&full) {
            Ok(()) => self.done(Mutation::RemoveDirectory(&full)),
            Err(error) if is_absence(&error) => {}
            Err(source) => return Err(failed(source)),
        }
        self.forget_durable(path);
        Ok(())
    }

    /// A synced file in the staging directory, to be renamed.
    pub(crate) fn stage(&self, bytes: &[u8], modified: Option<i64>) -> Result<(PathBuf, Stat), StorageError> {
        let path = self.staging_path();
        let written = self.create_file(&path).and_then(|mut file| {
            self.write_all(&mut file, &path, bytes)?;
            if let Some(nanoseconds) = modified.and_then(|modified| u64::try_from(modified).ok()) {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
                    .map_err(|source| StorageError::io(DiskOperation::Write, &path, source))?;
            }
            self.sync_file(&file, &path)?;
            let metadata =
                file.metadata().map_err(|source| StorageError::io(DiskOperation::Read, &path, source))?;
            Ok(Stat::of(&metadata))
        });
        match written {
            Ok(stat) => Ok((path, stat)),
            Err(error) => {
                self.discard(&path);
                Err(error)
            }
        }
    }

    /// Clears up after a failure; a file that can't be removed now is cleared at the next start.
    pub(crate) fn discard(&self, path: &Path) {
        let _ = self.unlink(path);
    }

    pub(crate) fn staging_path(&self) -> PathBuf {
        Path::new(STAGING).join(format!("{:032x}", rand::random::<u128>()))
    }

    fn empty_staging(&self) -> Result<(), StorageError> {
        let staging = Path::new(STAGING);
        for entry in self.list(staging)?.unwrap_or_default() {
            self.clear(&staging.join(&entry.name))?;
        }
        Ok(())
    }

    pub(crate) fn is_durable(&self, path: &Path) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    pub(crate) fn remember_durable(&self, path: &Path) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED_DIRECTORIES {
            durable.clear();
        }
        durable.insert(path.to_owned());
    }

    fn forget_durable(&self, path: &Path) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        // Paths are ordered part by part: what lies below one follows right after it.
        let below: Vec<PathBuf> =
            durable.range(path.to_owned()..).take_while(|known| known.starts_with(path)).cloned().collect();
        for known in &below {
            durable.remove(known);
        }
    }

    /// A failure below the data directory.
    pub(crate) fn failed(&self, operation: DiskOperation, full: &Path, source: io::Error) -> StorageError {
        StorageError::io_in(operation, full, &self.root, None, source)
    }

    fn announce(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let Some(lock) = &self.lock else { return Err(io::ErrorKind::ReadOnlyFilesystem.into()) };
        // What makes a name. All else is done to a file that has one.
        if matches!(mutation, Mutation::Rename { .. } | Mutation::CreateDirectory(_)) {
            lock.confirm()?;
        }
        self.hook.as_ref().map_or(Ok(usize::MAX), |hook| hook.before(mutation))
    }

    /// What a test says is free at most.
    pub(crate) fn pretended_free(&self) -> Option<u64> {
        self.hook.as_ref().and_then(|hook| hook.free())
    }

    fn done(&self, mutation: Mutation<'_>) {
        if let Some(hook) = &self.hook {
            hook.after(mutation);
        }
    }
}

impl Stat {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Stat {
        Stat {
            size: metadata.len(),
            is_directory: metadata.is_dir(),
            modified_nanoseconds: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// Nothing there, also because something on the way is a file.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
