//! podman, with a store of its own for the ring.

use crate::clients::skopeo::{containers_login, transport};
use crate::clients::{Account, Attempt, Client, Layout, Session, attempt};
use crate::failure::{Context, Result, fail};
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Podman;

/// The session's own store. `vfs` needs nothing of the kernel or of the file system below.
pub(super) fn store(session: &Session<'_>, program: &str) -> Run {
    session
        .run(program)
        .arg("--root")
        .arg(session.path("store"))
        .arg("--runroot")
        .arg(session.short.join("run"))
        .args(["--storage-driver", "vfs"])
}

fn podman(session: &Session<'_>) -> Run {
    store(session, "podman")
        .arg("--tmpdir")
        .arg(session.short.join("tmp"))
        .args(["--cgroup-manager", "cgroupfs"])
}

/// `podman search` has no `--cert-dir`.
fn search(session: &Session<'_>) -> Run {
    let run = podman(session).arg("search");
    match &session.server.ca {
        Some(ca) => run.env("SSL_CERT_FILE", ca),
        None => run.arg("--tls-verify=false"),
    }
}

impl Client for Podman {
    const NAME: &'static str = "podman";
    // Pushed from its store, layers are compressed anew.
    const KEEPS_DIGEST: bool = false;
    const WRONG_PASSWORD: &'static str = "invalid username/password";
    const UNKNOWN_TAG: &'static str = "manifest unknown";
    const BAD_NAME: &'static str = "repository name must be lowercase";
    const NO_LOGIN: &'static str = "unauthorized|authentication required|denied";
    // The answer to a HEAD has no body that could say more.
    const DENIED: &'static str = "denied|unauthorized|403";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        containers_login(session, podman(session).arg("login"), account)
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        push_from_store(session, podman, layout, reference)
    }

    fn pull(&self, session: &Session<'_>, _layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        // Without the local copy, so that everything is fetched again.
        podman(session).args(["rmi", "--all", "--force"]).ok()?;
        let run = podman(session).args(["pull", "--quiet"]).args(transport(session, "")).arg(reference);
        attempt(run, |output| {
            let inspect =
                podman(session).args(["image", "inspect", "--format", "{{join .RepoDigests \" \"}}"]);
            pulled_digest(&inspect.arg(output.stdout.trim()).ok()?)
        })
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, _layouts: &super::Layouts<'_>) {
        report.case(Self::NAME, "search --list-tags", || {
            let run = search(session).arg("--list-tags");
            let listed = run.arg(format!("{}/ring/podman", session.server.host)).ok()?;
            if listed.contains("one") && listed.contains("many") {
                Ok(())
            } else {
                fail!("tags are missing: {listed}")
            }
        });
        report.case(Self::NAME, "search (by the catalog)", || {
            let run = search(session);
            let listed = run.arg(format!("{}/ring/podman", session.server.host)).ok()?;
            if listed.contains("ring/podman") { Ok(()) } else { fail!("not found: {listed}") }
        });
    }
}

/// How podman and buildah push: one image as it is, several as a manifest list made locally.
pub(super) fn push_from_store(
    session: &Session<'_>,
    program: fn(&Session<'_>) -> Run,
    layout: &Layout<'_>,
    reference: &str,
) -> Result<Attempt> {
    let digest_file = session.path("pushed-digest");
    let source = format!("oci:{}:{}", layout.dir.display(), layout.tag);
    let target = format!("docker://{reference}");
    let run = if layout.image.children.is_empty() {
        let pulled = program(session).args(["pull", "--quiet", &source]).ok()?;
        let id = pulled.lines().last().context("the id of the pulled image")?.trim().to_owned();
        program(session)
            .arg("push")
            .args(transport(session, ""))
            .arg("--digestfile")
            .arg(&digest_file)
            .args([&id, &target])
    } else {
        program(session).args(["manifest", "create", "localhost/ring-list"]).ok()?;
        program(session).args(["manifest", "add", "--all", "localhost/ring-list", &source]).ok()?;
        let push = program(session).args(["manifest", "push", "--all", "--digestfile"]).arg(&digest_file);
        push.args(transport(session, "")).args(["localhost/ring-list", &target])
    };
    attempt(run, |_| Ok(std::fs::read_to_string(&digest_file)?.trim().to_owned()))
}

/// The digests of `host/name@sha256:a host/name@sha256:b`: an index, and the child of it that was chosen.
pub(super) fn pulled_digest(repo_digests: &str) -> Result<String> {
    let digests: Vec<&str> =
        repo_digests.split_whitespace().filter_map(|name| Some(name.split_once('@')?.1)).collect();
    Ok(digests.join(" "))
}
