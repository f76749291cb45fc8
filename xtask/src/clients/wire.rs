//! curl: ranges and resumed downloads; and a check that clients use the referrers API rather than its fallback.

use crate::clients::{Layouts, Session};
use crate::failure::{Context, Result, fail, same};
use crate::http::quoted_parameter;
use crate::image::check_digest;
use crate::process::Run;
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Program, Server, USER};

/// Uses what skopeo's round has pushed.
pub(super) fn cases(report: &mut Report, server: &Server, layouts: &Layouts<'_>) {
    let Some(layer) = layouts.single.image.blobs.last() else { return };
    let scheme = if server.ca.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/v2/ring/skopeo/blobs/{}", server.host, layer.digest);
    report.case("curl", "a range of a blob", || {
        let dir = server.config.with_extension("curl");
        std::fs::create_dir_all(&dir)?;
        let (body, head) = (dir.join("range"), dir.join("range-head"));
        let run = curl(server)?.args(["--range", "1000-2999", "--dump-header"]).arg(&head);
        run.arg("--output").arg(&body).arg(&url).ok()?;
        let head = std::fs::read_to_string(head)?.to_lowercase();
        if !head.contains(&format!("content-range: bytes 1000-2999/{}", layer.bytes.len()))
            || !head.contains(" 206")
        {
            fail!("no 206 with the right Content-Range: {head}");
        }
        same(
            "the range's bytes",
            &std::fs::read(body)?.as_slice(),
            &layer.bytes.get(1000..3000).unwrap_or_default(),
        )
    });
    report.case("curl", "a download is resumed", || {
        let body = server.config.with_extension("curl").join("resumed");
        let half = layer.bytes.get(..layer.bytes.len() / 2).context("half of the layer")?;
        std::fs::write(&body, half)?;
        curl(server)?.args(["--continue-at", "-", "--output"]).arg(&body).arg(&url).ok()?;
        check_digest(&layer.digest, &std::fs::read(body)?)
    });
    report.case("curl", "HEAD says type, length and digest", || {
        let head = curl(server)?.arg("--head").arg(&url).ok()?.to_lowercase();
        let wanted = [
            format!("content-length: {}", layer.bytes.len()),
            format!("docker-content-digest: {}", layer.digest),
            "accept-ranges: bytes".to_owned(),
        ];
        match wanted.iter().find(|line| !head.contains(line.as_str())) {
            Some(line) => fail!("{line:?} is not in {head}"),
            None => Ok(()),
        }
    });
}

/// curl with what it needs to be let in; an anonymous token where the registry gives them.
fn curl(server: &Server) -> Result<Run> {
    let base = || {
        let run = Run::new("curl").args(["--silent", "--show-error", "--fail"]);
        match &server.ca {
            Some(ca) => run.arg("--cacert").arg(ca),
            None => run,
        }
    };
    match server.auth {
        Auth::None => Ok(base()),
        Auth::Basic => Ok(base().args(["--user", &format!("{USER}:{PASSWORD}")])),
        Auth::Token => {
            let scheme = if server.ca.is_some() { "https" } else { "http" };
            let challenge = Run::new("curl").args(["--silent", "--head", "--insecure"]);
            let head = challenge.arg(format!("{scheme}://{}/v2/", server.host)).ok()?;
            let quoted = |name| quoted_parameter(&head, name).context(format!("{name} in {head}"));
            let url = format!(
                "{}?service={}&scope=repository:ring/skopeo:pull",
                quoted("realm")?,
                quoted("service")?
            );
            let answer: serde_json::Value = serde_json::from_str(&base().arg(url).ok()?)?;
            let token = answer.get("token").and_then(serde_json::Value::as_str).context("the token")?;
            Ok(base().args(["--header", &format!("Authorization: Bearer {token}")]))
        }
    }
}

/// Larder has the referrers API and says so (`OCI-Subject`), so no client may fall back to a `sha256-…` tag. The
/// peer hasn't, so there the fallback is what makes the case work.
pub(super) fn no_fallback_tag(
    session: &Session<'_>,
    repository: &str,
    subject: &str,
    tags: impl FnOnce() -> Result<String>,
) -> Result {
    let fallback = subject.replace(':', "-");
    let tags = tags()?;
    let there = tags.lines().any(|tag| tag == fallback);
    match session.server.program {
        Program::Larder if there => fail!("the client fell back to the tag {fallback} in {repository}"),
        Program::DockerRegistry if !there => fail!("the peer has grown a referrers API? tags: {tags}"),
        _ => Ok(()),
    }
}
