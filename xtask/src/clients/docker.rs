//! docker: a dockerd of the ring's own, and the command line client.

use std::path::PathBuf;
use std::time::Duration;

use crate::clients::skopeo::Skopeo;
use crate::clients::{Account, Attempt, Client, Layout, Layouts, Session, attempt};
use crate::failure::{Context, Result, fail, same};
use crate::image::{Image, native_architecture, sha256};
use crate::places::Ring;
use crate::process::{Daemon, Output, Run};
use crate::report::Report;

pub(super) struct Docker;

const START_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Engine {
    pub(crate) url: String,
    daemon: Daemon,
}

impl Engine {
    /// A dockerd that shares nothing with another one on the machine and touches no network setting.
    pub(crate) fn start(ring: &Ring, name: &str, more: &[&str]) -> Result<Self> {
        let url = format!("unix://{}", ring.sockets.join(format!("{name}.sock")).display());
        let mut daemon = Run::new("dockerd")
            .arg("--data-root")
            .arg(ring.dir.join(name))
            .arg("--exec-root")
            .arg(ring.sockets.join(format!("{name}-exec")))
            .arg("--pidfile")
            .arg(ring.sockets.join(format!("{name}.pid")))
            .args(["--host", &url, "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(more)
            .daemon(ring, name)?;
        daemon.wait_until("docker reaches it", START_LIMIT, || {
            let info = Run::new("docker").args(["--host", &url, "info"]).output();
            info.is_ok_and(|output| output.code == Some(0))
        })?;
        Ok(Self { url, daemon })
    }

    pub(crate) fn end(self) -> Result {
        self.daemon.stop()
    }

    pub(crate) fn stop(self, report: &mut Report) {
        report.case("dockerd", "ends", || self.daemon.stop());
    }
}

/// `/etc/docker/certs.d/<host>`: the one place where dockerd looks for a registry's authority.
struct TrustedHost(PathBuf);

impl TrustedHost {
    fn new(session: &Session<'_>) -> Result<Option<Self>> {
        let Some(ca) = &session.server.ca else { return Ok(None) };
        let dir = PathBuf::from("/etc/docker/certs.d").join(&session.server.host);
        std::fs::create_dir_all(&dir)?;
        std::fs::copy(ca, dir.join("ca.crt"))?;
        Ok(Some(Self(dir)))
    }
}

impl Drop for TrustedHost {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn docker(session: &Session<'_>) -> Run {
    session.run("docker").args(["--host", &session.engines.docker.url])
}

/// Builds a `FROM scratch` image of two layers, the way of the classic builder, and answers its id.
fn build(session: &Session<'_>, image: &Image, name: &str) -> Result<String> {
    let dir = session.path("build");
    std::fs::create_dir_all(&dir)?;
    let mut dockerfile = String::from("FROM scratch\n");
    for (number, blob) in image.blobs.iter().enumerate() {
        std::fs::write(dir.join(format!("file-{number}")), &blob.bytes)?;
        dockerfile.push_str(&format!("COPY file-{number} /file-{number}\n"));
    }
    std::fs::write(dir.join("Dockerfile"), dockerfile)?;
    let built = docker(session)
        .args(["build", "--quiet", "--tag", name])
        .arg(&dir)
        .env("DOCKER_BUILDKIT", "0")
        .ok()?;
    Ok(built.trim().to_owned())
}

impl Client for Docker {
    const NAME: &'static str = "docker";
    const KEEPS_DIGEST: bool = false;
    const WRONG_PASSWORD: &'static str = "401 Unauthorized|unauthorized";
    const UNKNOWN_TAG: &'static str = "manifest unknown|manifest for * not found";
    const BAD_NAME: &'static str = "must be lowercase";
    const NO_LOGIN: &'static str = "no basic auth credentials|denied|unauthorized";
    const DENIED: &'static str = "denied|unauthorized|insufficient";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        let _trusted = TrustedHost::new(session)?;
        docker(session)
            .args(["login", "--username", &account.user, "--password-stdin", &session.server.host])
            .stdin(account.password.as_str())
            .output()
    }

    /// An index can't be pushed by this dockerd's image store, so skopeo does that for it.
    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        if !layout.image.children.is_empty() {
            if let Some(account) = &session.account {
                Skopeo.login(session, account)?;
            }
            return Skopeo.push(session, layout, reference);
        }
        let _trusted = TrustedHost::new(session)?;
        let local = "ring-local:built";
        build(session, layout.image, local)?;
        let tagged = docker(session).args(["tag", local, reference]).output()?;
        if tagged.code != Some(0) {
            return Ok(Attempt::Refused(tagged));
        }
        let pushed = attempt(docker(session).args(["push", reference]), |output| {
            let digest =
                output.stdout.split_once("digest: ").context(format!("the digest in {}", output.all()))?.1;
            Ok(digest.split_whitespace().next().unwrap_or_default().to_owned())
        })?;
        docker(session).args(["rmi", "--force", reference]).ok()?;
        Ok(pushed)
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let _trusted = TrustedHost::new(session)?;
        // The build's own layers are in the way of a real pull.
        docker(session).args(["image", "prune", "--all", "--force"]).ok()?;
        attempt(docker(session).args(["pull", reference]), |output| {
            let id = docker(session).args(["image", "inspect", "--format", "{{.Id}}", reference]).ok()?;
            if !layout.image.children.is_empty() {
                let native = layout.image.for_this_machine();
                let config =
                    native.blobs.first().context(format!("an image for {}", native_architecture()))?;
                same("the image id", &id.trim(), &sha256(&config.bytes).as_str())?;
            }
            let digest = output.stdout.lines().find_map(|line| line.strip_prefix("Digest: "));
            Ok(digest.context(format!("the digest in {}", output.all()))?.trim().to_owned())
        })
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &Layouts<'_>) {
        let repository = format!("{}/ring/docker", session.server.host);
        report.case(Self::NAME, "a second push finds its layers", || {
            let _trusted = TrustedHost::new(session)?;
            docker(session).args(["pull", &format!("{repository}:one")]).ok()?;
            docker(session)
                .args(["tag", &format!("{repository}:one"), &format!("{repository}:again")])
                .ok()?;
            let pushed = docker(session).args(["push", &format!("{repository}:again")]).ok()?;
            if pushed.contains("Layer already exists") {
                Ok(())
            } else {
                fail!("layers were sent again: {pushed}")
            }
        });
        report.case(Self::NAME, "push to another repository mounts its layers", || {
            let _trusted = TrustedHost::new(session)?;
            let copy = format!("{}/ring/docker-copy:one", session.server.host);
            docker(session).args(["tag", &format!("{repository}:one"), &copy]).ok()?;
            let pushed = docker(session).args(["push", &copy]).ok()?;
            if pushed.contains("Mounted from ring/docker") {
                Ok(())
            } else {
                fail!("nothing was mounted: {pushed}")
            }
        });
        report.case(Self::NAME, "pull --all-tags", || {
            let _trusted = TrustedHost::new(session)?;
            docker(session).args(["image", "prune", "--all", "--force"]).ok()?;
            docker(session).args(["pull", "--all-tags", &repository]).ok()?;
            let listed = docker(session).args(["images", "--format", "{{.Tag}}", &repository]).ok()?;
            let mut tags: Vec<&str> = listed.lines().collect();
            tags.sort_unstable();
            same("the tags", &tags, &vec!["again", "many", "one"])
        });
        report.case(Self::NAME, "manifest inspect", || {
            let _trusted = TrustedHost::new(session)?;
            let mut run = docker(session).args(["manifest", "inspect"]);
            if !session.tls() {
                run = run.arg("--insecure");
            }
            let shown = run.arg(format!("{repository}:many")).ok()?;
            match layouts.multi.image.children.iter().find(|child| !shown.contains(child.digest())) {
                Some(child) => fail!("{} is not in {shown}", child.digest()),
                None => Ok(()),
            }
        });
    }
}
