//! A large layer from a slow upstream.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::front::{Fault, Front, Seen};
use super::{Cache, Origin, blob_path};
use crate::failure::{Context, Result, fail, same};
use crate::http::read_head;
use crate::image::{Blob, Image, check_digest};
use crate::places::Ring;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Program, Server};

const REPOSITORY: &str = "library/cold";
/// The layer, and what the upstream sends of it in a second.
const LAYER: usize = 24 << 20;
const RATE: u64 = 8 << 20;

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    let images: Vec<Image> = (0..3).map(|seed| Image::single(2000 + seed, "amd64", &[LAYER])).collect();
    for (number, image) in images.iter().enumerate() {
        origin.push(REPOSITORY, &number.to_string(), image)?;
    }
    let mut layers = images.iter().filter_map(|image| image.blobs.last());
    let front = origin.front()?;
    let cache = Cache::of(ring, Program::Larder, "cold", &front)?;
    let Some(server) = report.step("larder", "starts before a slow upstream", || cache.start()) else {
        return Ok(());
    };
    front.set(Fault::Slow(RATE));
    let layer = layers.next().context("the first layer")?;
    report.case("larder", "a cold layer begins before the upstream has sent it", || {
        front.take_seen();
        let (mut reader, length) = begin(&server, layer, None)?;
        same("the length", &length, &(LAYER as u64 + overhead(layer)))?;
        let sent = sent_of(&front, layer);
        if sent > LAYER as u64 / 3 {
            fail!("the headers came after {sent} bytes of {LAYER}");
        }
        reader.read_exact(&mut vec![0; LAYER / 3])?;
        // Here the client is killed.
        Ok(())
    });
    report.case("larder", "the next pull joins, and the upstream sends all of it once", || {
        let pulled = Registry::new(server.http()).blob(REPOSITORY, &layer.digest)?;
        pulled.context("the layer")?;
        let gets = gets_of(&front, layer);
        same("the fetches", &gets.len(), &1)?;
        same("the bytes sent", &sent_of(&front, layer), &(layer.bytes.len() as u64))
    });
    let layer = layers.next().context("the second layer")?;
    report.case("larder", "a small range of a cold layer doesn't wait for the rest", || {
        front.take_seen();
        let (mut reader, length) = begin(&server, layer, Some("bytes=1000-1999"))?;
        same("the length", &length, &1000)?;
        let mut bytes = vec![0; 1000];
        reader.read_exact(&mut bytes)?;
        same("the bytes", &Some(bytes.as_slice()), &layer.bytes.get(1000..2000))?;
        let sent = sent_of(&front, layer);
        if sent > LAYER as u64 / 3 {
            fail!("the range came after {sent} bytes of {LAYER}");
        }
        Ok(())
    });
    let layer = layers.next().context("the third layer")?;
    report.case("larder", "killed in the middle of a fetch, it goes on after a restart", || {
        front.take_seen();
        let mut server = server;
        let (mut reader, _) = begin(&server, layer, None)?;
        reader.read_exact(&mut vec![0; LAYER / 2])?;
        server.daemon.kill()?;
        drop(server);
        let server = cache.start()?;
        let pulled = Registry::new(server.http()).blob(REPOSITORY, &layer.digest)?;
        check_digest(&layer.digest, &pulled.context("the layer")?)?;
        let gets = gets_of(&front, layer);
        let resumed = gets.iter().filter_map(|request| request.header("range")).next_back();
        println!("    the second fetch asked for {}", resumed.unwrap_or("all of it"));
        resumed.context("a Range in the second fetch").map(drop)
    });
    Ok(())
}

/// What the image's layers have beside their content: gzip's own.
fn overhead(layer: &Blob) -> u64 {
    (layer.bytes.len() - LAYER) as u64
}

/// Sends a request and reads the head of its answer. Gives the length that it tells of.
fn begin(server: &Server, layer: &Blob, range: Option<&str>) -> Result<(BufReader<TcpStream>, u64)> {
    let stream = TcpStream::connect(&server.host)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    let path = blob_path(REPOSITORY, &layer.digest);
    (&stream).write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{range}\r\n", server.host).as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader)?;
    if status != 200 && status != 206 {
        fail!("GET {path} answered {status}");
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.context("Content-Length")?.1.parse()?;
    Ok((reader, length))
}

fn gets_of(front: &Front, layer: &Blob) -> Vec<Seen> {
    let path = blob_path(REPOSITORY, &layer.digest);
    front.seen().into_iter().filter(|request| request.is("GET", &path)).collect()
}

fn sent_of(front: &Front, layer: &Blob) -> u64 {
    gets_of(front, layer).iter().map(Seen::sent).sum()
}
