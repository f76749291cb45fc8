//! `cargo xtask crash`: a storm of pushes, tag moves and deletes, with SIGKILL in the middle of it, again and again
//! on the same directory. What was acknowledged must be there whole; what was in flight must be there whole or not
//! at all; and the index must be the one that a rebuild from the files gives. Then the commands that copy and collect
//! are killed likewise.

mod ledger;
mod processes;
mod storm;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::failure::{Result, fail};
use crate::http::Body;
use crate::places::Ring;
use crate::random::Random;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

use ledger::Ledger;
use storm::Worker;

const WORKERS: u64 = 6;
const DEFAULT_ROUNDS: u64 = 25;
const DEFAULT_SEED: u64 = 1;
/// So short that what is deleted goes within the same storm.
const COLLECTOR: &str = "  maintenance:\n    gc:\n      grace: 250ms\n";
/// After so many rounds of storms comes one in which the commands are killed.
const ROUNDS_FOR_ONE_OF_PROCESSES: u64 = 8;
/// The kill comes at a random time within this.
const STORM_MILLISECONDS: u64 = 1800;
/// Every so many rounds everything is read again, not only what the round touched, and the index is rebuilt.
const FULL_CHECK_EVERY: u64 = 6;

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let program = Program::chosen(arguments)?;
    let rounds = arguments.number("rounds", DEFAULT_ROUNDS)?;
    let seed = arguments.number("seed", DEFAULT_SEED)?;
    let mut report = Report::new("crash");
    println!("seed {seed}, {rounds} rounds");
    let ring = Ring::fresh("crash")?;
    let data = ring.make_dir("data")?;
    let mut random = Random::new(seed);
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(number, seed, program)).collect();
    for round in 1..=rounds {
        let who = format!("round {round}");
        let full = round == rounds || round % FULL_CHECK_EVERY == 0;
        let kill_after = Duration::from_millis(random.below(STORM_MILLISECONDS) + 20);
        let mut acknowledged = 0;
        report.case(&who, "storm, then SIGKILL", || {
            acknowledged = storm(&ring, program, &data, &mut workers, kill_after)?;
            Ok(())
        });
        println!("{:<16} killed after {kill_after:?}, {acknowledged} changes acknowledged", "");
        let Some(server) = report.step(&who, "it starts again", || start(&ring, program, &data)) else {
            break;
        };
        let registry = Registry::new(server.http());
        report.case(&who, if full { "everything is whole" } else { "what was touched is whole" }, || {
            let mut ledgers: Vec<&mut Ledger> = workers.iter_mut().map(|worker| &mut worker.ledger).collect();
            ledger::check(&registry, &mut ledgers, full)
        });
        if full {
            report.case(&who, "the index is what a rebuild gives", || {
                rebuild(&ring, program, &data, server, &workers)
            });
        }
        // Otherwise the server is ended by SIGTERM here, so that kills hit fresh and settled directories alike.
    }
    if program == Program::Larder {
        processes::cases(&mut report, &ring, (rounds / ROUNDS_FOR_ONE_OF_PROCESSES).max(1), seed)?;
    }
    Ok(report)
}

fn start(ring: &Ring, program: Program, data: &Path) -> Result<Server> {
    // Larder's collector is at work in the storm, too.
    let storage_lines = match program {
        Program::Larder => COLLECTOR,
        Program::DockerRegistry => "",
    };
    Plan { storage_lines, ..Plan::open(program, data) }.start(ring, "registry")
}

/// Lets the workers loose, kills the registry under them, and counts what it had acknowledged.
fn storm(
    ring: &Ring,
    program: Program,
    data: &Path,
    workers: &mut [Worker],
    kill_after: Duration,
) -> Result<u64> {
    let mut server = start(ring, program, data)?;
    let registry = Registry::new(server.http());
    let killed = AtomicBool::new(false);
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let (registry, killed) = (&registry, &killed);
        let threads: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(move || worker.run(registry, killed))).collect();
        // Not a wait for anything: the moment of the kill is what is being varied.
        std::thread::sleep(kill_after);
        killed.store(true, Ordering::SeqCst);
        let outcome = server.daemon.kill();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or(Some("a worker panicked".to_owned())));
        ended.flatten().chain(outcome.err().map(|failure| failure.to_string())).collect()
    });
    if !complaints.is_empty() {
        fail!("before the kill:\n{}", complaints.join("\n"));
    }
    Ok(workers.iter_mut().map(|worker| std::mem::take(&mut worker.acknowledged)).sum())
}

/// Lists everything, deletes the index, and lists again.
fn rebuild(ring: &Ring, program: Program, data: &Path, server: Server, workers: &[Worker]) -> Result {
    let ledgers: Vec<&Ledger> = workers.iter().map(|worker| &worker.ledger).collect();
    if program == Program::Larder {
        // What is going to go goes now: the collector must change nothing between the two lists.
        let path = "/api/v1/gc?now=true";
        server.http().send("POST", path, &[], Body::Whole(&[]))?.expect(path, &[200])?;
    }
    let kept = ledger::listing(&Registry::new(server.http()), &ledgers, program)?;
    server.daemon.stop()?;
    crate::swap::forget_index(data, program)?;
    let server = start(ring, program, data)?;
    let rebuilt = ledger::listing(&Registry::new(server.http()), &ledgers, program)?;
    server.daemon.stop()?;
    let differences: Vec<String> = kept
        .keys()
        .chain(rebuilt.keys().filter(|path| !kept.contains_key(*path)))
        .filter(|path| kept.get(*path) != rebuilt.get(*path))
        .map(|path| format!("{path}\n  kept    {:?}\n  rebuilt {:?}", kept.get(path), rebuilt.get(path)))
        .collect();
    if !differences.is_empty() {
        let shown: Vec<&str> = differences.iter().take(5).map(String::as_str).collect();
        fail!("{} of {} lists differ:\n{}", differences.len(), kept.len(), shown.join("\n"));
    }
    Ok(())
}
