//! `cargo xtask test`: everything, in the order in which failures are cheapest to understand.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::Result;
use crate::report::Report;
use crate::{
    bench, cache, certificates, clients, conformance, container, crash, doctor, fuzz, moves, newcomer,
    proxies, space, swap, tidy, tokens, tools, walk,
};

/// How long each fuzz target runs here; long runs are made by hand.
const FUZZ_SECONDS: &str = "15";

type Stage = (&'static str, fn() -> Result<Report>);

const STAGES: &[Stage] = &[
    ("tools", || tools::ring(&Arguments::none())),
    ("tidy", || tidy::ring(&Arguments::none())),
    ("fmt", || cargo("fmt", &["fmt", "--all", "--check"])),
    ("clippy", || cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("cargo test", || cargo("cargo test", &["test", "--workspace"])),
    ("dist", || {
        let mut report = Report::new("dist");
        report.case("cargo", "the static binary is built", dist::prefer_shipped);
        Ok(report)
    }),
    ("conformance", || conformance::ring(&Arguments::none())),
    ("swap", || swap::ring(&Arguments::none())),
    ("clients", || clients::ring(&Arguments::none())),
    ("doors", || clients::doors::ring(&Arguments::none())),
    ("proxies", || proxies::ring(&Arguments::none())),
    ("doctor", || doctor::ring(&Arguments::none())),
    ("cache", || cache::ring(&Arguments::none())),
    ("certificates", || certificates::ring(&Arguments::none())),
    ("newcomer", || newcomer::ring(&Arguments::none())),
    ("tokens", || tokens::ring(&Arguments::none())),
    ("crash", || crash::ring(&Arguments::none())),
    ("space", || space::ring(&Arguments::none())),
    ("walk", || walk::ring(&Arguments::none())),
    ("moves", || moves::ring(&Arguments::none())),
    ("bench", || bench::ring(&Arguments::parse(&["--slice".to_owned()], &["slice"])?)),
    ("image", || container::ring(&Arguments::none())),
    ("fuzz", || {
        fuzz::ring(&Arguments::parse(&["--seconds".to_owned(), FUZZ_SECONDS.to_owned()], &["seconds"])?)
    }),
];

/// Runs every stage even after one has failed; one run then tells all that is wrong.
pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut all = Report::new("test");
    let mut summary = Vec::new();
    for (name, stage) in STAGES {
        let start = Instant::now();
        let report = stage().unwrap_or_else(|failure| {
            let mut report = Report::new(name);
            report.case(name, "runs to its end", || Err(failure));
            report
        });
        let (passed, failed) = (report.passed, report.failed.len());
        summary.push(format!(
            "{name:<12} {passed:>5} passed {failed:>4} failed {:>7.1} s",
            start.elapsed().as_secs_f64()
        ));
        all.add(report);
    }
    println!("\n== summary ==\n{}", summary.join("\n"));
    Ok(all)
}

/// One of cargo's own checks, shown as it runs.
fn cargo(name: &str, arguments: &[&str]) -> Result<Report> {
    let mut report = Report::new(name);
    report.case("cargo", name, || dist::cargo().args(arguments).shown());
    Ok(report)
}
