//! Hands on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_storage::hook::{DiskHook, Mutation};

/// What a mutation does, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    CreateDirectory,
    CreateFile,
    Write,
    SyncFile,
    Rename,
    SyncDirectory,
    Remove,
}

pub(crate) fn kind(mutation: Mutation<'_>) -> (Kind, &Path) {
    match mutation {
        Mutation::CreateDirectory(path) => (Kind::CreateDirectory, path),
        Mutation::CreateFile(path) => (Kind::CreateFile, path),
        Mutation::Write { path, .. } => (Kind::Write, path),
        Mutation::SyncFile(path) => (Kind::SyncFile, path),
        Mutation::Rename { to, .. } => (Kind::Rename, to),
        Mutation::SyncDirectory(path) => (Kind::SyncDirectory, path),
        Mutation::RemoveFile(path) | Mutation::RemoveDirectory(path) => (Kind::Remove, path),
    }
}

pub(crate) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(crate) fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

/// Remembers every mutation.
#[derive(Default)]
pub(crate) struct Recorder {
    seen: Mutex<Vec<(Kind, PathBuf)>>,
}

impl Recorder {
    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<(Kind, PathBuf)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl DiskHook for Recorder {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let (kind, path) = kind(mutation);
        self.seen.lock().unwrap().push((kind, path.to_owned()));
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

/// Stops the world at the n-th mutation, as `kill -9` does: it and all later ones don't happen. A
/// write is torn: its first half happens.
pub(crate) struct Stop {
    at: usize,
    seen: AtomicUsize,
}

impl Stop {
    pub(crate) fn at(at: usize) -> Stop {
        Stop { at, seen: AtomicUsize::new(0) }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.at
    }
}

impl DiskHook for Stop {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        match mutation {
            _ if number < self.at => Ok(usize::MAX),
            Mutation::Write { length, .. } if number == self.at && length > 1 => Ok(length / 2),
            _ => Err(eio()),
        }
    }

    fn after(&self, _: Mutation<'_>) {}
}

/// What goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    NoSpace,
    Io,
    ShortWrite,
}

/// One fault at the n-th mutation; before and after it the disk is well.
pub(crate) struct Fault {
    at: usize,
    trouble: Trouble,
    seen: AtomicUsize,
    hit: Mutex<Option<(Kind, PathBuf)>>,
}

impl Fault {
    pub(crate) fn at(at: usize, trouble: Trouble) -> Fault {
        Fault { at, trouble, seen: AtomicUsize::new(0), hit: Mutex::default() }
    }

    /// The mutation that failed, once it has.
    pub(crate) fn hit(&self) -> Option<(Kind, PathBuf)> {
        self.hit.lock().unwrap().clone()
    }
}

impl DiskHook for Fault {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Ok(usize::MAX);
        }
        let (kind, path) = kind(mutation);
        *self.hit.lock().unwrap() = Some((kind, path.to_owned()));
        match (self.trouble, mutation) {
            (Trouble::ShortWrite, Mutation::Write { length, .. }) => Ok((length / 2).max(1)),
            (Trouble::NoSpace, _) => Err(enospc()),
            (Trouble::Io | Trouble::ShortWrite, _) => Err(eio()),
        }
    }

    fn after(&self, _: Mutation<'_>) {}
}
