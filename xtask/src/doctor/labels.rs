//! What `larder proxy traefik-labels` prints: its flags in the real Traefik, and its labels on a real container of docker's,
//! in which Larder runs. What compose itself does with the file (images, networks, mounts) isn't tried.

use std::path::Path;

use super::address;
use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Result, fail};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::tls::Authority;

/// Where the text says that the certificates' file lies.
const CERTIFICATES: &str = "/etc/traefik/certificates.yml";

/// Traefik and the container that it finds by itself.
pub(super) struct Labelled<'a> {
    pub(super) host: String,
    traefik: Daemon,
    engine: &'a Engine,
    container: String,
}

impl Labelled<'_> {
    pub(super) fn stop(self) -> Result {
        let stopped = docker(self.engine).args(["rm", "--force", &self.container]).ok();
        self.traefik.stop()?;
        stopped.map(drop)
    }
}

pub(super) fn start<'a>(ring: &Ring, engine: &'a Engine, authority: &Authority) -> Result<Labelled<'a>> {
    let (host, registry) = (address()?, address()?);
    let printed = Run::new(dist::release()?)
        .args(["proxy", "traefik-labels", "127.0.0.1", "--registry", &registry, "--listen", &host])
        .arg("--certificate")
        .arg(&authority.certificate)
        .arg("--key")
        .arg(&authority.key)
        .ok()?;
    let container = registry_with(ring, engine, &registry, &items(&printed, "traefik."))?;
    let certificates = ring.write("labels.certificates.yml", content(&printed)?)?;
    let flags: Vec<String> = items(&printed, "--")
        .into_iter()
        .map(|flag| flag.replace("address=:443", &format!("address={host}")))
        .map(|flag| flag.replace(CERTIFICATES, &certificates.display().to_string()))
        .chain([format!("--providers.docker.endpoint={}", engine.url)])
        .collect();
    let traefik = crate::traefik::with_flags(ring, "labels", &flags, "registry@docker")?;
    Ok(Labelled { host, traefik, engine, container })
}

/// A container on the machine's own network, with the labels and with what a program of this machine needs.
fn registry_with(ring: &Ring, engine: &Engine, listen: &str, labels: &[String]) -> Result<String> {
    let context = ring.make_dir("context-labels")?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n")?;
    let context = context.display().to_string();
    docker(engine)
        .args(["build", "--quiet", "--tag", "labelled", &context])
        .env("DOCKER_BUILDKIT", "0")
        .ok()?;
    let data = ring.make_dir("data-labels")?;
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: /var/lib/registry}}\n  delete: {{enabled: true}}\nhttp: {{addr: \
         {listen}}}\n"
    );
    let config = ring.write("labels.config.yml", config)?;
    let mut run = docker(engine).args(["run", "--detach", "--network", "host"]);
    for label in labels {
        run = run.args(["--label", label]);
    }
    for library in ["/usr", "/lib", "/lib64"] {
        if Path::new(library).try_exists()? {
            run = run.args(["--volume", &format!("{library}:{library}:ro")]);
        }
    }
    let id = run
        .args(["--volume", &format!("{}:/var/lib/registry", data.display())])
        .args(["--volume", &format!("{}:/larder:ro", dist::release()?.display())])
        .args(["--volume", &format!("{}:/config.yml:ro", config.display())])
        .args(["labelled", "/larder", "serve", "/config.yml"])
        .ok()?;
    Ok(id.trim().to_owned())
}

/// The list items that begin so, without what a comment adds.
fn items(printed: &str, begin: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- "))
        .filter(|item| item.starts_with(begin))
        .map(|item| item.split("   #").next().unwrap_or(item).to_owned())
        .collect()
}

/// The file that compose would make.
fn content(printed: &str) -> Result<String> {
    let Some((_, lines)) = printed.split_once("    content: |\n") else {
        fail!("no file is in {printed}");
    };
    Ok(lines.lines().map(|line| line.strip_prefix("      ").unwrap_or(line).to_owned() + "\n").collect())
}

fn docker(engine: &Engine) -> Run {
    Run::new("docker").args(["--host", &engine.url])
}
