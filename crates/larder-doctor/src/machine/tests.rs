#![expect(clippy::disallowed_methods, reason = "the test plays the operator, who knows no Disk")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A machine in a directory.
struct Lab {
    machine: Machine,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let machine = Machine {
            home: Some(path.join("home/alice")),
            programs: vec![path.join("bin")],
            root: path,
            ..Machine::default()
        };
        Lab { machine, _dir: dir }
    }

    /// A file below the root.
    fn with(self, path: &str, content: &str) -> Lab {
        let path = self.machine.root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
        self
    }

    fn program(self, name: &str, script: &str) -> Lab {
        let lab = self.with(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        let path = lab.machine.root.join("bin").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made a program");
        lab
    }

    fn found(&self, spoken: &Spoken) -> Vec<Trouble> {
        self.machine.examine(spoken)
    }

    /// The one trouble: its row and a part of its fix.
    fn one(&self, spoken: &Spoken, row: Row, fix: &str) {
        let found = self.found(spoken);
        let [(known, told)] = found.as_slice() else {
            let rows: Vec<(Row, &str)> = found.iter().map(|(row, told)| (*row, told.seen.as_str())).collect();
            panic!("{row:?} alone was to be found, not {rows:?}");
        };
        assert_eq!(*known, row, "{}", told.seen);
        assert!(told.fix.contains(fix), "{fix:?} is not in {:?}", told.fix);
    }
}

fn tls() -> Spoken {
    spoken(Scheme::Https)
}

fn spoken(scheme: Scheme) -> Spoken {
    Spoken {
        authority: "reg.lan:5000".to_owned(),
        endpoint: Endpoint { scheme, host: "reg.lan".to_owned(), port: 5000 },
        vouching: Vec::new(),
        by_system: false,
    }
}

fn authority() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

