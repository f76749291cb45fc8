//! oras: artifacts of any type, attached to images.

use crate::clients::{Account, Attempt, Client, Layout, Layouts, Session, attempt};
use crate::failure::{Context, Result, fail, same};
use crate::image::check_layout;
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Oras;

/// `oras <command>` with the transport of the registry; the flag's name differs for the two ends of a copy.
fn oras(session: &Session<'_>, command: &[&str], prefix: &str) -> Run {
    let run = session.run_trusting("oras").args(command);
    if session.tls() { run } else { run.arg(format!("--{prefix}plain-http")) }
}

impl Client for Oras {
    const NAME: &'static str = "oras";
    const KEEPS_DIGEST: bool = true;
    const WRONG_PASSWORD: &'static str = "401|unauthorized";
    const UNKNOWN_TAG: &'static str = "not found";
    const BAD_NAME: &'static str = "invalid repository";
    const NO_LOGIN: &'static str = "unauthorized|denied|basic credential not found";
    const DENIED: &'static str = "denied|unauthorized|401|403";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        oras(session, &["login"], "")
            .args([&session.server.host, "--username", &account.user, "--password-stdin"])
            .stdin(account.password.as_str())
            .output()
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let source = format!("{}:{}", layout.dir.display(), layout.tag);
        let run = oras(session, &["cp", "--no-tty", "--from-oci-layout"], "to-").args([&source, reference]);
        attempt(run, printed_digest)
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let out = session.path(&format!("pulled-{}", layout.tag));
        if out.try_exists()? {
            std::fs::remove_dir_all(&out)?;
        }
        let target = format!("{}:pulled", out.display());
        let run = oras(session, &["cp", "--no-tty", "--to-oci-layout"], "from-").args([reference, &target]);
        attempt(run, |_| check_layout(&out))
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, layouts: &Layouts<'_>) {
        let repository = format!("{}/ring/oras", session.server.host);
        let subject = format!("{repository}:one");
        report.case(Self::NAME, "push and pull of files", || {
            std::fs::write(session.path("note.txt"), "a note")?;
            let note = format!("{repository}:note");
            let push =
                oras(session, &["push", "--no-tty", "--artifact-type", "application/vnd.ring.note"], "");
            push.args([&note, "note.txt:text/plain"]).ok()?;
            let out = session.path("files");
            oras(session, &["pull", "--no-tty"], "").arg("--output").arg(&out).arg(&note).ok()?;
            same("the file", &std::fs::read_to_string(out.join("note.txt"))?.as_str(), &"a note")
        });
        report.case(Self::NAME, "attach and discover", || {
            std::fs::write(session.path("bill.json"), "{}")?;
            let attach =
                oras(session, &["attach", "--no-tty", "--artifact-type", "application/vnd.ring.bill"], "");
            attach.args([&subject, "bill.json"]).ok()?;
            let found = oras(session, &["discover", "--format", "json"], "").arg(&subject).ok()?;
            if !found.contains("application/vnd.ring.bill") {
                fail!("the attached artifact is not discovered: {found}");
            }
            let other = oras(
                session,
                &["discover", "--format", "json", "--artifact-type", "application/x-other"],
                "",
            );
            let found = other.arg(&subject).ok()?;
            if found.contains("application/vnd.ring.bill") {
                fail!("the filter by type lets another type through: {found}");
            }
            super::wire::no_fallback_tag(session, &repository, layouts.single.image.digest(), || {
                oras(session, &["repo", "tags"], "").arg(&repository).ok()
            })
        });
        report.case(Self::NAME, "repo ls, repo tags, manifest fetch", || {
            let listed = oras(session, &["repo", "ls"], "").arg(&session.server.host).ok()?;
            if !listed.lines().any(|name| name == "ring/oras") {
                fail!("not listed: {listed}");
            }
            let fetched = oras(session, &["manifest", "fetch"], "").arg(format!("{repository}:many")).ok()?;
            let wanted = String::from_utf8_lossy(&layouts.multi.image.manifest.bytes);
            same("the manifest", &fetched.trim(), &wanted.as_ref())
        });
        report.case(Self::NAME, "manifest delete", || {
            let digest = oras(session, &["resolve"], "").arg(format!("{repository}:note")).ok()?;
            let note = format!("{repository}@{}", digest.trim());
            oras(session, &["manifest", "delete", "--force"], "").arg(&note).ok()?;
            oras(session, &["manifest", "fetch"], "").arg(&note).refused("not found")
        });
    }
}

fn printed_digest(output: &Output) -> Result<String> {
    let line = output.stdout.lines().find_map(|line| line.strip_prefix("Digest: "));
    Ok(line.context(format!("the digest in {}", output.all()))?.trim().to_owned())
}
