#![expect(clippy::disallowed_methods, reason = "tests damage what lies on the disk")]

use std::sync::Arc;

use super::*;
use crate::disk::Disk;

fn store() -> (tempfile::TempDir, Blobs) {
    let root = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(Arc::new(Disk::open(root.path()).unwrap()));
    (root, blobs)
}

fn put(blobs: &Blobs, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    blobs.put(&digest, bytes).unwrap();
    digest
}

fn on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn what_hashes_to_its_name_is_sound_and_what_does_not_is_damaged() {
    let (root, blobs) = store();
    let digest = put(&blobs, b"bytes");
    assert_eq!(blobs.check(&digest, &mut on).unwrap(), Checked::Sound { size: 5 });
    std::fs::write(root.path().join(data_path(&digest)), b"bytez").unwrap();
    let Checked::Damaged(damage) = blobs.check(&digest, &mut on).unwrap() else { panic!("it is damaged") };
    assert_eq!(damage.found, Digest::sha256(b"bytez"));
    assert_eq!(blobs.check(&Digest::sha256(b"other"), &mut on).unwrap(), Checked::Absent);
}

#[test]
fn damaged_content_is_moved_and_found_no_more() {
    let (root, blobs) = store();
    let digest = put(&blobs, b"bytes");
    std::fs::write(root.path().join(data_path(&digest)), b"bytez").unwrap();
    let Checked::Damaged(damage) = blobs.check(&digest, &mut on).unwrap() else { panic!("it is damaged") };
    let place = blobs.set_aside(&digest, &damage).unwrap().unwrap();
    assert_eq!(std::fs::read(root.path().join(place)).unwrap(), b"bytez");
    assert_eq!(blobs.find(&digest).unwrap(), None);
}

#[test]
fn what_a_push_has_mended_meanwhile_stays() {
    let (root, blobs) = store();
    let digest = put(&blobs, b"bytes");
    std::fs::write(root.path().join(data_path(&digest)), b"bytez").unwrap();
    let Checked::Damaged(damage) = blobs.check(&digest, &mut on).unwrap() else { panic!("it is damaged") };
    put(&blobs, b"bytes");
    assert_eq!(blobs.set_aside(&digest, &damage).unwrap(), None);
    assert_eq!(blobs.read(&digest, 10).unwrap().as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn whoever_sets_the_pace_may_stop_in_the_middle() {
    let (_root, blobs) = store();
    let digest = put(&blobs, &vec![7; 3 << 20]);
    let mut stretches = 0;
    let mut pace = |_| {
        stretches += 1;
        if stretches == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_eq!(blobs.check(&digest, &mut pace).unwrap(), Checked::Stopped);
    assert_eq!(stretches, 2);
}

#[test]
fn a_directory_opened_for_reading_is_not_changed() {
    let (root, blobs) = store();
    let digest = put(&blobs, b"bytes");
    // Somebody else holds the lock all the while.
    let reading = Blobs::new(Arc::new(Disk::open_for_reading(root.path()).unwrap()));
    assert_eq!(reading.read(&digest, 10).unwrap().as_deref(), Some(&b"bytes"[..]));
    reading.put(&digest, b"bytes").unwrap_err();
    assert!(Disk::open_for_reading(&root.path().join("absent")).is_err());
    assert_eq!(std::fs::read_dir(root.path().join("larder/staging")).unwrap().count(), 0);
}
