#![expect(clippy::disallowed_methods, reason = "tests damage what lies on the disk")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use larder_oci::{Digest, Reference};
use larder_storage::Disk;
use tempfile::TempDir;

use super::*;
use crate::verify::tests::{World, access};
use crate::{OfflinePass, Run, Stage, VerifyReport};

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn back_up(world: &World, to: &Path) -> Backup {
    backup(world.root.path(), to, SystemTime::now(), &mut |_| {}).unwrap()
}

fn verified(root: &Path) -> VerifyReport {
    let mut pass = OfflinePass::reading(root, None).unwrap();
    while pass.step(&mut |_| std::ops::ControlFlow::Continue(())).unwrap() != Stage::Finished {}
    pass.pass.report
}

/// Every file of the images and of Larder's own, with what it holds and its time.
fn tree(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, Option<SystemTime>)> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.join("docker"), root.join("larder")];
    while let Some(path) = open.pop() {
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let is_needed = !files::NOT_NEEDED.iter().any(|name| relative == Path::new("larder").join(name));
        if path.is_dir() && relative.file_name().is_none_or(|name| name != "_uploads") && is_needed {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() && is_needed {
            let modified = path.metadata().unwrap().modified().unwrap();
            let is_blob = relative.ends_with("data");
            files.insert(relative, (std::fs::read(&path).unwrap(), (!is_blob).then_some(modified)));
        }
    }
    files
}

#[test]
fn what_is_restored_is_what_was_backed_up_to_the_nanosecond() {
    let (world, to, data) = (World::new(), scratch(), scratch());
    world.push("team/app", "1", "one");
    world.push("team/app", "1", "two");
    world.push("other", "2", "one");
    std::fs::write(world.root.path().join("larder/users.htpasswd"), b"ada:x\n").unwrap();
    let done = back_up(&world, to.path());
    assert_eq!((done.blobs, done.copied, done.absent), (6, 6, 0));
    let restored = restore(to.path(), None, data.path(), &mut |_| {}).unwrap();
    assert_eq!((restored.blobs, restored.files), (6, done.files));
    assert_eq!(tree(data.path()), tree(world.root.path()));
    assert!(verified(data.path()).is_clean());
    assert!(verify_backup(to.path(), &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_second_backup_brings_only_what_is_new_and_the_first_can_still_be_restored() {
    let (world, to) = (World::new(), scratch());
    world.push("app", "1", "one");
    let first = back_up(&world, to.path());
    let before = tree(world.root.path());
    world.push("app", "1", "two");
    let second = back_up(&world, to.path());
    assert_eq!((second.copied, second.blobs), (3, 6));
    assert_ne!(first.snapshot, second.snapshot);
    assert_eq!(back_up(&world, to.path()).copied, 0);
    let data = scratch();
    restore(to.path(), Some(&first.snapshot), data.path(), &mut |_| {}).unwrap();
    assert_eq!(tree(data.path()), before);
    assert_eq!(prune(to.path(), 1).unwrap(), (2, 0));
    assert!(matches!(
        restore(to.path(), Some(&first.snapshot), scratch().path(), &mut |_| {}),
        Err(BackupError::NoSnapshot { .. })
    ));
    assert!(verify_backup(to.path(), &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_stream_is_restored_by_larder_and_by_tar_alone() {
    let world = World::new();
    world.push("team/app", "1", "one");
    world.push("team/app", "1", "two");
    let mut stream = Vec::new();
    let done = backup_stream(world.root.path(), &mut stream, &mut |_| {}).unwrap();
    assert_eq!((done.blobs, done.absent), (6, 0));
    let data = scratch();
    let restored = restore_stream(&stream[..], data.path(), &mut |_| {}).unwrap();
    assert_eq!((restored.blobs, restored.files, restored.absent), (6, done.files, 0));
    assert_eq!(tree(data.path()), tree(world.root.path()));
    let unpacked = scratch();
    tar::Archive::new(&stream[..]).unpack(unpacked.path()).unwrap();
    let bytes = |root: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        tree(root).into_iter().map(|(path, (bytes, _))| (path, bytes)).collect()
    };
    assert_eq!(bytes(unpacked.path()), bytes(world.root.path()));
    assert!(verified(unpacked.path()).is_clean());
    // Cut short, it is not taken for whole: the directory stays marked.
    let cut = scratch();
    restore_stream(&stream[..stream.len() / 2], cut.path(), &mut |_| {}).unwrap_err();
    assert!(cut.path().join(RESTORING).try_exists().unwrap());
    // And the same call with the whole one mends that.
    restore_stream(&stream[..], cut.path(), &mut |_| {}).unwrap();
    assert_eq!(tree(cut.path()), tree(world.root.path()));
}

#[test]
fn an_archive_that_tar_made_of_the_directory_is_restored_too() {
    let (world, data) = (World::new(), scratch());
    world.push("team/app", "1", "one");
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    archive.append_dir_all("srv/registry", world.root.path()).unwrap();
    let packed = archive.into_inner().unwrap().finish().unwrap();
    let restored = restore_stream(&packed[..], data.path(), &mut |_| {}).unwrap();
    assert_eq!((restored.blobs, restored.absent), (3, 0));
    assert!(verified(data.path()).is_clean());
    assert!(!data.path().join("larder/index.db").try_exists().unwrap());
}

#[test]
fn a_damaged_blob_is_named_and_its_copy_in_the_backup_stays_good() {
    let (world, to) = (World::new(), scratch());
    world.push("app", "1", "one");
    back_up(&world, to.path());
    world.push("app", "2", "two");
    let (old, new) = (Digest::sha256(b"layer one"), Digest::sha256(b"layer two"));
    for digest in [&old, &new] {
        std::fs::write(world.data(digest), b"layer 0ne").unwrap();
    }
    let done = back_up(&world, to.path());
    let damaged: Vec<Digest> = done.damaged.iter().map(|left_out| left_out.digest).collect();
    assert_eq!(damaged, [new]);
    let data = scratch();
    restore(to.path(), None, data.path(), &mut |_| {}).unwrap();
    let report = verified(data.path());
    let broken: Vec<String> = report.broken.iter().map(|image| image.tags[0].to_string()).collect();
    assert_eq!(broken, ["2"]);
    // That was known when the backup was made: it is no damage of the backup.
    assert!(verify_backup(to.path(), &mut |_| {}).unwrap().is_clean());
    // This is.
    let hex = old.hex();
    let copy = to.path().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data");
    std::fs::write(&copy, b"layer 0ne").unwrap();
    let found = verify_backup(to.path(), &mut |_| {}).unwrap();
    assert_eq!((found.damaged[0].digest, found.lacking.len()), (old, 2));
    assert!(!copy.try_exists().unwrap());
}

#[test]
fn nothing_is_overwritten() {
    let (world, to) = (World::new(), scratch());
    world.push("app", "1", "one");
    back_up(&world, to.path());
    let target = scratch();
    std::fs::write(target.path().join("notes"), b"mine").unwrap();
    let now = SystemTime::now();
    let refused = backup(world.root.path(), target.path(), now, &mut |_| {});
    assert!(matches!(refused, Err(BackupError::NotABackup(_))));
    let refused = restore(to.path(), None, target.path(), &mut |_| {});
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))));
    let inside = world.root.path().join("backups");
    assert!(matches!(backup(world.root.path(), &inside, now, &mut |_| {}), Err(BackupError::Within(..))));
    assert!(!inside.try_exists().unwrap());
    let refused = restore(to.path(), None, world.root.path(), &mut |_| {});
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))));
}

