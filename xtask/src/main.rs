//! `cargo xtask <command>`: Larder's test rings. `README.md` beside this crate says what each proves.
#![expect(clippy::disallowed_methods, reason = "test driver: nothing here is the registry's data")]

mod arguments;
mod failure;
mod random;

mod places;
mod process;
mod report;

mod http;
mod image;
mod registry;
mod server;
mod tls;

mod dist;
mod tools;
mod traefik;

mod bench;
mod cache;
mod certificates;
mod clients;
mod conformance;
mod container;
mod crash;
mod doctor;
mod fuzz;
mod hands;
mod moves;
mod newcomer;
mod proxies;
mod space;
mod suite;
mod swap;
mod tidy;
mod tokens;
mod walk;

use std::process::ExitCode;

use arguments::Arguments;
use failure::{Result, fail};
use report::Report;

/// A command: its name, the arguments it knows, and what it does.
type Ring = (&'static str, &'static [&'static str], fn(&Arguments) -> Result<Report>);

const RINGS: &[Ring] = &[
    ("tools", &[], tools::ring),
    ("tidy", &[], tidy::ring),
    ("conformance", &["peer", "registry"], conformance::ring),
    ("swap", &["peer"], swap::ring),
    ("clients", &["peer", "only"], clients::ring),
    ("doors", &[], clients::doors::ring),
    ("proxies", &["peer"], proxies::ring),
    ("doctor", &["only"], doctor::ring),
    ("certificates", &[], certificates::ring),
    ("newcomer", &[], newcomer::ring),
    ("cache", &[], cache::ring),
    ("tokens", &[], tokens::ring),
    ("crash", &["peer", "rounds", "seed"], crash::ring),
    ("space", &["rounds", "seed"], space::ring),
    ("walk", &[], walk::ring),
    ("moves", &[], moves::ring),
    ("image", &[], container::ring),
    ("bench", &["rounds", "seconds", "only", "slice", "profile"], bench::ring),
    ("fuzz", &["seconds", "dir"], fuzz::ring),
    ("test", &[], suite::ring),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result {
    let Some((command, words)) = words.split_first() else {
        fail!("usage: cargo xtask <command>; {}", commands())
    };
    if command == "dist" {
        println!("{}", dist::make()?.display());
        return Ok(());
    }
    let Some((_, known, ring)) = RINGS.iter().find(|(name, ..)| name == command) else {
        fail!("unknown command {command:?}; {}", commands());
    };
    ring(&Arguments::parse(words, known)?)?.finish()
}

fn commands() -> String {
    let names: Vec<&str> = RINGS.iter().map(|(name, ..)| *name).collect();
    format!("commands: dist, {}", names.join(", "))
}
