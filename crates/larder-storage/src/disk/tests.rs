#![expect(clippy::disallowed_methods, reason = "tests disturb the directory from outside")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn open(root: &Path) -> Disk {
    Disk::open(root).unwrap()
}

#[test]
fn absence_is_a_value_and_failure_an_error() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    disk.put(Path::new("a/file"), b"x").unwrap();
    for absent in ["b", "a/b", "a/file/below"] {
        let absent = Path::new(absent);
        assert_eq!(disk.stat(absent).unwrap(), None);
        assert_eq!(disk.read(absent, 10).unwrap(), None);
        assert_eq!(disk.list(absent).unwrap(), None);
        assert!(!disk.remove_file(absent).unwrap());
        assert!(!disk.remove_tree(absent).unwrap());
    }
    assert!(matches!(disk.read(Path::new("a/file"), 0), Err(StorageError::TooLarge { .. })));
    std::os::unix::fs::symlink("loop", root.path().join("loop")).unwrap();
    assert!(matches!(disk.stat(Path::new("loop")), Err(StorageError::Io { .. })));
    assert!(matches!(disk.read(Path::new("loop"), 10), Err(StorageError::Io { .. })));
}

#[test]
fn a_put_replaces_whole_files_and_leaves_nothing_beside() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    let first = disk.put(Path::new("a/b/link"), b"one").unwrap();
    let second = disk.put(Path::new("a/b/link"), b"three").unwrap();
    assert_eq!(disk.read(Path::new("a/b/link"), 10).unwrap().unwrap(), b"three");
    assert_eq!(disk.stat(Path::new("a/b/link")).unwrap(), Some(second));
    assert_ne!(first.inode, second.inode);
    assert_eq!(disk.list(Path::new("a/b")).unwrap().unwrap().len(), 1);
    assert_eq!(disk.list(Path::new(STAGING)).unwrap().unwrap(), []);
}

#[test]
fn a_removed_directory_can_be_made_again_durably() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    disk.put(Path::new("a/b/c/link"), b"1").unwrap();
    assert!(disk.remove_tree(Path::new("a/b")).unwrap());
    assert_eq!(disk.stat(Path::new("a/b")).unwrap(), None);
    disk.put(Path::new("a/b/c/link"), b"2").unwrap();
    assert_eq!(disk.read(Path::new("a/b/c/link"), 1).unwrap().unwrap(), b"2");
}

#[test]
fn a_directory_that_somebody_else_removed_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    disk.put(Path::new("a/b/link"), b"1").unwrap();
    std::fs::rename(root.path().join("a"), root.path().join("elsewhere")).unwrap();
    disk.put(Path::new("a/b/link"), b"2").unwrap();
    assert_eq!(disk.read(Path::new("a/b/link"), 1).unwrap().unwrap(), b"2");
    // Also when what is to be made anew lies below it.
    std::fs::remove_dir_all(root.path().join("a")).unwrap();
    disk.put(Path::new("a/c/link"), b"3").unwrap();
    assert_eq!(disk.read(Path::new("a/c/link"), 1).unwrap().unwrap(), b"3");
}

#[test]
fn one_process_at_a_time_and_leftovers_are_cleared() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    assert!(matches!(Disk::open(root.path()), Err(StorageError::Locked { .. })));
    disk.put_volatile(Path::new("larder/staging/left/over"), b"x").unwrap();
    disk.put_volatile(Path::new("larder/staging/file"), b"x").unwrap();
    drop(disk);
    let disk = open(root.path());
    assert_eq!(disk.list(Path::new(STAGING)).unwrap().unwrap(), []);
}

/// Counts syncs and gives every write one byte at a time.
#[derive(Default)]
struct Counting {
    file_syncs: AtomicUsize,
    directory_syncs: AtomicUsize,
}

impl DiskHook for Counting {
    fn before(&self, _: Mutation<'_>) -> io::Result<usize> {
        Ok(1)
    }

    fn after(&self, mutation: Mutation<'_>) {
        match mutation {
            Mutation::SyncFile(_) => self.file_syncs.fetch_add(1, Ordering::SeqCst),
            Mutation::SyncDirectory(_) => self.directory_syncs.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
    }
}

#[test]
fn a_put_syncs_the_file_every_new_directory_and_the_one_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let counting = Arc::new(Counting::default());
    let disk = Disk::open_with(root.path(), Some(counting.clone())).unwrap();
    disk.put(Path::new("a/b/link"), b"short writes").unwrap();
    assert_eq!(disk.read(Path::new("a/b/link"), 99).unwrap().unwrap(), b"short writes");
    // The root for `a`, `a` for `b`, `b` for the file.
    assert_eq!(counting.file_syncs.load(Ordering::SeqCst), 1);
    assert_eq!(counting.directory_syncs.load(Ordering::SeqCst), 3);
    disk.put_all(&[(Path::new("a/b/one"), b"1"), (Path::new("a/b/two"), b"2")]).unwrap();
    assert_eq!(counting.file_syncs.load(Ordering::SeqCst), 3);
    assert_eq!(
        counting.directory_syncs.load(Ordering::SeqCst),
        4,
        "two files of one directory share its sync"
    );
}

