//! buildah: builds and pushes from its store.

use crate::clients::podman::{pulled_digest, push_from_store, store};
use crate::clients::skopeo::{containers_login, transport};
use crate::clients::{Account, Attempt, Client, Layout, Session, attempt};
use crate::failure::{Context, Result, same};
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Buildah;

fn buildah(session: &Session<'_>) -> Run {
    store(session, "buildah")
}

impl Client for Buildah {
    const NAME: &'static str = "buildah";
    const KEEPS_DIGEST: bool = false;
    const WRONG_PASSWORD: &'static str = "invalid username/password";
    const UNKNOWN_TAG: &'static str = "manifest unknown";
    const BAD_NAME: &'static str = "repository name must be lowercase";
    const NO_LOGIN: &'static str = "unauthorized|authentication required|denied";
    // The answer to a HEAD has no body that could say more.
    const DENIED: &'static str = "denied|unauthorized|403";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        containers_login(session, buildah(session).arg("login"), account)
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        push_from_store(session, buildah, layout, reference)
    }

    fn pull(&self, session: &Session<'_>, _layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        buildah(session).args(["rmi", "--all", "--force"]).ok()?;
        let run = buildah(session).args(["pull", "--quiet"]).args(transport(session, "")).arg(reference);
        attempt(run, |output| {
            let id = output.stdout.lines().last().context("the id of the pulled image")?.trim().to_owned();
            pulled_digest(
                &buildah(session)
                    .args(["images", "--no-trunc", "--format", "{{.Name}}@{{.Digest}}", &id])
                    .ok()?,
            )
        })
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &super::Layouts<'_>) {
        report.case(Self::NAME, "build on a pulled base, push, pull", || {
            let base = session.reference("ring/buildah", "one");
            let built = session.reference("ring/buildah", "built");
            let work = session.path("build");
            std::fs::create_dir_all(&work)?;
            std::fs::write(work.join("file"), "built by buildah")?;
            std::fs::write(work.join("Dockerfile"), format!("FROM {base}\nCOPY file /file\n"))?;
            let build = buildah(session).args(["bud", "--isolation", "chroot", "--tag", &built]);
            build.args(transport(session, "")).arg(&work).ok()?;
            let digest_file = session.path("built-digest");
            let push = buildah(session)
                .arg("push")
                .args(transport(session, ""))
                .arg("--digestfile")
                .arg(&digest_file);
            push.args([&built, &format!("docker://{built}")]).ok()?;
            let pushed = std::fs::read_to_string(&digest_file)?.trim().to_owned();
            let layout = &layouts.single;
            same("the pulled digest", &self.pull(session, layout, &built)?.done()?, &pushed)
        });
    }
}
