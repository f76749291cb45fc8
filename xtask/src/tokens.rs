//! `cargo xtask tokens`: docker-registry 2.8.2 with `auth.token`, whose tokens Larder gives out.

use base64::Engine as _;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail, same};
use crate::http::{Body, Http};
use crate::image::Image;
use crate::places::Ring;
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Plan, Program, Server, USER};

/// What the other registry is called by both.
const SERVICE: &str = "registry.ring";
const RIGHTS: &str = "\
access:
  rules:
    - {who: anonymous, may: pull, in: \"public/**\"}
    - {who: authenticated, may: [pull, push], in: [\"public/**\", \"team/**\"]}
tokenservice:
  services: [registry.ring]
";

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let ring = Ring::fresh("tokens")?;
    let mut report = Report::new("tokens");
    let started = report.step("larder", "starts with a token service for another registry", || {
        let data = ring.make_dir("larder-data")?;
        Plan { auth: Auth::Basic, sections: RIGHTS, ..Plan::open(Program::Larder, &data) }
            .start(&ring, "larder")
    });
    let Some(larder) = started else { return Ok(report) };
    let sections = format!(
        "auth:\n  token:\n    realm: http://{}/auth/token\n    service: {SERVICE}\n    issuer: larder\n    rootcertbundle: {}\n",
        larder.host,
        larder.data.join("larder/token-service.crt").display()
    );
    let started = report.step("docker-registry", "starts with Larder as its token server", || {
        let data = ring.make_dir("peer-data")?;
        Plan { sections: &sections, ..Plan::open(Program::DockerRegistry, &data) }.start(&ring, "peer")
    });
    let Some(peer) = started else { return Ok(report) };
    let user = Some((USER, PASSWORD));
    report.case("docker-registry", "takes a user's token for a push", || {
        let token = token(&larder, SERVICE, "team/app:pull,push", user)?;
        same("the status of a push", &begin_push(&peer, "team/app", &token)?, &202)
    });
    report.case("docker-registry", "lets nobody go beyond his token", || {
        let other = token(&larder, SERVICE, "team/app:pull,push", user)?;
        same("the status in another repository", &begin_push(&peer, "team/other", &other)?, &401)?;
        let anonymous = token(&larder, SERVICE, "public/app:pull,push", None)?;
        same("the status of an anonymous push", &begin_push(&peer, "public/app", &anonymous)?, &401)?;
        let forbidden = token(&larder, SERVICE, "secret/app:pull,push", user)?;
        same("the status where no rule allows it", &begin_push(&peer, "secret/app", &forbidden)?, &401)
    });
    report.case("docker-registry", "refuses tokens that aren't for it, or were changed", || {
        let own = token(&larder, "larder", "team/app:pull,push", user)?;
        same("the status with Larder's own", &begin_push(&peer, "team/app", &own)?, &401)?;
        let token = token(&larder, SERVICE, "team/app:pull,push", user)?;
        let cut = token.get(..token.len() - 8).context("a token")?;
        same(
            "the status with a broken signature",
            &begin_push(&peer, "team/app", &format!("{cut}AAAAAAAA"))?,
            &401,
        )
    });
    report.case("larder", "refuses the tokens that it makes for others", || {
        let token = token(&larder, SERVICE, "team/app:pull,push", user)?;
        same("the status", &begin_push(&larder, "team/app", &token)?, &401)
    });
    report.case("skopeo", "pushes to docker-registry and pulls, by Larder's tokens", || skopeo(&ring, &peer));
    Ok(report)
}

/// The whole way of a client: challenge, token, push, pull. By skopeo: crane trusts no realm on the loopback address.
fn skopeo(ring: &Ring, peer: &Server) -> Result {
    let layout = ring.make_dir("layout")?;
    let image = Image::single(1, "amd64", &[5000]);
    image.write_layout(&layout, "one")?;
    let login = format!("{USER}:{PASSWORD}");
    let (from, to) =
        (format!("oci:{}:one", layout.display()), format!("docker://{}/team/app:one", peer.host));
    let skopeo = || crate::process::Run::new("skopeo");
    skopeo().args(["copy", "--dest-tls-verify=false", "--dest-creds", &login, &from, &to]).ok()?;
    let inspect = ["inspect", "--tls-verify=false", "--creds", &login, "--format", "{{.Digest}}", &to];
    same("the digest", &skopeo().args(inspect).ok()?.trim(), &image.digest())
}

fn token(larder: &Server, service: &str, scope: &str, user: Option<(&str, &str)>) -> Result<String> {
    let path = format!("/auth/token?service={service}&scope=repository:{scope}");
    let basic = user.map(|(user, password)| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
    });
    let headers: Vec<(&str, &str)> = basic.iter().map(|value| ("Authorization", value.as_str())).collect();
    let answer = larder.http().get(&path, &headers)?.expect(&path, &[200])?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer.get("token").and_then(Value::as_str).context("a token")?.to_owned())
}

fn begin_push(registry: &Server, repository: &str, token: &str) -> Result<u16> {
    let http: Http = registry.http();
    let bearer = format!("Bearer {token}");
    let path = format!("/v2/{repository}/blobs/uploads/");
    let answer = http.send("POST", &path, &[("Authorization", &bearer)], Body::Whole(&[]))?;
    if answer.status >= 500 {
        fail!("POST {path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer.status)
}
