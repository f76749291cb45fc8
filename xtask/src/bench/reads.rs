//! The cases in which something is read, and how one of them is measured.

use std::time::Duration;

use super::client::{self, Request};
use super::fixture::{Fixture, REPOSITORY, TAG};
use super::load::{self, Client, Done};
use super::stand::{Stand, Way, Who};
use crate::failure::{Context, Result, fail, same};
use crate::image::{OCI_MANIFEST, sha256};

/// How long a server is asked before the clock starts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What a case is charged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// CPU microseconds for a request.
    Request,
    /// CPU milliseconds for 10⁹ bytes of body.
    Gigabyte,
}

/// One request, who sends it, and what must come back.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) way: Way,
    request: Request,
    expected: Expected,
    client: Client,
    connections: usize,
    pub(super) unit: Unit,
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

/// All reads of the fixture.
pub(super) fn all(fixture: &Fixture, ways: &[Way]) -> Vec<Read> {
    ways.iter().flat_map(|way| of_way(fixture, *way)).collect()
}

fn of_way(fixture: &Fixture, way: Way) -> Vec<Read> {
    let mut reads = Vec::new();
    let mut add =
        |what: &str, request: &Request, expected: &Expected, client, unit, connections: &[usize]| {
            for connections in connections {
                reads.push(Read {
                    name: format!("{way} {what} c{connections}"),
                    way,
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
    pub(super) fn check(&self, stand: &Stand) -> Result {
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

    /// A measured run between two looks at the answer.
    pub(super) fn measure(&self, stand: &Stand, seconds: u64) -> Result<Done> {
        self.check(stand).context("before the run")?;
        let request = stand.admitted(&self.request)?;
        let (target, meter, status) = (&stand.target, stand.meter, self.expected.status);
        client::load(target, &request, status, 1, WARM_UP, meter).context("warming up")?;
        let mut done = load::run(self.client, target, &request, status, self.connections, seconds, meter)?;
        if self.client == Client::Wrk {
            done.bytes = done.requests * self.expected.length;
        }
        self.check(stand).context("after the run")?;
        Ok(done)
    }
}

impl Unit {
    /// CPU for one unit of what was done.
    pub(super) fn charge(self, done: &Done) -> f64 {
        match self {
            Self::Request => done.cpu_seconds * 1e6 / done.requests as f64,
            Self::Gigabyte => done.cpu_seconds * 1e3 / (done.bytes as f64 / 1e9),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Request => "µs/request",
            Self::Gigabyte => "ms/GB",
        }
    }
}
