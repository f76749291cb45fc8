//! `larder status`: a running Larder on one screen.

mod page;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use larder_server::About;
use serde_json::Value;

use crate::ask::Asked;
use crate::cli::ThisRegistry;
use crate::config::{Config, Environment};
use crate::space::Place;

const PATH: &str = "/api/v1/status";

/// Who is asked when no Larder runs on this machine's data directory.
const LOCAL: &str = "localhost:5000";

/// `larder status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Ask the one that answers there, such as registry.lan:5000 or https://registry.lan; else the one that runs on this
    /// machine's data directory, or at localhost:5000.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    /// Who may administer it; else the login that docker or podman has for it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from this file; a line break at its end doesn't count.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    registry: ThisRegistry,
    /// Print what was answered as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints. The exit code is 1 when a health check of it fails.
///
/// # Errors
/// None runs where it should, or it doesn't tell this user.
pub(crate) fn run(
    arguments: &Arguments,
    environment: &Environment,
    may_use_system_directory: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let status = ask(arguments, environment, may_use_system_directory)?;
    if arguments.json {
        writeln!(out, "{status:#}")?;
    } else {
        out.write_all(page::page(&status, SystemTime::now()).as_bytes())?;
    }
    let is_failing =
        status.get("failing").and_then(Value::as_object).is_some_and(|failing| !failing.is_empty());
    Ok(if is_failing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ask(
    arguments: &Arguments,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<Value, Box<dyn Error>> {
    let there = |server: &str| {
        let asked = Asked::at(server.to_owned(), arguments.user.clone(), arguments.password_file.clone());
        asked.asker()?.json(PATH)
    };
    if let Some(server) = &arguments.server {
        return there(server);
    }
    let (config, data) = (arguments.registry.config.as_deref(), arguments.registry.data.as_deref());
    let is_named = config.is_some() || data.is_some();
    let here = Place::find(config, data, environment, may_use_system_directory)
        .and_then(|place| Ok((place.ask("GET", PATH)?, place)));
    match here {
        Ok((Some(status), _)) => Ok(status),
        Ok((None, place)) if is_named => Err(format!("no Larder runs on {}", place.root.display()).into()),
        Ok((None, place)) => there(LOCAL).map_err(|error| {
            format!(
                "no Larder runs on {}, and at {LOCAL}: {error}; see --data, --config and --server",
                place.root.display()
            )
            .into()
        }),
        Err(error) if is_named => Err(error),
        // The data directory is another user's, or in a container.
        Err(error) => there(LOCAL).map_err(|other| format!("{error}; and at {LOCAL}: {other}").into()),
    }
}

/// What a process says of itself there. Upstreams' own ports are told as they are written.
pub(crate) fn about(config: &Config, address: &str, is_port: bool) -> About {
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let main = if is_port { format!("{scheme}://{address}") } else { address.to_owned() };
    let own_ports = config.upstreams.iter().filter_map(|upstream| upstream.addr.as_ref());
    let own_ports = own_ports.map(|address| format!("{scheme}://{address}"));
    About {
        version: env!("CARGO_PKG_VERSION"),
        started: SystemTime::now(),
        addresses: std::iter::once(main).chain(own_ports).collect(),
    }
}
