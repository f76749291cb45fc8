//! `larder doctor --mirrors`: real engines with a right mirror, and with one that they go past in silence. The doctor runs where
//! `/etc` is that of the case.

mod builders;
mod kubernetes;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Found, address};
use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Context, Result, fail};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Plan, Program, Server, USER};
use crate::tls::Authority;

const START_LIMIT: Duration = Duration::from_secs(60);
/// Nobody listens there, and yet it is the registry's host.
const NOWHERE: &str = "127.0.0.1:1";

pub(super) fn cases(report: &mut Report, ring: &Ring, authority: &Authority) {
    let Some(stand) = report.step("registry", "of two upstreams, one of them at a port of its own", || {
        Stand::start(ring, authority)
    }) else {
        return;
    };
    report.case("doctor --mirrors", "docker with a right mirror pulls the canary", || {
        let found = stand.docker("right", &format!("https://{}", stand.docker_io), None)?;
        found.found.nothing()?;
        found.has("docker pulled docker.io/library/larder-canary:")
    });
    report.case("doctor --mirrors", "docker goes past a mirror with the wrong scheme in silence", || {
        let found = stand.docker("wrong", &format!("http://{}", stand.docker_io), None)?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "sudo systemctl restart docker")?;
        found.has("bypassed: docker is told of http://")?;
        found.has("it asked registry-1.docker.io")
    });
    report.case("doctor --mirrors", "docker that was not started again doesn't know its mirror", || {
        let etc = ring.make_dir("etc-docker")?;
        let mirrors = format!("{{\"registry-mirrors\": [\"https://{}\"]}}", stand.docker_io);
        fs::write(etc.join("daemon.json"), mirrors)?;
        let found = stand.docker("before", "https://mirror.invalid", Some(&etc))?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "sudo systemctl restart docker")?;
        found.has("the docker that runs doesn't have it")
    });
    report.case("doctor --mirrors", "containerd pulls both upstreams' canaries by the printed files", || {
        let found = stand.containerd("right", None)?;
        found.found.nothing()?;
        found.has("containerd pulled docker.io/library/larder-canary:")?;
        found.has("containerd pulled ghcr.io/larder-doctor.invalid/canary:")
    });
    report.case("doctor --mirrors", "containerd goes past a mirror at the wrong port in silence", || {
        let found = stand.containerd("wrong", Some(NOWHERE))?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "larder client containerd")?;
        found.has("it asked ghcr.io")
    });
    report.case("doctor --mirrors", "podman pulls both upstreams' canaries by the printed files", || {
        let found = stand.podman("right", None)?;
        found.found.nothing()?;
        found.has("podman pulled docker.io/library/larder-canary:")?;
        found.has("podman pulled ghcr.io/larder-doctor.invalid/canary:")
    });
    report.case("doctor --mirrors", "podman goes past a mirror at the wrong port in silence", || {
        let found = stand.podman("wrong", Some(NOWHERE))?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "larder client podman")?;
        found.has("it asked ghcr.io")
    });
    report.case("doctor --mirrors", "a mirror for what is none of the registry's upstreams", || {
        let into = stand.printed("containerd", "stranger", &["quay.io"])?;
        let found = stand.with_containerd("stranger", &into)?;
        found.found.exactly(&["mirror-bypassed"], "registry", "upstreams: [{name: quay.io}]")
    });
    kubernetes::cases(report, &stand);
    builders::cases(report, &stand);
    report.case("registry", "has no canary left, and ends", || stand.end());
}

struct Stand<'a> {
    ring: &'a Ring,
    authority: &'a Authority,
    server: Server,
    /// Docker Hub's own port: docker 20 takes no mirror with a path.
    docker_io: String,
}

/// What the doctor said.
struct Said {
    found: Found,
    all: String,
}

impl Said {
    fn has(&self, words: &str) -> Result {
        if !self.all.contains(words) {
            fail!("{words:?} is not in {}", self.all);
        }
        Ok(())
    }
}

