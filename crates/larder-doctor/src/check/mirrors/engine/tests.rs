#![expect(clippy::disallowed_methods, reason = "the test plays the operator, who knows no Disk")]

use std::os::unix::fs::PermissionsExt as _;

use super::super::image::image;
use super::*;

fn mirror(engine: Engine, upstream: &str, written: &str) -> Mirror {
    Mirror {
        engine,
        daemon: "unix:///run/some.sock".to_owned(),
        upstream: upstream.to_owned(),
        told_by: "a file".to_owned(),
        written: written.to_owned(),
        door: "/v2/".to_owned(),
        says_upstream: true,
        is_exact: true,
    }
}

/// A machine with one program, which notes its arguments beside it.
fn machine(dir: &Path, program: &str, script: &str) -> Machine {
    let path = dir.join(program);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let noted = dir.join("noted");
    std::fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n{script}\n", noted.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Machine { root: dir.to_owned(), programs: vec![dir.to_owned()], ..Machine::default() }
}

fn noted(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("noted")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn canary() -> Image {
    image("library/larder-canary".parse().unwrap(), 7 << 32)
}

const REFERENCE: &str = "docker.io/library/larder-canary:larder-doctor-00000007";

#[test]
fn an_engines_error_names_the_host_that_was_asked() {
    let asked = |said: &str, upstream: &str| {
        asked(said, "reg.lan:5000", &mirror(Engine::Docker, upstream, "https://reg.lan:1"))
    };
    let other = |host: &str| Some(Asked::Other(host.to_owned()));
    let said = "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
    assert_eq!(asked(said, "docker.io"), other("registry-1.docker.io"));
    let said = "trying next host host=ghcr.io, failed to do request: Head \"https://reg.lan:1/v2/\": connection refused";
    assert_eq!(asked(said, "ghcr.io"), other("ghcr.io"));
    assert_eq!(asked("Head \"https://mirror.lan/v2/\": EOF", "ghcr.io"), other("mirror.lan"));
    assert_eq!(asked("pull access denied for larder-canary", "docker.io"), other("registry-1.docker.io"));
    assert_eq!(
        asked("Error: stat /home/a/.docker/config.json: no such file or directory", "docker.io"),
        None
    );
    let said = "rpc error: code = Unknown desc = failed to do request: Head \"https://reg.lan:1/v2/a\": connection refused";
    assert_eq!(asked(said, "ghcr.io"), Some(Asked::Mirror), "containerd shows the first host's error alone");
    let said = "failed to do request: Head \"http://reg.lan:5000/v2/a\": EOF";
    assert_eq!(
        asked(said, "ghcr.io"),
        Some(Asked::Mirror),
        "the registry with another scheme is the mirror, too"
    );
    let said = "> docker-image://ghcr.io/a/b:c: ------ unexpected status from HEAD request to http://reg.lan:5000/v2/ghcr.io/a: 400 Bad Request";
    assert_eq!(
        asked(said, "ghcr.io"),
        Some(Asked::Mirror),
        "what BuildKit is to get is no host that it asked"
    );
    assert_eq!(asked("rpc error: code = Unknown desc = no space left", "ghcr.io"), None);
    assert_eq!(shortened("a\n  b"), "a b");
    assert!(shortened(&"x".repeat(400)).starts_with('…'));
}

#[tokio::test]
async fn buildkit_builds_without_a_context_and_its_cache_is_pruned_of_the_canary_alone() {
    let dir = tempfile::tempdir().unwrap();
    let image = canary();
    let script =
        format!("case \"$*\" in *build*) cat > {0}/sent; cat {0}/built;; esac", dir.path().display());
    let machine = machine(dir.path(), "buildctl", &script);
    std::fs::write(dir.path().join("built"), super::super::image::archive(&image.content)).unwrap();
    let puller =
        Puller::reach(&machine, &mirror(Engine::BuildKit, "docker.io", "reg.lan:5000")).await.ok().unwrap();
    puller.pull(REFERENCE, &image).await.unwrap();
    assert_eq!(
        noted(dir.path()),
        [
            "--addr unix:///run/some.sock debug workers",
            "--addr unix:///run/some.sock build --progress plain --output type=tar",
            "--addr unix:///run/some.sock prune --filter description~=larder-doctor-00000007",
        ]
    );
    let sent = std::fs::read(dir.path().join("sent")).unwrap();
    let source = format!("docker-image://{REFERENCE}");
    assert!(sent.windows(source.len()).any(|window| window == source.as_bytes()), "{sent:?}");
    std::fs::write(dir.path().join("built"), super::super::image::archive("another image\n")).unwrap();
    assert_eq!(puller.pull(REFERENCE, &image).await.unwrap_err(), "what was built isn't the canary");
}

#[tokio::test]
async fn a_builder_that_does_not_run_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(
        dir.path(),
        "docker",
        "[ \"$2\" = inspect ] && printf 'Nodes:\\nStatus:                stopped\\n'; true",
    );
    let of = Mirror { daemon: "ring".to_owned(), ..mirror(Engine::Buildx, "docker.io", "reg.lan:5000") };
    let why = Puller::reach(&machine, &of).await.err().unwrap();
    assert_eq!(why, "its builder doesn't run: docker buildx inspect --bootstrap ring starts it");
    assert_eq!(noted(dir.path()), ["buildx version", "buildx inspect ring"]);
}

