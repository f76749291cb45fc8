use std::io::Write as _;

use super::*;

fn mirror(door: &str, says_upstream: bool) -> Mirror {
    Mirror {
        engine: Engine::Containerd,
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
    let bytes = archive("hello\n");
    assert_eq!(bytes.len() % 512, 0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::File::create(&file).unwrap().write_all(&bytes).unwrap();
    let listed =
        std::process::Command::new("tar").arg("-xOf").arg(&file).arg("larder-canary").output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(listed.stdout, b"hello\n");
}

#[test]
fn an_engines_error_names_the_host_that_was_asked() {
    let asked = |said: &str, upstream: &str| engine::host_asked(said, "reg.lan:5000", upstream);
    let said = "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
    assert_eq!(asked(said, "docker.io").as_deref(), Some("registry-1.docker.io"));
    let said = "trying next host host=ghcr.io, failed to do request: Head \"https://reg.lan:1/v2/\": connection refused";
    assert_eq!(asked(said, "ghcr.io").as_deref(), Some("ghcr.io"));
    assert_eq!(asked("Head \"https://mirror.lan/v2/\": EOF", "ghcr.io").as_deref(), Some("mirror.lan"));
    assert_eq!(
        asked("pull access denied for larder-canary", "docker.io").as_deref(),
        Some("registry-1.docker.io")
    );
    assert_eq!(
        asked("Error: stat /home/a/.docker/config.json: no such file or directory", "docker.io"),
        None
    );
    assert_eq!(engine::shortened("a\n  b"), "a b");
    assert!(engine::shortened(&"x".repeat(400)).starts_with('…'));
}
