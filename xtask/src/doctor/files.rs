//! What `larder proxy` and `larder client` print, in the programs that it is for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Proxy, address, backend, examine};
use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Result, fail, same};
use crate::image::Image;
use crate::places::Ring;
use crate::process::Run;
use crate::random::Random;
use crate::report::Report;
use crate::server::{Auth, Plan, Program, Server};
use crate::tls::Authority;

/// A layer for the way through a proxy, in bytes: larger than any buffer.
const LARGE_LAYER: usize = 500 << 20;
/// What of it is made at once.
const PIECE: usize = 1 << 20;
/// Longest that docker may take to push or pull it, in seconds.
const LARGE_SECONDS: u64 = 300;
const START_LIMIT: Duration = Duration::from_secs(30);

/// The printed fronts, each in its proxy.
pub(super) fn proxies(report: &mut Report, ring: &Ring, authority: &Authority) -> Result {
    // One has the image, and the other none of its layers, however often it has pulled it.
    let pusher = Engine::start(ring, "dockerd-pusher", &[])?;
    let puller = Engine::start(ring, "dockerd-puller", &[])?;
    let built =
        report.step("docker", "builds an image with a layer of 500 MB", || large_image(ring, &pusher));
    for proxy in [Proxy::Nginx, Proxy::Caddy, Proxy::Haproxy, Proxy::Apache, Proxy::Traefik] {
        let title = format!("printed-{proxy:?}").to_lowercase();
        report.about(&title);
        behind(report, ring, authority, proxy, &title, |host| match &built {
            Some(id) => docker_round(&pusher, &puller, host, id),
            None => fail!("there is no image"),
        });
    }
    report.about("printed-traefik-labels");
    let started = report.step("proxy", "starts with what is printed, and finds the container", || {
        super::labels::start(ring, &puller, authority)
    });
    if let Some(front) = started {
        passes(report, ring, authority, &front.host, |host| match &built {
            Some(id) => docker_round(&pusher, &puller, host, id),
            None => fail!("there is no image"),
        });
        report.case("proxy", "ends, and the container", || front.stop());
    }
    report.about("");
    pusher.stop(report);
    puller.stop(report);
    Ok(())
}

fn larder() -> Result<Run> {
    Ok(Run::new(dist::release()?))
}

/// The printed front in the real proxy, TLS at the front: nothing is found, and docker gets a large layer both ways.
fn behind(
    report: &mut Report,
    ring: &Ring,
    authority: &Authority,
    proxy: Proxy,
    title: &str,
    docker_round: impl FnOnce(&str) -> Result,
) {
    let started = report.step("proxy", "starts with what is printed", || {
        let (server, _) = backend(ring, title, Program::Larder, Auth::None)?;
        let host = address()?;
        let name = match proxy {
            Proxy::Nginx => "nginx",
            Proxy::Caddy => "caddy",
            Proxy::Haproxy => "haproxy",
            Proxy::Apache => "apache",
            Proxy::Traefik => "traefik",
        };
        let (certificate, key) = match proxy {
            Proxy::Haproxy => (&authority.pair, &authority.key),
            Proxy::Nginx | Proxy::Caddy | Proxy::Apache | Proxy::Traefik => {
                (&authority.certificate, &authority.key)
            }
        };
        let printed = larder()?
            .args(["proxy", name, "127.0.0.1", "--registry", &server.host, "--listen", &host])
            .arg("--certificate")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .ok()?;
        // Caddy's own administration and redirects would take ports of the machine.
        let printed = match proxy {
            Proxy::Caddy => format!("{{\n    admin off\n    auto_https disable_redirects\n}}\n{printed}"),
            Proxy::Nginx | Proxy::Haproxy | Proxy::Apache | Proxy::Traefik => printed,
        };
        Ok((proxy.start(ring, title, &host, &printed)?, server))
    });
    let Some((front, server)) = started else { return };
    passes(report, ring, authority, &front.host, docker_round);
    report.case("registry", "ends", || server.daemon.stop());
}

