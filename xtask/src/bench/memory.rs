//! What a server keeps in memory, of all its processes: at rest, at the most while a thousand clients are there, and at
//! rest again when they have left.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Connection, Request};
use super::fixture::{Fixture, Layer, REPOSITORY, TAG};
use super::load::{Client, Load};
use super::output::{Figure, Results};
use super::stand::{EVERYBODY, Scene, Stand, Way, Who};
use crate::failure::{Context, Result, fail, same};
use crate::image::OCI_MANIFEST;

const CONNECTIONS: usize = 1000;
const CONNECTIONS_OF_SLICE: usize = 100;
/// How long after its start a server counts as idle.
const SETTLING: Duration = Duration::from_secs(13);
/// How long a server is left alone after its clients have gone, until it is looked at again.
const RESTING: Duration = Duration::from_secs(25);
/// What a slow client takes at a time, and how often.
const SIP_BYTES: usize = 8 << 10;
const SIP_PAUSE: Duration = Duration::from_millis(50);
/// What is compared of what slow clients get.
const COMPARED_BYTES: u64 = 1 << 20;
const BYTES_OF_MIB: f64 = (1 << 20) as f64;

#[derive(Clone, Copy)]
enum Weight {
    Nobody,
    Idle,
    /// Everybody pulls a manifest, over and over.
    Small,
    /// Everybody has pulled a manifest, over and over, and has gone.
    Gone,
    /// Everybody pulls the largest layer, and takes his time.
    Slow,
}

pub(super) fn measure(scene: &Scene<'_>, results: &mut Results) -> Result {
    let slice = scene.options.slice;
    let (connections, largest) =
        if slice { (CONNECTIONS_OF_SLICE, 8 << 20) } else { (CONNECTIONS, usize::MAX) };
    let mut cases = vec![
        (Weight::Nobody, "memory at rest".to_owned()),
        (Weight::Idle, format!("memory with {connections} idle clients")),
        (Weight::Small, format!("memory with {connections} manifest pulls")),
        (Weight::Gone, format!("memory at rest after {connections} manifest pulls")),
        (Weight::Slow, format!("memory with {connections} slow layer pulls")),
    ];
    cases.retain(|(_, name)| scene.options.wants(name));
    if cases.is_empty() {
        return Ok(());
    }
    let fixture = Fixture::write(scene.ring, largest)?;
    for round in 1..=scene.options.rounds {
        for (weight, name) in &cases {
            for who in EVERYBODY {
                results.sample(*who, round, name, || {
                    let bytes = weight.bytes(scene, &fixture, *who, connections)?;
                    let raw = json!({ "bytes": bytes });
                    Ok(vec![Figure { unit: "MiB", value: bytes as f64 / BYTES_OF_MIB, raw }])
                });
            }
        }
    }
    Ok(())
}

impl Weight {
    /// A new server for each, because what was once in use may stay.
    fn bytes(self, scene: &Scene<'_>, fixture: &Fixture, who: Who, connections: usize) -> Result<u64> {
        let data = scene.ring.dir.join(format!("data-{who}-memory"));
        if !data.try_exists()? {
            fixture.copy_for(who, &data)?;
        }
        let stand = Stand::start(scene, who, Way::Plain, &format!("{who}-memory"), &data)?;
        let path = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let manifest = Request::get(path).with("Accept", OCI_MANIFEST);
        match self {
            Self::Nobody => {
                std::thread::sleep(SETTLING);
                return stand.meter.resident_bytes();
            }
            Self::Idle => {
                let mut open = Vec::with_capacity(connections);
                for _ in 0..connections {
                    let mut connection = Connection::open(&stand.target)?;
                    same("the status", &connection.exchange(&manifest, |_| ())?.status, &200)?;
                    open.push(connection);
                }
                // Still open: they count until here.
                let peak = stand.meter.peak_bytes();
                drop(open);
                return peak;
            }
            Self::Small | Self::Gone => {
                let time = scene.options.time;
                Load { client: Client::Wrk, request: &manifest, status: 200, connections, time }
                    .run(&stand)?;
                if matches!(self, Self::Gone) {
                    std::thread::sleep(RESTING);
                    return stand.meter.resident_bytes();
                }
            }
            Self::Slow => {
                let layer = fixture.layers.last().context("a layer")?;
                sip(&stand, fixture, layer, connections, scene.options.time)?;
            }
        }
        stand.meter.peak_bytes()
    }
}

/// Pulls a layer on every connection without taking much of it, and compares that with the file.
fn sip(stand: &Stand, fixture: &Fixture, layer: &Layer, connections: usize, time: Duration) -> Result {
    let mut beginning = Vec::new();
    File::open(fixture.path(&layer.digest)?)?.take(COMPARED_BYTES).read_to_end(&mut beginning)?;
    let request = Request::get(format!("/v2/{REPOSITORY}/blobs/{}", layer.digest));
    let mut pulls = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::open(&stand.target)?;
        let reply = connection.begin(&request)?;
        same("the status", &reply.status, &200)?;
        let length = layer.length.to_string();
        same("the length", &reply.header("content-length"), &Some(length.as_str()))?;
        pulls.push((connection, 0));
    }
    let start = Instant::now();
    while start.elapsed() < time {
        for (connection, taken) in &mut pulls {
            let wanted = beginning.get(*taken..).unwrap_or_default();
            let most = SIP_BYTES.min(wanted.len());
            if most == 0 {
                continue;
            }
            let mut right = false;
            let sip = connection.some(most, |piece| right = wanted.starts_with(piece))?;
            if sip == 0 || !right {
                fail!("a slow pull got {sip} bytes behind {taken}, right: {right}");
            }
            *taken += sip;
        }
        std::thread::sleep(SIP_PAUSE);
    }
    Ok(())
}
