//! Files that several commands may edit at once: read, change, replace, one after the other.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Of a directory that an edit makes: what is in it concerns nobody else.
const NEW_DIRECTORY_MODE: u32 = 0o700;

/// What kept an edit from beginning.
#[derive(Debug)]
pub(crate) struct NotBegun {
    /// What was tried.
    pub(crate) action: &'static str,
    /// On which directory.
    pub(crate) path: PathBuf,
    /// Why not.
    pub(crate) source: io::Error,
}

/// Waits for other edits of files in the same directory, and keeps them waiting until what is returned is dropped. The
/// directory is made if it isn't there.
///
/// The directory is locked and not the file, since every edit puts another file in its place: a lock on the old one
/// would keep nobody out who opens the new one.
pub(crate) fn begin_edit(path: &Path) -> Result<File, NotBegun> {
    let directory = directory_of(path);
    let failed = |action| move |source| NotBegun { action, path: directory.to_owned(), source };
    DirBuilder::new().recursive(true).mode(NEW_DIRECTORY_MODE).create(directory).map_err(failed("create"))?;
    let handle = File::open(directory).map_err(failed("open"))?;
    handle.lock().map_err(failed("lock"))?;
    Ok(handle)
}

/// Where a file lies.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
