//! What a client gets of the cache while the upstream fails in each of its ways: of what is at hand, the copy; of what
//! isn't, the true reason, in time to go elsewhere; and never wrong bytes.

use std::time::{Duration, Instant};

use super::front::{Fault, Front};
use super::{Cache, Origin, blob_path, manifest_path, pull_manifest};
use crate::failure::{Context, Result, fail, same};
use crate::http::{Answer, Body, Http};
use crate::image::{Image, check_digest};
use crate::places::Ring;
use crate::registry::{ACCEPT, Registry, Walked};
use crate::report::Report;
use crate::server::Program;

const REPOSITORY: &str = "library/matrix";
/// No answer may take longer: containerd goes elsewhere after 30 s.
const LIMIT: Duration = Duration::from_secs(25);
/// Longer than a client that has a copy waits, shorter than one that has none.
const LATE: Duration = Duration::from_secs(5);

struct Row {
    name: &'static str,
    fault: Fault,
    /// Whether the fault is a refused connection instead.
    unplugged: bool,
    /// What is answered to who asks for a manifest that isn't at hand.
    manifest: &'static [u16],
    /// The same of a blob. None: the answer may begin, and must not end well.
    blob: Option<&'static [u16]>,
    /// Whether the upstream answers well enough that the copy isn't called old.
    is_answer: bool,
}

impl Row {
    fn new(name: &'static str, fault: Fault, manifest: &'static [u16]) -> Self {
        Self { name, fault, unplugged: false, manifest, blob: Some(manifest), is_answer: false }
    }
}

fn rows() -> Vec<Row> {
    let status = |status| Fault::Status(status, Vec::new());
    let limited = Fault::Status(429, vec![("Retry-After".into(), "7".into())]);
    vec![
        Row { unplugged: true, ..Row::new("refuses connections", Fault::None, &[502]) },
        Row::new("never answers", Fault::BlackHole, &[504]),
        Row::new("answers late", Fault::Late(LATE), &[200]),
        // What only others may see isn't there: that is how clients of mirrors go on.
        Row::new("answers 401", status(401), &[404]),
        Row::new("answers 403", status(403), &[404]),
        Row::new("answers 404", status(404), &[404]),
        Row::new("answers 429", limited, &[429]),
        Row::new("answers 500", status(500), &[502]),
        Row::new("answers 503", status(503), &[502, 503]),
        Row {
            blob: Some(&[200]),
            ..Row::new("is cut once", Fault::Cut { after: 50, times: 1 }, &[200, 502])
        },
        Row {
            blob: Some(&[200]),
            ..Row::new("is cut always", Fault::Cut { after: 40_000, times: u64::MAX }, &[200])
        },
        Row {
            blob: None,
            ..Row::new("is cut after every 50 bytes", Fault::Cut { after: 50, times: u64::MAX }, &[502])
        },
        Row { blob: None, is_answer: true, ..Row::new("sends other bytes", Fault::Corrupt, &[502]) },
        Row { blob: None, is_answer: true, ..Row::new("sends too few bytes", Fault::Short, &[502]) },
    ]
}

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    // One image that every cache has pulled, and for each row one that none has.
    let at_hand = Image::single(1, "amd64", &[3000, 100_000]);
    origin.push(REPOSITORY, "at-hand", &at_hand)?;
    for (number, row) in rows().iter().enumerate() {
        let missing = Image::single(100 + number as u64, "amd64", &[100_000]);
        let tag = format!("missing-{number}");
        origin.push(REPOSITORY, &tag, &missing)?;
        let mut front = origin.front()?;
        let cache = Cache::of(ring, Program::Larder, &format!("matrix-{number}"), &front)?;
        report.about(&format!("upstream {}", row.name));
        let filled = report.step("larder", "was filled before", || {
            let server = cache.start()?;
            let registry = Registry::new(server.http());
            registry.walk(REPOSITORY, "at-hand", &mut Walked::default())?;
            front.take_seen();
            Ok(server)
        });
        let Some(mut server) = filled else { continue };
        front.set(row.fault.clone());
        if row.unplugged {
            front.unplug();
            // Down at the start as well.
            server.daemon.stop()?;
            let Some(again) = report.step("larder", "starts without its upstream", || cache.start()) else {
                continue;
            };
            server = again;
        }
        let http = server.http();
        report.case("larder", "a tag at hand is served", || tag_at_hand(&http, &at_hand, row));
        report.case("larder", "what a digest names at hand is served unasked", || {
            digests_at_hand(&http, &front, &at_hand)
        });
        report.case("larder", "a manifest that isn't at hand", || {
            // Not by tag alone: the two take different ways.
            for reference in [tag.as_str(), missing.digest()] {
                let answer = within(|| pull_manifest(&http, REPOSITORY, reference))?;
                judge(&answer, row.manifest, missing.digest(), row)?;
            }
            Ok(())
        });
        report.case("larder", "a blob that isn't at hand", || {
            let layer = missing.blobs.last().context("a layer")?;
            let pulled = within(|| http.get(&blob_path(REPOSITORY, &layer.digest), &[]));
            match (row.blob, pulled) {
                (Some(statuses), pulled) => judge(&pulled?, statuses, &layer.digest, row),
                (None, Ok(answer)) if answer.status == 200 => {
                    fail!("{} bytes came and were called the whole", answer.body.len())
                }
                (None, _) => Ok(()),
            }
        });
        report.case("larder", "all is served when the upstream is well again", || {
            front.set(Fault::None);
            front.plug()?;
            recovers(&http, &tag)
        });
        server.daemon.stop()?;
    }
    report.about("");
    Ok(())
}

