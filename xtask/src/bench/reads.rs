//! The cases in which something is read, and how one of them is measured.

use super::client::{self, Request};
use super::fixture::{Fixture, REPOSITORY, TAG};
use super::load::{Client, Load, Unit};
use super::output::{Figure, Results};
use super::stand::{EVERYBODY, Scene, Stand, Way, Who};
use crate::failure::{Context, Result, fail, same};
use crate::image::{OCI_MANIFEST, sha256};

/// The largest layer in `--slice`, which is to take no time.
const LARGEST_OF_SLICE: usize = 8 << 20;

/// One request, who sends it, and what must come back.
struct Read {
    name: String,
    request: Request,
    expected: Expected,
    client: Client,
    connections: usize,
    unit: Unit,
}

#[derive(Clone)]
struct Expected {
    status: u16,
    /// Of the body, or of what HEAD says of it.
    length: u64,
    /// Of the body; HEAD has the empty one.
    digest: String,
    content_type: Option<&'static str>,
    /// What registries say in `Docker-Content-Digest`.
    named: Option<String>,
}

/// Everything that is read of one image, in all ways. A way's servers run only while it is measured.
pub(super) fn measure(scene: &Scene<'_>, results: &mut Results) -> Result {
    let largest = if scene.options.slice { LARGEST_OF_SLICE } else { usize::MAX };
    let fixture = Fixture::write(scene.ring, largest)?;
    for way in [Way::Plain, Way::Tls, Way::Token] {
        let mut cases = of_way(&fixture, way, scene.options.slice);
        cases.retain(|case| scene.options.wants(&case.name));
        if cases.is_empty() {
            continue;
        }
        let mut stands = Vec::new();
        for who in EVERYBODY {
            let started = results.report.step(&who.to_string(), &format!("{way} starts"), || {
                let name = format!("{who}-{way}");
                let data = scene.ring.make_dir(format!("data-{name}"))?;
                fixture.copy_for(*who, &data)?;
                Stand::start(scene, *who, way, &name, &data)
            });
            stands.extend(started);
        }
        for round in 1..=scene.options.rounds {
            for case in &cases {
                for stand in &stands {
                    results.sample(stand.who, round, &case.name, || Ok(vec![case.measure(scene, stand)?]));
                }
            }
        }
    }
    Ok(())
}

/// In the slice, every kind of case once, and wrk once: a run of its takes a second at least.
fn of_way(fixture: &Fixture, way: Way, slice: bool) -> Vec<Read> {
    let mut reads = Vec::new();
    let mut add =
        |what: &str, request: &Request, expected: &Expected, client, unit, connections: &[usize]| {
            for connections in connections.iter().filter(|connections| !slice || **connections == 16) {
                let client = if slice && what != "manifest by tag" { Client::Own } else { client };
                reads.push(Read {
                    name: format!("{way} {what} c{connections}"),
                    request: request.clone(),
                    expected: expected.clone(),
                    client,
                    connections: *connections,
                    unit,
                });
            }
        };
    let manifest = &fixture.manifest;
    let of_manifest = Expected {
        status: 200,
        length: manifest.bytes.len() as u64,
        digest: manifest.digest.clone(),
        content_type: Some(OCI_MANIFEST),
        named: Some(manifest.digest.clone()),
    };
    let by = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    let accepting = |request: Request| request.with("Accept", OCI_MANIFEST);
    let by_tag = accepting(Request::get(by(TAG)));
    add("manifest by tag", &by_tag, &of_manifest, Client::Wrk, Unit::Request, &[1, 16, 1000]);
    let by_digest = accepting(Request::get(by(&manifest.digest)));
    add("manifest by digest", &by_digest, &of_manifest, Client::Wrk, Unit::Request, &[16]);
    let head = accepting(Request::head(by(TAG)));
    add("HEAD manifest", &head, &of_manifest.clone().of_head(), Client::Own, Unit::Request, &[16]);
    for layer in &fixture.layers {
        let request = Request::get(format!("/v2/{REPOSITORY}/blobs/{}", layer.digest));
        let expected = Expected {
            status: 200,
            length: layer.length,
            digest: layer.digest.clone(),
            content_type: None,
            named: Some(layer.digest.clone()),
        };
        let what = format!("blob {}", layer.title);
        let (client, unit, connections): (_, _, &[usize]) = match layer.length {
            ..8_192 => {
                let head = Request::head(request.path.clone());
                let of_head = expected.clone().of_head();
                add("HEAD blob", &head, &of_head, Client::Own, Unit::Request, &[16]);
                (Client::Wrk, Unit::Request, &[1, 16, 1000])
            }
            8_192..1_000_000 => (Client::Wrk, Unit::Request, &[1, 16, 1000]),
            _ => (Client::Own, Unit::Gigabyte, &[1, 16]),
        };
        add(&what, &request, &expected, client, unit, connections);
    }
    let range = &fixture.range;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", range.digest_of_layer);
    let bytes = format!("bytes={}-{}", range.first, range.first + range.length - 1);
    let expected = Expected {
        status: 206,
        length: range.length,
        digest: range.digest.clone(),
        content_type: None,
        named: None,
    };
    let request = Request::get(path).with("Range", bytes);
    add("range of 64 KiB", &request, &expected, Client::Wrk, Unit::Request, &[16]);
    reads
}

impl Expected {
    fn of_head(self) -> Self {
        Self { digest: sha256(&[]), ..self }
    }
}

impl Read {
    /// Looks at one whole answer.
    fn check(&self, stand: &Stand) -> Result {
        let request = stand.admitted(&self.request)?;
        let (reply, digest) = client::fetch(&stand.target, &request)?;
        same("the status", &reply.status, &self.expected.status)?;
        same("the body's digest", &digest, &self.expected.digest)?;
        let length = match (reply.header("content-length"), self.request.method) {
            (Some(length), _) => length.parse().context(format!("Content-Length {length:?}"))?,
            (None, "HEAD") => fail!("HEAD says no Content-Length"),
            (None, _) => reply.length,
        };
        same("the length", &length, &self.expected.length)?;
        if let Some(content_type) = self.expected.content_type {
            same("the type", &reply.header("content-type"), &Some(content_type))?;
        }
        if let (Some(named), false) = (&self.expected.named, stand.who == Who::Nginx) {
            same("Docker-Content-Digest", &reply.header("docker-content-digest"), &Some(named.as_str()))?;
        }
        Ok(())
    }

    fn measure(&self, scene: &Scene<'_>, stand: &Stand) -> Result<Figure> {
        let load = Load {
            client: self.client,
            request: &self.request,
            status: self.expected.status,
            connections: self.connections,
            time: scene.options.time,
        };
        let mut done = load.measure(stand, scene.options.warm_up, || self.check(stand))?;
        if self.client == Client::Wrk {
            done.bytes = done.requests * self.expected.length;
        }
        Ok(self.unit.charge(&done))
    }
}
