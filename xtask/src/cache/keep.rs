//! What of an upstream is kept, and what goes: by size, by last use, and of what registry:2 had fetched before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::front::Front;
use super::{Cache, Origin, blob_path};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::http::Http;
use crate::image::{Blob, Image, OCI_MANIFEST};
use crate::places::Ring;
use crate::process::Run;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{Plan, Program, Server};

/// Nothing goes before so long after a start.
const GRACE: Duration = Duration::from_secs(15);
const GRACE_LINES: &str = "  maintenance:\n    gc:\n      grace: 15s\n";
/// A good deal shorter, so that what was pulled after the start is unused when the grace is over.
const TTL: &str = "5s";
/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

const LAYER: usize = 1_000_000;
/// Room for six of the seven layers that are pulled, and later for three.
const MOST: u64 = 6_300_000;
const LOWERED: u64 = 3_200_000;
const KEPT: &str = "library/kept";
const REPOSITORY: &str = "library/bounded";
const MINE: &str = "library/mine";

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    bounded(report, ring, origin)?;
    report.case("larder", "what nobody pulls goes after proxy.ttl", || unused(ring, origin));
    adopted(report, ring, origin)
}

struct Images {
    kept: Image,
    old: Image,
    middle: Image,
    /// Has a layer of `old`.
    sharer: Image,
    newest: Image,
    mine: Image,
}

fn bounded(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    let images = Images::new()?;
    origin.push(KEPT, "1", &images.kept)?;
    for (tag, image) in images.of_the_repository() {
        origin.push(REPOSITORY, tag, image)?;
    }
    let front = origin.front()?;
    let cache = Cache::of(ring, Program::Larder, "keep", &front)?;
    let begun = Instant::now();
    let Some(server) = report.step("larder", "starts with cache.maxbytes", || start(&cache, MOST)) else {
        return Ok(());
    };
    let registry = Registry::new(server.http());
    report.case("larder", "beyond the bound goes what was pulled longest ago", || {
        registry.push_image(MINE, "1", &images.mine)?;
        pull(&registry, KEPT, "1")?;
        for (tag, _) in images.of_the_repository() {
            pull(&registry, REPOSITORY, tag)?;
        }
        let status = status_of(&server.http())?;
        if begun.elapsed() < GRACE {
            let bytes = number(&status, "/stock/bytes");
            same("whether it is too much", &bytes.is_some_and(|bytes| bytes > MOST), &true)?;
            same("what went within the grace time", &evicted(&status), &Vec::new())?;
        }
        let status = until("something is evicted", &server, |status| count_of(status, "evicted") > 0)?;
        if begun.elapsed() < GRACE {
            fail!("evicted after {:?}, within the grace time: {status}", begun.elapsed());
        }
        same("what went and why", &evicted(&status), &vec![gone("old", "too_large")])?;
        same("the images that are left", &number(&status, "/stock/images"), &Some(4))?;
        same("whether the layer's file is there", &is_there(&cache.data, images.old.own()?)?, &false)
    });
    report.case("larder", "larder cache status --json names what went, and why", || {
        let run = Run::new(dist::release()?).args(["cache", "status", "--json", "--config"]);
        let said: Value = serde_json::from_str(&run.arg(&server.config).ok()?)?;
        same("what went and why", &evicted(&said), &vec![gone("old", "too_large")])
    });
    report.case("larder", "what cache.keep holds, shares or was pushed stays", || {
        front.take_seen();
        pull(&registry, KEPT, "1")?;
        pull(&registry, REPOSITORY, "sharer")?;
        pull(&registry, MINE, "1")?;
        same("the blobs fetched", &blobs_fetched(&front), &Vec::<String>::new())
    });
    report.case("larder", "what was evicted is fetched again", || {
        front.take_seen();
        pull(&registry, REPOSITORY, "old")?;
        let fetched = blobs_fetched(&front);
        let mut missing = vec![images.old.config()?, images.old.own()?];
        missing.retain(|blob| !fetched.contains(&blob_path(REPOSITORY, &blob.digest)));
        same("what was not fetched", &missing.len(), &0)?;
        let shared = blob_path(REPOSITORY, &images.old.shared()?.digest);
        same("whether the shared layer was fetched", &fetched.contains(&shared), &false)?;
        // It is one too many again, and now another one is the oldest.
        until("the next one is evicted", &server, |status| {
            evicted(status).contains(&gone("middle", "too_large"))
        })
        .map(drop)
    });
    report.case("larder", "a lowered bound counts after a restart", || {
        pull(&registry, REPOSITORY, "sharer")?;
        server.daemon.stop()?;
        let begun = Instant::now();
        let server = start(&cache, LOWERED)?;
        let fits = |status: &Value| number(status, "/stock/bytes").is_some_and(|bytes| bytes <= LOWERED);
        let status = until("what is here fits", &server, fits)?;
        if begun.elapsed() < GRACE {
            fail!("evicted after {:?}, within the grace time: {status}", begun.elapsed());
        }
        let went = evicted(&status);
        if went.is_empty() || !went.iter().all(|(_, why)| why == "too_large") {
            fail!("what went is {went:?}");
        }
        same("the images that are left", &number(&status, "/stock/images"), &Some(2))?;
        same("those of them that are held", &number(&status, "/stock/held_images"), &Some(1))?;
        front.take_seen();
        let registry = Registry::new(server.http());
        for (repository, tag) in [(KEPT, "1"), (REPOSITORY, "sharer"), (MINE, "1")] {
            pull(&registry, repository, tag)?;
        }
        same("the blobs fetched", &blobs_fetched(&front), &Vec::<String>::new())
    });
    Ok(())
}

