use std::io::Read as _;

use larder_oci::Algorithm;

use super::*;

fn blobs(root: &Path) -> (Arc<Disk>, Blobs) {
    let disk = Arc::new(Disk::open(root).unwrap());
    (Arc::clone(&disk), Blobs::new(disk))
}

fn staged(disk: &Arc<Disk>, algorithm: Algorithm, pieces: &[&[u8]]) -> Staged {
    let mut staged = Staged::create(disk, Path::new("up/data"), algorithm).unwrap();
    for piece in pieces {
        staged.append(piece).unwrap();
    }
    staged
}

#[test]
fn published_content_lies_where_distribution_looks_for_it() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let digest = Digest::sha256(b"hello world");
    assert!(blobs.open(&digest).unwrap().is_none());
    let verified = blobs.publish(staged(&disk, Algorithm::Sha256, &[b"hello ", b"world"]), &digest).unwrap();
    assert_eq!((verified.digest(), verified.size()), (&digest, 11));
    let hex = digest.hex();
    let expected = root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    assert_eq!(std::fs::read(expected).unwrap(), b"hello world");
    let mut text = String::new();
    blobs.open(&digest).unwrap().unwrap().file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello world");
}

#[test]
fn wrong_bytes_are_never_published_and_stay_for_another_try() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let wanted = Digest::sha256(b"right");
    let error = blobs.publish(staged(&disk, Algorithm::Sha256, &[b"wrong"]), &wanted).unwrap_err();
    assert!(matches!(error, StorageError::DigestMismatch { .. }), "{error}");
    assert_eq!(blobs.find(&wanted).unwrap(), None);
    let again = Staged::reopen(&disk, Path::new("up/data"), Algorithm::Sha256).unwrap().unwrap();
    blobs.publish(again, &Digest::sha256(b"wrong")).unwrap();
}

#[test]
fn content_may_be_named_by_another_hash_than_it_was_received_with() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let digest = Digest::of(Algorithm::Sha512, b"content");
    blobs.publish(staged(&disk, Algorithm::Sha256, &[b"content"]), &digest).unwrap();
    assert_eq!(blobs.read(&digest, 100).unwrap().unwrap(), b"content");
}

#[test]
fn a_half_done_file_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    drop(staged(&disk, Algorithm::Sha256, &[b"first "]));
    let mut again = Staged::reopen(&disk, Path::new("up/data"), Algorithm::Sha256).unwrap().unwrap();
    assert_eq!(again.length(), 6);
    again.append(b"second").unwrap();
    blobs.publish(again, &Digest::sha256(b"first second")).unwrap();
}

#[test]
fn an_empty_file_is_the_empty_blob_or_none() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let (something, nothing) = (Digest::sha256(b"x"), Digest::sha256(b""));
    blobs.put(&nothing, b"").unwrap();
    disk.put(&data_path(&something), b"").unwrap();
    assert_eq!(blobs.find(&nothing).unwrap().unwrap().size(), 0);
    assert!(blobs.open(&nothing).unwrap().is_some());
    assert_eq!(blobs.find(&something).unwrap(), None);
    assert!(blobs.open(&something).unwrap().is_none());
}

#[test]
fn damaged_content_is_not_served_and_a_push_mends_it() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let digest = Digest::sha256(b"manifest");
    blobs.put(&digest, b"manifest").unwrap();
    disk.put(&data_path(&digest), b"manifesT").unwrap();
    assert!(matches!(blobs.read(&digest, 100), Err(StorageError::Corrupt { .. })));
    blobs.publish(staged(&disk, Algorithm::Sha256, &[b"manifest"]), &digest).unwrap();
    assert_eq!(blobs.read(&digest, 100).unwrap().unwrap(), b"manifest");
}

#[test]
fn a_staged_file_that_another_program_wrote_is_hashed_again() {
    let root = tempfile::tempdir().unwrap();
    let (disk, blobs) = blobs(root.path());
    let mine = staged(&disk, Algorithm::Sha256, &[b"mine"]);
    assert!(mine.is_untouched().unwrap());
    // As many bytes, in another file under the same name.
    disk.put(Path::new("up/data"), b"thin").unwrap();
    assert!(!mine.is_untouched().unwrap());
    let error = blobs.publish(mine, &Digest::sha256(b"mine")).unwrap_err();
    assert!(matches!(error, StorageError::DigestMismatch { .. }), "{error}");
    let mine = Staged::reopen(&disk, Path::new("up/data"), Algorithm::Sha256).unwrap().unwrap();
    blobs.publish(mine, &Digest::sha256(b"thin")).unwrap();
}

/// Opening a named pipe waits for its other end: each reader of it would take a thread with it for ever.
#[test]
fn what_is_no_file_is_an_error_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (_, blobs) = blobs(root.path());
    let digest = Digest::sha256(b"a pipe");
    let path = root.path().join(data_path(&digest));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let opened = [blobs.open(&digest).map(drop), blobs.read(&digest, 100).map(drop)];
        sender.send(opened.map(|outcome| outcome.map_err(|error| error.to_string()))).unwrap();
        // A push puts the file there that it should be.
        blobs.put(&digest, b"a pipe").unwrap();
        sender.send([blobs.read(&digest, 100).map(drop).map_err(|error| error.to_string()), Ok(())]).unwrap();
    });
    let wait = || receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for the pipe");
    assert!(wait().iter().all(Result::is_err));
    assert!(wait().iter().all(Result::is_ok));
}
