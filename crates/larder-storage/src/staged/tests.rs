use std::os::unix::fs::MetadataExt as _;

use larder_oci::Digest;

use super::*;
use crate::blobs::Blobs;

fn occupied_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

fn scratch() -> (tempfile::TempDir, Arc<Disk>) {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(root.path()).unwrap());
    (root, disk)
}

/// Whatever is announced, the file is what was written, and holds no more room than that once it is published.
#[test]
fn announcing_changes_nothing_of_the_content() {
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    let digest = Digest::sha256(&bytes);
    for announced in [0, 1000, bytes.len() as u64, 3 * ROOM] {
        let (root, disk) = scratch();
        let mut staged = Staged::create(&disk, Path::new("larder/upload"), Algorithm::Sha256).unwrap();
        staged.announce(announced);
        for piece in bytes.chunks(700_001) {
            staged.append(piece).unwrap();
            let metadata = std::fs::metadata(root.path().join("larder/upload")).unwrap();
            assert_eq!(metadata.len(), staged.length(), "a session's length is its file's");
        }
        let held = occupied_bytes(&root.path().join("larder/upload"));
        assert!(held <= bytes.len() as u64 + ROOM + (1 << 20), "{announced}: {held} bytes are held");
        let blobs = Blobs::new(Arc::clone(&disk));
        blobs.publish(staged, &digest).unwrap();
        assert_eq!(blobs.read(&digest, u64::MAX).unwrap().as_deref(), Some(bytes.as_slice()));
        let hex = digest.hex();
        let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let held = occupied_bytes(&root.path().join(data));
        assert!(held < bytes.len() as u64 + (1 << 20), "{announced}: {held} bytes stay held");
    }
}

/// Before gigabytes come in vain.
#[test]
fn what_can_not_fit_is_refused_before_a_byte_of_it_is_written() {
    let (root, disk) = scratch();
    let mut staged = Staged::create(&disk, Path::new("larder/upload"), Algorithm::Sha256).unwrap();
    staged.announce(u64::MAX);
    let refused = staged.append(&[1; 100]).unwrap_err();
    let StorageError::NoSpace { shortage, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((shortage.needed, shortage.directory.as_path()), (Some(u64::MAX), root.path()));
    assert!(shortage.free.is_some_and(|free| free > 0 && free < u64::MAX));
    assert_eq!(occupied_bytes(&root.path().join("larder/upload")), 0);
    assert!(staged.require_room(u64::MAX / 4).is_err());
    staged.require_room(1 << 20).unwrap();
}

/// A second request of the same session announces its own bytes.
#[test]
fn room_is_counted_from_where_the_file_ends() {
    let (_root, disk) = scratch();
    let mut staged = Staged::create(&disk, Path::new("larder/upload"), Algorithm::Sha256).unwrap();
    staged.announce(4 << 20);
    staged.append(&[1; 1 << 20]).unwrap();
    drop(staged);
    let mut staged = Staged::reopen(&disk, Path::new("larder/upload"), Algorithm::Sha256).unwrap().unwrap();
    staged.announce(2 << 20);
    staged.append(&[2; 1 << 20]).unwrap();
    assert_eq!((staged.length(), staged.roomy), (2 << 20, 3 << 20));
}

/// Two threads, or one after the other: what counts is the order in which the pieces were written.
#[test]
fn what_was_written_is_hashed_later_and_by_whoever_has_time() {
    let (root, disk) = scratch();
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 253) as u8).collect();
    let digest = Digest::sha256(&bytes);
    let mut staged = Staged::create(&disk, Path::new("larder/fill"), Algorithm::Sha256).unwrap();
    staged.append(&bytes[..1000]).unwrap();
    let (first, last) = bytes[1000..].split_at(200_000);
    let first = staged.write(first.chunks(777).collect()).unwrap();
    let last = staged.write(vec![last]).unwrap();
    assert!(!staged.hashes_to(&digest), "nothing counts as right before it was hashed");
    assert_eq!(std::fs::read(root.path().join("larder/fill")).unwrap(), bytes, "it is written all the same");
    std::thread::scope(|scope| scope.spawn(move || first.hash()).join().unwrap());
    assert!(!staged.hashes_to(&digest));
    last.hash();
    assert!(staged.hashes_to(&digest));
    Blobs::new(disk).publish(staged, &digest).unwrap();
}

#[test]
fn what_was_hashed_in_another_order_or_not_at_all_is_read_before_it_is_published() {
    for (is_swapped, is_right) in [(true, true), (true, false), (false, true), (false, false)] {
        let (_root, disk) = scratch();
        let mut staged = Staged::create(&disk, Path::new("larder/fill"), Algorithm::Sha256).unwrap();
        let one = staged.write(vec![b"one"]).unwrap();
        let two = staged.write(vec![b"two"]).unwrap();
        if is_swapped {
            two.hash();
            one.hash();
        } else {
            drop((one, two));
        }
        staged.append(b"three").unwrap();
        let digest = Digest::sha256(if is_right { b"onetwothree" } else { b"twoonethree" });
        assert!(!staged.hashes_to(&digest), "nobody knows yet");
        let published = Blobs::new(disk).publish(staged, &digest);
        assert_eq!(published.is_ok(), is_right, "{published:?}");
    }
}