fn tag_at_hand(http: &Http, image: &Image, row: &Row) -> Result {
    let path = manifest_path(REPOSITORY, "at-hand");
    for method in ["GET", "HEAD"] {
        let answer = within(|| http.send(method, &path, &[("Accept", ACCEPT)], Body::Whole(&[])))?;
        same("the status", &answer.status, &200)?;
        same("the digest", &answer.header("docker-content-digest"), &Some(image.digest()))?;
        if method == "GET" {
            check_digest(image.digest(), &answer.body)?;
        }
        if !row.is_answer && !row.name.starts_with("is cut") {
            answer.header("warning").context(format!("the Warning of {method}"))?;
        }
    }
    Ok(())
}

fn digests_at_hand(http: &Http, front: &Front, image: &Image) -> Result {
    front.take_seen();
    let manifest = within(|| pull_manifest(http, REPOSITORY, image.digest()))?;
    same("the status", &manifest.status, &200)?;
    check_digest(image.digest(), &manifest.body)?;
    for blob in image.all_blobs() {
        let answer = within(|| http.get(&blob_path(REPOSITORY, &blob.digest), &[]))?;
        same("the status", &answer.status, &200)?;
        check_digest(&blob.digest, &answer.body)?;
    }
    same("the requests at the upstream", &front.take_seen().len(), &0)
}

/// An answer about what isn't at hand: the content, or words that name the upstream.
fn judge(answer: &Answer, statuses: &[u16], digest: &str, row: &Row) -> Result {
    let words = String::from_utf8_lossy(&answer.body);
    if !statuses.contains(&answer.status) {
        fail!("the status is {}, should be one of {statuses:?}: {words}", answer.status);
    }
    match answer.status {
        200 => return check_digest(digest, &answer.body),
        404 => return Ok(()),
        429 => {
            let seconds = answer.header("retry-after").context("Retry-After")?;
            let seconds: u64 = seconds.parse().context(format!("Retry-After {seconds:?}"))?;
            if seconds == 0 || seconds > 8 {
                fail!("Retry-After is {seconds}, and the upstream said 7");
            }
        }
        _ => {}
    }
    if !words.contains("upstream origin") {
        fail!("{} of an upstream that {} doesn't name it: {words}", answer.status, row.name);
    }
    Ok(())
}

/// A failure may be remembered for a moment, not for long.
fn recovers(http: &Http, tag: &str) -> Result {
    let registry = Registry::new(http.clone());
    let start = Instant::now();
    loop {
        match registry.walk(REPOSITORY, tag, &mut Walked::default()) {
            Ok(()) => return Ok(()),
            Err(failure) if start.elapsed() > 2 * LIMIT => return Err(failure),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn within<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let done = work();
    if start.elapsed() > LIMIT {
        fail!("it took {:.1} s, and clients leave after 30", start.elapsed().as_secs_f64());
    }
    done
}
