#![expect(clippy::disallowed_methods, reason = "tests damage what lies on the disk")]

use super::*;
use crate::cli::DataPlace;
use larder_oci::Digest;
use larder_storage::{Blobs, Disk};
use std::sync::Arc;

fn verify(root: &Path, repair: bool, json: bool) -> (String, bool) {
    let place = DataPlace { data: Some(root.to_owned()), config: None };
    let command = Verify { place, repair, json, resume: None };
    let mut output = Vec::new();
    let code = run(&command, &Environment::default(), false, &mut output).unwrap();
    (String::from_utf8(output).unwrap(), format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
}

#[test]
fn a_damaged_blob_is_named_first_and_moved_away_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"bytes");
    let hex = digest.hex();
    {
        let blobs = Blobs::new(Arc::new(Disk::open(root.path()).unwrap()));
        blobs.put(&digest, b"bytes").unwrap();
    }
    let (said, is_well) = verify(root.path(), false, false);
    assert_eq!(
        (said.as_str(), is_well),
        ("1 blobs (5 bytes) and 0 links in 0 repositories: all is well\n", true)
    );
    let data = root.path().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data");
    std::fs::write(&data, b"bytez").unwrap();
    let (said, is_well) = verify(root.path(), false, false);
    assert!(said.starts_with(&format!("damaged blob {digest}: its 5 bytes hash to ")) && !is_well, "{said}");
    assert!(data.try_exists().unwrap());
    let (said, is_well) = verify(root.path(), true, true);
    let report: VerifyReport = serde_json::from_str(&said).unwrap();
    assert!(!is_well && root.path().join(report.damaged[0].moved_to.as_ref().unwrap()).try_exists().unwrap());
    assert!(!data.try_exists().unwrap());
    assert!(verify(root.path(), false, false).1);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let command = Verify {
        place: DataPlace { data: Some(absent.clone()), config: None },
        repair: true,
        json: false,
        resume: None,
    };
    run(&command, &Environment::default(), false, &mut Vec::new()).unwrap_err();
    assert!(!absent.try_exists().unwrap());
}

#[test]
fn a_server_that_holds_the_lock_does_the_repair() {
    let root = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(Arc::new(Disk::open(root.path()).unwrap()));
    let digest = Digest::sha256(b"bytes");
    blobs.put(&digest, b"bytes").unwrap();
    drop(blobs);
    let purging = larder_core::UploadPurging {
        enabled: false,
        age: Duration::from_secs(1),
        interval: Duration::from_secs(1),
        dry_run: false,
    };
    let collection = larder_core::Collection {
        enabled: true,
        grace: Duration::from_secs(1),
        unreferenced: Duration::from_secs(1),
    };
    let settings =
        larder_core::Settings { deletes: true, read_only: false, upload_purging: purging, collection };
    let registry =
        larder_core::Registry::open(root.path(), settings, larder_core::Environment::system()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let schedule = larder_core::VerifySchedule { every: Duration::ZERO, most_per_second: 1 };
    let serving = runtime.spawn({
        let stop = stop.clone();
        async move { registry.verify_regularly(schedule, stop).await }
    });
    let (said, is_well) = verify(root.path(), true, false);
    assert_eq!(
        (said.as_str(), is_well),
        ("1 blobs (5 bytes) and 0 links in 0 repositories: all is well\n", true)
    );
    // Asked again at once, within the same second maybe.
    assert!(verify(root.path(), true, false).1);
    stop.cancel();
    runtime.block_on(serving).unwrap();
}
