//! `cargo xtask bench`: what an answer costs beside nginx and docker-registry 2.8.2.
//!
//! All serve the same bytes on the same machine, one after the other within each case and all cases in rounds, and
//! each is charged its own CPU, of all its processes, as the kernel counts it. CPU for a request is what stays the
//! same on a machine that others use, too, and what a larger machine divides; only ratios mean anything elsewhere.
//! No case asserts a time. What fails is a wrong answer: each case looks at one whole answer before and after its
//! run, and during it no answer may have another status.

mod client;
mod content;
mod fixture;
mod load;
mod meter;
mod nginx;
mod output;
mod stand;
mod token;

mod profile;

mod many;
mod memory;
mod misses;
mod pushes;
mod reads;

use std::time::Duration;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::Result;
use crate::places::Ring;
use crate::report::Report;

use output::{Figures, Results};
use stand::Scene;

const DEFAULT_ROUNDS: u64 = 3;
/// The kernel counts in steps of 10 ms, so that a run must be a lot longer than that.
const DEFAULT_SECONDS: u64 = 3;
/// How long a server is asked before the clock starts.
const WARM_UP: Duration = Duration::from_millis(300);
/// A run of the slice, which asks only whether the answers are right, and its warm-up.
const RUN_OF_SLICE: Duration = Duration::from_millis(200);
const WARM_UP_OF_SLICE: Duration = Duration::from_millis(20);

/// What the command line asks for.
struct Options {
    rounds: u64,
    /// How long a run takes.
    time: Duration,
    warm_up: Duration,
    /// Only cases whose names hold this.
    only: String,
    /// One short round that only looks whether the answers are right.
    slice: bool,
}

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let ring = Ring::fresh("bench")?;
    dist::shipped()?;
    let scene = Scene::make(&ring, Options::read(arguments)?)?;
    let mut results = Results { report: Report::new("bench"), figures: Figures::default() };
    if arguments.text("profile").is_some() {
        profile::make(&scene, &mut results.report)?;
        return Ok(results.report);
    }
    for part in [reads::measure, pushes::measure, many::measure, memory::measure, misses::measure] {
        part(&scene, &mut results)?;
    }
    println!("\n{}", results.figures.table());
    println!("{}", results.figures.write(&scene.options)?.display());
    Ok(results.report)
}

impl Options {
    fn read(arguments: &Arguments) -> Result<Self> {
        let slice = arguments.text("slice").is_some();
        let time = match slice && arguments.text("seconds").is_none() {
            true => RUN_OF_SLICE,
            false => Duration::from_secs(arguments.number("seconds", DEFAULT_SECONDS)?.max(1)),
        };
        Ok(Self {
            rounds: arguments.number("rounds", if slice { 1 } else { DEFAULT_ROUNDS })?,
            time,
            warm_up: if slice { WARM_UP_OF_SLICE } else { WARM_UP },
            only: arguments.text("only").unwrap_or_default().to_owned(),
            slice,
        })
    }

    fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }
}
