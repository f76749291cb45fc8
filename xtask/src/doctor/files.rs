//! What `larder proxy` and `larder client` print, in the programs that it is for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Proxy, address, backend, examine};
use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Result, fail, same};
use crate::image::Image;
use crate::places::Ring;
use crate::process::Run;
use crate::report::Report;
use crate::server::{Auth, Plan, Program, Server};
use crate::tls::Authority;

/// A layer for the way through a proxy: larger than any buffer.
const LARGE_LAYER: usize = 100 << 20;
const START_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn cases(report: &mut Report, ring: &Ring, authority: &Authority) -> Result {
    let engine = Engine::start(ring, "dockerd", &[])?;
    for proxy in [Proxy::Nginx, Proxy::Caddy, Proxy::Haproxy] {
        let title = format!("printed-{proxy:?}").to_lowercase();
        report.about(&title);
        behind(report, ring, authority, &engine, proxy, &title);
    }
    report.about("");
    engine.stop(report);
    report.about("printed client");
    clients(report, ring, authority);
    report.about("");
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
    engine: &Engine,
    proxy: Proxy,
    title: &str,
) {
    let started = report.step("proxy", "starts with what is printed", || {
        let (server, _) = backend(ring, title, Program::Larder, Auth::None)?;
        let host = address()?;
        let name = match proxy {
            Proxy::Nginx => "nginx",
            Proxy::Caddy => "caddy",
            Proxy::Haproxy => "haproxy",
        };
        let (certificate, key) = match proxy {
            Proxy::Haproxy => (&authority.pair, &authority.key),
            Proxy::Nginx | Proxy::Caddy => (&authority.certificate, &authority.key),
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
            Proxy::Nginx | Proxy::Haproxy => printed,
        };
        Ok((proxy.start(ring, title, &host, &printed)?, server))
    });
    let Some((front, server)) = started else { return };
    let ca = authority.ca.display().to_string();
    report
        .case("doctor", "nothing is found", || examine(ring, &front.host, &["--ca", &ca], false)?.nothing());
    report.case("docker", "trusts the authority that `larder client docker --write` installs", || {
        let told = larder()?.args(["client", "docker", &front.host, "--ca", &ca, "--write"]).ok()?;
        if told.contains(&format!("/etc/docker/certs.d/{}/ca.crt", front.host)) {
            Ok(())
        } else {
            fail!("it wrote something else: {told}")
        }
    });
    report.case("docker", "pushes and pulls a layer of 100 MB", || {
        docker_round(ring, engine, &front.host, title)
    });
    let _ = std::fs::remove_dir_all(Path::new("/etc/docker/certs.d").join(&front.host));
    report.case("registry", "ends", || server.daemon.stop());
}

fn docker_round(ring: &Ring, engine: &Engine, host: &str, title: &str) -> Result {
    let docker = |arguments: &[&str]| {
        Run::new("docker")
            .args(["--host", &engine.url])
            .args(arguments)
            .env("DOCKER_BUILDKIT", "0")
            .limit(300)
    };
    let image = Image::single(7, crate::image::native_architecture(), &[LARGE_LAYER]);
    let context = ring.make_dir(format!("context-{title}"))?;
    let mut dockerfile = String::from("FROM scratch\n");
    for (number, blob) in image.blobs.iter().enumerate() {
        std::fs::write(context.join(format!("file-{number}")), &blob.bytes)?;
        dockerfile.push_str(&format!("COPY file-{number} /file-{number}\n"));
    }
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    let name = format!("{host}/ring/large:1");
    let built = docker(&["build", "--quiet", "--tag", &name, &context.display().to_string()]).ok()?;
    docker(&["push", &name]).ok()?;
    docker(&["rmi", "--force", &name]).ok()?;
    docker(&["image", "prune", "--all", "--force"]).ok()?;
    docker(&["pull", &name]).ok()?;
    let pulled = docker(&["image", "inspect", "--format", "{{.Id}}", &name]).ok()?;
    std::fs::remove_dir_all(&context)?;
    docker(&["rmi", "--force", &name]).ok()?;
    same("the image's id", &pulled.trim(), &built.trim())
}

/// An image that nobody else in the world has, under a name of Docker Hub: who pulls it has asked the mirror.
fn clients(report: &mut Report, ring: &Ring, authority: &Authority) {
    let started = report.step("registry", "has an image that Docker Hub lacks", || {
        let data = ring.make_dir("data-mirror")?;
        let plan = Plan { tls: Some(authority), ..Plan::open(Program::Larder, &data) };
        let server = plan.start(ring, "mirror")?;
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
    });
    let Some((server, image)) = started else { return };
    let print = |client: &str| -> Result<PathBuf> {
        let into = ring.make_dir(format!("printed-{client}"))?;
        larder()?
            .args(["client", client, &server.host, "--root", "docker.io", "--upstream", "ghcr.io", "--write"])
            .arg("--ca")
            .arg(&authority.ca)
            .arg("--into")
            .arg(&into)
            .ok()?;
        Ok(into)
    };
    report.case("dockerd", "pulls Docker Hub's name from the mirror", || {
        let into = print("docker")?;
        let config = into.join("etc/docker/daemon.json").display().to_string();
        let engine = Engine::start(ring, "dockerd-mirror", &["--config-file", &config])?;
        let docker = Run::new("docker").args(["--host", &engine.url, "pull", "larder-canary:1"]).ok()?;
        if docker.contains(image.digest()) { Ok(()) } else { fail!("another image came: {docker}") }
    });
    report.case("podman", "pulls both upstreams' names from the mirror", || {
        let into = print("podman")?;
        let run = ring.make_short_dir()?.join("run");
        for name in ["docker.io/library/larder-canary:1", "ghcr.io/larder/canary:1"] {
            podman(ring, &into, &run, &server, name)?;
        }
        Ok(())
    });
    report.case("containerd", "pulls both upstreams' names from the mirror", || {
        let into = print("containerd")?;
        let hosts = into.join("etc/containerd/certs.d");
        // The printed files name the authority where it belongs on a real machine.
        relocate(&hosts, &into)?;
        containerd(ring, &hosts, &image)
    });
    report.case("registry", "ends", || server.daemon.stop());
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
