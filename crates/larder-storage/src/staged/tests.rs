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
