//! Larder: a container registry and pull-through cache in one binary.

// It panics when the reader of standard output has left; `output` has what doesn't.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

mod cli;
mod serve;
mod certificates;
mod memory;
mod control;
mod reload;
mod access;
mod audit_log;
mod first_start;
mod telemetry;
mod lines;
mod notify;
mod token_service;
mod upstreams;
mod cache;
mod config;
mod explain;
mod output;
mod data_place;
mod progress;
mod verify;
mod backup;
mod images;
mod edited_file;
mod users;
mod keys;
mod healthcheck;
mod space;
mod maintenance;
mod rewind;
mod retention;
mod usage;
mod doctor;
mod setup;
mod init;
mod ask;
mod status;
mod words;
mod problems;
mod documents;
mod mirror;

use clap::Parser;
use cli::{Command, CommandLine};
use config::{Environment, Source};
use std::{error::Error, io::Write as _, process::ExitCode};

/// What a shell says of a program that a closed pipe has ended.
const READER_LEFT: u8 = 141;

/// Gives memory back to the system after a peak, and is quick in a static binary, where glibc's own is neither.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse_from(cli::rewrite(std::env::args_os()));
    match run(line.command, &std::env::vars_os().collect()) {
        Ok(code) => code,
        Err(error) if output::reader_left(error.as_ref()) => ExitCode::from(READER_LEFT),
        Err(error) => {
            // Standard error may be closed, too.
            let _ = writeln!(std::io::stderr(), "{}", explain::with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, environment: &Environment) -> Result<ExitCode, Box<dyn Error>> {
    let may_use_system_directory = config::may_use_system_directory();
    match command {
        Command::Serve(options) => {
            let source = Source::choose(
                options.config.as_deref(),
                options.data.as_deref(),
                environment,
                may_use_system_directory,
            )?;
            serve::serve(source, &options.tls.said_in(environment), &options.ignored)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::User(user) => {
            Ok(users::run(&user, environment, may_use_system_directory, &mut output::standard())?)
        }
        Command::Config(command) => explain::run(
            &command,
            environment,
            may_use_system_directory,
            &mut output::standard(),
            &mut std::io::stderr(),
        ),
        Command::Key(command) => {
            keys::run(&command, environment, may_use_system_directory, &mut output::standard())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Access(command) => {
            access::run(&command, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Backup(command) => {
            backup::run(&command, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Restore(command) => backup::restore(&command, &mut output::standard()),
        Command::Import(command) => images::import(
            &command,
            environment,
            may_use_system_directory,
            &mut output::standard(),
            &mut std::io::stderr(),
        ),
        Command::Export(command) => images::export(&command, environment, may_use_system_directory),
        Command::Verify(command) => {
            verify::run(&command, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Healthcheck { url } => {
            healthcheck::run(url.as_deref(), environment, may_use_system_directory)
        }
        Command::Cache(command) => cache::run(&command, environment, may_use_system_directory),
        Command::Warm(arguments) => cache::warm(&arguments, environment, may_use_system_directory),
        Command::Doctor(arguments) => doctor::run(&arguments, environment, may_use_system_directory),
        Command::Init(arguments) => init::run(&arguments, &mut output::standard()),
        Command::Status(arguments) => {
            status::run(&arguments, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Completions { shell } => documents::completions(shell, &mut output::standard()),
        Command::Man(arguments) => documents::man(&arguments, &mut output::standard()),
        Command::Problems(arguments) => {
            problems::run(&arguments, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Mirror(command) => mirror::run(&command, &mut output::standard()),
        Command::Client(arguments) => setup::client(&arguments, &mut output::standard()),
        Command::Proxy(arguments) => setup::proxy(&arguments, &mut output::standard()),
        Command::Gc { now, sweep, dry_run, registry } => {
            space::gc(space::Gc { now, sweep, dry_run }, &registry, environment, may_use_system_directory)
        }
        Command::Undo { what, since: _, to: Some(to), dry_run, registry } => {
            let to = rewind::To { what: what.as_deref(), moment: &to, dry_run };
            rewind::undo(&to, &registry, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Undo { what, since, registry, to: None, dry_run: _ } => {
            space::undo(what.as_deref(), since.as_deref(), &registry, environment, may_use_system_directory)
        }
        Command::Maintenance(maintenance) => {
            maintenance.run(environment, may_use_system_directory, &mut output::standard())
        }
        Command::History { tag, registry } => {
            space::history(&tag, &registry, environment, may_use_system_directory)
        }
        Command::Du(arguments) => {
            usage::run(&arguments, environment, may_use_system_directory, &mut output::standard())
        }
        Command::Retention(command) => {
            retention::run(&command, environment, may_use_system_directory, &mut output::standard())
        }
        Command::GarbageCollect(options) => {
            space::garbage_collect(&options, environment, may_use_system_directory)
        }
    }
}
