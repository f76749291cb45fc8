use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::net::{Endpoint, Scheme};

fn spoken() -> Spoken {
    Spoken {
        authority: "reg.lan:5000".to_owned(),
        endpoint: Endpoint { scheme: Scheme::Https, host: "reg.lan".to_owned(), port: 5000 },
        vouching: Vec::new(),
        by_system: false,
    }
}

fn doors(mirrors: &[Mirror]) -> Vec<(&str, &str, bool, bool)> {
    let each = |mirror: &'_ Mirror| (mirror.says_upstream, mirror.is_exact);
    mirrors
        .iter()
        .map(|mirror| (mirror.upstream.as_str(), mirror.door.as_str(), each(mirror).0, each(mirror).1))
        .collect()
}

#[test]
fn dockers_mirrors_are_those_at_the_registry_or_at_its_host() {
    let told = r#"["https://reg.lan:5000/docker.io/","http://reg.lan:5001/","https://mirror.example/"]"#;
    let mirrors = Machine::docker_mirrors(&spoken(), told);
    assert_eq!(
        doors(&mirrors),
        [("docker.io", "/docker.io/v2/", false, true), ("docker.io", "/v2/", false, false)]
    );
    assert_eq!(Machine::docker_mirrors(&spoken(), "null"), []);
}

fn lab() -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let home = Some(root.path().join("home/alice"));
    let machine = Machine { root: root.path().to_owned(), home, ..Machine::default() };
    (root, machine)
}