#[test]
fn what_a_symbolic_link_points_at_is_never_removed() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let precious = elsewhere.path().join("precious");
    std::fs::write(&precious, b"x").unwrap();
    let disk = open(root.path());
    disk.put(Path::new("tree/file"), b"1").unwrap();
    let link = |at: &str| std::os::unix::fs::symlink(elsewhere.path(), root.path().join(at)).unwrap();
    link("tree/below");
    link("itself");
    disk.put(Path::new("volatile/file"), b"1").unwrap();
    link("volatile/below");
    assert!(disk.remove_tree(Path::new("tree")).unwrap());
    assert!(disk.remove_tree(Path::new("itself")).unwrap());
    assert!(disk.remove_tree_volatile(Path::new("volatile")).unwrap());
    link("larder/staging/left");
    drop(disk);
    let disk = open(root.path());
    for gone in ["tree", "itself", "volatile", "larder/staging/left"] {
        assert_eq!(disk.stat(Path::new(gone)).unwrap(), None, "{gone}");
    }
    assert_eq!(disk.list(Path::new(STAGING)).unwrap().unwrap(), []);
    assert!(precious.try_exists().unwrap(), "what lies elsewhere was removed");
}

#[test]
fn a_root_that_is_not_there_yet_is_made_with_its_ancestors() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("var/lib/registry");
    let disk = open(&root);
    disk.put(Path::new("a"), b"1").unwrap();
    assert_eq!(std::fs::read(root.join("a")).unwrap(), b"1");
    std::fs::write(parent.path().join("file"), b"x").unwrap();
    let error = Disk::open(&parent.path().join("file/registry")).err().unwrap();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
}

#[test]
fn a_file_where_a_directory_should_be_is_an_error_and_stays() {
    let root = tempfile::tempdir().unwrap();
    let disk = open(root.path());
    disk.put(Path::new("a"), b"1").unwrap();
    for path in ["a/b", "a/b/c"] {
        assert!(matches!(disk.put(Path::new(path), b"2"), Err(StorageError::Io { .. })));
    }
    assert_eq!(disk.read(Path::new("a"), 1).unwrap().unwrap(), b"1");
    assert_eq!(disk.list(Path::new(STAGING)).unwrap().unwrap(), [], "nothing is left behind");
}

/// Fails the n-th sync of a directory.
struct FailingSync(AtomicUsize);

impl DiskHook for FailingSync {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        match mutation {
            Mutation::SyncDirectory(_) if self.0.fetch_sub(1, Ordering::SeqCst) == 1 => {
                Err(io::Error::from_raw_os_error(5))
            }
            _ => Ok(usize::MAX),
        }
    }

    fn after(&self, _: Mutation<'_>) {}
}

#[test]
fn a_directory_whose_sync_failed_is_not_taken_for_durable() {
    for failing in 1..=3 {
        let root = tempfile::tempdir().unwrap();
        let hook = Arc::new(FailingSync(AtomicUsize::new(failing)));
        let disk = Disk::open_with(root.path(), Some(hook)).unwrap();
        let error = disk.put(Path::new("a/b/link"), b"1").unwrap_err();
        assert!(matches!(error, StorageError::Io { operation: DiskOperation::SyncDirectory, .. }), "{error}");
        assert_eq!(disk.durable.lock().unwrap().len(), 0);
        disk.put(Path::new("a/b/link"), b"1").unwrap();
        assert_eq!(disk.durable.lock().unwrap().len(), 2);
    }
}

#[test]
fn what_lies_below_a_removed_directory_is_forgotten_and_its_siblings_are_not() {
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::open(root.path()).unwrap();
    let paths = ["a", "a/b", "a/b/c", "a/b/c/d", "a/b-c", "a/b.d", "a/bb", "b"].map(Path::new);
    paths.iter().for_each(|path| disk.remember_durable(path));
    disk.forget_durable(Path::new("a/b"));
    let known: Vec<&Path> = paths.into_iter().filter(|path| disk.is_durable(path)).collect();
    assert_eq!(known, ["a", "a/b-c", "a/b.d", "a/bb", "b"].map(Path::new));
}
