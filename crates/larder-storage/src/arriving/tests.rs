use std::os::unix::fs::FileExt as _;

use super::*;
use crate::disk::Disk;

fn blobs(root: &Path) -> Blobs {
    Blobs::new(Arc::new(Disk::open(root).unwrap()))
}

#[test]
fn what_has_arrived_is_read_while_it_grows_and_after_it_is_published() {
    let root = tempfile::tempdir().unwrap();
    let blobs = blobs(root.path());
    let digest = Digest::sha256(b"one two");
    let Arriving { mut staged, reader } = blobs.arrive(&digest).unwrap();
    staged.append(b"one ").unwrap();
    let mut four = [0; 4];
    reader.read_exact_at(&mut four, 0).unwrap();
    assert_eq!(&four, b"one ");
    staged.append(b"two").unwrap();
    assert_eq!(blobs.publish(staged, &digest).unwrap().size(), 7);
    let mut all = [0; 7];
    reader.read_exact_at(&mut all, 0).unwrap();
    assert_eq!(&all, b"one two");
    assert!(blobs.find(&digest).unwrap().is_some());
    assert_eq!(std::fs::read_dir(root.path().join(ARRIVING)).unwrap().count(), 0);
}

#[test]
fn a_new_process_goes_on_with_what_had_arrived() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"one two");
    blobs(root.path()).arrive(&digest).unwrap().staged.append(b"one ").unwrap();
    let blobs = blobs(root.path());
    let mut arriving = blobs.arrive(&digest).unwrap();
    assert_eq!(arriving.staged.length(), 4);
    arriving.staged.append(b"two").unwrap();
    blobs.publish(arriving.staged, &digest).unwrap();
}

#[test]
fn only_what_is_old_and_not_under_way_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let blobs = blobs(root.path());
    let (busy, idle) = (Digest::sha256(b"busy"), Digest::sha256(b"idle"));
    for digest in [&busy, &idle] {
        blobs.arrive(digest).unwrap().staged.append(b"x").unwrap();
    }
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    assert_eq!(blobs.forget_abandoned(now, day, |_| false).unwrap(), 0);
    assert_eq!(blobs.forget_abandoned(now + 2 * day, day, |digest| *digest == busy).unwrap(), 1);
    assert_eq!(blobs.arrive(&busy).unwrap().staged.length(), 1);
    assert_eq!(blobs.arrive(&idle).unwrap().staged.length(), 0);
}

#[test]
fn what_has_arrived_of_all_contents_is_known() {
    let root = tempfile::tempdir().unwrap();
    let blobs = blobs(root.path());
    assert_eq!(blobs.arriving_bytes().unwrap(), 0);
    let digest = Digest::sha256(b"one two");
    let mut arriving = blobs.arrive(&digest).unwrap();
    arriving.staged.append(b"one ").unwrap();
    blobs.arrive(&Digest::sha256(b"other")).unwrap().staged.append(b"xyz").unwrap();
    assert_eq!(blobs.arriving_bytes().unwrap(), 7);
    arriving.staged.append(b"two").unwrap();
    blobs.publish(arriving.staged, &digest).unwrap();
    assert_eq!(blobs.arriving_bytes().unwrap(), 3);
}
