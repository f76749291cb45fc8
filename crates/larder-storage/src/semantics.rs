//! What a file system does with the operations that durability stands on: tried, not read off its name.
//!
//! Some mounts take every call and do something else: a network share on which a rename isn't seen at once, a FUSE file
//! system that refuses to sync a directory, a disk of a Mac that takes `App` for `app`. A registry on such a place loses
//! pushes long after it was set up, so it is worth a look before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{DiskOperation, StorageError};

/// What is measured: one small layer's worth of syncs, several times, as the first may find everything idle.
const SYNCS: u32 = 5;

/// What was seen on the file system of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semantics {
    /// What kind it is, as far as it matters.
    pub kind: FileSystem,
    /// A file that is moved over another one takes its place, with its own content and number.
    pub rename_replaces: bool,
    /// A moved file is in the next listing of its directory, and its old name isn't.
    pub rename_is_seen: bool,
    /// Files can be synced; why not.
    pub sync_file: Result<(), String>,
    /// Directories can be synced; why not.
    pub sync_directory: Result<(), String>,
    /// `A` and `a` are two files.
    pub tells_case_apart: bool,
    /// Names as long as a digest's can be, and with the characters that repositories and uploads have.
    pub takes_names: Result<(), String>,
    /// Two processes can't both have one file locked; why that can't be said.
    pub locks: Result<(), String>,
    /// How long a small file takes until it is durable under its name: the median of several.
    pub durable_in: Duration,
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes that there are in all.
    pub total_bytes: u64,
    /// Files that can still be made, of how many; `None` where the file system doesn't count them.
    pub free_files: Option<(u64, u64)>,
}

/// Kinds of file system that a registry's operator should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// On a disk of this machine, or unknown.
    Local,
    /// NFS, SMB, or the like: other machines may change it, and locks are what the server makes of them.
    Network(&'static str),
    /// In memory: gone with the machine or the container.
    Memory,
    /// A container's own layer: gone with the container.
    ContainerLayer,
}

/// The numbers by which file systems name themselves (`statfs(2)`).
const NAMED: &[(u64, FileSystem)] = &[
    (0x6969, FileSystem::Network("NFS")),
    (0xff53_4d42, FileSystem::Network("SMB")),
    (0xfe53_4d42, FileSystem::Network("SMB")),
    (0x517b, FileSystem::Network("SMB")),
    (0x0102_1997, FileSystem::Network("9p")),
    (0x00c3_6400, FileSystem::Network("Ceph")),
    (0x0102_1994, FileSystem::Memory),
    (0x8584_58f6, FileSystem::Memory),
    (0x794c_7630, FileSystem::ContainerLayer),
];

/// Tries everything in a directory of its own below the data directory, and takes that away again. A server that works
/// on the directory isn't disturbed.
///
/// # Errors
/// The data directory isn't there, or nothing can be written to it. What works otherwise than it should is no error.
pub fn try_semantics(root: &Path) -> Result<Semantics, StorageError> {
    let read = |source| StorageError::io(DiskOperation::Read, root, source);
    let room = rustix::fs::statvfs(root).map_err(|errno| read(errno.into()))?;
    let kind = rustix::fs::statfs(root).map_err(|errno| read(errno.into()))?;
    let ground = Ground::make(root)?;
    let failed = |source| StorageError::io(DiskOperation::Write, &ground.0, source);
    let counts_files = room.f_files > 0;
    Ok(Semantics {
        kind: kind_of(u64::try_from(kind.f_type).unwrap_or_default()),
        rename_replaces: ground.rename_replaces().map_err(failed)?,
        rename_is_seen: ground.rename_is_seen().map_err(failed)?,
        sync_file: ground.sync_file().map_err(|error| error.to_string()),
        sync_directory: ground.sync_directory().map_err(|error| error.to_string()),
        tells_case_apart: ground.tells_case_apart().map_err(failed)?,
        takes_names: ground.takes_names(),
        locks: ground.locks(),
        durable_in: ground.durable_in().map_err(failed)?,
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        free_files: counts_files.then_some((room.f_favail, room.f_files)),
    })
}

fn kind_of(number: u64) -> FileSystem {
    // The number is sign-extended on some machines.
    let number = number & 0xffff_ffff;
    NAMED.iter().find(|(known, _)| *known == number).map_or(FileSystem::Local, |(_, kind)| *kind)
}

/// The directory in which it is tried; taken away when dropped.
struct Ground(PathBuf);

impl Ground {
    fn make(root: &Path) -> Result<Ground, StorageError> {
        let path = root.join(format!("larder/trial-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path)
            .map_err(|source| StorageError::io(DiskOperation::CreateDirectory, &path, source))?;
        Ok(Ground(path))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(self.0.join(name))?;
        file.write_all(content)?;
        Ok(file)
    }

    #[expect(clippy::disallowed_methods, reason = "what renames do here is the question")]
    fn rename_replaces(&self) -> io::Result<bool> {
        self.write("old", b"old")?;
        let new = self.write("new", b"new")?.metadata()?;
        fs::rename(self.0.join("new"), self.0.join("old"))?;
        let there = fs::metadata(self.0.join("old"))?;
        Ok(fs::read(self.0.join("old"))? == b"new" && there.ino() == new.ino())
    }

    #[expect(clippy::disallowed_methods, reason = "what renames do here is the question")]
    fn rename_is_seen(&self) -> io::Result<bool> {
        self.write("before", b"")?;
        fs::rename(self.0.join("before"), self.0.join("after"))?;
        let names: Vec<_> =
            fs::read_dir(&self.0)?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
        Ok(names.iter().any(|name| name == "after") && !names.iter().any(|name| name == "before"))
    }

    fn sync_file(&self) -> io::Result<()> {
        self.write("synced", b"x")?.sync_all()
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn tells_case_apart(&self) -> io::Result<bool> {
        self.write("case", b"lower")?;
        self.write("CASE", b"upper")?;
        Ok(fs::read(self.0.join("case"))? == b"lower")
    }

    fn takes_names(&self) -> Result<(), String> {
        let longest = format!("_{}", "a".repeat(127));
        for name in [longest.as_str(), "sha256:0", "a__b-c.d", "00000000-0000-4000-8000-000000000000"] {
            self.write(name, b"").map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }

    fn locks(&self) -> Result<(), String> {
        let words = |error: io::Error| error.to_string();
        let first = self.write("lock", b"").map_err(words)?;
        first.try_lock().map_err(|error| error.to_string())?;
        let second = File::open(self.0.join("lock")).map_err(words)?;
        match second.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Ok(()),
            Err(fs::TryLockError::Error(error)) => Err(error.to_string()),
            Ok(()) => Err("a second one took the lock that the first one held".to_owned()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what renames cost here is the question")]
    fn durable_in(&self) -> io::Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let begun = Instant::now();
            // A file system that syncs nothing is told of elsewhere.
            let _ = self.write("staged", &[7; 4096])?.sync_all();
            fs::rename(self.0.join("staged"), self.0.join("placed"))?;
            let _ = self.sync_directory();
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    }
}

impl Drop for Ground {
    #[expect(clippy::disallowed_methods, reason = "it made the directory, and nothing else knows of it")]
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
