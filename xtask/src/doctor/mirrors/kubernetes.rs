//! Kubernetes' own way: the real containerd with its CRI, asked by crictl as the kubelet asks it. k3s and RKE2 can't be had as Go
//! modules, so a stand-in takes their place: that containerd with the files that they make of `registries.yaml`, and what of theirs
//! passes on to crictl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{NOWHERE, START_LIMIT, Said, Stand, path_of, put_wrong};
use crate::failure::{Context, Result, fail};
use crate::places;
use crate::process::{Daemon, Run};
use crate::report::Report;

/// Whom a stand-in stands in for.
#[derive(Clone, Copy)]
enum Distribution {
    K3s,
    Rke2,
}

/// Debian's containerd, which tells crictl where it looks for mirrors, and a newer one, which doesn't.
const CONTAINERDS: [(&str, &str); 2] = [
    ("containerd", "looks for mirrors in no directory: it reads config_path at its start alone"),
    (
        "containerd-2",
        "doesn't look for mirrors there, though ctr gets the image by the same file: it reads config_path",
    ),
];

pub(super) fn cases(report: &mut Report, stand: &Stand<'_>) {
    for (program, cause) in CONTAINERDS {
        let title = format!("Kubernetes' {program} pulls both upstreams' canaries by the printed files");
        report.case("doctor --mirrors", &title, || {
            let into = stand.printed("containerd", &format!("cri-{program}"), &["docker.io", "ghcr.io"])?;
            let found = stand.kubernetes(program, "right", &into, "/etc/containerd/certs.d", true)?;
            found.found.nothing()?;
            found.has("Kubernetes pulled docker.io/library/larder-canary:")?;
            found.has("Kubernetes pulled ghcr.io/larder-doctor.invalid/canary:")
        });
        let title = format!("{program} that was not started again knows no mirror for Kubernetes");
        report.case("doctor --mirrors", &title, || {
            let into = stand.printed("containerd", &format!("cri-before-{program}"), &["ghcr.io"])?;
            let found = stand.kubernetes(program, "before", &into, "", true)?;
            found.has("containerd pulled ghcr.io/larder-doctor.invalid/canary:")?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "sudo systemctl restart containerd")?;
            found.found.because("mirror-bypassed", cause)?;
            found.has("it asked ghcr.io")
        });
    }
    report.case(
        "doctor --mirrors",
        "Kubernetes' containerd goes past a mirror at the wrong port in silence",
        || {
            let into = stand.printed("containerd", "cri-port", &["ghcr.io"])?;
            put_wrong(&into.join("etc/containerd/certs.d/ghcr.io/hosts.toml"), &stand.server.host, NOWHERE)?;
            let found = stand.kubernetes("containerd", "port", &into, "/etc/containerd/certs.d", false)?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "larder client containerd")?;
            found.found.because("mirror-bypassed", "Kubernetes can't get an image from the mirror")?;
            found.has("it got nothing there: ")
        },
    );
    report.case(
        "doctor --mirrors",
        "k3s (a stand-in of it) pulls both upstreams' canaries by the printed file",
        || {
            let into = stand.printed("k3s", "right", &["docker.io", "ghcr.io"])?;
            let found = stand.k3s("right", &into, &registries(&into)?)?;
            found.found.nothing()?;
            found.has("k3s pulled docker.io/library/larder-canary:")?;
            found.has("k3s pulled ghcr.io/larder-doctor.invalid/canary:")
        },
    );
    report.case("doctor --mirrors", "k3s (a stand-in of it) pulls by a mirror for all registries", || {
        let into = stand.printed("k3s", "all", &["ghcr.io"])?;
        let file = into.join("etc/rancher/k3s/registries.yaml");
        put_wrong(&file, "  ghcr.io:", "  \"*\":")?;
        put_wrong(&file, "/v2/ghcr.io", "")?;
        let found = stand.k3s("all", &into, &registries(&into)?)?;
        found.found.nothing()?;
        found.has("k3s pulled docker.io/library/larder-canary:")
    });
    report.case(
        "doctor --mirrors",
        "k3s (a stand-in of it) that was not started again doesn't know its mirror",
        || {
            let into = stand.printed("k3s", "before", &["ghcr.io"])?;
            let found = stand.k3s("before", &into, &[])?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "sudo systemctl restart k3s")?;
            found
                .found
                .because("mirror-bypassed", "k3s makes containerd's files from it at its start alone")?;
            found.has("and the k3s that runs doesn't have it")
        },
    );
    report.case(
        "doctor --mirrors",
        "k3s (a stand-in of it) goes past a mirror at the wrong port in silence",
        || {
            let into = stand.printed("k3s", "port", &["ghcr.io"])?;
            let (right, wrong) =
                (format!("{}/v2/ghcr.io", stand.server.host), format!("{NOWHERE}/v2/ghcr.io"));
            put_wrong(&into.join("etc/rancher/k3s/registries.yaml"), &right, &wrong)?;
            let found = stand.k3s("port", &into, &registries(&into)?)?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "larder client k3s")?;
            found.found.because("mirror-bypassed", "k3s can't get an image from the mirror")?;
            found.has(&format!("bypassed: k3s is told of https://{wrong}"))
        },
    );
    report.case(
        "doctor --mirrors",
        "RKE2 (a stand-in of it) pulls by its file, and not when it wasn't started again",
        || {
            let into = stand.printed("k3s", "rke2", &["ghcr.io"])?;
            put_wrong(
                &into.join("etc/rancher/k3s/registries.yaml"),
                "/etc/rancher/k3s/",
                "/etc/rancher/rke2/",
            )?;
            let found = stand.of_rancher(Distribution::Rke2, "right", &into, &registries(&into)?)?;
            found.found.nothing()?;
            found.has("RKE2 pulled ghcr.io/larder-doctor.invalid/canary:")?;
            let found = stand.of_rancher(Distribution::Rke2, "before", &into, &[])?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "sudo systemctl restart rke2-server")
        },
    );
    // Directories that were made to be covered; a k3s of this machine has something in them.
    for distribution in [Distribution::K3s, Distribution::Rke2] {
        for dir in [distribution.etc(), distribution.data()] {
            let _ = fs::remove_dir(dir);
            let _ = Path::new(dir).parent().map(fs::remove_dir);
        }
    }
}