impl<'a> Stand<'a> {
    fn start(ring: &'a Ring, authority: &'a Authority) -> Result<Stand<'a>> {
        let data = ring.make_dir("data-mirrors")?;
        let docker_io = address()?;
        let sections = format!(
            "upstreams:\n  - {{name: docker.io, addr: \"{docker_io}\", offline: true}}\n  - {{name: ghcr.io, offline: true}}\n\
             access:\n  rules:\n    - {{who: anonymous, may: pull}}\n    - {{who: {USER}, may: [pull, push, delete, list, admin]}}\n"
        );
        let open = Plan::open(Program::Larder, &data);
        let plan = Plan { tls: Some(authority), auth: Auth::Basic, sections: &sections, ..open };
        let server = plan.start(ring, "mirrors")?;
        Ok(Stand { ring, authority, server, docker_io })
    }

    /// `/etc` is covered by these directories: (what lies there, where).
    fn examine(&self, host: &str, etc: &[(&Path, &str)], with: impl FnOnce(Run) -> Run) -> Result<Said> {
        let home = self.ring.make_dir("home-mirrors")?;
        // podman refuses to pull where the environment names a directory without it.
        fs::create_dir_all(home.join("docker"))?;
        fs::write(home.join("docker/config.json"), "{}")?;
        let script = format!("{}exec \"$0\" \"$@\"", covering(etc));
        let run = Run::new("unshare").args(["-m", "bash", "-c", &script]).arg(dist::release()?);
        let run =
            run.args(["doctor", host, "--mirrors", "--json", "--user", USER, "--password-stdin", "--ca"]);
        let run = run.arg(&self.authority.ca).env("HOME", &home).env("DOCKER_CONFIG", home.join("docker"));
        let output = with(run).stdin(PASSWORD).limit(300).output()?;
        let told: Value = serde_json::from_str(&output.stdout).context(output.all())?;
        // What one program knows of the authority the others lack here: that is another case's.
        let mut found = Found::of(&told)?;
        found.0.retain(|finding| finding.row != "authority-missing");
        Ok(Said { found, all: told.to_string() })
    }

    fn docker(&self, title: &str, mirror: &str, etc: Option<&Path>) -> Result<Said> {
        let engine = Engine::start(self.ring, &format!("docker-{title}"), &["--registry-mirror", mirror])?;
        let path = path_without(self.ring, &["ctr", "podman"])?;
        let etc: Vec<(&Path, &str)> = etc.into_iter().map(|etc| (etc, "/etc/docker")).collect();
        let said =
            self.examine(&self.docker_io, &etc, |run| run.env("DOCKER_HOST", &engine.url).env("PATH", path));
        engine.end()?;
        said
    }

    /// The printed files, below a directory.
    fn printed(&self, client: &str, title: &str, upstreams: &[&str]) -> Result<PathBuf> {
        let into = self.ring.make_dir(format!("mirrors-{client}-{title}"))?;
        let mut run = Run::new(dist::release()?).args(["client", client, &self.server.host]);
        for upstream in upstreams {
            run = run.args(["--upstream", upstream]);
        }
        run.args(["--write", "--ca"]).arg(&self.authority.ca).arg("--into").arg(&into).ok()?;
        Ok(into)
    }

    fn containerd(&self, title: &str, wrong: Option<&str>) -> Result<Said> {
        let upstreams: &[&str] = if wrong.is_some() { &["ghcr.io"] } else { &["docker.io", "ghcr.io"] };
        let into = self.printed("containerd", title, upstreams)?;
        if let Some(wrong) = wrong {
            put_wrong(&into.join("etc/containerd/certs.d/ghcr.io/hosts.toml"), &self.server.host, wrong)?;
        }
        self.with_containerd(title, &into)
    }

    fn with_containerd(&self, title: &str, into: &Path) -> Result<Said> {
        let home = self.ring.make_short_dir()?;
        let socket = home.join("c.sock");
        let run = Run::new("containerd").arg("--root").arg(home.join("r")).arg("--state").arg(home.join("s"));
        let mut daemon: Daemon =
            run.arg("-a").arg(&socket).daemon(self.ring, &format!("containerd-mirrors-{title}"))?;
        daemon.wait_until("its socket is there", START_LIMIT, || socket.try_exists().unwrap_or(false))?;
        let etc = into.join("etc/containerd");
        let path = path_without(self.ring, &["docker", "podman"])?;
        let said = self.examine(&self.server.host, &[(&etc, "/etc/containerd")], |run| {
            run.env("CONTAINERD_ADDRESS", &socket).env("PATH", path)
        });
        daemon.stop()?;
        said
    }

    fn podman(&self, title: &str, wrong: Option<&str>) -> Result<Said> {
        let upstreams: &[&str] = if wrong.is_some() { &["ghcr.io"] } else { &["docker.io", "ghcr.io"] };
        let into = self.printed("podman", title, upstreams)?;
        let etc = into.join("etc/containers");
        fs::copy("/etc/containers/policy.json", etc.join("policy.json"))?;
        if let Some(wrong) = wrong {
            // The table of the registry itself stays as it is.
            let file = etc.join("registries.conf.d/50-larder.conf");
            put_wrong(&file, &format!("{}/ghcr.io", self.server.host), &format!("{wrong}/ghcr.io"))?;
        }
        let home = self.ring.make_short_dir()?;
        let programs = self.ring.make_dir(format!("programs-podman-{title}"))?;
        let store = home.display();
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/podman --root {store}/r --runroot {store}/s --storage-driver vfs \"$@\"\n"
        );
        fs::write(programs.join("podman"), script)?;
        Run::new("chmod").arg("+x").arg(programs.join("podman")).ok()?;
        let path = path_without(self.ring, &["docker", "ctr", "podman"])?;
        let path = format!("{}:{path}", programs.display());
        self.examine(&self.server.host, &[(&etc, "/etc/containers")], |run| run.env("PATH", path))
    }

    fn end(self) -> Result {
        let login = format!("{USER}:{PASSWORD}");
        for repository in ["docker.io/library/larder-canary", "ghcr.io/larder-doctor.invalid/canary"] {
            let url = format!("https://{}/v2/{repository}/tags/list", self.server.host);
            let told = Run::new("curl")
                .args(["-sS", "-u", &login, "--cacert"])
                .arg(&self.authority.ca)
                .arg(url)
                .ok()?;
            if told.contains("larder-doctor-") {
                fail!("a canary was left: {told}");
            }
        }
        self.server.daemon.stop()
    }
}

