//! crane: go-containerregistry, which is also cosign, ko and kaniko.

use crate::clients::{Account, Attempt, Client, Layout, Layouts, Session, attempt};
use crate::failure::{Result, fail, same};
use crate::image::check_layout;
use crate::process::{Output, Run};
use crate::report::Report;
use crate::server::Program;

pub(super) struct Crane;

fn crane(session: &Session<'_>) -> Run {
    let run = session.run_trusting("crane");
    if session.tls() { run } else { run.arg("--insecure") }
}

impl Client for Crane {
    const NAME: &'static str = "crane";
    const KEEPS_DIGEST: bool = true;
    const WRONG_PASSWORD: &'static str = "unauthorized";
    const UNKNOWN_TAG: &'static str = "MANIFEST_UNKNOWN";
    const BAD_NAME: &'static str = "could not parse reference";
    const NO_LOGIN: &'static str = "unauthorized|denied";
    // The answer to a HEAD has no body that could say more.
    const DENIED: &'static str = "DENIED|UNAUTHORIZED|denied|unauthorized|403";

    /// Only notes the password; crane finds out at its first request.
    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        crane(session)
            .args(["auth", "login", &session.server.host, "--username", &account.user, "--password-stdin"])
            .stdin(account.password.as_str())
            .output()
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        attempt(crane(session).arg("push").arg(&layout.dir).arg(reference), |output| {
            match output.stdout.trim().split_once('@') {
                Some((_, digest)) => Ok(digest.to_owned()),
                None => fail!("crane push printed no digest: {}", output.all()),
            }
        })
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let out = session.path(&format!("pulled-{}", layout.tag));
        if out.try_exists()? {
            std::fs::remove_dir_all(&out)?;
        }
        attempt(crane(session).args(["pull", "--format=oci", reference]).arg(&out), |_| check_layout(&out))
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &Layouts<'_>) {
        let repository = format!("{}/ring/crane", session.server.host);
        report.case(Self::NAME, "ls", || {
            let listed = crane(session).args(["ls", &repository]).ok()?;
            let mut tags: Vec<&str> = listed.lines().collect();
            tags.sort_unstable();
            same("the tags", &tags, &vec!["many", "one"])
        });
        report.case(Self::NAME, "catalog", || {
            let listed = crane(session).args(["catalog", &session.server.host]).ok()?;
            if listed.lines().any(|name| name == "ring/crane") {
                Ok(())
            } else {
                fail!("not in the catalog: {listed}")
            }
        });
        report.case(Self::NAME, "digest, manifest, validate", || {
            let many = format!("{repository}:many");
            let digest = crane(session).args(["digest", &many]).ok()?;
            same("the digest", &digest.trim(), &layouts.multi.image.digest())?;
            let manifest = crane(session).args(["manifest", &many]).ok()?;
            let wanted = String::from_utf8_lossy(&layouts.multi.image.manifest.bytes);
            same("the manifest", &manifest.trim(), &wanted.as_ref())?;
            crane(session).args(["validate", "--remote", &many]).ok().map(drop)
        });
        report.case(Self::NAME, "copy (mounts) and tag", || {
            let copy = format!("{}/ring/crane-copy", session.server.host);
            crane(session).args(["copy", &format!("{repository}:many"), &format!("{copy}:many")]).ok()?;
            crane(session).args(["tag", &format!("{copy}:many"), "again"]).ok()?;
            let digest = crane(session).args(["digest", &format!("{copy}:again")]).ok()?;
            same("the digest", &digest.trim(), &layouts.multi.image.digest())
        });
        report.case(Self::NAME, "delete", || {
            let copy = format!("{}/ring/crane-copy", session.server.host);
            // The peer deletes by digest only (by tag: 400 DIGEST_INVALID).
            if session.server.program == Program::Larder {
                crane(session).args(["delete", &format!("{copy}:again")]).ok()?;
                crane(session).args(["digest", &format!("{copy}:again")]).refused("MANIFEST_UNKNOWN|404")?;
                crane(session).args(["digest", &format!("{copy}:many")]).ok()?;
            }
            let by_digest = format!("{copy}@{}", layouts.multi.image.digest());
            crane(session).args(["delete", &by_digest]).ok()?;
            crane(session).args(["manifest", &format!("{copy}:many")]).refused("MANIFEST_UNKNOWN")
        });
    }
}
