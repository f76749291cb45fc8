//! `cargo xtask fuzz`: builds each target of `fuzz/` with libFuzzer's instrumentation and runs it for a while. Done
//! by hand rather than by cargo-fuzz, so that the workspace's own toolchain is enough.

use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::{Context, Result, fail};
use crate::places::{self, Ring};
use crate::process::Run;
use crate::report::Report;

const DEFAULT_SECONDS: u64 = 60;
const BUILD_SECONDS: u64 = 1800;

/// What cargo-fuzz passes as well. The options that start with `-Z` want `RUSTC_BOOTSTRAP`.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing -Cdebug-assertions -Zsanitizer=address";

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let seconds = arguments.number("seconds", DEFAULT_SECONDS)?;
    let mut report = Report::new("fuzz");
    let ring = Ring::fresh("fuzz")?;
    let dir = arguments.text("dir").map_or_else(|| places::workspace().join("fuzz"), PathBuf::from);
    let Some(targets) = report.step("cargo", "there are fuzz targets", || targets(&dir)) else {
        return Ok(report);
    };
    let host = dist::host_triple()?;
    let built = report.case("cargo", "builds the targets", || {
        Run::new("cargo")
            .args(["build", "--release", "--target", &host, "--manifest-path"])
            .arg(dir.join("Cargo.toml"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_TARGET_DIR", dir.join("target"))
            .limit(BUILD_SECONDS)
            .ok()
            .map(drop)
    });
    for target in targets.iter().filter(|_| built) {
        report.case(target, &format!("{seconds} s without a crash"), || {
            let corpus = dir.join("corpus").join(target);
            std::fs::create_dir_all(&corpus)?;
            let mut run = Run::new(dir.join("target").join(&host).join("release").join(target))
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-artifact_prefix={}/{target}-", ring.dir.display()))
                .arg("-rss_limit_mb=2048")
                .arg(&corpus);
            let seeds = dir.join("seeds").join(target);
            if seeds.try_exists()? {
                run = run.arg(&seeds);
            }
            let output = run.dir(&ring.dir).limit(seconds + 120).output()?;
            std::fs::write(ring.dir.join(format!("{target}.log")), output.all())?;
            if output.code != Some(0) {
                fail!("{}", essence(&output.all()));
            }
            Ok(())
        });
    }
    Ok(report)
}

/// What was found and where the input is, of a log that is mostly stack frames.
fn essence(log: &str) -> String {
    let telling = ["panicked at", "ERROR:", "SUMMARY:", "Test unit written to", "Base64:"];
    let mut lines = log.lines().peekable();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if telling.iter().any(|word| line.contains(word)) {
            kept.push(line);
            // A panic's message is on the line after its place.
            kept.extend(lines.next_if(|_| line.contains("panicked at")));
        }
    }
    if kept.is_empty() { log.to_owned() } else { kept.join("\n") }
}

/// The names of the files in `fuzz_targets`, each of which is a binary.
fn targets(dir: &std::path::Path) -> Result<Vec<String>> {
    let folder = dir.join("fuzz_targets");
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&folder).context(folder.display())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        targets.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    targets.sort();
    if targets.is_empty() { fail!("{} has none", folder.display()) } else { Ok(targets) }
}
