//! Room that the index keeps for itself, so that its rows can be written while the disk is full: what is deleted then must
//! leave the index before the collector may take it away, and only that makes room.
//!
//! A change is appended to the journal and later carried into the file. So the journal's room is asked of the file system
//! beforehand, and the file holds pages that nobody uses.

use std::fs::File;

use rustix::fs::FallocateFlags;

use super::{Index, lock};
use crate::error::MetaError;

/// The journal is carried into the file when it has a thousand pages, 4 MiB, and begins anew; twice that is enough also
/// while somebody reads on and it can't.
const JOURNAL: u64 = 8 << 20;

/// What readers share of a journal of that length. It is mapped into memory: a page of it for which the disk has no room
/// when it is first touched would end the process.
const SHARED: u64 = 32 << 10;

/// What the file may grow by: the rows of some ten thousand manifests.
const SPARE: i64 = 2 << 20;

/// Below so many unused pages there are to be more of them.
const FEWEST_UNUSED: i64 = 128;

/// How much is taken at most by what is kept here.
pub(crate) const RESERVED: u64 = JOURNAL + SPARE as u64;

impl Index {
    /// Takes the room, unless it is taken already. Does nothing for an index in memory.
    pub(crate) fn reserve(&self) -> Result<(), MetaError> {
        let Some((journal, shared)) = self.journals() else { return Ok(()) };
        let unused: i64 = lock(&self.writer)
            .pragma_query_value(None, "freelist_count", |row| row.get(0))
            .map_err(|source| self.failed(source))?;
        if unused < FEWEST_UNUSED {
            self.write(|transaction| {
                transaction.execute_batch("CREATE TABLE reserved (room BLOB)")?;
                transaction.execute("INSERT INTO reserved VALUES (zeroblob(?1))", [SPARE])?;
                transaction.execute_batch("DROP TABLE reserved")
            })?;
        }
        // A file system that can't do that keeps no room; then the index is read anew once there is some.
        let _ = rustix::fs::fallocate(journal, FallocateFlags::KEEP_SIZE, 0, JOURNAL);
        let _ = rustix::fs::fallocate(shared, FallocateFlags::KEEP_SIZE, 0, SHARED);
        Ok(())
    }

    /// The journal and the file that its readers share; `None` for an index in memory. They are never closed: with any
    /// of its files a process closes its locks on it, SQLite's too.
    fn journals(&self) -> Option<&(File, File)> {
        if self.journals.get().is_none() {
            let open = |suffix: &str| {
                let mut path = self.path.as_os_str().to_owned();
                path.push(suffix);
                File::options().write(true).open(path).ok()
            };
            let _ = self.journals.set((open("-wal")?, open("-shm")?));
        }
        self.journals.get()
    }
}
