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
    /// A tag's link file holds no digest and its history none either. Pushing the tag again mends it.
    #[error("{} is damaged: it should hold a digest and holds {held:?}", path.display())]
    DamagedLink {
        /// The link file, relative to the data directory.
        path: PathBuf,
        /// What it holds, shortened.
        held: String,
    },
}
