use std::io::Write as _;

use super::*;

fn mirror(door: &str, says_upstream: bool) -> Mirror {
    Mirror {
        engine: Engine::Containerd,
        daemon: String::new(),
        upstream: "ghcr.io".to_owned(),
        told_by: "hosts.toml".to_owned(),
        written: "https://r".to_owned(),
        door: door.to_owned(),
        says_upstream,
        is_exact: true,
    }
}

#[test]
fn the_canary_lies_where_the_mirror_is_asked_for_it() {
    let homes = |door: &str, says: bool| -> Vec<String> {
        homes(&mirror(door, says), "a/b").iter().map(ToString::to_string).collect()
    };
    assert_eq!(homes("/ghcr.io/v2/", false), ["ghcr.io/a/b"]);
    assert_eq!(homes("/v2/ghcr.io/", true), ["ghcr.io/a/b"]);
    assert_eq!(homes("/v2/", true), ["ghcr.io/a/b", "a/b"]);
    assert_eq!(homes("/v2/", false), ["a/b"]);
}

#[test]
fn the_archive_is_one_that_tar_reads() {
    let bytes = image::archive("hello\n");
    assert_eq!(bytes.len() % 512, 0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::File::create(&file).unwrap().write_all(&bytes).unwrap();
    let listed =
        std::process::Command::new("tar").arg("-xOf").arg(&file).arg("larder-canary").output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(listed.stdout, b"hello\n");
}
