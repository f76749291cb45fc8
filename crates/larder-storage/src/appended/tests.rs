use std::sync::atomic::AtomicUsize;

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::hook::{DiskHook, Mutation};

/// Fails the syncs of files while it is told to, and counts those that were let through.
#[derive(Default)]
struct Syncs {
    failing: AtomicBool,
    done: AtomicUsize,
}

impl DiskHook for Syncs {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        match mutation {
            Mutation::SyncFile(_) if self.failing.load(Ordering::SeqCst) => Err(io::Error::other("no")),
            _ => Ok(usize::MAX),
        }
    }

    fn after(&self, mutation: Mutation<'_>) {
        if matches!(mutation, Mutation::SyncFile(_)) {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn what_was_appended_is_there_and_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(directory.path()).unwrap());
    let path = Path::new("larder/private/events");
    let mut file = Appended::create(&disk, path).unwrap();
    file.append(b"one\n").unwrap();
    file.durable().sync().unwrap();
    drop(file);
    let mut file = Appended::open(&disk, path).unwrap();
    file.append(b"two\n").unwrap();
    assert_eq!(file.length(), 8);
    assert_eq!(disk.read(path, 100).unwrap().unwrap(), b"one\ntwo\n");
    assert_eq!(Appended::create(&disk, path).unwrap().length(), 0);
}

#[test]
fn after_a_failed_sync_nobody_hears_that_it_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let syncs = Arc::new(Syncs::default());
    let disk =
        Arc::new(Disk::open_with(directory.path(), Some(Arc::clone(&syncs) as Arc<dyn DiskHook>)).unwrap());
    let mut file = Appended::create(&disk, Path::new("events")).unwrap();
    file.append(b"one\n").unwrap();
    file.durable().sync().unwrap();
    assert_eq!(syncs.done.load(Ordering::SeqCst), 1);
    syncs.failing.store(true, Ordering::SeqCst);
    assert!(file.durable().sync().is_err());
    syncs.failing.store(false, Ordering::SeqCst);
    assert!(file.durable().sync().is_err());
    assert!(file.append(b"two\n").is_err());
    assert_eq!(syncs.done.load(Ordering::SeqCst), 1);
}
