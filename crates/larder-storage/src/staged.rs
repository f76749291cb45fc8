use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_oci::{Algorithm, Digest, Hasher};
use rustix::fs::FallocateFlags;

use crate::disk::{Disk, Stat};
use crate::error::{DiskOperation, StorageError};

/// How much is read at a time when a half-done upload is hashed again.
const REHASH_BUFFER: usize = 1 << 20;

/// How much room is asked of the file system at a time for bytes that are announced. A client may announce what it
/// likes: more than this it has to send first.
const ROOM: u64 = 64 << 20;

/// What is announced below this is written at once, and asking for its room would cost more than it saves.
const WORTH_ASKING: u64 = 1 << 20;

/// A file that grows and is hashed as it grows, not yet published.
///
/// Writing and hashing take about as long as each other, so they can be done by two threads: what
/// [`write`](Staged::write) gives is hashed by whoever has time, while the next is written.
pub struct Staged {
    disk: Arc<Disk>,
    path: PathBuf,
    file: File,
    hashed: Arc<Mutex<Hashed>>,
    algorithm: Algorithm,
    length: u64,
    /// How long the file will be, by what its writer has announced.
    announced: u64,
    /// How long it can become without asking for room.
    roomy: u64,
    /// Room was asked for and could not be had.
    asked_in_vain: bool,
    /// The file after this process's last write: another one means that somebody else has written it.
    last_seen: Stat,
}

/// How far a file has been hashed.
struct Hashed {
    hasher: Hasher,
    length: u64,
}

/// Bytes that were written to a [`Staged`] file and not yet hashed, in pieces. They must be hashed in the order in which
/// they were written: otherwise the file is read once more when it is published.
#[must_use = "what is not hashed is read again"]
pub struct Unhashed<Piece> {
    hashed: Arc<Mutex<Hashed>>,
    from: u64,
    pieces: Vec<Piece>,
}

impl<Piece: AsRef<[u8]>> Unhashed<Piece> {
    /// How many bytes they are.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(|piece| piece.as_ref().len()).sum()
    }

    /// Hashes them.
    pub fn hash(self) {
        let mut hashed = lock(&self.hashed);
        if hashed.length == self.from {
            for piece in &self.pieces {
                hashed.update(piece.as_ref());
            }
        }
    }
}

