//! Larder: a container registry and pull-through cache in one binary.

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
use std::{error::Error, process::ExitCode};

/// Gives memory back to the system after a peak, and is quick in a static binary, where glibc's own is neither.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse_from(cli::rewrite(std::env::args_os()));
    match run(line.command, &std::env::vars_os().collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", explain::with_causes(error.as_ref()));
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
            Ok(users::run(&user, environment, may_use_system_directory, &mut std::io::stdout())?)
        }
        Command::Config(command) => explain::run(
            &command,
            environment,
            may_use_system_directory,
            &mut std::io::stdout(),
            &mut std::io::stderr(),
        ),
        Command::Key(command) => {
            keys::run(&command, environment, may_use_system_directory, &mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Access(command) => {
            access::run(&command, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Backup(command) => {
            backup::run(&command, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Restore(command) => backup::restore(&command, &mut std::io::stdout()),
        Command::Import(command) => images::import(
            &command,
            environment,
            may_use_system_directory,
            &mut std::io::stdout(),
            &mut std::io::stderr(),
        ),
        Command::Export(command) => images::export(&command, environment, may_use_system_directory),
        Command::Verify(command) => {
            verify::run(&command, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Healthcheck { url } => {
            healthcheck::run(url.as_deref(), environment, may_use_system_directory)
        }
        Command::Cache(command) => cache::run(&command, environment, may_use_system_directory),
        Command::Warm(arguments) => cache::warm(&arguments, environment, may_use_system_directory),
        Command::Doctor(arguments) => doctor::run(&arguments, environment, may_use_system_directory),
        Command::Init(arguments) => init::run(&arguments, &mut std::io::stdout()),
        Command::Status(arguments) => {
            status::run(&arguments, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Completions { shell } => Ok(documents::completions(shell, &mut std::io::stdout())),
        Command::Man(arguments) => documents::man(&arguments, &mut std::io::stdout()),
        Command::Problems(arguments) => problems::run(&arguments, &mut std::io::stdout()),
        Command::Mirror(command) => mirror::run(&command, &mut std::io::stdout()),
        Command::Client(arguments) => setup::client(&arguments, &mut std::io::stdout()),
        Command::Proxy(arguments) => setup::proxy(&arguments, &mut std::io::stdout()),
        Command::Gc { now, sweep, dry_run, registry } => {
            space::gc(space::Gc { now, sweep, dry_run }, &registry, environment, may_use_system_directory)
        }
        Command::Undo { what, since: _, to: Some(to), dry_run, registry } => {
            let to = rewind::To { what: what.as_deref(), moment: &to, dry_run };
            rewind::undo(&to, &registry, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Undo { what, since, registry, to: None, dry_run: _ } => {
            space::undo(what.as_deref(), since.as_deref(), &registry, environment, may_use_system_directory)
        }
        Command::Maintenance(maintenance) => {
            maintenance.run(environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::History { tag, registry } => {
            space::history(&tag, &registry, environment, may_use_system_directory)
        }
        Command::Du(arguments) => {
            usage::run(&arguments, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::Retention(command) => {
            retention::run(&command, environment, may_use_system_directory, &mut std::io::stdout())
        }
        Command::GarbageCollect(options) => {
            space::garbage_collect(&options, environment, may_use_system_directory)
        }
    }
}
