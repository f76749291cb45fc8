//! `cargo xtask doors`: the real clients through every door of the cache, each as its users set it up; and then, with
//! every upstream unplugged, by clients that never saw the images.
//!
//! The upstreams are two docker-registry 2.8.2, which Larder is told are Docker Hub and ghcr.io. No client can reach the real
//! ones under these names: what it pulls has come through Larder. No answer about a tag counts for any time, so that every
//! pull asks the upstream or finds it gone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::clients::{ctr, docker};
use crate::dist;
use crate::failure::{Context, Failure, Result, fail, same};
use crate::image::{Image, check_layout};
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::Run;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

/// An image of Docker Hub, as its upstream knows it.
const OFFICIAL: &str = "library/ring";
/// One that is only warmed.
const WARMED: &str = "library/warm";
/// One of ghcr.io.
const OWNED: &str = "owner/ring";

/// The cache under test, and its ways in.
struct Cache {
    server: Server,
    /// Docker Hub's own port.
    hub_port: String,
    image: Image,
    ring: Ring,
}

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("doors");
    let ring = Ring::fresh("doors")?;
    let image = Image::index(70, &["amd64", "arm64"], &[20_000, 2_000_000]);
    let mut upstreams = Vec::new();
    for (name, repository) in [("hub", OFFICIAL), ("ghcr", OWNED)] {
        let data = ring.make_dir(name)?;
        let server = Plan::open(Program::DockerRegistry, &data).start(&ring, name)?;
        Registry::new(server.http()).push_image(repository, "one", &image)?;
        Registry::new(server.http()).push_image(WARMED, "one", &image)?;
        upstreams.push(server);
    }
    let hub_port = format!("{LOOPBACK}:{}", free_port(LOOPBACK)?);
    let sections = match upstreams.as_slice() {
        [hub, ghcr] => format!(
            "upstreams:
  - {{name: docker.io, urls: [\"http://{}\"], addr: \"{hub_port}\", freshfor: 0s}}
  - {{name: ghcr.io, urls: [\"http://{}\"], hostnames: [localhost], freshfor: 0s}}
",
            hub.host, ghcr.host
        ),
        _ => fail!("two upstreams"),
    };
    let data = ring.make_dir("cache")?;
    let plan = Plan { sections: &sections, ..Plan::open(Program::Larder, &data) };
    let server = plan.start(&ring, "cache")?;
    let cache = Cache { server, hub_port, image, ring };

    report.about("plugged");
    every_door(&mut report, &cache, "plugged")?;
    report.case("larder", "warms an image that nobody has pulled", || cache.warms());
    report.case("larder", "says how its upstreams are", || cache.says_how_upstreams_are());
    report.about("");
    for upstream in upstreams {
        report.case("upstream", "is unplugged", || upstream.daemon.stop());
    }
    report.about("unplugged");
    every_door(&mut report, &cache, "unplugged")?;
    report.case("skopeo", "copies what was warmed", || {
        let reference = format!("{}/docker.io/{WARMED}:one", cache.server.host);
        cache.skopeo_copies(None, "unplugged", &reference)
    });
    report.case("curl", "a copy says that it is one", || cache.says_it_is_a_copy());
    report.about("");
    let Cache { server, ring, .. } = cache;
    report.case("registry", "ends on SIGTERM", || server.daemon.stop());
    drop(ring);
    Ok(report)
}

/// All of it, with stores that are empty.
fn every_door(report: &mut Report, cache: &Cache, title: &str) -> Result {
    let mirror = format!("http://{}", cache.hub_port);
    let dockerd =
        docker::Engine::start(&cache.ring, &format!("dockerd-{title}"), &["--registry-mirror", &mirror])?;
    let by_prefix = |upstream: &str, name: &str| format!("{}/{upstream}/{name}:one", cache.server.host);
    for (door, reference) in [
        ("registry-mirrors", "ring:one".to_owned()),
        ("a prefix", by_prefix("ghcr.io", OWNED)),
        ("a prefix, without library/", by_prefix("docker.io", "ring")),
    ] {
        report.case("docker", &format!("pulls by {door}"), || cache.docker_pulls(&dockerd, &reference));
    }
    dockerd.stop(report);

    let containerd = ctr::Engine::start_named(&cache.ring, title)?;
    for (door, name) in [("ns", "docker.io/library/ring:one"), ("override_path", "ghcr.io/owner/ring:one")] {
        report.case("ctr", &format!("pulls by hosts.toml with {door}"), || {
            cache.ctr_pulls(&containerd, title, name)
        });
    }
    containerd.stop(report);

    let conf = cache.registries_conf(title)?;
    for name in ["docker.io/library/ring:one", "ghcr.io/owner/ring:one"] {
        report.case("podman", &format!("pulls {name} by registries.conf"), || {
            cache.podman_pulls(&conf, title, name)
        });
        report.case("skopeo", &format!("copies {name} by registries.conf"), || {
            cache.skopeo_copies(Some(&conf), title, name)
        });
    }
    let port = cache.server.host.rsplit_once(':').context("a port")?.1;
    for (door, reference) in [
        ("a prefix", by_prefix("docker.io", OFFICIAL)),
        ("a host's name", format!("localhost:{port}/{OWNED}:one")),
        ("a port", format!("{}/{OFFICIAL}:one", cache.hub_port)),
    ] {
        report.case("skopeo", &format!("copies by {door}"), || cache.skopeo_copies(None, title, &reference));
    }
    Ok(())
}

impl Cache {
    fn docker_pulls(&self, engine: &docker::Engine, reference: &str) -> Result {
        let docker = || Run::new("docker").args(["--host", &engine.url]);
        docker().args(["image", "prune", "--all", "--force"]).ok()?;
        let pulled = docker().args(["pull", reference]).ok()?;
        let digest = pulled.lines().find_map(|line| line.strip_prefix("Digest: "));
        same("the digest", &digest.context(format!("the digest in {pulled}"))?.trim(), &self.image.digest())?;
        docker().args(["rmi", "--force", reference]).ok()?;
        Ok(())
    }

    fn ctr_pulls(&self, engine: &ctr::Engine, title: &str, name: &str) -> Result {
        let hosts = self.ring.make_dir(format!("hosts-{title}"))?;
        let host = &self.server.host;
        // As the how-to has them: the namespace beside the name, and the whole name in the path.
        let both = [
            ("docker.io", "https://registry-1.docker.io", format!("http://{host}"), ""),
            ("ghcr.io", "https://ghcr.io", format!("http://{host}/v2/ghcr.io"), "  override_path = true\n"),
        ];
        for (upstream, server, mirror, line) in both {
            let dir = hosts.join(upstream);
            fs::create_dir_all(&dir)?;
            let toml = format!(
                "server = {server:?}\n[host.{mirror:?}]\n  capabilities = [\"pull\", \"resolve\"]\n{line}"
            );
            fs::write(dir.join("hosts.toml"), toml)?;
        }
        let ctr =
            || Run::new("ctr").arg("--address").arg(&engine.socket).args(["--namespace", "ring", "images"]);
        let pull = ctr().args(["pull", "--snapshotter", "native", "--all-platforms", "--hosts-dir"]);
        pull.arg(&hosts).arg(name).ok()?;
        let listed = ctr().args(["list", &format!("name=={name}")]).ok()?;
        let row = listed.lines().nth(1).context(format!("{name} in {listed}"))?;
        same("the digest", &row.split_whitespace().nth(2), &Some(self.image.digest()))
    }

    fn registries_conf(&self, title: &str) -> Result<PathBuf> {
        let mut conf = String::from("unqualified-search-registries = [\"docker.io\"]\n");
        for upstream in ["docker.io", "ghcr.io"] {
            conf.push_str(&format!(
                "[[registry]]\nprefix = {upstream:?}\nlocation = {upstream:?}\n[[registry.mirror]]\n\
                 location = \"{}/{upstream}\"\ninsecure = true\n",
                self.server.host
            ));
        }
        self.ring.write(&format!("registries-{title}.conf"), conf)
    }

    fn podman_pulls(&self, conf: &Path, title: &str, name: &str) -> Result {
        let home = self.ring.make_short_dir()?;
        let podman = || {
            let run = Run::new("podman").env("HOME", &home).env("CONTAINERS_REGISTRIES_CONF", conf);
            let run = run.arg("--root").arg(home.join("root")).arg("--runroot").arg(home.join("run"));
            run.args(["--storage-driver", "vfs"])
        };
        let id = podman().args(["pull", "--quiet", name]).ok().context(title)?;
        let inspect = podman().args(["image", "inspect", "--format", "{{join .RepoDigests \" \"}}"]);
        let digests = inspect.arg(id.trim()).ok()?;
        podman().args(["rmi", "--all", "--force"]).ok()?;
        if digests.contains(self.image.digest()) {
            Ok(())
        } else {
            fail!("{} is not among {digests}", self.image.digest())
        }
    }

    fn skopeo_copies(&self, conf: Option<&Path>, title: &str, reference: &str) -> Result {
        let layout = self.ring.make_short_dir()?;
        let mut run = Run::new("skopeo");
        if let Some(conf) = conf {
            run = run.arg("--registries-conf").arg(conf);
        }
        let run = run.args(["copy", "--all", "--src-tls-verify=false", &format!("docker://{reference}")]);
        run.arg(format!("oci:{}:one", layout.display())).ok().context(title)?;
        same("the digest", &check_layout(&layout)?.as_str(), &self.image.digest())
    }

    fn warms(&self) -> Result {
        let server = format!("http://{}", self.server.host);
        let warm =
            Run::new(dist::release()?).args(["warm", "warm:one", "--platform", "all", "--server", &server]);
        let said = warm.ok()?;
        if said.contains("docker.io/library/warm:one: 3 manifests, 6 blobs") {
            Ok(())
        } else {
            fail!("{said}")
        }
    }

    fn says_how_upstreams_are(&self) -> Result {
        let status = || Ok::<_, Failure>(Run::new(dist::release()?).args(["cache", "status", "--server"]));
        let for_people = status()?.arg(&self.server.host).ok()?;
        for words in ["since the start:", "docker.io (docker.io/)", "ghcr.io (ghcr.io/)", "× blob found"] {
            if !for_people.contains(words) {
                fail!("{words:?} is not in {for_people}");
            }
        }
        let json = status()?.arg(&self.server.host).arg("--json").ok()?;
        let json: serde_json::Value = serde_json::from_str(&json)?;
        same(
            "the upstreams",
            &json.pointer("/upstreams/1/name").and_then(|name| name.as_str()),
            &Some("ghcr.io"),
        )
    }

    /// By the headers that clients show or log.
    fn says_it_is_a_copy(&self) -> Result {
        let path = format!("/v2/docker.io/{OFFICIAL}/manifests/one");
        let answer = self.server.http().get(&path, &[])?.expect(&path, &[200])?;
        for header in ["age", "warning", "docker-content-digest"] {
            answer.header(header).context(format!("{header} of {path}"))?;
        }
        Ok(())
    }
}
