//! `cargo xtask durability`: what it costs that an acknowledged push is on disk.
//!
//! Small blobs are pushed to docker-registry 2.8.2 and to Larder in turn, in three rounds on the same disk, by one
//! client and by eight. Only the ratio means anything; nothing is asserted of it.

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::failure::{Result, fail};
use crate::image::sha256;
use crate::places::Ring;
use crate::random::Random;
use crate::registry::{Registry, Style};
use crate::report::Report;
use crate::server::{Plan, Program};

const ROUNDS: u64 = 3;
const BLOBS: usize = 400;
const BLOB_BYTES: usize = 4096;

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("durability");
    let ring = Ring::fresh("durability")?;
    for clients in [1, 8] {
        let (mut larder, mut peer) = (Vec::new(), Vec::new());
        report.case("both", &format!("{BLOBS} blobs by {clients} at once, {ROUNDS} rounds"), || {
            for round in 0..ROUNDS {
                for (program, times) in [(Program::DockerRegistry, &mut peer), (Program::Larder, &mut larder)]
                {
                    let data = ring.make_dir(format!("data-{clients}-{round}-{program:?}"))?;
                    let server = Plan::open(program, &data).start(&ring, "registry")?;
                    times.push(push(&Registry::new(server.http()), clients, round)?);
                    server.daemon.stop()?;
                }
            }
            Ok(())
        });
        larder.sort();
        peer.sort();
        if let (Some(larder), Some(peer)) = (larder.get(larder.len() / 2), peer.get(peer.len() / 2)) {
            let ratio = larder.as_secs_f64() / peer.as_secs_f64();
            println!("{clients} clients: Larder takes {ratio:.2} of docker-registry's time (medians)");
        }
    }
    Ok(report)
}

fn push(registry: &Registry, clients: usize, round: u64) -> Result<Duration> {
    // Made before the clock starts.
    let blobs: Vec<Vec<(String, Vec<u8>)>> = (0..clients)
        .map(|client| {
            let mut random = Random::new(round * 100 + client as u64);
            (0..BLOBS / clients)
                .map(|_| random.bytes(BLOB_BYTES))
                .map(|bytes| (sha256(&bytes), bytes))
                .collect()
        })
        .collect();
    let start = Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let push_all = |blobs: &[(String, Vec<u8>)]| {
            blobs
                .iter()
                .try_for_each(|(digest, bytes)| registry.push_blob("bench", digest, bytes, Style::Put))
        };
        let threads: Vec<_> = blobs.iter().map(|blobs| scope.spawn(move || push_all(blobs))).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.filter_map(|outcome| outcome.ok()?.err().map(|failure| failure.to_string())).collect()
    });
    match failures.first() {
        None => Ok(start.elapsed()),
        Some(failure) => fail!("{failure}"),
    }
}
