//! Many push at once while the room comes and goes: whatever was acknowledged stays, and there are two answers only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::full::BESIDE;
use super::small::{Small, files_below};
use super::{Pushed, all_is_there};
use crate::failure::{Result, fail};
use crate::http::{Body, Http};
use crate::image::Image;
use crate::places::Ring;
use crate::random::Random;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

const WORKERS: u64 = 4;
const COLLECTOR: &str = "  maintenance:\n    gc:\n      grace: 250ms\n";
/// How long each round lasts.
const ROUND: Duration = Duration::from_millis(2500);
/// What is left free by the ballast at most: a few small images.
const MOST_LEFT: u64 = 600_000;

pub(super) fn cases(report: &mut Report, ring: &Ring, rounds: u64, seed: u64) -> Result {
    report.about("storm");
    println!("seed {seed}, {rounds} rounds");
    let Some(small) = report.step("disk", "a file system is made", || Small::make(ring, "storm", 40)) else {
        return Ok(());
    };
    let data = small.dir("data")?;
    let start = || {
        let plan = Plan::open(Program::Larder, &data);
        Plan { storage_lines: COLLECTOR, sections: BESIDE, ..plan }.start(ring, "storm")
    };
    let mut random = Random::new(seed);
    let mut pushed: Vec<Pushed> = Vec::new();
    let mut server: Server = start()?;
    for round in 1..=rounds {
        let who = format!("round {round}");
        let before = pushed.len();
        let mut refused = 0;
        report.case(&who, "pushes while the disk is full now and then", || {
            let http = server.http();
            refused = storm(&small, &http, &mut pushed, &mut random, round)?;
            Ok(())
        });
        println!("{:<16} {} images acknowledged, {refused} refused", "", pushed.len() - before);
        report.case(&who, "what was acknowledged is there, on a full disk", || {
            let _ballast = small.fill()?;
            all_is_there(&Registry::new(server.http()), &pushed)
        });
        if round % 3 == 0 {
            let again = report.step(&who, "and after a kill on a full disk", || {
                let _ballast = small.fill()?;
                server.daemon.kill()?;
                let server = start()?;
                all_is_there(&Registry::new(server.http()), &pushed)?;
                Ok(server)
            });
            let Some(again) = again else { return Ok(()) };
            server = again;
        }
        report.case(&who, "what is deleted gives its room back", || {
            make_room(&small, &server, &mut pushed, &mut random)
        });
    }
    report.case("larder", "the index is what a rebuild gives", || {
        let lists = |server: &Server| {
            let registry = Registry::new(server.http());
            all_is_there(&registry, &pushed)?;
            let mut lists = Vec::new();
            for repository in registry.repositories()? {
                lists.push((registry.tags(&repository)?, repository));
            }
            Ok::<_, crate::failure::Failure>(lists)
        };
        let kept = lists(&server)?;
        server.daemon.stop()?;
        crate::swap::forget_index(&data, Program::Larder)?;
        let server = start()?;
        crate::failure::same("the lists", &lists(&server)?, &kept)?;
        server.daemon.stop()
    });
    Ok(())
}

