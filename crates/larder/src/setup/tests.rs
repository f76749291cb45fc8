#![expect(clippy::disallowed_methods, reason = "the test plays the operator, who knows no Disk")]

use super::*;

fn arguments(client: ClientName, into: &Path) -> ClientArguments {
    ClientArguments {
        client,
        registry: "reg.lan:5000".to_owned(),
        root: Some("docker.io".to_owned()),
        upstreams: vec!["ghcr.io".to_owned()],
        ca: None,
        write: true,
        into: Some(into.to_owned()),
    }
}

fn run(arguments: &ClientArguments) -> (String, bool) {
    let mut out = Vec::new();
    let code = client(arguments, &mut out).expect("written");
    (String::from_utf8(out).expect("text"), code == ExitCode::SUCCESS)
}

#[test]
fn a_merge_keeps_a_copy_shows_the_difference_and_is_done_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("etc/docker/daemon.json");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    let before = "{\n  \"log-driver\": \"journald\"\n}\n";
    fs::write(&file, before).expect("written");
    let arguments = arguments(ClientName::Docker, dir.path());
    let (told, good) = run(&arguments);
    assert!(good && told.contains("+  \"registry-mirrors\"") && told.contains("restart docker"), "{told}");
    let after = fs::read_to_string(&file).expect("read");
    assert!(after.contains("journald") && after.contains("https://reg.lan:5000"), "{after}");
    let copies: Vec<_> = fs::read_dir(file.parent().expect("a parent"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains("before-larder"))
        .collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read_to_string(&copies[0]).expect("read"), before);
    let (told, good) = run(&arguments);
    assert!(good && told.contains("nothing to change"), "{told}");
}

#[test]
fn a_file_that_cannot_be_merged_is_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("etc/rancher/k3s/registries.yaml");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    fs::write(&file, "mirrors: {}\n").expect("written");
    let (told, good) = run(&arguments(ClientName::K3s, dir.path()));
    assert!(!good && told.contains("by hand") && told.contains("https://reg.lan:5000/v2/ghcr.io"), "{told}");
    assert_eq!(fs::read_to_string(&file).expect("read"), "mirrors: {}\n");
}

#[test]
fn without_leave_files_are_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments =
        ClientArguments { write: false, into: None, ..arguments(ClientName::Containerd, dir.path()) };
    let (told, good) = run(&arguments);
    assert!(good && told.contains("# /etc/containerd/certs.d/ghcr.io/hosts.toml"), "{told}");
    assert!(told.contains("[host.\"https://reg.lan:5000/v2/ghcr.io\"]"), "{told}");
    assert!(told.contains("override_path = true"), "{told}");
}

#[test]
fn a_plain_registry_is_named_as_such() {
    let dir = tempfile::tempdir().expect("a directory");
    let plain = |client| ClientArguments {
        registry: "http://reg.lan:5000".to_owned(),
        write: false,
        into: None,
        ..arguments(client, dir.path())
    };
    assert!(run(&plain(ClientName::Docker)).0.contains("insecure-registries"));
    assert!(run(&plain(ClientName::Podman)).0.contains("insecure = true"));
    assert!(run(&plain(ClientName::Buildkit)).0.contains("http = true"));
}