impl Distribution {
    fn etc(self) -> &'static str {
        match self {
            Distribution::K3s => "/etc/rancher/k3s",
            Distribution::Rke2 => "/etc/rancher/rke2",
        }
    }

    fn data(self) -> &'static str {
        match self {
            Distribution::K3s => "/var/lib/rancher/k3s",
            Distribution::Rke2 => "/var/lib/rancher/rke2",
        }
    }
}

/// What covers directories of the machine: (what lies there, where).
type Covers<'c> = [(&'c Path, &'c str)];

impl Stand<'_> {
    /// The containerd that runs was started with this `config_path`, whatever the printed file says.
    fn kubernetes(
        &self,
        program: &str,
        title: &str,
        into: &Path,
        config_path: &str,
        with_ctr: bool,
    ) -> Result<Said> {
        let etc = into.join("etc/containerd");
        let covers: &Covers<'_> = &[(&etc, "/etc/containerd")];
        let title = format!("cri-{title}-{program}");
        let (mut daemon, socket) = self.cri(program, &title, covers, config_path)?;
        let mut programs = vec![("crictl", places::tools().join("crictl"))];
        if with_ctr {
            programs.push(("ctr", PathBuf::from("/usr/bin/ctr")));
        }
        let path = path_of(self.ring, &title, &programs)?;
        let said = self.examine(&self.server.host, covers, |run| {
            let endpoint = format!("unix://{}", socket.display());
            run.env("PATH", path)
                .env("CONTAINER_RUNTIME_ENDPOINT", endpoint)
                .env("CONTAINERD_ADDRESS", &socket)
        });
        nothing_left(&mut daemon, &socket)?;
        daemon.stop()?;
        said
    }

    fn k3s(&self, title: &str, into: &Path, started_with: &[(String, String)]) -> Result<Said> {
        self.of_rancher(Distribution::K3s, title, into, started_with)
    }

    /// One that was started with these mirrors, whatever its file says by now.
    fn of_rancher(
        &self,
        distribution: Distribution,
        title: &str,
        into: &Path,
        started_with: &[(String, String)],
    ) -> Result<Said> {
        let title = match distribution {
            Distribution::K3s => format!("k3s-{title}"),
            Distribution::Rke2 => format!("rke2-{title}"),
        };
        let data = self.ring.make_dir(&title)?;
        let made = data.join("agent/etc/containerd");
        fs::create_dir_all(made.join("certs.d"))?;
        fs::write(made.join("config.toml"), "version = 3\n")?;
        for (name, endpoint) in started_with {
            let dir = made.join("certs.d").join(if name == "*" { "_default" } else { name });
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("hosts.toml"), hosts_of_k3s(distribution, name, endpoint))?;
        }
        let etc = into.join("etc/rancher/k3s");
        let covers: &Covers<'_> = &[(&etc, distribution.etc()), (&data, distribution.data())];
        let certs = format!("{}/agent/etc/containerd/certs.d", distribution.data());
        let (mut daemon, socket) = self.cri("containerd", &title, covers, &certs)?;
        let endpoint = format!("unix://{}", socket.display());
        let crictl = places::tools().join("crictl");
        let mut programs = Vec::new();
        match distribution {
            Distribution::K3s => {
                let script = format!(
                    "#!/bin/sh\n[ \"$1\" = crictl ] || exit 64\nshift\nexec {} --runtime-endpoint {endpoint} --image-endpoint {endpoint} \
                     \"$@\"\n",
                    crictl.display()
                );
                let k3s = self.ring.write(&format!("{title}.sh"), script)?;
                fs::set_permissions(&k3s, fs::Permissions::from_mode(0o755))?;
                programs.push(("k3s", k3s));
            }
            Distribution::Rke2 => {
                fs::create_dir_all(data.join("bin"))?;
                std::os::unix::fs::symlink(crictl, data.join("bin/crictl"))?;
                let config = format!("runtime-endpoint: {endpoint}\nimage-endpoint: {endpoint}\n");
                fs::write(data.join("agent/etc/crictl.yaml"), config)?;
            }
        }
        let path = path_of(self.ring, &title, &programs)?;
        let said = self.examine(&self.server.host, covers, |run| run.env("PATH", path));
        nothing_left(&mut daemon, &socket)?;
        daemon.stop()?;
        said
    }

    /// A containerd with its CRI, where the directories are covered.
    fn cri(
        &self,
        program: &str,
        title: &str,
        covers: &Covers<'_>,
        config_path: &str,
    ) -> Result<(Daemon, PathBuf)> {
        let home = self.ring.make_short_dir()?;
        let socket = home.join("c.sock");
        let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\n  address = {socket:?}\n[{cri}]\n  stream_server_address = \"127.0.0.1\"\n  \
             stream_server_port = \"0\"\n[{cri}.containerd]\n  snapshotter = \"native\"\n[{cri}.registry]\n  config_path = {config_path:?}\n",
            home.join("r"),
            home.join("s"),
        );
        let config = self.ring.write(&format!("{title}.toml"), config)?;
        let script = format!("{}exec {program} --config \"$0\"", super::covering(covers));
        let run = Run::new("unshare").args(["-m", "bash", "-c", &script]).arg(config);
        let mut daemon = run.daemon(self.ring, title)?;
        daemon.wait_until("crictl reaches it", START_LIMIT, || {
            crictl(&socket, &["version"]).output().is_ok_and(|output| output.code == Some(0))
        })?;
        Ok((daemon, socket))
    }
}