/// Shell words that cover directories: (what lies there then, where).
fn covering(etc: &[(&Path, &str)]) -> String {
    etc.iter()
        .map(|(from, to)| format!("mkdir -p {to} && mount --bind {} {to} && ", from.display()))
        .collect()
}

fn put_wrong(file: &Path, right: &str, wrong: &str) -> Result {
    let text = fs::read_to_string(file)?;
    if !text.contains(right) {
        fail!("{right} is not in {text}");
    }
    Ok(fs::write(file, text.replace(right, wrong))?)
}

/// A `PATH` on which these programs aren't.
fn path_without(ring: &Ring, programs: &[&str]) -> Result<String> {
    let engines = ["docker", "ctr", "podman"].into_iter().filter(|program| !programs.contains(program));
    let engines: Vec<(&str, PathBuf)> =
        engines.filter_map(|program| Some((program, place_of(program)?))).collect();
    path_of(ring, &format!("without-{}", programs.join("-")), &engines)
}

fn place_of(program: &str) -> Option<PathBuf> {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"].map(|place| Path::new(place).join(program));
    places.into_iter().find(|place| place.exists())
}

/// A `PATH` of these programs alone, and of what starts them: a directory of links.
fn path_of(ring: &Ring, title: &str, programs: &[(&str, PathBuf)]) -> Result<String> {
    let dir = ring.make_dir(format!("path-{title}"))?;
    let starting = ["bash", "sh", "mkdir", "mount", "unshare"];
    let starting = starting.into_iter().filter_map(|program| Some((program, place_of(program)?)));
    for (program, place) in starting.chain(programs.iter().map(|(program, place)| (*program, place.clone())))
    {
        let link = dir.join(program);
        if !link.exists() {
            std::os::unix::fs::symlink(place, link)?;
        }
    }
    Ok(dir.display().to_string())
}
