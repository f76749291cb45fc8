//! What was seen of the data directory's file system, and what in it is wrong.

use std::io;
use std::path::Path;
use std::time::Duration;

use larder_doctor::{Finding, Row, Stage};
use larder_storage::{FileSystem, Ownership, Semantics, StorageError};

use super::{failure, warning};

const STAGE: Stage = Stage::Storage;

/// A push of a small layer waits for about seven of these.
const SLOW: Duration = Duration::from_millis(200);
/// Below this the next layer may not fit.
const FULL_BYTES: u64 = 200_000_000;
/// Below a part of one twentieth an operator has to act.
const LOW_PART: u64 = 20;
/// A layer takes two files and some directories.
const FULL_FILES: u64 = 1000;

/// What is wrong with it, gravest first.
pub(super) fn findings(seen: &Semantics, root: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let path = root.display();
    if !seen.rename_replaces || !seen.rename_is_seen {
        found.push(failure(
            STAGE,
            Row::DiskRename,
            format!("on {path} a file that is moved over another doesn't take its place at once"),
            "tags would point at what they pointed at before, and pushes be lost",
            "put storage.filesystem.rootdirectory on a local disk (ext4, xfs, btrfs, zfs), or on NFS without caching (noac)",
        ));
    }
    for (what, outcome) in [("files", &seen.sync_file), ("directories", &seen.sync_directory)] {
        if let Err(error) = outcome {
            found.push(failure(
                STAGE,
                Row::DiskSync,
                format!("{what} on {path} can't be synced: {error}"),
                "each push waits for that, and fails",
                "put storage.filesystem.rootdirectory on a local disk (ext4, xfs, btrfs, zfs)",
            ));
        }
    }
    if !seen.tells_case_apart {
        found.push(failure(
            STAGE,
            Row::DiskCase,
            format!("{path} takes upper and lower case for the same"),
            "tags may differ in case alone (`v1` and `V1`): one would overwrite the other",
            "a directory that tells them apart: on a Mac a case-sensitive APFS volume, on ext4 one without casefold (chattr -F)",
        ));
    }
    if let Err(error) = &seen.takes_names {
        found.push(failure(
            STAGE,
            Row::DiskNames,
            format!("{path} refuses a name that a registry's files have: {error}"),
            "pushes fail whose names have such parts",
            "put storage.filesystem.rootdirectory on a file system of Linux (ext4, xfs, btrfs, zfs)",
        ));
    }
    if let Err(error) = &seen.locks {
        found.push(warning(
            STAGE,
            Row::DiskLocks,
            format!("files on {path} can't be locked: {error}"),
            "nothing then keeps a second server off the directory, which would collect what the first one is given",
            "see that one server runs on it, or mount it with locks (NFS: not nolock)",
        ));
    }
    found.extend(place(seen.kind, root));
    if seen.durable_in > SLOW {
        found.push(warning(
            STAGE,
            Row::DiskSlow,
            format!("on {path} it takes {} ms until a small file is durable", seen.durable_in.as_millis()),
            "a push waits for that several times a layer; an image of many layers takes seconds longer",
            "put the data on an SSD, or on one that isn't busy: iostat -x 1",
        ));
    }
    found.extend(room(seen, root));
    found
}

fn place(kind: FileSystem, root: &Path) -> Option<Finding> {
    let path = root.display();
    let found = match kind {
        FileSystem::Local => return None,
        FileSystem::Network(name) => warning(
            STAGE,
            Row::DiskNetwork,
            format!("{path} is on a network file system ({name})"),
            "its server may answer before the bytes are on its disk, and other machines may change the files",
            "export it as sync, mount it hard, and run one server on it",
        ),
        FileSystem::Memory => warning(
            STAGE,
            Row::DiskVolatile,
            format!("{path} is in memory"),
            "all images are gone when the machine or the container ends",
            "put storage.filesystem.rootdirectory on a disk",
        ),
        FileSystem::ContainerLayer => warning(
            STAGE,
            Row::DiskVolatile,
            format!("{path} is in the container's own layer"),
            "all images are gone when the container is made anew, as each update does",
            format!("docker run -v registry:{path} …"),
        ),
    };
    Some(found)
}

fn room(seen: &Semantics, root: &Path) -> Vec<Finding> {
    let path = root.display();
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let mut found = Vec::new();
    let words =
        format!("{path} has {} of {} MB left", megabytes(seen.free_bytes), megabytes(seen.total_bytes));
    const FIX: &str =
        "delete what isn't needed and let the collector run: larder gc --now; or enlarge the disk";
    if seen.free_bytes < FULL_BYTES {
        let cause = "the next layer may not fit: its push ends in 507, and pulls go on";
        found.push(failure(STAGE, Row::DiskFull, words, cause, FIX));
    } else if seen.free_bytes < seen.total_bytes / LOW_PART {
        let cause = "pushes fail when it is full, and pulls go on; a cache stops keeping what it fetches";
        found.push(warning(STAGE, Row::DiskFull, words, cause, FIX));
    }
    if let Some((free, total)) = seen.free_files {
        let words = format!("{path} can take {free} more files, of {total}");
        let cause = "each layer, manifest and tag is a file with its directories: pushes fail when there are no more, with space left";
        let fix = "df -i; a file system made anew with more inodes (mkfs.ext4 -i 16384), or xfs, btrfs, zfs";
        if free < FULL_FILES {
            found.push(failure(STAGE, Row::DiskFiles, words, cause, fix));
        } else if free < total / LOW_PART {
            found.push(warning(STAGE, Row::DiskFiles, words, cause, fix));
        }
    }
    found
}

/// It in one line, where nothing fails.
pub(super) fn sum(seen: &Semantics, root: &Path) -> String {
    format!(
        "{} keeps files as a registry needs it; {} GB are free, a small file is durable in {:.1} ms",
        root.display(),
        seen.free_bytes / 1_000_000_000,
        seen.durable_in.as_secs_f64() * 1000.0
    )
}

/// What lets the server's user in, and changes nothing if it is only this command that runs as somebody else.
pub(super) fn permit(root: &Path) -> String {
    let path = root.display();
    match Ownership::of(root) {
        Some(Ownership { owner, user, .. }) if owner != user => format!(
            "sudo -u '#{owner}' larder doctor --server …, if the server is that user; if it is user {user}: \
             sudo chown -R {user} {path}"
        ),
        _ => format!("chmod u+rwx {path}"),
    }
}

/// Nothing could be tried.
pub(super) fn unusable(error: &StorageError, root: &Path) -> Finding {
    let path = root.display();
    let kind = match error {
        StorageError::Io { source, .. } | StorageError::NoSpace { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    let seen = crate::doctor::with_causes(error);
    match kind {
        io::ErrorKind::PermissionDenied => failure(
            STAGE,
            Row::DataDirectory,
            seen,
            "the server, run as this user, can't write there; run this command as the server's user",
            permit(root),
        ),
        io::ErrorKind::ReadOnlyFilesystem => failure(
            STAGE,
            Row::DataDirectory,
            seen,
            "it is mounted read-only: on purpose, or because the kernel found the disk damaged (dmesg says so)",
            format!("sudo mount -o remount,rw {path}"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure(
            STAGE,
            Row::DiskFull,
            seen,
            "there is no space left, or no more files: every push ends in 507, and pulls go on",
            "df -h; df -i; then delete what isn't needed: larder gc --now",
        ),
        _ => failure(
            STAGE,
            Row::DataDirectory,
            seen,
            "the server can't write there",
            format!("ls -ld {path}; dmesg"),
        ),
    }
}
