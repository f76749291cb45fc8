//! Up to which number a queue's events are done with.
//!
//! Each number is appended and survives the process; it is synced once in a second, so that a loss of power
//! brings back a second's events, which are then sent again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_storage::{Appended, Disk, StorageError};

use super::line;

/// When the file is begun anew.
const LONGEST: u64 = 64 << 10;

/// How long a number may be volatile.
const SYNCED_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Cursor {
    path: PathBuf,
    position: u64,
    file: Option<Appended>,
    synced: Instant,
}

impl Cursor {
    /// Reads where an earlier process has come to. A file that tells nothing is one that was never written: then
    /// whatever lies in the queue is sent.
    pub(super) fn open(disk: &Arc<Disk>, path: &Path) -> Result<Cursor, StorageError> {
        let bytes = disk.read(path, LONGEST * 2)?.unwrap_or_default();
        let numbers = bytes.split(|byte| *byte == b'\n').filter_map(line::read).map(|line| line.number);
        let position = numbers.max().unwrap_or(0);
        let mut cursor = Cursor { path: path.to_owned(), position, file: None, synced: Instant::now() };
        if !bytes.is_empty() {
            cursor.begin_anew(disk)?;
        }
        Ok(cursor)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn note(&mut self, disk: &Arc<Disk>, number: u64) -> Result<(), StorageError> {
        self.position = self.position.max(number);
        let usable = self.file.as_ref().is_some_and(|file| file.is_sound() && file.length() < LONGEST);
        if !usable {
            return self.begin_anew(disk);
        }
        let mut line = Vec::new();
        line::write(&mut line, self.position, 0, b"");
        if let Some(file) = &mut self.file {
            file.append(&line)?;
        }
        if self.synced.elapsed() >= SYNCED_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.synced = Instant::now();
        self.file.as_ref().map_or(Ok(()), |file| file.durable().sync())
    }

    /// One line, whole or not at all: what was torn before it goes.
    fn begin_anew(&mut self, disk: &Arc<Disk>) -> Result<(), StorageError> {
        self.file = None;
        let mut line = Vec::new();
        line::write(&mut line, self.position, 0, b"");
        disk.put(&self.path, &line)?;
        self.file = Some(Appended::open(disk, &self.path)?);
        self.synced = Instant::now();
        Ok(())
    }
}
