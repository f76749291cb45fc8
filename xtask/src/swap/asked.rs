//! The same asked of docker-registry and of Larder, on copies of one directory: clients and scripts find the same, and
//! where Larder differs on purpose, it differs as `docs/take-over-registry-2.md` says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::http::{Answer, Body};
use crate::image::{DOCKER_MANIFEST, Image, OCI_MANIFEST};
use crate::places::Ring;
use crate::process::Run;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

const REPOSITORY: &str = "asked/app";
const NOWHERE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const BOTH: [Program; 2] = [Program::DockerRegistry, Program::Larder];

/// Headers that clients read.
const READ: [&str; 10] = [
    "content-type",
    "content-range",
    "docker-content-digest",
    "docker-distribution-api-version",
    "docker-upload-uuid",
    "etag",
    "link",
    "range",
    "www-authenticate",
    "cache-control",
];

struct Question {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    /// The statuses of the peer and of Larder, where they are meant to differ.
    differs: Option<[u16; 2]>,
}

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("8 asked the same");
    let image = Image::single(900, "amd64", &[1000]);
    let data = BOTH.map(|program| ring.make_dir(format!("asked-{}", name(program))));
    let [peer_data, larder_data] = data;
    let (peer_data, larder_data) = (peer_data?, larder_data?);
    let filled = report.step("peer", "a directory to be asked about is made", || {
        let server = Plan::open(Program::DockerRegistry, &peer_data).start(ring, "asked-fill")?;
        fill(&Registry::new(server.http()), &image)?;
        server.daemon.stop()?;
        Run::new("cp").arg("-aT").arg(&peer_data).arg(&larder_data).ok().map(drop)
    });
    if filled.is_none() {
        return Ok(());
    }
    collections(report, ring, [&peer_data, &larder_data]);
    let peer = Plan::open(Program::DockerRegistry, &peer_data).start(ring, "asked-peer")?;
    let larder = Plan::open(Program::Larder, &larder_data).start(ring, "asked-larder")?;
    for question in questions(&image)? {
        let header = question.headers.first().filter(|(name, _)| *name != "Accept");
        let header = header.map_or_else(String::new, |(name, value)| format!(", {name}: {value}"));
        let what = format!("{} {}{header}", question.method, question.path);
        report.case("both", &what, || compare(&question, &peer, &larder));
    }
    larder.daemon.stop()?;
    caches(report, ring, &peer, &image);
    peer.daemon.stop()
}

fn name(program: Program) -> &'static str {
    match program {
        Program::DockerRegistry => "peer",
        Program::Larder => "larder",
    }
}

fn fill(registry: &Registry, image: &Image) -> Result {
    registry.push_image(REPOSITORY, "one", image)?;
    registry.push_image(REPOSITORY, "moved", &Image::single(901, "amd64", &[1000]))?;
    registry.put_manifest(REPOSITORY, "moved", &image.manifest)?;
    let deleted = Image::single(902, "amd64", &[1000]);
    registry.push_image("asked/other", "deleted", &deleted)?;
    let path = format!("/v2/asked/other/manifests/{}", deleted.digest());
    same("DELETE", &registry.delete(&path)?, &202)
}