#[tokio::test]
async fn kubernetes_pulls_by_its_runtimes_own_configuration_and_removes_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let info = r#"case $5 in version) echo 'RuntimeName:  containerd';; *) echo '{"config": {"registry": {"configPath": "/etc/elsewhere"}}}';; esac"#;
    let machine = machine(dir.path(), "crictl", info);
    let puller =
        Puller::reach(&machine, &mirror(Engine::Kubernetes, "docker.io", "reg.lan:5000")).await.ok().unwrap();
    assert_eq!(puller.config_path(), Some("/etc/elsewhere"));
    puller.pull(REFERENCE, &canary()).await.unwrap();
    let at = "--runtime-endpoint unix:///run/some.sock --image-endpoint unix:///run/some.sock";
    assert_eq!(
        noted(dir.path()),
        ["info".to_owned(), "version".to_owned(), format!("pull {REFERENCE}"), format!("rmi {REFERENCE}")]
            .map(|words| format!("{at} {words}"))
    );
}

#[tokio::test]
async fn a_runtime_of_another_kind_is_not_asked_about_containerds_files() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(dir.path(), "crictl", "printf 'Version:  0.1.0\\nRuntimeName:  cri-o\\n'");
    let why = Puller::reach(&machine, &mirror(Engine::Kubernetes, "docker.io", "reg.lan:5000"))
        .await
        .err()
        .unwrap();
    assert_eq!(why, "Kubernetes' runtime at unix:///run/some.sock is cri-o, which doesn't read it");
}

#[tokio::test]
async fn k3s_and_rke2_are_asked_by_the_crictl_that_they_bring() {
    let dir = tempfile::tempdir().unwrap();
    let k3s = machine(dir.path(), "usr/local/bin/k3s", "echo \"runtime: $CONTAINER_RUNTIME_ENDPOINT\"");
    let puller =
        Puller::reach(&k3s, &mirror(Engine::K3s, "docker.io", "https://reg.lan:5000")).await.ok().unwrap();
    puller.pull(REFERENCE, &canary()).await.unwrap();
    assert_eq!(
        noted(dir.path()),
        ["crictl info".to_owned(), format!("crictl pull {REFERENCE}"), format!("crictl rmi {REFERENCE}")]
    );
    let dir = tempfile::tempdir().unwrap();
    let rke2 = machine(dir.path(), "var/lib/rancher/rke2/bin/crictl", "echo \"$CRI_CONFIG_FILE\" >&2; false");
    let why =
        Puller::reach(&rke2, &mirror(Engine::Rke2, "docker.io", "https://reg.lan:5000")).await.err().unwrap();
    let config = dir.path().join("var/lib/rancher/rke2/agent/etc/crictl.yaml");
    assert_eq!(why, format!("no runtime of RKE2 answers crictl (as root?): {}", config.display()));
}
