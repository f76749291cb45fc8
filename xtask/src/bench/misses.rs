//! What a cache costs: a miss beside asking the upstream itself, a hit beside a registry that is no cache.
//!
//! The upstream is docker-registry 2.8.2 on the same machine, so that a miss has nothing to hide behind: on a network, what
//! it adds is the same time, and less of the whole. Each miss is the first pull of a cache that has just been started.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Connection, Request, Target};
use super::fixture::{Fixture, REPOSITORY, TAG};
use super::meter::Meter;
use super::output::{Figure, Results};
use super::stand::{PEER_CACHE, Scene, Who};
use crate::failure::{Context, Result, same};
use crate::image::OCI_MANIFEST;
use crate::server::{Plan, Program, Server};

const BYTES_OF_GIB: f64 = (1_u64 << 30) as f64;
const LARGEST_OF_SLICE: usize = 8 << 20;
const MIB: f64 = (1 << 20) as f64;
/// A server that has used no CPU for so long has done its work,
const IDLE_FOR: Duration = Duration::from_millis(200);
/// and one that goes on longer than this does something else.
const LONGEST_WORK: Duration = Duration::from_secs(5);

/// The caches that are compared.
const CACHES: [(Who, Program); 2] =
    [(Who::DockerRegistry, Program::DockerRegistry), (Who::Larder, Program::Larder)];

/// One answer, read to its end.
struct Pull {
    /// Until its headers, in seconds.
    head: f64,
    whole: f64,
    bytes: u64,
}

pub(super) fn measure(scene: &Scene<'_>, results: &mut Results) -> Result {
    if !["cache miss", "cache hit"].iter().any(|case| scene.options.wants(case)) {
        return Ok(());
    }
    let largest = if scene.options.slice { LARGEST_OF_SLICE } else { usize::MAX };
    let fixture = Fixture::write(scene.ring, largest)?;
    let manifest = Request::get(format!("/v2/{REPOSITORY}/manifests/{TAG}")).with("Accept", OCI_MANIFEST);
    let layer = fixture.layers.iter().max_by_key(|layer| layer.length).context("a layer")?;
    let layer = Request::get(format!("/v2/{REPOSITORY}/blobs/{}", layer.digest));

    let upstream = scene.ring.make_dir("data-upstream")?;
    fixture.copy_for(Who::DockerRegistry, &upstream)?;
    let upstream = start(scene, Program::DockerRegistry, "upstream", &upstream, "")?;
    for round in 1..=scene.options.rounds {
        // Each goes first in turn: what one leaves to the disk slows the other down.
        let mut caches = CACHES;
        if round % 2 == 0 {
            caches.reverse();
        }
        for (who, program) in caches {
            let name = format!("cache-{who}-{round}");
            let data = scene.ring.make_dir(format!("data-{name}"))?;
            let sections = format!("proxy:\n  remoteurl: http://{}\n", upstream.host);
            let Some(cache) =
                results.report.step(&who.to_string(), &format!("{round}: a cache starts"), || {
                    start(scene, program, &name, &data, &sections)
                })
            else {
                continue;
            };
            let plain = scene.ring.make_dir(format!("data-plain-{name}"))?;
            fixture.copy_for(who, &plain)?;
            let plain = start(scene, program, &format!("plain-{name}"), &plain, "")?;
            for (what, request) in [("manifest", &manifest), ("layer", &layer)] {
                results.sample(who, round, &format!("cache miss {what}"), || {
                    level(scene, &fixture)?;
                    beside(&upstream, &cache, request, "x direct")
                });
            }
            for (what, request) in [("manifest", &manifest), ("layer", &layer)] {
                results.sample(who, round, &format!("cache hit {what}"), || {
                    beside(&plain, &cache, request, "x plain")
                });
            }
            cache.daemon.stop()?;
            plain.daemon.stop()?;
        }
    }
    upstream.daemon.stop()
}

fn start(scene: &Scene<'_>, program: Program, name: &str, data: &Path, sections: &str) -> Result<Server> {
    let storage_lines = if program == Program::Larder { "" } else { PEER_CACHE };
    Plan { storage_lines, sections, ..Plan::open(program, data) }.start(scene.ring, name)
}

/// The same answer from the cache and from what it is measured by; the latter twice, so that the first has warmed
/// the page cache for it and for the cache.
fn beside(measure: &Server, cache: &Server, request: &Request, unit: &'static str) -> Result<Vec<Figure>> {
    pull(measure, request)?;
    let direct = pull(measure, request)?;
    let meter = Meter::of(cache.daemon.pid());
    let before = meter.cpu_seconds()?;
    let cached = pull(cache, request)?;
    let cpu = cpu_when_idle(meter)? - before;
    same("the length", &cached.bytes, &direct.bytes)?;
    let raw = || {
        json!({
            "head_seconds": cached.head, "seconds": cached.whole, "bytes": cached.bytes, "cpu_seconds": cpu,
            "measure_head_seconds": direct.head, "measure_seconds": direct.whole,
        })
    };
    let mut figures = vec![
        Figure { unit, value: cached.whole / direct.whole, raw: raw() },
        Figure { unit: "ms to head", value: cached.head * 1e3, raw: raw() },
    ];
    if cached.bytes >= LARGEST_OF_SLICE as u64 {
        figures.push(Figure { unit: "MiB/s", value: cached.bytes as f64 / MIB / cached.whole, raw: raw() });
        figures.push(Figure {
            unit: "cpu s/GiB",
            value: cpu / cached.bytes as f64 * BYTES_OF_GIB,
            raw: raw(),
        });
    }
    Ok(figures)
}

/// The same start for everybody: nothing waits to be written, and the memory that files will take has been used before. In
/// a virtual machine a page costs several times as much when it is touched for the first time, which whoever happens
/// to be first would pay for.
fn level(scene: &Scene<'_>, fixture: &Fixture) -> Result {
    rustix::fs::sync();
    let path = scene.ring.dir.join("level");
    let mut file = fs::File::create(&path)?;
    let largest = fixture.layers.iter().map(|layer| layer.length).max().unwrap_or_default();
    let piece = vec![0; LARGEST_OF_SLICE];
    for _ in 0..(2 * largest).div_ceil(LARGEST_OF_SLICE as u64) {
        file.write_all(&piece)?;
    }
    Ok(fs::remove_file(&path)?)
}

/// The CPU seconds until a server has done all that a request has given it to do, some of it behind the answer.
fn cpu_when_idle(meter: Meter) -> Result<f64> {
    let (begun, mut last) = (Instant::now(), meter.cpu_seconds()?);
    loop {
        std::thread::sleep(IDLE_FOR);
        let now = meter.cpu_seconds()?;
        if now <= last || begun.elapsed() > LONGEST_WORK {
            return Ok(now);
        }
        last = now;
    }
}

fn pull(server: &Server, request: &Request) -> Result<Pull> {
    let mut connection = Connection::open(&Target { host: server.host.clone(), tls: None })?;
    let begun = Instant::now();
    let reply = connection.begin(request)?;
    let head = begun.elapsed().as_secs_f64();
    same("the status", &reply.status, &200)?;
    let length: u64 = reply.header("content-length").context("Content-Length")?.parse()?;
    let mut bytes = 0;
    while bytes < length {
        let taken = connection.some(usize::MAX, |_| {})?;
        if taken == 0 {
            break;
        }
        bytes += taken as u64;
    }
    same("the bytes of the body", &bytes, &length)?;
    Ok(Pull { head, whole: begun.elapsed().as_secs_f64(), bytes })
}