fn crictl(socket: &Path, words: &[&str]) -> Run {
    let endpoint = format!("unix://{}", socket.display());
    Run::new("crictl").args(["--runtime-endpoint", &endpoint, "--image-endpoint", &endpoint]).args(words)
}

fn nothing_left(daemon: &mut Daemon, socket: &Path) -> Result {
    let images = crictl(socket, &["images", "--quiet"]).ok()?;
    if !images.trim().is_empty() {
        fail!("the doctor left images: {images}");
    }
    // What it fetched goes when containerd collects next.
    daemon.wait_until("its content is gone", START_LIMIT, || {
        let listed =
            Run::new("ctr").arg("--address").arg(socket).args(["-n", "k8s.io", "content", "ls", "-q"]).ok();
        listed.is_ok_and(|listed| listed.trim().is_empty())
    })
}

/// Each upstream and its mirror in a printed `registries.yaml`.
fn registries(into: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(into.join("etc/rancher/k3s/registries.yaml"))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut registries = Vec::new();
    for pair in lines.windows(2) {
        let [name, endpoint] = pair else { continue };
        let Some(endpoint) = endpoint.trim().strip_prefix("endpoint: [\"") else { continue };
        let name = name.trim().trim_end_matches(':').trim_matches('"');
        registries.push((name.to_owned(), endpoint.trim_end_matches("\"]").to_owned()));
    }
    registries.first().context("a mirror in registries.yaml")?;
    Ok(registries)
}

/// As k3s writes it (its `pkg/agent/containerd` and `pkg/agent/templates`): a path that is none becomes `/v2`, and any other is
/// the whole of it.
fn hosts_of_k3s(distribution: Distribution, name: &str, endpoint: &str) -> String {
    let server = match name {
        "*" => String::new(),
        "docker.io" => "server = \"https://registry-1.docker.io/v2\"\n".to_owned(),
        name => format!("server = \"https://{name}/v2\"\n"),
    };
    let (url, overrides) = match endpoint.splitn(4, '/').nth(3) {
        None => (format!("{endpoint}/v2"), ""),
        Some(_) => (endpoint.to_owned(), "  override_path = true\n"),
    };
    let etc = distribution.etc();
    format!(
        "# File generated by k3s. DO NOT EDIT.\n\n{server}capabilities = [\"pull\", \"resolve\", \"push\"]\n\n[host]\n[host.\"{url}\"]\n  \
         capabilities = [\"pull\", \"resolve\"]\n{overrides}  ca = [\"{etc}/registry-ca.crt\"]\n"
    )
}
