//! `larder status`: a running Larder on one screen.

mod page;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use larder_server::About;
use serde_json::Value;

use crate::ask::Asked;
use crate::config::{Config, Environment};

const PATH: &str = "/api/v1/status";

/// `larder status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Ask the one that answers there, such as registry.lan:5000 or https://registry.lan; else the one that runs on this
    /// machine's data directory, or at localhost:5000.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    #[command(flatten)]
    asked: Asked,
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
    let server = arguments.server.as_deref();
    let status = arguments.asked.ask(server, PATH, environment, may_use_system_directory)?;
    if arguments.json {
        writeln!(out, "{status:#}")?;
    } else {
        out.write_all(page::page(&status, SystemTime::now()).as_bytes())?;
    }
    let is_failing =
        status.get("failing").and_then(Value::as_object).is_some_and(|failing| !failing.is_empty());
    Ok(if is_failing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
