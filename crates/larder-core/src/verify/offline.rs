use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use larder_meta::MetaStore;
use larder_storage::{Blobs, Disk};

use super::pass::{Pass, Place, Stage};
use crate::error::RegistryError;

/// The index and what SQLite keeps beside it.
const INDEX_FILES: [&str; 3] = ["larder/index.db", "larder/index.db-wal", "larder/index.db-shm"];

/// A pass over a directory that no server of this process works on.
pub struct OfflinePass {
    disk: Arc<Disk>,
    blobs: Blobs,
    meta: Option<MetaStore>,
    /// Where it is, and what it has found.
    pub pass: Pass,
}

impl OfflinePass {
    /// Looks and changes nothing; whoever works on the directory may go on.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn reading(root: &Path, pass: Option<Pass>) -> Result<OfflinePass, RegistryError> {
        let disk = Arc::new(Disk::open_for_reading(root)?);
        let pass = pass.unwrap_or_else(|| Pass::new(SystemTime::now(), false));
        Ok(OfflinePass { blobs: Blobs::new(Arc::clone(&disk)), disk, meta: None, pass })
    }

    /// Moves damaged blobs away, mends links and builds the index anew. A pass of this kind that was interrupted goes
    /// on.
    ///
    /// # Errors
    /// Somebody else works on the directory, or there is none.
    pub fn repairing(root: &Path) -> Result<OfflinePass, RegistryError> {
        // Opened for reading first: a mistyped directory is not to be made.
        drop(Disk::open_for_reading(root)?);
        let disk = Arc::new(Disk::open(root)?);
        let last = Pass::last(&disk)?.filter(|pass| pass.repair && pass.finished.is_none());
        for file in INDEX_FILES {
            disk.remove_file(Path::new(file))?;
        }
        let blobs = Blobs::new(Arc::clone(&disk));
        let meta = MetaStore::open(Arc::clone(&disk), blobs.clone())?;
        let pass = last.unwrap_or_else(|| Pass::new(SystemTime::now(), true));
        Ok(OfflinePass { disk, blobs, meta: Some(meta), pass })
    }

    /// As [`Pass::step`].
    pub fn step(&mut self, pace: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Stage, RegistryError> {
        let place = Place { disk: &self.disk, blobs: &self.blobs, meta: self.meta.as_ref() };
        self.pass.step(place, SystemTime::now(), pace)
    }

    /// Writes down how far it is, if it may change the directory.
    pub fn save(&self) -> Result<(), RegistryError> {
        if self.meta.is_some() { self.pass.save(&self.disk) } else { Ok(()) }
    }
}
