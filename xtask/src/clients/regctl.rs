//! regctl of regclient: pushes large blobs in ranges, reads referrers, deletes tags.

use crate::clients::{Account, Attempt, Client, Layout, Layouts, Session, attempt};
use crate::failure::{Result, fail, same};
use crate::image::check_layout;
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Regctl;

/// Above this size regctl uploads in chunks; ours is small so that the ring sees them.
const CHUNK: &str = "262144";

fn regctl(session: &Session<'_>) -> Result<Run> {
    if !session.path("regctl.json").try_exists()? {
        let set = session.run("regctl").args(["registry", "set", &session.server.host, "--skip-check"]);
        let set = set.args(["--blob-max", CHUNK, "--blob-chunk", CHUNK]);
        match &session.server.ca {
            Some(ca) => set.arg("--cacert").arg(std::fs::read_to_string(ca)?),
            None => set.args(["--tls", "disabled"]),
        }
        .ok()?;
    }
    Ok(session.run("regctl"))
}

impl Client for Regctl {
    const NAME: &'static str = "regctl";
    const KEEPS_DIGEST: bool = true;
    const WRONG_PASSWORD: &'static str = "unauthorized";
    const UNKNOWN_TAG: &'static str = "not found";
    const BAD_NAME: &'static str = "repo must be lowercase|invalid reference";
    const NO_LOGIN: &'static str = "unauthorized|denied|forbidden";
    const DENIED: &'static str = "unauthorized|forbidden|denied";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        regctl(session)?
            .args(["registry", "login", &session.server.host, "--user", &account.user, "--pass-stdin"])
            .stdin(account.password.as_str())
            .output()
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let source = format!("ocidir://{}:{}", layout.dir.display(), layout.tag);
        let run = regctl(session)?.args(["image", "copy", &source, reference]);
        attempt(run, |_| {
            let digest = regctl(session)?.args(["image", "digest", reference]).ok()?;
            Ok(digest.trim().to_owned())
        })
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let out = session.path(&format!("pulled-{}", layout.tag));
        if out.try_exists()? {
            std::fs::remove_dir_all(&out)?;
        }
        let target = format!("ocidir://{}:pulled", out.display());
        attempt(regctl(session)?.args(["image", "copy", reference, &target]), |_| check_layout(&out))
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &Layouts<'_>) {
        let repository = format!("{}/ring/regctl", session.server.host);
        report.case(Self::NAME, "repo ls", || {
            let listed = regctl(session)?.args(["repo", "ls", &session.server.host]).ok()?;
            if listed.lines().any(|name| name == "ring/regctl") {
                Ok(())
            } else {
                fail!("not listed: {listed}")
            }
        });
        report.case(Self::NAME, "artifact put with a subject, artifact list", || {
            let subject = format!("{repository}:one");
            let put =
                regctl(session)?.args(["artifact", "put", "--artifact-type", "application/vnd.ring.note"]);
            put.args(["--subject", &subject]).stdin("a note").ok()?;
            let listed =
                regctl(session)?.args(["artifact", "list", &subject, "--format", "{{json .}}"]).ok()?;
            if !listed.contains("application/vnd.ring.note") {
                fail!("the artifact is not listed: {listed}");
            }
            super::wire::no_fallback_tag(session, &repository, layouts.single.image.digest(), || {
                regctl(session)?.args(["tag", "ls", &repository]).ok()
            })
        });
        report.case(Self::NAME, "tag rm takes the one tag only", || {
            regctl(session)?
                .args(["image", "copy", &format!("{repository}:one"), &format!("{repository}:two")])
                .ok()?;
            regctl(session)?.args(["tag", "rm", &format!("{repository}:two")]).ok()?;
            let listed = regctl(session)?.args(["tag", "ls", &repository]).ok()?;
            let mut tags: Vec<&str> = listed.lines().filter(|tag| !tag.starts_with("sha256-")).collect();
            tags.sort_unstable();
            same("the tags", &tags, &vec!["many", "one"])
        });
    }
}
