use std::path::PathBuf;

use larder_storage::StorageError;

/// Why the repositories could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The disk failed; the message is storage's.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The index could not be read. Deleting it is safe: it is rebuilt from the files.
    #[error("the index {} can't be used", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Where repositories lie, or should lie, can't be looked at. What is stored may belong to them.
    #[error(
        "{} {problem}, and nothing goes while nobody knows what it refers to; mount what belongs there, or, if it is not \
         coming back, {remedy}",
        path.display()
    )]
    OutOfSight {
        /// The place, relative to the data directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do if that was meant.
        remedy: &'static str,
    },
    /// A tag's link file holds no digest and its history none either. Pushing the tag again mends it.
    #[error("{} is damaged: it should hold a digest and holds {held:?}", path.display())]
    DamagedLink {
        /// The link file, relative to the data directory.
        path: PathBuf,
        /// What it holds, shortened.
        held: String,
    },
}

impl MetaError {
    /// Whether the index could not be written because the disk is full.
    pub(crate) fn is_full_disk(&self) -> bool {
        let MetaError::Index { source, .. } = self else { return false };
        // SQLite tells of a file that it could not make longer for its readers as an error of input or output.
        let extended = source.sqlite_error().map(|error| error.extended_code);
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
    }
}