/// That nothing is found there, and docker gets a large layer both ways.
fn passes(
    report: &mut Report,
    ring: &Ring,
    authority: &Authority,
    host: &str,
    docker_round: impl FnOnce(&str) -> Result,
) {
    let ca = authority.ca.display().to_string();
    report.case("doctor", "nothing is found", || examine(ring, host, &["--ca", &ca], false)?.nothing());
    report.case("docker", "trusts the authority that `larder client docker --write` installs", || {
        let told = larder()?.args(["client", "docker", host, "--ca", &ca, "--write"]).ok()?;
        if told.contains(&format!("/etc/docker/certs.d/{}/ca.crt", host)) {
            Ok(())
        } else {
            fail!("it wrote something else: {told}")
        }
    });
    report.case("docker", "pushes and pulls a layer of 500 MB", || docker_round(host));
    let _ = std::fs::remove_dir_all(Path::new("/etc/docker/certs.d").join(host));
}

fn docker(engine: &Engine, arguments: &[&str]) -> Result<String> {
    let run = Run::new("docker").args(["--host", &engine.url]).args(arguments);
    run.env("DOCKER_BUILDKIT", "0").limit(LARGE_SECONDS).ok().map(|told| told.trim().to_owned())
}

/// An image whose layer can't be made smaller; its id.
fn large_image(ring: &Ring, engine: &Engine) -> Result<String> {
    let context = ring.make_dir("context-large")?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(context.join("large"))?);
    let mut random = Random::new(7);
    for _ in 0..LARGE_LAYER / PIECE {
        file.write_all(&random.bytes(PIECE))?;
    }
    file.flush()?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY large /large\n")?;
    let id = docker(engine, &["build", "--quiet", "--tag", "large", &context.display().to_string()])?;
    std::fs::remove_dir_all(&context)?;
    Ok(id)
}

fn docker_round(pusher: &Engine, puller: &Engine, host: &str, id: &str) -> Result {
    let name = format!("{host}/ring/large:1");
    docker(pusher, &["tag", id, &name])?;
    docker(pusher, &["push", &name])?;
    docker(pusher, &["rmi", &name])?;
    docker(puller, &["pull", &name])?;
    let pulled = docker(puller, &["image", "inspect", "--format", "{{.Id}}", &name])?;
    docker(puller, &["rmi", "--force", &name])?;
    same("the image's id", &pulled.as_str(), &id)
}

/// An image that nobody else in the world has, under a name of Docker Hub: who pulls it has asked the mirror.
pub(super) fn clients(report: &mut Report, ring: &Ring, authority: &Authority) {
    report.about("printed client");
    let started = report.step("registry", "has an image that Docker Hub lacks", || {
        // As k3s asks first for the upstream's own base, it has to be one; nobody is ever asked.
        let upstreams =
            "upstreams:\n  - {name: docker.io, prefix: /, offline: true}\n  - {name: ghcr.io, offline: true}\n";
        Ok((mirror(ring, authority, "mirror", "")?, mirror(ring, authority, "mirror-k3s", upstreams)?))
    });
    let Some(((server, image), (for_k3s, _))) = started else { return };
    let print = |client: &str, host: &str| -> Result<PathBuf> {
        let into = ring.make_dir(format!("printed-{client}"))?;
        larder()?
            .args(["client", client, host, "--root", "docker.io", "--upstream", "ghcr.io", "--write"])
            .arg("--ca")
            .arg(&authority.ca)
            .arg("--into")
            .arg(&into)
            .ok()?;
        Ok(into)
    };
    report.case("dockerd", "pulls Docker Hub's name from the mirror", || {
        let into = print("docker", &server.host)?;
        let config = into.join("etc/docker/daemon.json").display().to_string();
        let engine = Engine::start(ring, "dockerd-mirror", &["--config-file", &config])?;
        let docker = Run::new("docker").args(["--host", &engine.url, "pull", "larder-canary:1"]).ok()?;
        if docker.contains(image.digest()) { Ok(()) } else { fail!("another image came: {docker}") }
    });
    report.case("podman", "pulls both upstreams' names from the mirror", || {
        let into = print("podman", &server.host)?;
        let run = ring.make_short_dir()?.join("run");
        for name in ["docker.io/library/larder-canary:1", "ghcr.io/larder/canary:1"] {
            podman(ring, &into, &run, &server, name)?;
        }
        Ok(())
    });
    report.case("containerd", "pulls both upstreams' names from the mirror", || {
        let into = print("containerd", &server.host)?;
        let hosts = into.join("etc/containerd/certs.d");
        // The printed files name the authority where it belongs on a real machine.
        relocate(&hosts, &into)?;
        containerd(ring, &hosts, &image)
    });
    super::builders::k3s(report, ring, || print("k3s", &for_k3s.host));
    super::builders::buildkit(report, ring, &server.host, || print("buildkit", &server.host));
    report.case("registry", "ends", || server.daemon.stop().and(for_k3s.daemon.stop()));
    report.about("");
}