fn unused(ring: &Ring, origin: &Origin) -> Result {
    let images = [4100, 4101].map(|seed| Image::single(seed, "amd64", &[50_000]));
    for (tag, image) in ["idle", "live"].iter().zip(&images) {
        origin.push("library/unused", tag, image)?;
    }
    let front = origin.front()?;
    let cache = Cache::of(ring, Program::Larder, "keep-unused", &front)?;
    let sections = format!("{}proxy:\n  ttl: {TTL}\n", cache.sections);
    let server = start_with(&cache, &sections)?;
    let registry = Registry::new(server.http());
    let walk = |tag: &str| registry.walk("library/unused", tag, &mut Walked::default());
    walk("idle")?;
    let mut lives = Ok(());
    let status = until("something is evicted", &server, |status| {
        lives = walk("live");
        lives.is_err() || count_of(status, "evicted") > 0
    })?;
    lives?;
    same("what went and why", &evicted(&status), &vec![gone("idle", "unused")])?;
    same("the images that are left", &number(&status, "/stock/images"), &Some(1))?;
    let [idle, live] = &images;
    same("whether the unused layer is there", &is_there(&cache.data, idle.own()?)?, &false)?;
    same("whether the other one is", &is_there(&cache.data, live.own()?)?, &true)
}

/// docker-registry was the cache; Larder takes its directory over, with the file that configured it.
fn adopted(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    let repository = "library/adopted";
    let image = Image::index(4200, &["amd64", "arm64"], &[50_000]);
    origin.push(repository, "1", &image)?;
    let mut front = origin.front()?;
    let cache = Cache::of(ring, Program::DockerRegistry, "adopted", &front)?;
    let filled = report.step("docker-registry", "fills a directory as a cache", || {
        let peer = cache.start()?;
        Registry::new(peer.http()).walk(repository, "1", &mut Walked::default())?;
        // What it has fetched it writes down some seconds later.
        let state = cache.data.join("scheduler-state.json");
        let knows_all = || {
            let text = fs::read_to_string(&state).unwrap_or_default();
            let all = image.all_blobs().into_iter().chain(image.all_manifests());
            all.into_iter().all(|content| text.contains(&content.digest))
        };
        let Server { mut daemon, host, config, .. } = peer;
        daemon.wait_until("it knows what it fetched", LIMIT, knows_all)?;
        daemon.stop()?;
        Ok((host, config))
    });
    let Some((host, config)) = filled else { return Ok(()) };
    front.unplug();
    report.case("larder", "serves what registry:2 had fetched, with its config.yml", || {
        let mut daemon =
            Run::new(dist::release()?).arg("serve").arg(&config).dir(&ring.dir).daemon(ring, "adopted")?;
        let http = Http { address: host.clone() };
        daemon.wait_until("it answers", LIMIT, || {
            http.get("/readyz", &[]).is_ok_and(|answer| answer.status == 200)
        })?;
        for reference in ["1", image.digest()] {
            let mut walked = Walked::default();
            Registry::new(Http { address: host.clone() }).walk(repository, reference, &mut walked)?;
            same("the manifests", &walked.manifests.len(), &image.all_manifests().len())?;
            same("the blobs", &walked.blobs.len(), &image.all_blobs().len())?;
        }
        let all = image.all_blobs().into_iter().chain(image.all_manifests());
        let bytes: usize = all.map(|content| content.bytes.len()).sum();
        // It takes them over while it serves them.
        let copies = |status: &Value| number(status, "/stock/images");
        daemon.wait_until("it has taken the image over", LIMIT, || {
            status_of(&http).is_ok_and(|status| copies(&status) == Some(1))
        })?;
        let status = status_of(&http)?;
        same("their bytes", &number(&status, "/stock/bytes"), &Some(bytes as u64))?;
        daemon.stop()
    });
    report.case("larder", "evicts what registry:2 had fetched, and fetches it again", || {
        let cache = Cache { program: Program::Larder, name: "adopted-short".into(), ..cache };
        let server = start_with(&cache, &format!("{}  ttl: {TTL}\n", cache.sections))?;
        let status = until("it is evicted", &server, |status| count_of(status, "evicted") > 0)?;
        same("what went and why", &evicted(&status), &vec![gone("1", "unused")])?;
        same("the images that are left", &number(&status, "/stock/images"), &Some(0))?;
        for blob in image.all_blobs() {
            same("whether a blob is there", &is_there(&cache.data, blob)?, &false)?;
        }
        front.plug()?;
        Registry::new(server.http()).walk(repository, "1", &mut Walked::default())
    });
    Ok(())
}