#[test]
fn an_empty_machine_and_a_right_one_have_no_trouble() {
    assert!(Lab::new().found(&tls()).is_empty());
    let lab = Lab::new()
        .with("etc/docker/daemon.json", r#"{"registry-mirrors":["https://reg.lan:5000"]}"#)
        .with("etc/docker/certs.d/reg.lan:5000/ca.crt", &authority())
        .with("etc/containerd/config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
        .with("etc/containerd/certs.d/ghcr.io/hosts.toml", "server = \"https://ghcr.io\"\n[host.\"https://reg.lan:5000/v2/ghcr.io\"]\ncapabilities = [\"pull\"]\noverride_path = true\n")
        .with("etc/rancher/k3s/registries.yaml", "mirrors:\n  docker.io: {endpoint: [\"https://reg.lan:5000\"]}\n  ghcr.io:\n    endpoint:\n      - https://reg.lan:5000/v2/ghcr.io\n")
        .with("etc/containers/registries.conf", "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"reg.lan:5000/docker.io\"\n")
        .with("etc/buildkit/buildkitd.toml", "[registry.\"docker.io\"]\nmirrors = [\"reg.lan:5000/docker.io\"]\n")
        .with("home/alice/.docker/config.json", r#"{"auths":{"reg.lan:5000":{"auth":"YTpi"}}}"#);
    let rows: Vec<_> = lab.found(&tls()).into_iter().map(|(row, told)| (row, told.seen)).collect();
    assert!(rows.is_empty(), "{rows:?}");
}

#[test]
fn a_missing_and_a_broken_credential_helper_are_told_apart() {
    let config = r#"{"credsStore":"desktop"}"#;
    let lab = Lab::new().with("home/alice/.docker/config.json", config);
    lab.one(&tls(), Row::HelperMissing, "remove the line with \"desktop\"");
    let lab = lab.program("docker-credential-desktop", "echo 'pass store is uninitialized' >&2; exit 1");
    lab.one(&tls(), Row::HelperBroken, "set docker-credential-desktop up");
    assert!(lab.found(&tls())[0].1.seen.contains("pass store is uninitialized"));
    let lab = lab.program("docker-credential-desktop", "[ \"$1\" = list ] && echo '{}'");
    assert!(lab.found(&tls()).is_empty());
    let own = r#"{"credHelpers":{"reg.lan:5000":"gcr"}}"#;
    Lab::new().with("home/alice/.docker/config.json", own).one(&tls(), Row::HelperMissing, "credHelpers");
}

#[test]
fn a_login_for_another_port_is_seen_and_no_secret_is_shown() {
    let lab = Lab::new()
        .with("home/alice/.docker/config.json", r#"{"auths":{"reg.lan":{"auth":"YWxpY2U6aHVudGVyMg=="}}}"#);
    lab.one(&tls(), Row::CredentialsElsewhere, "docker login reg.lan:5000");
    let found = lab.found(&tls());
    let told = &found[0].1;
    let text = format!("{} {} {}", told.seen, told.cause, told.fix);
    assert!(!text.contains("hunter2") && !text.contains("YWxpY2U6"), "{text}");
    assert_eq!(lab.machine.login("reg.lan:5000"), None);
    let login = lab.machine.login("reg.lan").expect("a login");
    assert_eq!((login.user.as_str(), login.basic().as_str()), ("alice", "Basic YWxpY2U6aHVudGVyMg=="));
    assert!(!format!("{login:?}").contains("hunter2"));
}

#[test]
fn daemon_json_that_docker_refuses_or_misunderstands() {
    let file = "etc/docker/daemon.json";
    Lab::new().with(file, "{,}").one(&tls(), Row::FileUnreadable, "mend");
    Lab::new().with(file, r#"{"registry-mirrors":["http://reg.lan:5000"]}"#).one(
        &tls(),
        Row::MirrorScheme,
        "https://reg.lan:5000",
    );
    Lab::new().with(file, r#"{"registry-mirrors":["reg.lan:5000"]}"#).one(
        &tls(),
        Row::MirrorUrl,
        "https://reg.lan:5000",
    );
    let plain = spoken(Scheme::Http);
    Lab::new().with(file, "{}").one(
        &plain,
        Row::InsecureMissing,
        "\"insecure-registries\": [\"reg.lan:5000\"]",
    );
    let listed = Lab::new().with(file, r#"{"insecure-registries":["reg.lan:5000"]}"#);
    assert!(listed.found(&plain).is_empty());
    let by_scheme = Lab::new().with(file, r#"{"insecure-registries":["http://reg.lan:5000"]}"#);
    by_scheme.one(&plain, Row::MirrorUrl, "reg.lan:5000");
    let snapshotter =
        r#"{"insecure-registries":["reg.lan:5000"],"features":{"containerd-snapshotter":true}}"#;
    Lab::new().with(file, snapshotter).one(&plain, Row::InsecureIgnored, "update docker");
}

#[test]
fn a_network_in_insecure_registries_counts_for_its_addresses() {
    let at = |host: &str| Spoken {
        authority: format!("{host}:5000"),
        endpoint: Endpoint { scheme: Scheme::Http, host: host.to_owned(), port: 5000 },
        vouching: Vec::new(),
        by_system: false,
    };
    let lab = Lab::new().with("etc/docker/daemon.json", r#"{"insecure-registries":["192.168.0.0/16"]}"#);
    assert!(lab.found(&at("192.168.7.9")).is_empty());
    lab.one(&at("192.169.7.9"), Row::InsecureMissing, "192.169.7.9:5000");
}

#[test]
fn certificates_in_the_wrong_place_or_under_the_wrong_name() {
    let pem = authority();
    Lab::new().with("etc/docker/certs.d/reg.lan:5000/ca.cert", &pem).one(
        &tls(),
        Row::CertificateMixup,
        "ca.crt",
    );
    Lab::new().with("etc/docker/certs.d/reg.lan:5000/ca.pem", &pem).one(
        &tls(),
        Row::CertificateMixup,
        "ca.crt",
    );
    Lab::new().with("etc/docker/certs.d/reg.lan/ca.crt", &pem).one(
        &tls(),
        Row::CertsDirectory,
        "certs.d/reg.lan:5000",
    );
    let client = Lab::new()
        .with("etc/docker/certs.d/reg.lan:5000/client.cert", &pem)
        .with("etc/docker/certs.d/reg.lan:5000/client.key", "x");
    assert!(client.found(&tls()).is_empty(), "a client's certificate with its key is one");
}

#[test]
fn one_program_that_lacks_the_authority_of_another_is_named() {
    let lab = Lab::new()
        .with("etc/docker/certs.d/reg.lan:5000/ca.crt", &authority())
        .program("podman", "")
        .program("dockerd", "");
    let docker = lab.machine.authorities("reg.lan:5000");
    assert_eq!(docker.len(), 1);
    let vouched = Spoken { vouching: vec![docker[0].0.clone()], ..tls() };
    assert!(lab.found(&vouched).is_empty(), "podman reads docker's directory");
    let lab =
        Lab::new().with("etc/containers/certs.d/reg.lan:5000/ca.crt", &authority()).program("dockerd", "");
    let vouched = Spoken { vouching: vec![lab.machine.authorities("reg.lan:5000")[0].0.clone()], ..tls() };
    lab.one(&vouched, Row::AuthorityMissing, "/etc/docker/certs.d/reg.lan:5000/ca.crt");
}

#[test]
fn containerd_that_looks_nowhere_or_in_two_places() {
    let hosts = "[host.\"https://reg.lan:5000\"]\ncapabilities = [\"pull\"]\n";
    let lab = Lab::new()
        .with("etc/containerd/config.toml", "version = 3\n")
        .with("etc/containerd/certs.d/docker.io/hosts.toml", hosts);
    lab.one(&tls(), Row::ConfigPathUnset, "io.containerd.cri.v1.images");
    let without_cri = lab.with(
        "etc/containerd/config.toml",
        "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
    );
    assert!(without_cri.found(&tls()).is_empty(), "without Kubernetes nobody reads the setting");
    Lab::new()
        .with("etc/containerd/config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/x\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"https://reg.lan:5000\"]\n")
        .one(&tls(), Row::MirrorsAndConfigPath, "remove the mirrors tables");
}

#[test]
fn hosts_toml_with_the_wrong_scheme_path_or_authority() {
    let file = "etc/containerd/certs.d/ghcr.io/hosts.toml";
    let host = |url: &str, more: &str| Lab::new().with(file, &format!("[host.\"{url}\"]\n{more}\n"));
    host("http://reg.lan:5000", "").one(&tls(), Row::MirrorScheme, "https://reg.lan:5000");
    host("https://reg.lan:5000/v2/ghcr.io", "").one(&tls(), Row::OverridePath, "override_path = true");
    host("https://reg.lan:5000/ghcr.io", "override_path = true").one(
        &tls(),
        Row::OverridePath,
        "https://reg.lan:5000/v2/ghcr.io",
    );
    host("https://reg.lan:5000", "override_path = true").one(
        &tls(),
        Row::OverridePath,
        "/v2, or no override_path",
    );
    host("https://reg.lan:5000", "ca = \"missing.crt\"").one(
        &tls(),
        Row::AuthorityMissing,
        "ghcr.io/missing.crt",
    );
    Lab::new().with(file, "[host").one(&tls(), Row::FileUnreadable, "mend");
    assert!(host("https://other.lan", "").found(&tls()).is_empty(), "others' mirrors are theirs");
}

#[test]
fn registries_yaml_with_the_wrong_scheme_path_or_form() {
    let file = "etc/rancher/k3s/registries.yaml";
    let endpoint = |url: &str| {
        Lab::new().with(file, &format!("mirrors:\n  docker.io:\n    endpoint:\n      - \"{url}\"\n"))
    };
    endpoint("http://reg.lan:5000").one(&tls(), Row::MirrorScheme, "https://reg.lan:5000");
    endpoint("reg.lan:5000").one(&tls(), Row::MirrorUrl, "https://reg.lan:5000");
    endpoint("https://reg.lan:5000/docker.io").one(
        &tls(),
        Row::OverridePath,
        "https://reg.lan:5000/v2/docker.io",
    );
    assert!(endpoint("https://reg.lan:5000/v2").found(&tls()).is_empty());
    Lab::new().with(file, "mirrors:\n\tdocker.io: {}\n").one(&tls(), Row::FileUnreadable, "mend");
    Lab::new().with(file, "configs:\n  \"reg.lan:5000\":\n    tls:\n      ca_file: /etc/missing.crt\n").one(
        &tls(),
        Row::AuthorityMissing,
        "/etc/missing.crt",
    );
}

#[test]
fn registries_conf_and_buildkitd_toml_in_forms_that_are_not_taken() {
    Lab::new()
        .with(
            "etc/containers/registries.conf.d/1.conf",
            "[[registry]]\nlocation = \"https://reg.lan:5000\"\n",
        )
        .one(&tls(), Row::MirrorUrl, "location = \"reg.lan:5000\"");
    let plain = spoken(Scheme::Http);
    Lab::new().with("etc/containers/registries.conf", "[[registry]]\nlocation = \"reg.lan:5000\"\n").one(
        &plain,
        Row::InsecureMissing,
        "insecure = true",
    );
    Lab::new().program("podman", "").one(&plain, Row::InsecureMissing, "50-larder.conf");
    let file = "etc/buildkit/buildkitd.toml";
    Lab::new().with(file, "[registry.\"docker.io\"]\nmirrors = [\"https://reg.lan:5000\"]\n").one(
        &tls(),
        Row::MirrorUrl,
        "reg.lan:5000",
    );
    Lab::new().with(file, "[registry.\"docker.io\"]\nmirrors = [\"reg.lan:5000\"]\n").one(
        &plain,
        Row::InsecureMissing,
        "[registry.\"reg.lan:5000\"] http = true",
    );
    Lab::new().with(file, "[registry.\"reg.lan:5000\"]\nhttp = true\n").one(
        &tls(),
        Row::MirrorScheme,
        "no http = true",
    );
}

#[test]
fn what_a_builder_of_docker_buildx_was_made_with_is_looked_at_as_a_file() {
    let of = |config: &str| {
        let files = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config);
        let text =
            format!("{{\"Name\":\"team\",\"Nodes\":[{{\"Files\":{{\"buildkitd.toml\":\"{files}\"}}}}]}}");
        Lab::new().with("home/alice/.docker/buildx/instances/team", &text)
    };
    let mirror = "[registry.\"docker.io\"]\nmirrors = [\"reg.lan:5000\"]\n";
    assert!(of(mirror).found(&tls()).is_empty());
    of(mirror).one(&spoken(Scheme::Http), Row::InsecureMissing, "docker buildx rm team");
    of("[registry.\"docker.io\"]\nmirrors = [\"https://reg.lan:5000\"]\n").one(
        &tls(),
        Row::MirrorUrl,
        "reg.lan:5000; what",
    );
    of("[registry").one(&tls(), Row::FileUnreadable, "instances/team");
    Lab::new().with("home/alice/.docker/buildx/instances/team", "{").one(&tls(), Row::FileUnreadable, "mend");
}
