//! A cache on a disk that is too small for all that is asked of it.

use std::time::{Duration, Instant};

use super::small::Small;
use super::{Pushed, all_is_there};
use crate::failure::{Context, Result, fail, same};
use crate::image::Image;
use crate::places::Ring;
use crate::registry::{ACCEPT, Registry, Walked};
use crate::report::Report;
use crate::server::{Plan, Program};

const REPOSITORY: &str = "library/cached";
const COLLECTOR: &str = "  maintenance:\n    gc:\n      grace: 250ms\n";
/// So many images of so many bytes are three times as much as there is room for.
const IMAGES: u64 = 24;
const LAYER: usize = 3 << 20;
/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// Pulls an image whole, at the first try; gives how many blobs it has. What clients were told before a start is promised
/// to them for the grace time, and until then nothing goes to make room: what finds none is passed on.
fn pulled(registry: &Registry, tag: &str) -> Result<usize> {
    let mut walked = Walked::default();
    registry.walk(REPOSITORY, tag, &mut walked)?;
    Ok(walked.blobs.len())
}

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("cache");
    let origin_data = ring.make_dir("origin")?;
    let origin = Plan::open(Program::DockerRegistry, &origin_data).start(ring, "origin")?;
    let images: Vec<Pushed> = (0..IMAGES)
        .map(|number| {
            let image = Image::single(5000 + number, "amd64", &[LAYER]);
            (REPOSITORY.to_owned(), format!("v{number}"), image)
        })
        .collect();
    let huge = Image::single(6000, "amd64", &[40 << 20]);
    report.case("docker-registry", "has more than the cache has room for", || {
        let registry = Registry::new(origin.http());
        for (repository, tag, image) in &images {
            registry.push_image(repository, tag, image)?;
        }
        registry.push_image(REPOSITORY, "huge", &huge)
    });
    let Some(small) = report.step("disk", "a small file system is made", || Small::make(ring, "cached", 32))
    else {
        return Ok(());
    };
    let data = small.dir("data")?;
    let sections = format!(
        "upstreams:\n  - name: origin\n    prefix: /\n    urls: [\"http://{}\"]\n    freshfor: 0s\n",
        origin.host
    );
    let start = || {
        let plan = Plan::open(Program::Larder, &data);
        Plan { storage_lines: COLLECTOR, sections: &sections, ..plan }.start(ring, "cached")
    };
    let Some(server) = report.step("larder", "starts before it", start) else { return Ok(()) };
    let registry = Registry::new(server.http());
    report.case("larder", "serves all of them, the unused make room for the new", || {
        let mut blobs = 0;
        for (_, tag, _) in &images {
            blobs += pulled(&registry, tag)?;
        }
        same("the blobs", &blobs, &(2 * images.len()))
    });
    report.case("larder", "a layer larger than the disk is passed on, and nothing of it is kept", || {
        let layer = huge.blobs.last().context("the layer")?;
        registry
            .http
            .get(&format!("/v2/{REPOSITORY}/manifests/huge"), &[("Accept", ACCEPT)])?
            .expect("GET", &[200])?;
        let path = format!("/v2/{REPOSITORY}/blobs/{}", layer.digest);
        let answer = registry.http.get(&path, &[])?.expect("GET", &[200])?;
        same("whether it is the layer", &(answer.body == layer.bytes), &true)?;
        // Blobs before it may still be on their way to their place.
        let begun = Instant::now();
        loop {
            let fills = super::small::files_below(&data.join("larder/fills"))?;
            if fills.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                fail!("{fills:?} stay behind");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let at_hand: Vec<Pushed> = images.iter().rev().take(2).cloned().collect();
    let Some(ballast) = report.step("disk", "is filled to the last byte", || small.fill()) else {
        return Ok(());
    };
    report.case("larder", "what is at hand is served, and its tag is still asked about", || {
        all_is_there(&registry, &at_hand)
    });
    report.case("larder", "what is not at hand is served too", || {
        same("the blobs", &pulled(&registry, "v1")?, &2)
    });
    drop(ballast);
    report.case("larder", "with room again all is as before, also after a restart", || {
        server.daemon.stop()?;
        let server = start()?;
        let registry = Registry::new(server.http());
        for (_, tag, _) in images.iter().take(4) {
            pulled(&registry, tag)?;
        }
        server.daemon.stop()
    });
    origin.daemon.stop()
}
