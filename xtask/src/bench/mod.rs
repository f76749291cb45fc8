//! `cargo xtask bench`: what an answer costs beside nginx and docker-registry 2.8.2.
//!
//! All serve the same bytes on the same machine, one after the other within each case and all cases in rounds, and
//! each is charged its own CPU, of all its processes, as the kernel counts it. CPU for a request is what stays the
//! same on a machine that others use, too, and what a larger machine divides; only ratios mean anything elsewhere.
//! No case asserts a time. What fails is a wrong answer: each case looks at one whole answer before and after its
//! run, and during it no answer may have another status.

mod client;
mod cpu;
mod fixture;
mod load;
mod nginx;
mod output;
mod reads;
mod stand;

use serde_json::json;

use crate::arguments::Arguments;
use crate::failure::Result;
use crate::places::{LOOPBACK, Ring};
use crate::report::Report;
use crate::tls::Authority;

use fixture::Fixture;
use output::Figures;
use reads::Read;
use stand::{EVERYBODY, Stand, Way};

const DEFAULT_ROUNDS: u64 = 3;
/// The kernel counts in steps of 10 ms, so that a run must be a lot longer than that.
const DEFAULT_SECONDS: u64 = 3;
/// The largest layer in `--slice`, which is to take no time.
const LARGEST_OF_SLICE: usize = 8 << 20;

/// What the command line asks for.
struct Options {
    rounds: u64,
    seconds: u64,
    /// Only cases whose names hold this.
    only: String,
    /// One short round that only looks whether the answers are right.
    slice: bool,
}

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let slice = arguments.text("slice").is_some();
    let options = Options {
        rounds: arguments.number("rounds", if slice { 1 } else { DEFAULT_ROUNDS })?,
        seconds: arguments.number("seconds", if slice { 1 } else { DEFAULT_SECONDS })?.max(1),
        only: arguments.text("only").unwrap_or_default().to_owned(),
        slice,
    };
    let mut report = Report::new("bench");
    let ring = Ring::fresh("bench")?;
    let mut figures = Figures::default();
    read(&mut report, &mut figures, &ring, &options)?;
    println!("\n{}", figures.table());
    println!("{}", figures.write(options.rounds, options.seconds)?.display());
    Ok(report)
}

/// Everything that is read of one image, in all ways.
fn read(report: &mut Report, figures: &mut Figures, ring: &Ring, options: &Options) -> Result {
    let largest = if options.slice { LARGEST_OF_SLICE } else { usize::MAX };
    let fixture = Fixture::write(ring, largest)?;
    let authority = Authority::make(ring, &[LOOPBACK])?;
    let trust = stand::trust(&authority)?;
    let mut cases = reads::all(&fixture, &[Way::Plain]);
    cases.retain(|case: &Read| case.name.contains(&options.only));
    let mut stands = Vec::new();
    for way in [Way::Plain].into_iter().filter(|way| cases.iter().any(|case| case.way == *way)) {
        for who in EVERYBODY {
            let name = who.to_string();
            let started = report.step(&name, &format!("{way} starts"), || {
                Stand::start(ring, *who, way, &fixture, &authority, &trust)
            });
            stands.extend(started.map(|stand| (way, stand)));
        }
    }
    for round in 1..=options.rounds {
        for case in &cases {
            for (_, stand) in stands.iter().filter(|(way, _)| *way == case.way) {
                let what = format!("{round}: {}", case.name);
                let done =
                    report.step(&stand.who.to_string(), &what, || case.measure(stand, options.seconds));
                let Some(done) = done else { continue };
                let raw = json!({
                    "requests": done.requests,
                    "bytes": done.bytes,
                    "seconds": done.seconds,
                    "cpu_seconds": done.cpu_seconds,
                });
                figures.add(&case.name, case.unit.title(), stand.who, round, case.unit.charge(&done), raw);
            }
        }
    }
    Ok(())
}
