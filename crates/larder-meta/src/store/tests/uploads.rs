use larder_oci::{Algorithm, UploadId};

use super::*;

const STARTED: Duration = Duration::from_secs(1_700_000_000);

fn id(number: u8) -> UploadId {
    UploadId::from_random([number; 16])
}

fn directory(root: &Path, id: UploadId) -> std::path::PathBuf {
    root.join(REPOSITORIES).join(format!("app/_uploads/{id}"))
}

#[test]
fn a_session_looks_as_registry_2_writes_it() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    let now = SystemTime::UNIX_EPOCH + STARTED + Duration::from_millis(999);
    let mut staged = store.create_upload(&app, id(1), Algorithm::Sha256, now).unwrap();
    staged.append(b"bytes").unwrap();
    assert_eq!(
        files(root.path()),
        [
            (format!("app/_uploads/{}/data", id(1)), "bytes".to_owned()),
            (format!("app/_uploads/{}/startedat", id(1)), "2023-11-14T22:13:20Z".to_owned()),
        ]
    );
    assert_eq!(store.upload_length(&app, id(1)).unwrap(), Some(5));
    assert_eq!(store.upload_length(&app, id(2)).unwrap(), None);
    assert!(store.reopen_upload(&app, id(2), Algorithm::Sha256).unwrap().is_none());
    assert!(store.remove_upload(&app, id(1)).unwrap());
    assert!(!store.remove_upload(&app, id(1)).unwrap());
    assert_eq!(files(root.path()), []);
}

#[test]
fn a_session_that_registry_2_has_begun_is_taken_up() {
    let root = scratch();
    let app = name("app");
    let session = directory(root.path(), id(1));
    write_in_place(&session.join("startedat"), "2023-11-14T22:13:20Z", Duration::ZERO);
    write_in_place(&directory(root.path(), id(2)).join("data"), "half", Duration::ZERO);
    let store = open(root.path());
    assert_eq!(store.upload_length(&app, id(1)).unwrap(), Some(0));
    let mut staged = store.reopen_upload(&app, id(1), Algorithm::Sha256).unwrap().unwrap();
    staged.append(b"content").unwrap();
    store.blobs.publish(staged, &Digest::sha256(b"content")).unwrap();
    assert_eq!(store.upload_length(&app, id(2)).unwrap(), Some(4));
    let mut staged = store.reopen_upload(&app, id(2), Algorithm::Sha256).unwrap().unwrap();
    staged.append(b" and half").unwrap();
    store.blobs.publish(staged, &Digest::sha256(b"half and half")).unwrap();
}

#[test]
fn sessions_are_stale_by_their_last_use() {
    const HOUR: Duration = Duration::from_secs(3600);
    let root = scratch();
    let store = open(root.path());
    let now = SystemTime::now();
    assert_eq!(store.stale_uploads(now).unwrap(), []);
    for (number, started) in [(1, now - 9 * HOUR), (2, now - 9 * HOUR), (3, now)] {
        store.create_upload(&name("app"), id(number), Algorithm::Sha256, started).unwrap();
    }
    // The first was last written five hours ago, the others now.
    for path in [directory(root.path(), id(1)).join("data"), directory(root.path(), id(1))] {
        std::fs::File::open(path).unwrap().set_modified(now - 5 * HOUR).unwrap();
    }
    let stale = |before| {
        let found = store.stale_uploads(before).unwrap();
        found.into_iter().map(|upload| (upload.id, upload.last_used)).collect::<Vec<_>>()
    };
    assert_eq!(stale(now - 6 * HOUR), []);
    assert_eq!(stale(now - 4 * HOUR), [(id(1), now - 5 * HOUR)]);
    assert_eq!(stale(now + HOUR).len(), 3);
    // Without the index too: it is read from the directory.
    drop(store);
    remove_index(root.path());
    assert_eq!(open(root.path()).stale_uploads(now + HOUR).unwrap().len(), 3);
}

#[test]
fn a_clock_that_no_format_can_say_is_survived() {
    let root = scratch();
    let store = open(root.path());
    let year_ten_thousand = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for (number, now) in [(1, year_ten_thousand), (2, before_1970)] {
        store.create_upload(&name("app"), id(number), Algorithm::Sha256, now).unwrap();
        assert_eq!(store.upload_length(&name("app"), id(number)).unwrap(), Some(0));
    }
}
