//! helm: charts as OCI artifacts.

use crate::clients::{Account, Attempt, Client, Layout, Session, attempt};
use crate::failure::{Context, Result};
use crate::image::sha256;
use crate::process::{Output, Run};
use crate::report::Report;

pub(super) struct Helm;

fn helm(session: &Session<'_>, command: &[&str]) -> Run {
    let run = session.run("helm").args(command);
    match &session.server.ca {
        Some(ca) => run.arg("--ca-file").arg(ca),
        None => run.arg("--plain-http"),
    }
}

/// A chart whose name is the image's tag, so that the ring's references work for it; helm decides itself which tag
/// a chart gets: its version.
fn package(session: &Session<'_>, name: &str) -> Result<std::path::PathBuf> {
    let dir = session.path(name);
    std::fs::create_dir_all(dir.join("templates"))?;
    std::fs::write(dir.join("Chart.yaml"), format!("apiVersion: v2\nname: {name}\nversion: 1.2.3+ring\n"))?;
    std::fs::write(dir.join("values.yaml"), "a: 1\n")?;
    session.run("helm").arg("package").arg(&dir).ok()?;
    Ok(session.path(&format!("{name}-1.2.3+ring.tgz")))
}

/// `host/ring/helm:one` → (`oci://host/ring/helm`, `one`)
fn place(reference: &str) -> Result<(String, String)> {
    let (repository, tag) = reference.rsplit_once(':').context("a tag")?;
    Ok((format!("oci://{repository}"), tag.to_owned()))
}

impl Client for Helm {
    const NAME: &'static str = "helm";
    const KEEPS_DIGEST: bool = false;
    const WRONG_PASSWORD: &'static str = "401|unauthorized";
    const UNKNOWN_TAG: &'static str = "not found";
    const BAD_NAME: &'static str = "invalid repository|invalid reference";
    const NO_LOGIN: &'static str = "unauthorized|denied|basic credential not found";
    const DENIED: &'static str = "denied|unauthorized|401|403";

    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output> {
        helm(session, &["registry", "login"])
            .args(["--username", &account.user, "--password-stdin", &session.server.host])
            .stdin(account.password.as_str())
            .output()
    }

    /// Answers the digest of the chart's file, which is what helm must bring back.
    fn push(&self, session: &Session<'_>, _layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let (repository, name) = place(reference)?;
        let chart = package(session, &name)?;
        let run = helm(session, &["push"]).arg(&chart).arg(repository);
        attempt(run, |_| Ok(sha256(&std::fs::read(&chart)?)))
    }

    fn pull(&self, session: &Session<'_>, _layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let (repository, name) = place(reference)?;
        let out = session.path("pulled");
        std::fs::create_dir_all(&out)?;
        let chart = format!("{repository}/{name}");
        let run =
            helm(session, &["pull"]).args([&chart, "--version", "1.2.3+ring", "--destination"]).arg(&out);
        attempt(run, |_| Ok(sha256(&std::fs::read(out.join(format!("{name}-1.2.3+ring.tgz")))?)))
    }

    fn extras(&self, report: &mut Report, session: &Session<'_>, _layouts: &super::Layouts<'_>) {
        report.case(Self::NAME, "show chart, by the newest version of a range", || {
            let chart = format!("oci://{}/ring/helm/one", session.server.host);
            let shown = helm(session, &["show", "chart"]).args([&chart, "--version", "^1.0.0"]).ok()?;
            crate::failure::same("the shown version", &shown.contains("version: 1.2.3+ring"), &true)
        });
    }
}
