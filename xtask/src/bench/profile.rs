//! Where Larder's cycles go in the hottest answers, with many clients too, and in pushes, as text that is kept beside this file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::client::Request;
use super::fixture::{Fixture, REPOSITORY, TAG};
use super::load::{Client, Load};
use super::pushes::Push;
use super::stand::{Scene, Stand, Way, Who};
use crate::failure::{Context, Result, fail};
use crate::image::OCI_MANIFEST;
use crate::places;
use crate::process::Run;
use crate::report::Report;

/// Samples a second: no divisor of what the kernel and the runtime do in regular steps.
const FREQUENCY: &str = "1997";
/// How many lines of functions a profile has; what lies below is less than a hundredth.
const FUNCTIONS: usize = 40;
const DIR: &str = "xtask/src/bench/profiles";

pub(super) fn make(scene: &Scene<'_>, report: &mut Report) -> Result {
    if Run::new("perf").arg("--version").output().is_err() {
        fail!("perf is missing: it is in Debian's package linux-perf, in Ubuntu's linux-tools-generic");
    }
    let fixture = Fixture::write(scene.ring, usize::MAX)?;
    let data = scene.ring.make_dir("data-profile")?;
    fixture.copy_for(Who::Larder, &data)?;
    let stand = Stand::start(scene, Who::Larder, Way::Plain, "larder-profile", &data)?;
    let manifest = Request::get(format!("/v2/{REPOSITORY}/manifests/{TAG}")).with("Accept", OCI_MANIFEST);
    let blob = |digest: &str| Request::get(format!("/v2/{REPOSITORY}/blobs/{digest}"));
    let smallest = fixture.layers.first().context("the smallest layer")?;
    let small = fixture.layers.get(1).context("the layer of 64 KiB")?;
    let largest = fixture.layers.last().context("the largest layer")?;
    let cases = [
        ("manifest-by-tag-c16", manifest.clone(), Client::Wrk, 16),
        ("blob-1-kib-c16", blob(&smallest.digest), Client::Wrk, 16),
        // With so many clients Larder is behind nginx.
        ("manifest-by-tag-c1000", manifest.clone(), Client::Wrk, 1000),
        ("blob-64-kib-c1000", blob(&small.digest), Client::Wrk, 1000),
        ("blob-200-mib-c1", blob(&largest.digest), Client::Own, 1),
    ];
    for (name, request, client, connections) in cases {
        // Longer than perf looks: it is to see nothing but the middle.
        let time = scene.options.time + Duration::from_secs(2);
        let load = Load { client, request: &request, status: 200, connections, time };
        report.case("larder", name, || {
            keep(scene, &stand, name, || {
                let done = load.run(&stand)?;
                let microseconds = done.cpu_seconds * 1e6 / done.requests as f64;
                Ok(format!("Larder answers {name}: {microseconds:.1} µs of CPU a request"))
            })
        });
    }
    drop(stand);
    for (name, push) in [("push-4-kib-c1", Push::small()), ("push-2-gb-c1", Push::large())] {
        report.case("larder", name, || {
            let data = scene.ring.make_dir(format!("data-{name}"))?;
            let stand = Stand::start(scene, Who::Larder, Way::Plain, name, &data)?;
            keep(scene, &stand, name, || {
                let cpu_seconds = push.onto(&stand, &push.layers(1))?.cpu_seconds;
                let milliseconds = cpu_seconds * 1e3 / push.units();
                Ok(format!("Larder takes in {name}: {milliseconds:.2} ms of CPU {}", push.of_unit()))
            })?;
            stand.stop()?;
            Ok(fs::remove_dir_all(&data)?)
        });
    }
    println!("{DIR}");
    Ok(())
}

/// Writes down what perf sees of Larder while this work is done, under the sentence that it ends with.
fn keep(scene: &Scene<'_>, stand: &Stand, name: &str, work: impl FnOnce() -> Result<String>) -> Result {
    let samples = scene.ring.dir.join(format!("{name}.perf"));
    let seconds = scene.options.time.as_secs().max(1).to_string();
    let pid = stand.pid().to_string();
    let perf = Run::new("perf").args(["record", "-g", "-q", "-F", FREQUENCY, "-p", &pid, "-o"]);
    let perf = perf.arg(&samples).args(["--", "sleep", &seconds]);
    let sentence = std::thread::scope(|scope| {
        let perf = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            perf.ok()
        });
        let sentence = work();
        match perf.join() {
            Ok(recorded) => recorded.and(sentence),
            Err(_) => fail!("the thread that waits for perf panicked"),
        }
    })?;
    let by_object = report(&samples, &["--sort", "dso"])?;
    let by_function = report(&samples, &["--sort", "dso,symbol", "--percent-limit", "0.2"])?;
    let functions: Vec<&str> = by_function.lines().take(FUNCTIONS).collect();
    let profile = format!(
        "{sentence}, in one run that perf watched.\n\n\
         Share of samples by program, library and kernel:\n{by_object}\n\n\
         By function:\n{}\n",
        functions.join("\n")
    );
    let dir = places::workspace().join(DIR);
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join(format!("{name}.txt")), profile)?)
}

/// The lines of a report that say something, without the empty columns at their ends (some versions of perf print `-`
/// for what the processor didn't count). Callers are left out: `perf report` on the samples has them.
fn report(samples: &Path, sorted: &[&str]) -> Result<String> {
    let run = Run::new("perf").args(["report", "--stdio", "--no-children", "-g", "none", "-i"]).arg(samples);
    let printed = run.args(sorted).ok()?;
    let lines: Vec<&str> = printed
        .lines()
        .map(|line| line.trim_end_matches([' ', '-']))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        fail!("perf saw no sample:\n{printed}");
    }
    Ok(lines.join("\n"))
}
