//! What a durable push costs, beside docker-registry and beside the least that it can cost: hashing the bytes and
//! writing them to the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::client::{self, Body, Connection, Request};
use super::content::Content;
use super::fixture::REPOSITORY;
use super::load::at_once;
use super::output::{Figure, Results};
use super::stand::{Scene, Stand, Way, Who};
use crate::failure::{Context, Result, fail, same};
use crate::http::path_of;
use crate::registry::with_query;

/// The layers of a push of many, and the size of each.
const LAYERS: usize = 1000;
const SMALL_BYTES: usize = 4096;
/// The size of a push of one layer.
const MEGABYTES: usize = 2000;
/// What a large layer repeats.
const PIECE_BYTES: usize = 1 << 20;
/// What is hashed and written at a time by the yardstick: small enough to be in the processor's cache still when it
/// is written.
const BATCH_BYTES: usize = 512 << 10;
/// The order in the first round; each later one begins one further on, because whoever writes first finds the machine's
/// memory cold. nginx takes no pushes.
const COMPARED: &[Who] = &[Who::HashAndWrite, Who::DockerRegistry, Who::Larder];

/// How a layer is sent, after the POST that begins it.
#[derive(Clone, Copy)]
enum Style {
    /// One PUT with its length, as containerd does.
    Put,
    /// One PATCH in chunks and an empty PUT, as docker does.
    Stream,
}

pub(super) struct Push {
    name: String,
    style: Style,
    clients: usize,
    layers: usize,
    /// A layer's size, in pieces.
    piece_bytes: usize,
    pieces: usize,
}

/// What was used for all layers of a push.
pub(super) struct Used {
    pub(super) cpu_seconds: f64,
    wall: Duration,
}

pub(super) fn measure(scene: &Scene<'_>, results: &mut Results) -> Result {
    let mut cases = all(scene.options.slice);
    cases.retain(|case| scene.options.wants(&case.name));
    for case in cases {
        for round in 1..=scene.options.rounds {
            // Made and hashed before any clock starts. Each server is new, so that each stores what it is sent.
            let layers = case.layers(round);
            let first = usize::try_from(round - 1)? % COMPARED.len();
            for who in COMPARED.iter().cycle().skip(first).take(COMPARED.len()) {
                results.sample(*who, round, &case.name, || {
                    let data = scene.ring.make_dir("data-push")?;
                    let used = match who {
                        Who::HashAndWrite => hash_and_write(&data, &layers),
                        _ => case.push(scene, *who, &data, &layers),
                    };
                    fs::remove_dir_all(&data)?;
                    Ok(case.figures(&used?))
                });
            }
        }
    }
    Ok(())
}

fn all(slice: bool) -> Vec<Push> {
    let (layers, megabytes, large) = if slice { (40, 64, "64 MB") } else { (LAYERS, MEGABYTES, "2 GB") };
    let small = [1, 8].map(|clients| {
        Push::of_small(format!("push {layers} layers of 4 KiB by {clients}"), layers, clients)
    });
    let large = [(Style::Put, "PUT"), (Style::Stream, "PATCH")]
        .map(|(style, title)| Push::of_large(format!("push {large} in one {title}"), style, megabytes));
    small.into_iter().chain(large).collect()
}

impl Push {
    /// The push of many layers whose cycles are looked at.
    pub(super) fn small() -> Self {
        Self::of_small(String::new(), LAYERS, 1)
    }

    /// The push of one layer whose cycles are looked at.
    pub(super) fn large() -> Self {
        Self::of_large(String::new(), Style::Put, MEGABYTES)
    }

    fn of_small(name: String, layers: usize, clients: usize) -> Self {
        Self { name, style: Style::Put, clients, layers, piece_bytes: SMALL_BYTES, pieces: 1 }
    }

    fn of_large(name: String, style: Style, megabytes: usize) -> Self {
        let pieces = megabytes * 1_000_000 / PIECE_BYTES;
        Self { name, style, clients: 1, layers: 1, piece_bytes: PIECE_BYTES, pieces }
    }

    /// What it is charged by.
    pub(super) fn units(&self) -> f64 {
        if self.is_large() { (self.piece_bytes * self.pieces) as f64 / 1e9 } else { self.layers as f64 }
    }

