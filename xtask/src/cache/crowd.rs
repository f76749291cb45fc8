//! A hundred machines that pull one image at once, which none of them and no cache has seen.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;

use super::front::Seen;
use super::{Cache, Origin, blob_path};
use crate::failure::{Context, Result, fail};
use crate::image::Image;
use crate::places::Ring;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{Program, Server};

const CLIENTS: usize = 100;
const REPOSITORY: &str = "library/crowd";
const TAG: &str = "latest";

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    // Two rounds with a first client that leaves in the middle of a layer, two without.
    for round in 0..4 {
        let leaves = round % 2 == 1;
        let image = Image::index(1000 + 10 * round, &["amd64", "arm64"], &[20_000, 3_000_000]);
        origin.push(REPOSITORY, TAG, &image)?;
        let first = if leaves { "the first one leaves" } else { "all stay" };
        for program in [Program::DockerRegistry, Program::Larder] {
            let who = if program == Program::Larder { "larder" } else { "docker-registry" };
            let front = origin.front()?;
            let cache = Cache::of(ring, program, &format!("crowd-{who}-{round}"), &front)?;
            report.case(who, &format!("{CLIENTS} clients pull a cold image; {first}"), || {
                let server = cache.start()?;
                pull_by_all(&server, &image, leaves)?;
                let counts = count(&front.take_seen());
                let total: usize = counts.values().sum();
                println!(
                    "    upstream requests: {total} for {} contents: {}",
                    contents(&image),
                    told(&counts)
                );
                match program {
                    Program::Larder => once_each(&counts),
                    // Only for comparison.
                    Program::DockerRegistry => Ok(()),
                }
            });
        }
    }
    Ok(())
}

fn pull_by_all(server: &Server, image: &Image, first_leaves: bool) -> Result {
    let start = Barrier::new(CLIENTS + usize::from(first_leaves));
    let pull = || {
        start.wait();
        Registry::new(server.http()).walk(REPOSITORY, TAG, &mut Walked::default())
    };
    std::thread::scope(|scope| {
        let leaver = first_leaves.then(|| {
            scope.spawn(|| {
                let begun = begin(server, image);
                start.wait();
                begun
            })
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(pull)).collect();
        for client in clients {
            match client.join() {
                Ok(outcome) => outcome?,
                Err(_) => fail!("a client's thread panicked"),
            }
        }
        match leaver.map(|leaver| leaver.join()) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => fail!("the leaver's thread panicked"),
            None => Ok(()),
        }
    })
}

/// Begins to pull the largest layer and leaves.
fn begin(server: &Server, image: &Image) -> Result {
    let layer = image.all_blobs().into_iter().max_by_key(|blob| blob.bytes.len()).context("a layer")?;
    let mut stream = TcpStream::connect(&server.host)?;
    let path = blob_path(REPOSITORY, &layer.digest);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.host).as_bytes())?;
    stream.read_exact(&mut [0; 1000])?;
    Ok(())
}

/// How often each content was fetched, by `GET`.
fn count(seen: &[Seen]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in seen.iter().filter(|request| request.method == "GET" && request.path.len() > "/v2/".len())
    {
        *counts.entry(request.path.clone()).or_default() += 1;
    }
    counts
}

fn contents(image: &Image) -> usize {
    image.all_blobs().len() + image.all_manifests().len()
}

fn told(counts: &BTreeMap<String, usize>) -> String {
    let of =
        |kind: &str| counts.iter().filter(|(path, _)| path.contains(kind)).map(|(_, count)| *count).max();
    let of = |kind| of(kind).unwrap_or(0);
    format!("at most {} of a manifest, {} of a blob", of("/manifests/"), of("/blobs/"))
}

fn once_each(counts: &BTreeMap<String, usize>) -> Result {
    let often: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    if !often.is_empty() {
        fail!("fetched more than once: {often:?}");
    }
    Ok(())
}
