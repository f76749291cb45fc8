//! New names in directories, and making them durable: all of a file's at once.

use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::StorageError;

/// Names that were made and aren't durable yet.
#[derive(Default)]
pub(crate) struct Names {
    /// The directories that they are in, each once.
    changed: Vec<PathBuf>,
    /// Those of them that are directories themselves, each after the one that it is in.
    pub(crate) made: Vec<PathBuf>,
}

impl Names {
    pub(crate) fn change(&mut self, directory: &Path) {
        if !self.changed.iter().any(|changed| changed == directory) {
            self.changed.push(directory.to_owned());
        }
    }
}

impl Disk {
    /// Creates a directory with its ancestors; all are durable when this returns.
    pub fn create_directory(&self, path: &Path) -> Result<(), StorageError> {
        let mut names = Names::default();
        self.make_directories(path, &mut names)?;
        self.sync_names(names)
    }

    /// Makes what is missing of a directory and its ancestors, and notes it down.
    pub(crate) fn make_directories(&self, path: &Path, names: &mut Names) -> Result<(), StorageError> {
        if path.as_os_str().is_empty() || self.is_durable(path) || names.made.iter().any(|made| made == path)
        {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_directories(parent, names)?;
        self.make_directory(path)?;
        // Also when it was there already: whoever made it may not have synced it yet.
        names.change(parent);
        names.made.push(path.to_owned());
        Ok(())
    }

    /// Makes new names durable. Only when all are there: a journal then writes them at once, with the first sync, and the
    /// others find nothing left to do.
    pub(crate) fn sync_names(&self, names: Names) -> Result<(), StorageError> {
        for directory in &names.changed {
            self.sync_directory(directory)?;
        }
        for directory in &names.made {
            self.remember_durable(directory);
        }
        Ok(())
    }
}
