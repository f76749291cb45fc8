//! The small files of a data directory.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use larder_oci::Digest;
use larder_storage::{Disk, StorageError};

use super::BackupError;

const BLOBS: &str = "docker/registry/v2/blobs";
const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// Files of Larder's own that a backup doesn't need: derived, of this moment, or of this process.
pub(super) const NOT_NEEDED: [&str; 12] = [
    "index.db",
    "index.db-wal",
    "index.db-shm",
    "index.db.unusable",
    "control",
    "lock",
    "staging",
    "quarantine",
    "fills",
    "verify.json",
    "verify.request",
    "restoring",
];

/// The longest file that counts as small. Nothing of Larder's comes near; a queue's segment has a few megabytes.
const LONGEST: u64 = 64 << 20;

/// How often a repository is read again whose files changed while it was read.
const TRIES: usize = 20;

/// Deeper than any name goes.
const DEEPEST: usize = 140;

/// A small file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SmallFile {
    /// Relative to the data directory.
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) modified_nanoseconds: i64,
}

/// Reads all small files and hands them on, a repository at a time. Gives the content that the links among them name.
pub(super) fn read(
    disk: &Disk,
    hand_on: &mut dyn FnMut(&SmallFile) -> Result<(), BackupError>,
) -> Result<BTreeSet<Digest>, BackupError> {
    let mut wanted = BTreeSet::new();
    for file in own_files(disk)? {
        hand_on(&file)?;
    }
    walk(disk, Path::new(REPOSITORIES), 0, &mut |directory| {
        for file in repository(disk, directory)? {
            wanted.extend(names(&file));
            hand_on(&file)?;
        }
        Ok(())
    })?;
    Ok(wanted)
}

/// The content that a link names, by its place and by what it holds.
pub(super) fn names(file: &SmallFile) -> BTreeSet<Digest> {
    let mut digests = BTreeSet::new();
    if file.path.file_name().is_none_or(|name| name != "link") {
        return digests;
    }
    let of_place = file.path.parent().and_then(|parent| {
        let hex = parent.file_name()?.to_str()?;
        let algorithm = parent.parent()?.file_name()?.to_str()?;
        format!("{algorithm}:{hex}").parse::<Digest>().ok()
    });
    let is_history = file.path.components().rev().nth(3).is_some_and(|part| part.as_os_str() == "index");
    let of_content = String::from_utf8_lossy(&file.bytes).trim().parse::<Digest>().ok();
    if !is_history {
        // An alias of another algorithm names content by what it holds alone; a damaged link by its place alone.
        digests.extend(of_content.or(of_place));
    }
    digests
}

/// The file of a blob.
pub(super) fn blob_path(digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let shard = hex.get(..2).unwrap_or_default();
    Path::new(BLOBS).join(digest.algorithm().as_str()).join(shard).join(&hex).join("data")
}

/// The digest that a blob's file is named by; `None` if it is none.
pub(super) fn digest_of_path(path: &Path) -> Option<Digest> {
    let rest: Vec<&str> = path.strip_prefix(BLOBS).ok()?.iter().filter_map(|part| part.to_str()).collect();
    match rest.as_slice() {
        [algorithm, shard, hex, "data"] if hex.starts_with(shard) => {
            format!("{algorithm}:{hex}").parse().ok()
        }
        _ => None,
    }
}

fn own_files(disk: &Disk) -> Result<Vec<SmallFile>, BackupError> {
    let mut files = Vec::new();
    files.extend(small_file(disk, Path::new("scheduler-state.json"))?);
    for entry in disk.list(Path::new("larder"))?.unwrap_or_default() {
        if !NOT_NEEDED.contains(&entry.name.as_str()) {
            below(disk, &Path::new("larder").join(&entry.name), 0, &mut files)?;
        }
    }
    Ok(files)
}

