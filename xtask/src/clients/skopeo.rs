//! skopeo: the copier of containers/image, which podman and buildah share.

use crate::clients::{Account, Attempt, Client, Layout, Layouts, Session, attempt};
use crate::failure::{Result, fail, same};
use crate::image::check_layout;
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Skopeo;

/// The arguments that say how to reach the registry, with a prefix such as `src-`.
pub(super) fn transport(session: &Session<'_>, prefix: &str) -> Vec<String> {
    match &session.server.certs_dir {
        Some(dir) => vec![format!("--{prefix}cert-dir={}", dir.display())],
        None => vec![format!("--{prefix}tls-verify=false")],
    }
}

/// `login` of skopeo, podman and buildah.
pub(super) fn containers_login(session: &Session<'_>, run: Run, account: &Account) -> Result<Output> {
    run.args(transport(session, ""))
        .args(["--username", &account.user, "--password-stdin", &session.server.host])
        .stdin(account.password.as_str())
        .output()
}

impl Client for Skopeo {
    const NAME: &'static str = "skopeo";
    const KEEPS_DIGEST: bool = true;
    const WRONG_PASSWORD: &'static str = "invalid username/password";
    const UNKNOWN_TAG: &'static str = "manifest unknown";
    const BAD_NAME: &'static str = "repository name must be lowercase";
    const NO_LOGIN: &'static str = "unauthorized|authentication required|denied";
    // The answer to a HEAD has no body that could say more.
    const DENIED: &'static str = "denied|unauthorized|insufficient|403";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        containers_login(session, session.run("skopeo").arg("login"), account)
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let digest_file = session.path("pushed-digest");
        let run = session
            .run("skopeo")
            .args(["copy", "--all", "--preserve-digests", "--digestfile"])
            .arg(&digest_file)
            .args(transport(session, "dest-"))
            .arg(format!("oci:{}:{}", layout.dir.display(), layout.tag))
            .arg(format!("docker://{reference}"));
        attempt(run, |_| Ok(std::fs::read_to_string(&digest_file)?.trim().to_owned()))
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let out = session.path(&format!("pulled-{}", layout.tag));
        if out.try_exists()? {
            std::fs::remove_dir_all(&out)?;
        }
        let run = session
            .run("skopeo")
            .args(["copy", "--all", "--preserve-digests"])
            .args(transport(session, "src-"))
            .arg(format!("docker://{reference}"))
            .arg(format!("oci:{}:pulled", out.display()));
        attempt(run, |_| check_layout(&out))
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &Layouts<'_>) {
        let repository = format!("docker://{}/ring/skopeo", session.server.host);
        report.case(Self::NAME, "list-tags", || {
            let listed =
                session.run("skopeo").arg("list-tags").args(transport(session, "")).arg(&repository).ok()?;
            match ["\"one\"", "\"many\""].iter().find(|tag| !listed.contains(**tag)) {
                Some(tag) => fail!("{tag} is not in {listed}"),
                None => Ok(()),
            }
        });
        report.case(Self::NAME, "inspect", || {
            let run = session
                .run("skopeo")
                .args(["inspect", "--format", "{{.Digest}}"])
                .args(transport(session, ""));
            let digest = run.arg(format!("{repository}:one")).ok()?;
            same("the inspected digest", &digest.trim(), &layouts.single.image.digest())
        });
        report.case(Self::NAME, "copy between repositories (mounts)", || {
            let run = session.run("skopeo").args(["copy", "--all"]).args(transport(session, "src-"));
            let copy = format!("docker://{}/ring/skopeo-copy:one", session.server.host);
            run.args(transport(session, "dest-")).arg(format!("{repository}:one")).arg(copy).ok().map(drop)
        });
        report.case(Self::NAME, "delete, and what was deleted is unknown", || {
            let copy = format!("docker://{}/ring/skopeo-copy:one", session.server.host);
            session.run("skopeo").arg("delete").args(transport(session, "")).arg(&copy).ok()?;
            session
                .run("skopeo")
                .arg("inspect")
                .args(transport(session, ""))
                .arg(&copy)
                .refused(Self::UNKNOWN_TAG)
        });
    }
}