#[test]
fn a_restore_that_was_interrupted_goes_on() {
    let (world, to, data) = (World::new(), scratch(), scratch());
    world.push("app", "1", "one");
    back_up(&world, to.path());
    {
        let disk = Disk::open(data.path()).unwrap();
        disk.put(Path::new(RESTORING), b"").unwrap();
        disk.put(Path::new("docker/registry/v2/repositories/app/_manifests/tags/1/current/link"), b"")
            .unwrap();
    }
    restore(to.path(), None, data.path(), &mut |_| {}).unwrap();
    assert_eq!(tree(data.path()), tree(world.root.path()));
    assert!(!data.path().join(RESTORING).try_exists().unwrap());
}

#[test]
fn an_archive_that_leads_out_of_the_directory_is_refused() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    let name = b"docker/registry/v2/../../../../out";
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    archive.append(&header, &b"x"[..]).unwrap();
    let bytes = archive.into_inner().unwrap();
    let refused = restore_stream(&bytes[..], scratch().path(), &mut |_| {});
    assert!(matches!(refused, Err(BackupError::Foreign { .. })), "{refused:?}");
}

/// Pushes, moves and deletes tags, and collects at once, while backups are made: every snapshot is whole that doesn't
/// say that something vanished each time it was read. Without a grace time, that does happen.
#[test]
fn backups_beside_pushes_deletions_and_collections_are_whole() {
    let (world, to) = (World::new(), scratch());
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let root = world.root.path().to_owned();
    std::thread::scope(|scope| {
        let backups = scope.spawn(|| {
            let mut names = Vec::new();
            while names.len() < 12 || rounds.load(Ordering::SeqCst) < 60 {
                let done = backup(&root, to.path(), SystemTime::now(), &mut |_| {}).unwrap();
                assert_eq!(done.damaged, []);
                if done.absent == 0 {
                    names.push(done.snapshot);
                }
            }
            stop.store(true, Ordering::SeqCst);
            names
        });
        let mut round = 0_u64;
        while !stop.load(Ordering::SeqCst) {
            let repository = format!("app{}", round % 3);
            let digest = world.push(&repository, "latest", &round.to_string());
            world.push(&repository, &format!("t{round}"), &round.to_string());
            if round % 2 == 1 {
                let delete = access(&repository);
                let admin = larder_oci::AdminAccess::granted_by_policy(larder_oci::Actor::Anonymous);
                let gone = Reference::Digest(digest);
                world.runtime.block_on(world.registry.delete_manifest(&delete, &gone)).unwrap();
                world
                    .runtime
                    .block_on(world.registry.collect(&admin, Run { now: true, sweep: false }))
                    .unwrap();
            }
            round += 1;
            rounds.store(round, Ordering::SeqCst);
        }
        let names = backups.join().unwrap();
        let found = verify_backup(to.path(), &mut |_| {}).unwrap();
        assert!(found.is_clean(), "{found:?}");
        for name in names {
            let data = scratch();
            restore(to.path(), Some(&name), data.path(), &mut |_| {}).unwrap();
            let report = verified(data.path());
            assert!(report.is_clean(), "{name}: {report:?}");
        }
    });
}