/// Finds the directories that are repositories, or look like one.
fn walk(
    disk: &Disk,
    directory: &Path,
    depth: usize,
    found: &mut dyn FnMut(&Path) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    if depth > DEEPEST {
        return Ok(());
    }
    let mut entries = disk.list(directory)?.unwrap_or_default();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    if entries.iter().any(|entry| entry.is_directory && entry.name.starts_with('_')) {
        found(directory)?;
    }
    for entry in entries.iter().filter(|entry| entry.is_directory && !entry.name.starts_with('_')) {
        walk(disk, &directory.join(&entry.name), depth + 1, found)?;
    }
    Ok(())
}

/// A repository's files, at a moment when every tag among them had its manifest and every manifest its layers.
fn repository(disk: &Disk, directory: &Path) -> Result<Vec<SmallFile>, BackupError> {
    let mut files = Vec::new();
    for turn in 1..=TRIES {
        files.clear();
        // The other way round than a push writes them.
        below(disk, &directory.join("_manifests/tags"), 0, &mut files)?;
        let tags = files.len();
        below(disk, &directory.join("_manifests/revisions"), 0, &mut files)?;
        let manifests = files.len();
        let held: BTreeSet<Digest> = files.iter().skip(tags).flat_map(names).collect();
        let is_whole = files.iter().take(tags).flat_map(names).all(|digest| held.contains(&digest));
        for entry in disk.list(directory)?.unwrap_or_default() {
            let is_of_its_own = entry.name.starts_with('_')
                && !["_manifests", "_layers", "_uploads"].contains(&entry.name.as_str());
            if entry.is_directory && is_of_its_own {
                below(disk, &directory.join(&entry.name), 0, &mut files)?;
            }
        }
        below(disk, &directory.join("_layers"), 0, &mut files)?;
        let left = left_since(disk, files.iter().take(manifests).skip(tags))?;
        if is_whole && left.is_empty() {
            break;
        }
        if turn == TRIES {
            // Deleted while its turn came, each time: it goes as a whole. What isn't whole without that is so on the
            // disk, and is kept as it is.
            files.retain(|file| {
                !file.path.starts_with(directory.join("_manifests")) || names(file).is_disjoint(&left)
            });
        }
    }
    Ok(files)
}

/// The manifests whose links are no longer those that were read. Their layers may have gone before those were read.
fn left_since<'a>(
    disk: &Disk,
    links: impl Iterator<Item = &'a SmallFile>,
) -> Result<BTreeSet<Digest>, BackupError> {
    let mut left = BTreeSet::new();
    for link in links {
        let is_same =
            disk.stat(&link.path)?.is_some_and(|stat| stat.modified_nanoseconds == link.modified_nanoseconds);
        if !is_same {
            left.extend(names(link));
        }
    }
    Ok(left)
}

/// Every small file at and below a path.
fn below(disk: &Disk, path: &Path, depth: usize, files: &mut Vec<SmallFile>) -> Result<(), BackupError> {
    if depth > DEEPEST {
        return Ok(());
    }
    match disk.list(path) {
        Ok(Some(entries)) => {
            for entry in entries {
                below(disk, &path.join(&entry.name), depth + 1, files)?;
            }
        }
        Ok(None) => files.extend(small_file(disk, path)?),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn small_file(disk: &Disk, path: &Path) -> Result<Option<SmallFile>, BackupError> {
    let Some((mut file, stat)) = disk.open_file(path)? else { return Ok(None) };
    if stat.size > LONGEST {
        return Err(StorageError::TooLarge { path: path.to_owned(), size: stat.size, limit: LONGEST }.into());
    }
    let failed = |source| StorageError::Io {
        operation: larder_storage::DiskOperation::Read,
        path: disk.root().join(path),
        source,
    };
    let mut bytes = Vec::new();
    (&mut file).take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    let modified_nanoseconds = stat.modified_nanoseconds;
    Ok(Some(SmallFile { path: path.to_owned(), bytes, mode, modified_nanoseconds }))
}