impl Hashed {
    fn begin(algorithm: Algorithm) -> Hashed {
        Hashed { hasher: Hasher::new(algorithm), length: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }
}

fn lock(hashed: &Mutex<Hashed>) -> MutexGuard<'_, Hashed> {
    // Whoever panicked has not counted what he may have hashed.
    hashed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Staged {
    /// A new, empty file at `path`.
    pub fn create(disk: &Arc<Disk>, path: &Path, algorithm: Algorithm) -> Result<Staged, StorageError> {
        disk.create_directory_volatile(path.parent().unwrap_or(Path::new("")))?;
        let file = disk.create_file(path)?;
        let last_seen = stat(disk, path, &file)?;
        Ok(Staged {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            file,
            hashed: Arc::new(Mutex::new(Hashed::begin(algorithm))),
            algorithm,
            length: 0,
            announced: 0,
            roomy: 0,
            asked_in_vain: false,
            last_seen,
        })
    }

    /// Goes on with the file at `path`; what it holds is read once, to be hashed. `None` if there is none.
    pub fn reopen(
        disk: &Arc<Disk>,
        path: &Path,
        algorithm: Algorithm,
    ) -> Result<Option<Staged>, StorageError> {
        let Some((mut reader, last_seen)) = disk.open_file(path)? else { return Ok(None) };
        let full = disk.root().join(path);
        let failed = |source| StorageError::io(DiskOperation::Read, &full, source);
        let mut hashed = Hashed::begin(algorithm);
        let mut buffer = vec![0; REHASH_BUFFER];
        loop {
            let read = reader.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hashed.update(buffer.get(..read).unwrap_or_default());
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&full)
            .map_err(|source| StorageError::io(DiskOperation::Open, &full, source))?;
        let length = hashed.length;
        Ok(Some(Staged {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            file,
            hashed: Arc::new(Mutex::new(hashed)),
            algorithm,
            length,
            announced: length,
            roomy: length,
            asked_in_vain: false,
            last_seen,
        }))
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The algorithm that the bytes are hashed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the bytes so far are this content. `false` too if not all of them have been hashed.
    pub fn hashes_to(&self, digest: &Digest) -> bool {
        self.is_hashed() && self.found() == *digest
    }

    /// Says that so many bytes are about to come, so that the file system can lay them out in one piece. Only a hint:
    /// fewer or more may come.
    pub fn announce(&mut self, bytes: u64) {
        self.announced = self.length.saturating_add(bytes);
    }

    /// Takes in the next bytes. After an error the file may hold some of them: go on only by
    /// [`reopen`](Staged::reopen), which looks.
    ///
    /// # Errors
    /// Also when what is announced can't fit: then none of it is written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.make_room(bytes.len() as u64)?;
        // Hashed first: then they lie in the processor's cache when the kernel copies them.
        let mut hashed = lock(&self.hashed);
        if hashed.length == self.length {
            hashed.update(bytes);
        }
        drop(hashed);
        self.put(bytes)?;
        self.last_seen = stat(&self.disk, &self.path, &self.file)?;
        Ok(())
    }

    /// Takes in the next bytes without hashing them: that is left to whoever gets what this gives. After an error as
    /// with [`append`](Staged::append).
    pub fn write<Piece: AsRef<[u8]>>(&mut self, pieces: Vec<Piece>) -> Result<Unhashed<Piece>, StorageError> {
        let from = self.length;
        self.make_room(pieces.iter().map(|piece| piece.as_ref().len() as u64).sum())?;
        for piece in &pieces {
            self.put(piece.as_ref())?;
        }
        self.last_seen = stat(&self.disk, &self.path, &self.file)?;
        Ok(Unhashed { hashed: Arc::clone(&self.hashed), from, pieces })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let needed = self.announced.saturating_sub(self.length).max(bytes.len() as u64);
        self.disk.write_of(&mut self.file, &self.path, bytes, needed)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file is still the one, and as, this process has left it: only then is the hash that
    /// was kept along the hash of what lies there.
    pub fn is_untouched(&self) -> Result<bool, StorageError> {
        Ok(self.disk.stat(&self.path)? == Some(self.last_seen))
    }

    /// Asks for the room of what is announced, a stretch at a time. That it can't be asked for on this file system is no
    /// error; that all of it can't be had is one at once, before gigabytes have come in vain.
    fn make_room(&mut self, coming: u64) -> Result<(), StorageError> {
        let missing = self.announced.saturating_sub(self.roomy);
        if self.asked_in_vain || self.length + coming <= self.roomy || missing < WORTH_ASKING {
            return Ok(());
        }
        if missing > self.disk.free_at_most()? {
            return Err(self.too_little_room(missing, io::ErrorKind::StorageFull.into()));
        }
        let room = missing.min(ROOM);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.roomy, room) {
            Ok(()) => self.roomy += room,
            Err(errno) if is_full(errno) => return Err(self.too_little_room(missing, errno.into())),
            Err(_) => self.asked_in_vain = true,
        }
        Ok(())
    }

    fn too_little_room(&self, needed: u64, source: io::Error) -> StorageError {
        let (root, path) = (self.disk.root(), self.disk.root().join(&self.path));
        StorageError::io_in(DiskOperation::Write, &path, root, Some(needed), source)
    }

    /// Makes sure that so many further bytes fit on the disk. Where little is free they are asked of the file system, which
    /// alone knows what it sets aside and for whom.
    ///
    /// # Errors
    /// They don't fit, and how many are free.
    pub fn require_room(&mut self, bytes: u64) -> Result<(), StorageError> {
        let free = self.disk.free()?;
        if bytes.saturating_add(ROOM) <= free || bytes == 0 {
            return Ok(());
        }
        if self.disk.pretended_free().is_some_and(|free| bytes > free) {
            return Err(self.too_little_room(bytes, io::ErrorKind::StorageFull.into()));
        }
        let from = self.roomy.max(self.length);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, bytes) {
            Ok(()) => {
                self.roomy = from + bytes;
                Ok(())
            }
            Err(errno) if is_full(errno) => Err(self.too_little_room(bytes, errno.into())),
            Err(_) if bytes <= free => Ok(()),
            Err(_) => Err(self.too_little_room(bytes, io::ErrorKind::StorageFull.into())),
        }
    }

    /// Gives back the room of what was announced and didn't come.
    fn give_back_room(&self) -> Result<(), StorageError> {
        if self.roomy <= self.length {
            return Ok(());
        }
        let full = self.disk.root().join(&self.path);
        self.file.set_len(self.length).map_err(|source| StorageError::io(DiskOperation::Write, &full, source))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether all of the bytes have been hashed.
    pub(crate) fn is_hashed(&self) -> bool {
        lock(&self.hashed).length == self.length
    }

    /// What the bytes hash to, as far as they have been hashed.
    pub(crate) fn found(&self) -> Digest {
        lock(&self.hashed).hasher.clone().finish()
    }

    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.give_back_room()?;
        self.disk.sync_file(&self.file, &self.path)
    }
}

fn is_full(errno: rustix::io::Errno) -> bool {
    matches!(errno, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)
}

fn stat(disk: &Disk, path: &Path, file: &File) -> Result<Stat, StorageError> {
    file.metadata()
        .map(|metadata| Stat::of(&metadata))
        .map_err(|source| StorageError::io(DiskOperation::Read, &disk.root().join(path), source))
}

#[cfg(test)]
mod tests;