impl Images {
    fn new() -> Result<Self> {
        let single = |seed, sizes: &[usize]| Image::single(seed, "amd64", sizes);
        let old = single(4001, &[LAYER, LAYER]);
        let mut sharer = single(4003, &[LAYER]);
        let shared = old.shared()?.clone();
        let descriptor = shared.descriptor();
        sharer.blobs.push(shared);
        let sharer = sharer.with_manifest(OCI_MANIFEST, |manifest| {
            if let Some(layers) = manifest.pointer_mut("/layers").and_then(Value::as_array_mut) {
                layers.push(descriptor);
            }
        })?;
        Ok(Self {
            kept: single(4000, &[LAYER]),
            old,
            middle: single(4002, &[LAYER]),
            sharer,
            newest: single(4004, &[LAYER, LAYER]),
            mine: single(4005, &[LAYER, LAYER, LAYER]),
        })
    }

    /// By tag, in the order in which they are pulled.
    fn of_the_repository(&self) -> [(&'static str, &Image); 4] {
        [("old", &self.old), ("middle", &self.middle), ("sharer", &self.sharer), ("newest", &self.newest)]
    }
}

impl Image {
    fn config(&self) -> Result<&Blob> {
        self.blobs.first().context("a config")
    }

    /// Its first layer, which no other image has.
    fn own(&self) -> Result<&Blob> {
        self.blobs.get(1).context("a layer")
    }

    fn shared(&self) -> Result<&Blob> {
        self.blobs.get(2).context("a second layer")
    }
}

fn start(cache: &Cache, most: u64) -> Result<Server> {
    let bounds = format!("cache:\n  maxbytes: {most}\n  keep: [\"{KEPT}\"]\n");
    start_with(cache, &format!("{}{bounds}", cache.sections))
}

fn start_with(cache: &Cache, sections: &str) -> Result<Server> {
    let plan = Plan { sections, storage_lines: GRACE_LINES, ..Plan::open(cache.program, &cache.data) };
    plan.start(cache.ring, &cache.name)
}

/// Pulls all of an image and checks every byte, in a second of its own: last uses are known to the second.
fn pull(registry: &Registry, repository: &str, tag: &str) -> Result {
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|time| time.as_secs());
    registry.walk(repository, tag, &mut Walked::default())?;
    let pulled = second()?;
    while second()? == pulled {
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn status_of(http: &Http) -> Result<Value> {
    let answer = http.get("/api/v1/cache", &[])?.expect("GET /api/v1/cache", &[200])?;
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Asks the server what it keeps until that is so.
fn until(what: &str, server: &Server, mut is_so: impl FnMut(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let status = status_of(&server.http())?;
        if is_so(&status) {
            return Ok(status);
        }
        if begun.elapsed() > LIMIT {
            fail!("{what}: not within {LIMIT:?}; {status}\n{}", server.daemon.last_words());
        }
        std::thread::sleep(POLL);
    }
}

fn count_of(status: &Value, list: &str) -> usize {
    status.get(list).and_then(Value::as_array).map_or(0, Vec::len)
}

fn number(status: &Value, pointer: &str) -> Option<u64> {
    status.pointer(pointer).and_then(Value::as_u64)
}

/// The tags of what went, and why.
fn evicted(status: &Value) -> Vec<(String, String)> {
    let text =
        |each: &Value, pointer| each.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let list = status.get("evicted").and_then(Value::as_array).into_iter().flatten();
    list.map(|each| (text(each, "/tags/0"), text(each, "/why"))).collect()
}

fn gone(tag: &str, why: &str) -> (String, String) {
    (tag.to_owned(), why.to_owned())
}

fn blobs_fetched(front: &Front) -> Vec<String> {
    let seen = front.take_seen().into_iter();
    let gets = seen.filter(|request| request.method == "GET" && request.path.contains("/blobs/"));
    gets.map(|request| request.path).collect()
}

fn is_there(data: &Path, blob: &Blob) -> Result<bool> {
    let hex = blob.digest.split_once(':').context("a digest")?.1;
    let path: PathBuf =
        ["docker/registry/v2/blobs/sha256", hex.get(..2).context("a digest")?, hex, "data"].iter().collect();
    Ok(data.join(path).try_exists()?)
}