/// Writes a file below the machine's root.
fn write(machine: &Machine, path: &str, text: &str) {
    let path = machine.root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn files_of_containerd_and_podman_say_whose_mirror_it_is_and_at_which_path() {
    let (_root, machine) = lab();
    let write = |path: &str, text: &str| write(&machine, &format!("etc/{path}"), text);
    write("containerd/certs.d/_default/hosts.toml", "[host.\"https://reg.lan:5000\"]\n");
    write(
        "containerd/certs.d/ghcr.io/hosts.toml",
        "[host.\"https://reg.lan:5000/v2/ghcr.io\"]\noverride_path = true\n[host.\"https://other.lan\"]\n",
    );
    for own in ["reg.lan:5000", "reg.lan_5000_"] {
        write(&format!("containerd/certs.d/{own}/hosts.toml"), "[host.\"https://reg.lan:5000\"]\n");
    }
    assert_eq!(
        doors(&machine.containerd_mirrors(&spoken())),
        [("docker.io", "/v2/", true, true), ("ghcr.io", "/v2/ghcr.io/", true, true)]
    );
    write(
        "containers/registries.conf.d/50-larder.conf",
        "[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\n[[registry.mirror]]\nlocation = \"reg.lan:5000/quay.io\"\n\
         [[registry]]\nlocation = \"reg.lan:5000\"\n",
    );
    assert_eq!(doors(&machine.podman_mirrors(&spoken())), [("quay.io", "/v2/quay.io/", false, true)]);
    write("docker/daemon.json", r#"{"registry-mirrors": ["https://reg.lan:5000/docker.io"]}"#);
    let (_, url) = machine.written_docker_mirror(&spoken()).unwrap();
    assert_eq!(url, "https://reg.lan:5000/docker.io");
}

#[test]
fn containerds_file_for_all_registries_is_proven_with_one_that_has_none_of_its_own() {
    let (_root, machine) = lab();
    for name in ["_default", "docker.io"] {
        let text = "[host.\"https://reg.lan:5000/v2\"]\n";
        write(&machine, &format!("etc/containerd/certs.d/{name}/hosts.toml"), text);
    }
    assert_eq!(
        doors(&machine.containerd_mirrors(&spoken())),
        [("ghcr.io", "/v2/", true, true), ("docker.io", "/v2/", true, true)]
    );
}

#[test]
fn buildkits_mirrors_are_those_of_its_files_and_of_each_builder() {
    let (_root, mut machine) = lab();
    let config = |path: &str| {
        format!(
            "[registry.\"docker.io\"]\nmirrors = [\"other.lan\", \"reg.lan:5000{path}\"]\n[registry.\"reg.lan:5000\"]\nhttp = false\n"
        )
    };
    write(&machine, "etc/buildkit/buildkitd.toml", &config(""));
    write(&machine, "home/alice/.config/buildkit/buildkitd.toml", &config("/docker.io"));
    let files = STANDARD.encode(config("/v2/docker.io"));
    let node = format!("{{\"Name\": \"n\", \"Files\": {{\"buildkitd.toml\": \"{files}\"}}}}");
    write(&machine, "home/alice/.docker/buildx/instances/team", &format!("{{\"Nodes\": [{node}, {node}]}}"));
    write(&machine, "home/alice/.docker/buildx/instances/plain", "{\"Nodes\": [{\"Name\": \"n\"}]}");
    let old = machine.root.join("old.toml");
    std::fs::File::create(&old).unwrap().write_all(config("/old").as_bytes()).unwrap();
    let old = format!("{{\"Nodes\": [{{\"ConfigFile\": {:?}}}]}}", old.display().to_string());
    write(&machine, "home/alice/.docker/buildx/instances/old", &old);
    let daemons = |machine: &Machine| -> Vec<(Engine, String)> {
        machine.buildkit_mirrors(&spoken()).into_iter().map(|mirror| (mirror.engine, mirror.daemon)).collect()
    };
    assert_eq!(
        doors(&machine.buildkit_mirrors(&spoken())),
        [
            ("docker.io", "/v2/", true, true),
            ("docker.io", "/v2/docker.io/", true, true),
            ("docker.io", "/v2/old/", true, true),
            ("docker.io", "/v2/v2/docker.io/", true, true)
        ]
    );
    let root = "unix:///run/buildkit/buildkitd.sock".to_owned();
    let own = "unix:///run/user/7/buildkit/buildkitd.sock".to_owned();
    let builders = ["old", "team"].map(|name| (Engine::Buildx, name.to_owned()));
    machine.runtime_dir = Some(PathBuf::from("/run/user/7"));
    let usual =
        [vec![(Engine::BuildKit, root.clone()), (Engine::BuildKit, own.clone())], builders.to_vec()].concat();
    assert_eq!(daemons(&machine), usual);
    for named in [root, own] {
        machine.buildkit_host = Some(named);
        assert_eq!(daemons(&machine), usual, "the other's socket isn't where this file is read");
    }
    machine.buildkit_host = Some("tcp://builder.lan:1234".to_owned());
    let named = (Engine::BuildKit, "tcp://builder.lan:1234".to_owned());
    assert_eq!(daemons(&machine), [vec![named.clone(), named], builders.to_vec()].concat());
}

#[test]
fn a_builder_of_two_nodes_has_each_mirror_once() {
    let (_root, machine) = lab();
    let table = |name: &str| format!("[registry.\"{name}\"]\nmirrors = [\"reg.lan:5000/{name}\"]\n");
    let file = STANDARD.encode(format!("{}{}", table("docker.io"), table("ghcr.io")));
    let node = format!("{{\"Files\": {{\"buildkitd.toml\": \"{file}\"}}}}");
    write(&machine, "home/alice/.docker/buildx/instances/team", &format!("{{\"Nodes\": [{node}, {node}]}}"));
    assert_eq!(
        doors(&machine.buildkit_mirrors(&spoken())),
        [("docker.io", "/v2/docker.io/", true, true), ("ghcr.io", "/v2/ghcr.io/", true, true)]
    );
}

#[test]
fn the_mirrors_of_k3s_are_proven_once_it_has_read_them() {
    let (_root, machine) = lab();
    let yaml = "mirrors:\n  docker.io:\n    endpoint: [\"https://reg.lan:5000\"]\n  \"*\":\n    endpoint:\n      - https://reg.lan:5000/v2/all\n  \
                reg.lan:5000:\n    endpoint: [\"https://reg.lan:5000\"]\n";
    write(&machine, "etc/rancher/k3s/registries.yaml", yaml);
    let all = [("ghcr.io", "/v2/all/", true, true), ("docker.io", "/v2/", true, true)];
    let registries = machine.k3s_mirrors(&spoken());
    assert_eq!(doors(&registries.mirrors), all, "before its first start there is nothing to compare");
    assert!(registries.unread.is_empty() && registries.unproven.is_empty(), "{registries:?}");

    let made = "var/lib/rancher/k3s/agent/etc/containerd";
    write(&machine, &format!("{made}/config.toml"), "version = 3\n");
    let registries = machine.k3s_mirrors(&spoken());
    assert_eq!((registries.mirrors.len(), doors(&registries.unread)), (0, all.to_vec()));

    // k3s writes /v2 behind a place without a path, and _default for what is called "*".
    let hosts = "server = \"https://registry-1.docker.io/v2\"\n[host]\n[host.\"https://reg.lan:5000/v2\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
    write(&machine, &format!("{made}/certs.d/docker.io/hosts.toml"), hosts);
    let registries = machine.k3s_mirrors(&spoken());
    assert_eq!(doors(&registries.mirrors), all[1..]);
    assert_eq!(doors(&registries.unread), all[..1]);
    let hosts = "[host.\"https://reg.lan:5000/v2/all\"]\n  override_path = true\n";
    write(&machine, &format!("{made}/certs.d/_default/hosts.toml"), hosts);
    assert!(machine.k3s_mirrors(&spoken()).unread.is_empty());
    assert_eq!(machine.k3s_service(Engine::K3s), "k3s");
    write(&machine, "etc/systemd/system/multi-user.target.wants/k3s-agent.service", "");
    assert_eq!(machine.k3s_service(Engine::K3s), "k3s-agent");
}

#[test]
fn rke2_with_its_data_elsewhere_is_looked_at_there() {
    let (_root, machine) = lab();
    let yaml = "mirrors:\n  ghcr.io:\n    endpoint: [\"https://reg.lan:5000/v2/ghcr.io\"]\n";
    write(&machine, "etc/rancher/rke2/registries.yaml", yaml);
    write(&machine, "etc/rancher/rke2/config.yaml", "data-dir: /data/rke2\n");
    write(&machine, "data/rke2/agent/etc/containerd/config.toml", "version = 3\n");
    let registries = machine.k3s_mirrors(&spoken());
    assert_eq!(doors(&registries.unread), [("ghcr.io", "/v2/ghcr.io/", true, true)]);
    assert_eq!(machine.k3s_service(Engine::Rke2), "rke2-server");
    assert_eq!(machine.puller(Engine::Rke2), None);
    write(&machine, "data/rke2/bin/crictl", "");
    assert_eq!(machine.puller(Engine::Rke2), Some(machine.root.join("data/rke2/bin/crictl")));
    assert_eq!(machine.rke2_crictl_config(), machine.root.join("data/rke2/agent/etc/crictl.yaml"));
}

#[test]
fn a_rewriting_of_k3s_that_puts_something_in_front_is_followed_and_another_is_named() {
    let (_root, machine) = lab();
    let of = |rule: &str| {
        let yaml = format!(
            "mirrors:\n  docker.io:\n    endpoint: [\"https://reg.lan:5000\"]\n    rewrite:\n      {rule}\n"
        );
        write(&machine, "etc/rancher/k3s/registries.yaml", &yaml);
        let registries = machine.k3s_mirrors(&spoken());
        (registries.mirrors.first().map(|mirror| mirror.door.clone()), registries.unproven.len())
    };
    assert_eq!(of("\"^(.*)$\": \"docker.io/$1\""), (Some("/v2/docker.io/".to_owned()), 0));
    assert_eq!(of("\"^library/(.*)$\": \"$1\""), (None, 1));
}

#[test]
fn kubernetes_runtime_is_asked_where_crictl_is_told_unless_it_is_that_of_k3s() {
    let (_root, mut machine) = lab();
    assert_eq!(machine.runtime_endpoint().as_deref(), Some("unix:///run/containerd/containerd.sock"));
    write(&machine, "etc/crictl.yaml", "runtime-endpoint: unix:///run/other.sock\ntimeout: 10\n");
    assert_eq!(machine.runtime_endpoint().as_deref(), Some("unix:///run/other.sock"));
    machine.runtime_endpoint = Some("unix:///run/k3s/containerd/containerd.sock".to_owned());
    assert_eq!(machine.runtime_endpoint(), None);
    assert!(!machine.writes_config_path());
    write(
        &machine,
        "etc/containerd/config.toml",
        "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
    );
    assert!(machine.writes_config_path());
}
