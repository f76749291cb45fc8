//! Whether a backup could be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use larder_oci::{Algorithm, Digest};
use larder_storage::{Blobs, Checked, Disk};

use super::{BackupError, CopyProgress, LeftOut, copy, files, snapshot, snapshots};

/// What a look at a backup found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupVerified {
    /// The snapshots, oldest first.
    pub snapshots: Vec<String>,
    /// Snapshots that can't be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// The blobs that were hashed.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Blobs that don't hash to their names; they were moved away, and the next backup brings them again.
    pub damaged: Vec<LeftOut>,
    /// What snapshots need and the backup doesn't have.
    pub lacking: Vec<LacksContent>,
}

/// Content that a snapshot needs and the backup doesn't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LacksContent {
    /// The snapshot.
    pub snapshot: String,
    /// The content.
    pub digest: Digest,
    /// A link that names it.
    pub link: String,
}

/// Hashes every blob of a backup, and looks whether every snapshot has what it needs.
///
/// # Errors
/// The directory holds no backup, or somebody writes one.
pub fn verify_backup(
    destination: &Path,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<BackupVerified, BackupError> {
    drop(Disk::open_for_reading(destination)?);
    let disk = Arc::new(Disk::open(destination)?);
    if copy::is_marked(&disk)?.is_none() {
        return Err(BackupError::NotABackup(destination.to_owned()));
    }
    let blobs = Blobs::new(Arc::clone(&disk));
    let mut found = BackupVerified { snapshots: snapshots(&disk)?, ..BackupVerified::default() };
    let mut all = Vec::new();
    for algorithm in Algorithm::ALL {
        for first_byte in 0..=u8::MAX {
            all.extend(blobs.shard(algorithm, first_byte)?);
        }
    }
    let mut copying = CopyProgress { blobs_to_copy: all.len() as u64, ..CopyProgress::default() };
    for digest in &all {
        copying.bytes_to_copy += blobs.find(digest)?.map_or(0, |content| content.size());
    }
    let mut sound = BTreeSet::new();
    for digest in all {
        let mut pace = |bytes| {
            copying.bytes += bytes;
            progress(copying);
            ControlFlow::Continue(())
        };
        match blobs.check(&digest, &mut pace)? {
            Checked::Sound { size } => {
                (found.blobs, found.bytes) = (found.blobs + 1, found.bytes + size);
                sound.insert(digest);
            }
            Checked::Damaged(damage) => {
                blobs.set_aside(&digest, &damage)?;
                found.blobs += 1;
                found
                    .damaged
                    .push(LeftOut { digest, problem: format!("its bytes hash to {}", damage.found) });
            }
            Checked::Absent | Checked::Stopped => {}
        }
        copying.blobs += 1;
    }
    for name in found.snapshots.clone() {
        let mut needed: BTreeMap<Digest, String> = BTreeMap::new();
        let read = snapshot::read(&disk, &name, &mut |file| {
            for digest in files::names(&file) {
                // A manifest's link says more of what is lost than a layer's.
                needed.entry(digest).or_insert_with(|| file.path.display().to_string());
            }
            Ok(())
        });
        if let Err(error) = read {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            found.unreadable.push((name, format!("{error}{cause}")));
            continue;
        }
        let absent = snapshot::absent(&disk, &name)?;
        let is_lacking = |digest: &Digest| !sound.contains(digest) && !absent.contains(digest);
        let lacking = needed.into_iter().filter(|(digest, _)| is_lacking(digest));
        found.lacking.extend(lacking.map(|(digest, link)| LacksContent {
            snapshot: name.clone(),
            digest,
            link,
        }));
    }
    Ok(found)
}

impl BackupVerified {
    /// Whether all snapshots can be restored whole.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty() && self.damaged.is_empty() && self.lacking.is_empty()
    }
}