fn questions(image: &Image) -> Result<Vec<Question>> {
    let layer = &image.blobs.last().context("a layer")?.digest;
    let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    let blob = |digest: &str| format!("/v2/{REPOSITORY}/blobs/{digest}");
    let accept = || vec![("Accept", format!("{OCI_MANIFEST}, {DOCKER_MANIFEST}"))];
    let ask = |method, path: String| Question { method, path, headers: Vec::new(), differs: None };
    let with = |question: Question, headers: Vec<(&'static str, String)>| Question { headers, ..question };
    let differs = |question: Question, statuses| Question { differs: Some(statuses), ..question };
    let mut questions = vec![
        ask("GET", "/".into()),
        ask("GET", "/v2/".into()),
        ask("HEAD", "/v2/".into()),
        ask("GET", "/nothing".into()),
        ask("GET", "/v2/_catalog".into()),
        ask("GET", "/v2/_catalog?n=1".into()),
        ask("GET", "/v2/_catalog?n=0".into()),
        ask("GET", "/v2/asked/none/tags/list".into()),
        with(ask("GET", manifest("none")), accept()),
        with(ask("HEAD", manifest(NOWHERE)), accept()),
        ask("GET", blob("sha256:abc")),
        ask("POST", format!("/v2/{REPOSITORY}/blobs/uploads/")),
        ask("POST", format!("/v2/asked/new/blobs/uploads/?mount={layer}&from={REPOSITORY}")),
        ask("POST", format!("/v2/asked/new/blobs/uploads/?mount={NOWHERE}&from={REPOSITORY}")),
        ask("DELETE", manifest(NOWHERE)),
        ask("DELETE", blob(NOWHERE)),
        // On purpose.
        differs(ask("GET", manifest("one")), [404, 200]),
        differs(ask("GET", "/v2/_catalog?n=1001".into()), [400, 200]),
        differs(ask("GET", "/v2/_catalog?n=x".into()), [200, 400]),
        differs(ask("DELETE", manifest("moved")), [400, 202]),
        differs(ask("GET", format!("/v2/{REPOSITORY}/referrers/{}", image.digest())), [404, 200]),
        differs(ask("GET", "/v2/Asked/app/tags/list".into()), [404, 400]),
        differs(ask("GET", format!("/v2//{REPOSITORY}/tags/list")), [301, 400]),
    ];
    for method in ["GET", "HEAD"] {
        for reference in ["one", image.digest()] {
            questions.push(with(ask(method, manifest(reference)), accept()));
        }
        questions.push(ask(method, blob(layer)));
        questions.push(ask(method, blob(NOWHERE)));
    }
    for range in ["bytes=0-3", "bytes=-3", "bytes=990-"] {
        questions.push(with(ask("GET", blob(layer)), vec![("Range", range.into())]));
    }
    questions.push(with(ask("GET", blob(layer)), vec![("If-None-Match", format!("\"{layer}\""))]));
    Ok(questions)
}

fn compare(question: &Question, peer: &Server, larder: &Server) -> Result {
    let headers: Vec<(&str, &str)> =
        question.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ask =
        |server: &Server| server.http().send(question.method, &question.path, &headers, Body::Whole(&[]));
    let (of_peer, of_larder) = (ask(peer)?, ask(larder)?);
    let statuses = [of_peer.status, of_larder.status];
    if let Some(meant) = question.differs {
        return same("the statuses", &statuses, &meant);
    }
    same("the status", &of_larder.status, &of_peer.status)?;
    // Without a type it is the router's own word for a path that nothing stands at.
    if of_peer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")) {
        return same("the body", &of_larder.body, &of_peer.body);
    }
    for header in READ {
        let (was, is) = (of_peer.header(header), of_larder.header(header));
        if header == "docker-upload-uuid" {
            same("whether there is a session", &is.is_some(), &was.is_some())?;
        } else {
            same(header, &is, &was)?;
        }
    }
    if of_peer.status >= 400 {
        return same("the error", &code_and_message(&of_larder), &code_and_message(&of_peer));
    }
    same("the body", &of_larder.body, &of_peer.body)
}

/// What an error says in `detail` is free.
fn code_and_message(answer: &Answer) -> Option<(Value, Value)> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let error = body.pointer("/errors/0")?;
    Some((error.get("code")?.clone(), error.get("message")?.clone()))
}

/// What scripts look for in what `garbage-collect` prints.
fn collections(report: &mut Report, ring: &Ring, data: [&Path; 2]) {
    for untagged in [false, true] {
        let what = if untagged { "garbage-collect -d -m" } else { "garbage-collect -d" };
        report.case("both", &format!("{what} prints the same of what goes"), || {
            let mut printed = Vec::new();
            for (program, data) in BOTH.into_iter().zip(data) {
                let text =
                    format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", data.display());
                let config = ring.write(&format!("collect-{}.yml", name(program)), text)?;
                let run = match program {
                    Program::DockerRegistry => Run::new("docker-registry"),
                    Program::Larder => Run::new(dist::release()?),
                };
                let run = run.args(["garbage-collect", "-d"]);
                let run = if untagged { run.arg("-m") } else { run };
                let lines = run.arg(&config).ok()?;
                let is_meant = |line: &&str| {
                    line.starts_with("manifest eligible")
                        || line.starts_with("blob eligible")
                        || line.contains(" marked, ")
                };
                printed.push(lines.lines().filter(is_meant).map(str::to_owned).collect::<BTreeSet<_>>());
            }
            let [peer, larder] = printed.as_slice() else { fail!("both have collected") };
            same("the lines", larder, peer)
        });
    }
}

/// Nobody changes a cache that anybody reaches.
fn caches(report: &mut Report, ring: &Ring, upstream: &Server, image: &Image) {
    let sections = format!("proxy:\n  remoteurl: http://{}\n", upstream.host);
    for program in BOTH {
        report.case(name(program), "a cache without auth is pulled from, and takes nothing in", || {
            let data = ring.make_dir(format!("cache-{}", name(program)))?;
            let plan = Plan { sections: &sections, ..Plan::open(program, &data) };
            let server = plan.start(ring, &format!("cache-{}", name(program)))?;
            let registry = Registry::new(server.http());
            registry.manifest(REPOSITORY, "one")?.context("the image")?;
            let of_image = format!("/v2/{REPOSITORY}/manifests/{}", image.digest());
            for (method, path) in [
                ("POST", format!("/v2/{REPOSITORY}/blobs/uploads/")),
                ("PUT", format!("/v2/{REPOSITORY}/manifests/one")),
                ("DELETE", of_image),
            ] {
                let type_of = [("Content-Type", image.manifest.media_type.as_str())];
                let body = if method == "PUT" { image.manifest.bytes.as_slice() } else { &[] };
                let answer = server.http().send(method, &path, &type_of, Body::Whole(body))?;
                same(&format!("{method} {path}"), &answer.status, &405)?;
            }
            server.daemon.stop()
        });
    }
}