/// A registry with the image under both upstreams' names.
fn mirror(ring: &Ring, authority: &Authority, title: &str, sections: &str) -> Result<(Server, Image)> {
    let data = ring.make_dir(format!("data-{title}"))?;
    let plan = Plan { tls: Some(authority), sections, ..Plan::open(Program::Larder, &data) };
    let server = plan.start(ring, title)?;
    let image = Image::single(11, crate::image::native_architecture(), &[50_000]);
    let layout = ring.make_dir("layout-canary")?;
    image.write_layout(&layout, "1")?;
    for repository in ["library/larder-canary", "ghcr.io/larder/canary"] {
        Run::new("skopeo")
            .args(["copy", "--preserve-digests"])
            .arg(format!("--dest-cert-dir={}", authority.certs_dir.display()))
            .arg(format!("oci:{}:1", layout.display()))
            .arg(format!("docker://{}/{repository}:1", server.host))
            .ok()?;
    }
    Ok((server, image))
}

fn podman(ring: &Ring, into: &Path, run: &Path, server: &Server, name: &str) -> Result {
    let home = ring.make_dir("home-podman")?;
    Run::new("podman")
        .env("HOME", &home)
        .env("CONTAINERS_REGISTRIES_CONF", into.join("etc/containers/registries.conf.d/50-larder.conf"))
        .arg("--root")
        .arg(home.join("store"))
        .arg("--runroot")
        .arg(run)
        .args(["--storage-driver", "vfs", "pull", "--quiet"])
        .arg(format!("--cert-dir={}", into.join("etc/containers/certs.d").join(&server.host).display()))
        .arg(name)
        .ok()
        .map(drop)
}

/// Puts `into` before the paths that printed files name.
fn relocate(hosts: &Path, into: &Path) -> Result {
    for entry in std::fs::read_dir(hosts)? {
        let file = entry?.path().join("hosts.toml");
        if file.try_exists()? {
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, text.replace("\"/etc/", &format!("\"{}/etc/", into.display())))?;
        }
    }
    Ok(())
}

fn containerd(ring: &Ring, hosts: &Path, image: &Image) -> Result {
    let socket = ring.sockets.join("containerd-mirror.sock");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = {socket:?}\n",
        ring.dir.join("containerd-mirror"),
        ring.sockets.join("containerd-mirror-state"),
    );
    let config = ring.write("containerd-mirror.toml", config)?;
    let mut daemon = Run::new("containerd").arg("--config").arg(config).daemon(ring, "containerd-mirror")?;
    let ctr = |arguments: &[&str]| {
        Run::new("ctr").arg("--address").arg(&socket).args(["--namespace", "ring"]).args(arguments)
    };
    daemon.wait_until("ctr reaches it", START_LIMIT, || {
        ctr(&["version"]).output().is_ok_and(|output| output.code == Some(0))
    })?;
    for name in ["docker.io/library/larder-canary:1", "ghcr.io/larder/canary:1"] {
        let pull = ctr(&["images", "pull", "--snapshotter", "native", "--hosts-dir"]);
        pull.arg(hosts).arg(name).ok()?;
        let listed = ctr(&["images", "list", &format!("name=={name}")]).ok()?;
        if !listed.contains(image.digest()) {
            fail!("{name} is another image: {listed}");
        }
    }
    daemon.stop()
}