/// Workers push, a reader pulls, and the ballast comes and goes. Gives how many pushes were refused.
fn storm(
    small: &Small,
    http: &Http,
    pushed: &mut Vec<Pushed>,
    random: &mut Random,
    round: u64,
) -> Result<u64> {
    let (stop, refused) = (AtomicBool::new(false), Mutex::new(0));
    let complaints: Mutex<Vec<String>> = Mutex::default();
    let acknowledged: Mutex<Vec<Pushed>> = Mutex::default();
    let known = pushed.clone();
    std::thread::scope(|scope| -> Result {
        for number in 0..WORKERS {
            let mut random = Random::new(random.below(u64::MAX));
            let (stop, refused, complaints, acknowledged) = (&stop, &refused, &complaints, &acknowledged);
            scope.spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::SeqCst) {
                    count += 1;
                    let repository = format!("storm/{}", random.below(3));
                    let tag = format!("r{round}-w{number}-{count}");
                    let size = random.below(400_000) as usize;
                    let image = Image::single(random.below(u64::MAX >> 8), "amd64", &[size, 200]);
                    match push(http, &repository, &tag, &image) {
                        Ok(true) => lock(acknowledged).push((repository, tag, image)),
                        Ok(false) => *lock(refused) += 1,
                        Err(failure) => lock(complaints).push(failure.to_string()),
                    }
                }
            });
        }
        scope.spawn(|| {
            let registry = Registry::new(http.clone());
            while !stop.load(Ordering::SeqCst) {
                if let Err(failure) = all_is_there(&registry, &known) {
                    lock(&complaints).push(format!("during the storm: {failure}"));
                }
            }
        });
        let begun = std::time::Instant::now();
        let mut outcome = Ok(());
        while begun.elapsed() < ROUND && outcome.is_ok() {
            outcome = small.fill_but(random.below(MOST_LEFT)).map(|ballast| {
                // Not a wait for anything: how long it stays full is what is being varied.
                std::thread::sleep(Duration::from_millis(random.below(300)));
                drop(ballast);
                std::thread::sleep(Duration::from_millis(random.below(100)));
            });
        }
        stop.store(true, Ordering::SeqCst);
        outcome
    })?;
    pushed.append(&mut lock(&acknowledged));
    let complaints = lock(&complaints);
    if !complaints.is_empty() {
        let shown: Vec<&str> = complaints.iter().take(5).map(String::as_str).collect();
        fail!("{} complaints:\n{}", complaints.len(), shown.join("\n"));
    }
    let refused = *lock(&refused);
    Ok(refused)
}

/// Whether it was acknowledged; another answer than yes and "the disk is full" is an error.
fn push(http: &Http, repository: &str, tag: &str, image: &Image) -> Result<bool> {
    let begin = format!("/v2/{repository}/blobs/uploads/");
    for blob in image.all_blobs() {
        let begun = http.send("POST", &begin, &[], Body::Whole(&[]))?.expect("POST", &[202, 507])?;
        if begun.status == 507 {
            return Ok(false);
        }
        let path = crate::registry::with_query(&begun.location()?, &format!("digest={}", blob.digest));
        let put = http.send("PUT", &path, &[], Body::Whole(&blob.bytes))?.expect("PUT", &[201, 507])?;
        if put.status == 507 {
            return Ok(false);
        }
    }
    let path = format!("/v2/{repository}/manifests/{tag}");
    let headers = [("Content-Type", image.manifest.media_type.as_str())];
    let put = http.send("PUT", &path, &headers, Body::Whole(&image.manifest.bytes))?;
    Ok(put.expect("PUT manifest", &[201, 507])?.status == 201)
}

/// Deletes about half, and waits until the collector has given the room back.
fn make_room(small: &Small, server: &Server, pushed: &mut Vec<Pushed>, random: &mut Random) -> Result {
    let registry = Registry::new(server.http());
    let blobs = small.root.join("data/docker/registry/v2/blobs");
    let before = files_below(&blobs)?.len();
    let (mut kept, mut gone) = (Vec::new(), 0);
    for (repository, tag, image) in std::mem::take(pushed) {
        if random.below(2) == 0 && kept.len() < 40 {
            kept.push((repository, tag, image));
            continue;
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        // With nothing left even for the event of it, it happens and is not acknowledged.
        match registry.delete(&path)? {
            202 | 404 | 507 => gone += 1,
            status => fail!("DELETE {path} answered {status}"),
        }
    }
    *pushed = kept;
    let path = "/api/v1/gc?now=true&sweep=true";
    registry.http.send("POST", path, &[], Body::Whole(&[]))?.expect(path, &[200])?;
    all_is_there(&registry, pushed)?;
    let after = files_below(&blobs)?.len();
    if gone > 3 && after >= before {
        fail!("{gone} images were deleted, and {before} files became {after}");
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