    pub(super) fn of_unit(&self) -> &'static str {
        if self.is_large() { "a gigabyte" } else { "a layer" }
    }

    /// Each client's layers, all of them different.
    pub(super) fn layers(&self, round: u64) -> Vec<Vec<Content>> {
        let of_client = |client: usize| {
            let seed = |layer: usize| (round << 32) + (client << 16) as u64 + layer as u64;
            let layers = 0..self.layers / self.clients;
            layers.map(|layer| Content::new(seed(layer), self.piece_bytes, self.pieces)).collect()
        };
        (0..self.clients).map(of_client).collect()
    }

    fn is_large(&self) -> bool {
        self.layers == 1
    }

    fn push(&self, scene: &Scene<'_>, who: Who, data: &Path, layers: &[Vec<Content>]) -> Result<Used> {
        let stand = Stand::start(scene, who, Way::Plain, &format!("{who}-push"), data)?;
        let used = self.onto(&stand, layers)?;
        stand.stop()?;
        Ok(used)
    }

    /// Pushes and looks whether all of it is there.
    pub(super) fn onto(&self, stand: &Stand, layers: &[Vec<Content>]) -> Result<Used> {
        let open = |layers| Ok((Connection::open(&stand.target)?, layers));
        let clients = layers.iter().map(open).collect::<Result<Vec<(_, &Vec<Content>)>>>()?;
        let cpu = stand.meter.cpu_seconds()?;
        let start = Instant::now();
        at_once(clients, |(mut connection, layers)| {
            layers.iter().try_for_each(|layer| self.style.push(&mut connection, layer))
        })?;
        let wall = start.elapsed();
        let cpu_seconds = stand.meter.cpu_seconds()? - cpu;
        for layer in layers.iter().flatten() {
            let request = Request::get(format!("/v2/{REPOSITORY}/blobs/{}", layer.digest));
            let (reply, digest) = client::fetch(&stand.target, &request)?;
            same("the status of a pushed layer", &reply.status, &200)?;
            same("the length of a pushed layer", &reply.length, &layer.length())?;
            same("the digest of a pushed layer", &digest, &layer.digest)?;
        }
        Ok(Used { cpu_seconds, wall })
    }

    fn figures(&self, used: &Used) -> Vec<Figure> {
        let wall = used.wall.as_secs_f64();
        let raw = json!({ "cpu_seconds": used.cpu_seconds, "seconds": wall, "layers": self.layers });
        let units = self.units();
        let figures = if self.is_large() {
            [("ms CPU/GB", used.cpu_seconds * 1e3 / units), ("ms/GB", wall * 1e3 / units)]
        } else {
            [("µs CPU/layer", used.cpu_seconds * 1e6 / units), ("µs/layer", wall * 1e6 / units)]
        };
        figures.map(|(unit, value)| Figure { unit, value, raw: raw.clone() }).into()
    }
}

impl Style {
    /// Pushes a layer; `Ok` means that the registry has acknowledged it by its digest.
    fn push(self, connection: &mut Connection, layer: &Content) -> Result {
        let begin = Request {
            method: "POST",
            body: Body::Whole(Content::empty()),
            ..Request::get(format!("/v2/{REPOSITORY}/blobs/uploads/"))
        };
        let mut upload = location(connection, &begin)?;
        let body = match self {
            Self::Put => Body::Whole(layer.clone()),
            Self::Stream => {
                let patch =
                    Request { method: "PATCH", body: Body::Chunked(layer.clone()), ..Request::get(upload) };
                upload = location(connection, &patch)?;
                Body::Whole(Content::empty())
            }
        };
        let path = with_query(&upload, &format!("digest={}", layer.digest));
        let finish = Request { method: "PUT", body, ..Request::get(path) };
        let finish = finish.with("Content-Type", "application/octet-stream");
        let mut words = Vec::new();
        let reply = connection.exchange(&finish, |piece| words.extend_from_slice(piece))?;
        if reply.status != 201 {
            fail!("PUT answered {}: {}", reply.status, String::from_utf8_lossy(&words));
        }
        same("the digest of 201", &reply.header("docker-content-digest"), &Some(layer.digest.as_str()))
    }
}

/// Where an upload goes on.
fn location(connection: &mut Connection, request: &Request) -> Result<String> {
    let mut words = Vec::new();
    let reply = connection.exchange(request, |piece| words.extend_from_slice(piece))?;
    if reply.status != 202 {
        fail!("{} answered {}: {}", request.method, reply.status, String::from_utf8_lossy(&words));
    }
    Ok(path_of(reply.header("location").context("Location")?)?.to_owned())
}

/// The yardstick: a thread for each client that hashes its layers and writes each into a synced file of its own.
fn hash_and_write(dir: &Path, layers: &[Vec<Content>]) -> Result<Used> {
    let start = Instant::now();
    let clients: Vec<_> = layers.iter().collect();
    let cpu = at_once(clients, |layers| {
        let cpu = thread_cpu_seconds();
        for layer in layers {
            let mut file = File::create_new(dir.join(layer.digest.replace(':', "-")))?;
            let mut hash = Sha256::new();
            for batch in layer.pieces().flat_map(|piece| piece.chunks(BATCH_BYTES)) {
                hash.update(batch);
                file.write_all(batch)?;
            }
            file.sync_all()?;
            same("the digest", &format!("sha256:{}", hex::encode(hash.finalize())), &layer.digest)?;
        }
        Ok(thread_cpu_seconds() - cpu)
    })?;
    Ok(Used { cpu_seconds: cpu.iter().sum(), wall: start.elapsed() })
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
