//! A log outside the data directory that is kept, such as the audit log: lines are appended, and nothing of it
//! is ever rewritten.
//!
//! A full file is given a number behind its name by one rename (`audit.jsonl.000007`), and a new one is begun. Numbers
//! only grow, so that a crash in between can't lose or mix up a file, and whoever reads along knows a file by
//! its name for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{DiskOperation, StorageError};

/// A log that is appended to by one writer.
pub struct LogFile {
    path: PathBuf,
    rotation: LogRotation,
    open: OpenLog,
}

/// When a log is continued in a new file, and what becomes of the old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRotation {
    /// The most bytes of one file, but for a single longer line; `None` where another program rotates.
    pub file_bytes: Option<u64>,
    /// The most full files that are kept; `None` for all.
    pub files_kept: Option<usize>,
}

/// What an append has done besides appending.
#[derive(Debug, Default)]
pub struct LogAppended {
    /// The file that was full, by its new name.
    pub rotated: Option<PathBuf>,
    /// Old files that were removed to make room.
    pub removed: Vec<PathBuf>,
    /// Why the full file couldn't be moved or an old one not be removed. The lines were written all the same.
    pub problem: Option<StorageError>,
}

struct OpenLog {
    file: File,
    /// Device and inode: another program may have moved the file away.
    identity: (u64, u64),
    length: u64,
    /// The file ends in the middle of a line, by a crash or a failed write.
    is_torn: bool,
}

impl LogFile {
    /// Goes on with the log at `path`, or begins one that only its owner may read. Its directory must be there.
    pub fn open(path: &Path, rotation: LogRotation) -> Result<LogFile, StorageError> {
        Ok(LogFile { open: OpenLog::open(path)?, path: path.to_owned(), rotation })
    }

    /// Appends whole lines. They are there for readers, and survive a crash of the process, when this returns; a
    /// loss of power after [`sync`](LogFile::sync).
    ///
    /// A file that another program has moved away or removed is begun anew.
    ///
    /// Errors: the lines are not in the log, or half of the first is, and the next append begins on a line of
    /// its own.
    pub fn append(&mut self, lines: &[u8]) -> Result<LogAppended, StorageError> {
        if self.was_moved()? {
            self.open = OpenLog::open(&self.path)?;
        }
        let mut done = LogAppended::default();
        let is_full = self.rotation.file_bytes.is_some_and(|most| {
            self.open.length > 0 && self.open.length.saturating_add(lines.len() as u64) > most
        });
        if is_full && let Err(error) = self.rotate(&mut done) {
            done.problem = Some(error);
        }
        self.open
            .write(lines)
            .map_err(|source| StorageError::io(DiskOperation::Write, &self.path, source))?;
        Ok(done)
    }

    /// Makes everything durable that was appended.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.open.file.sync_data().map_err(|source| StorageError::io(DiskOperation::Sync, &self.path, source))
    }

    fn was_moved(&self) -> Result<bool, StorageError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino()) != self.open.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) => Err(StorageError::io(DiskOperation::Read, &self.path, source)),
        }
    }

    /// Moves the full file out of the way and begins another.
    #[expect(clippy::disallowed_methods, reason = "this crate is the one that renames")]
    fn rotate(&mut self, done: &mut LogAppended) -> Result<(), StorageError> {
        self.sync()?;
        let number = self.numbered()?.last().map_or(1, |(number, _)| number + 1);
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number:06}"));
        let full = PathBuf::from(name);
        std::fs::rename(&self.path, &full)
            .map_err(|source| StorageError::io(DiskOperation::Rename, &full, source))?;
        self.open = OpenLog::open(&self.path)?;
        let directory = self.directory();
        File::open(directory)
            .and_then(|opened| opened.sync_all())
            .map_err(|source| StorageError::io(DiskOperation::SyncDirectory, directory, source))?;
        done.rotated = Some(full);
        self.remove_oldest(&mut done.removed)
    }

    #[expect(clippy::disallowed_methods, reason = "this crate is the one that unlinks")]
    fn remove_oldest(&self, removed: &mut Vec<PathBuf>) -> Result<(), StorageError> {
        let Some(kept) = self.rotation.files_kept else { return Ok(()) };
        let numbered = self.numbered()?;
        let too_many = numbered.len().saturating_sub(kept);
        for (_, path) in numbered.into_iter().take(too_many) {
            match std::fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StorageError::io(DiskOperation::Remove, &path, source)),
            }
        }
        Ok(())
    }

    /// The full files, oldest first.
    fn numbered(&self) -> Result<Vec<(u64, PathBuf)>, StorageError> {
        let directory = self.directory();
        let failed = |source| StorageError::io(DiskOperation::Read, directory, source);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut numbered = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let entry_name = entry.file_name();
            let number =
                entry_name.to_str().and_then(|entry| entry.strip_prefix(name.as_str())?.strip_prefix('.'));
            // Only names that were made here: not `audit.jsonl.1.gz`, and not logrotate's `audit.jsonl.1`.
            let number =
                number.filter(|text| text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) = number.and_then(|text| text.parse().ok()) {
                numbered.push((number, entry.path()));
            }
        }
        numbered.sort_unstable();
        Ok(numbered)
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

impl OpenLog {
    fn open(path: &Path) -> Result<OpenLog, StorageError> {
        let failed = |source| StorageError::io(DiskOperation::Open, path, source);
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let length = metadata.len();
        let is_torn = match length.checked_sub(1) {
            None => false,
            Some(last) => {
                let mut byte = [0];
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, last).map_err(failed)?;
                byte != *b"\n"
            }
        };
        Ok(OpenLog { identity: (metadata.dev(), metadata.ino()), file, length, is_torn })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.length += 1;
            self.is_torn = false;
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What went through on a full disk is taken back, so that a repetition doubles no line. Where that
                // fails too, the rest of a line stays behind, and a reader passes over it.
                if self.file.set_len(self.length).is_err() {
                    self.length = self.file.metadata().map_or(self.length, |metadata| metadata.len());
                    self.is_torn = true;
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
