//! `larder cache status` and `larder cache warm`: what is asked of a running Larder about what it keeps of other registries.

mod asked;
mod status;
mod warm;

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use larder_upstream::BaseUrl;

use crate::ask;
use crate::cli::ThisRegistry;
use crate::config::Environment;
use crate::config::Wanted;
pub(crate) use asked::Asked;

/// Where Larder answers if nobody says so.
const DEFAULT_URL: &str = "http://localhost:5000";

/// `larder cache`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Say how much of other registries is here, what goes next and what went, what was served and fetched, and how the
    /// upstreams are.
    Status {
        /// Whom to ask.
        #[command(flatten)]
        asked: AskedPlace,
        /// How many images to show of those that go next.
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        next: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch images from other registries before anybody asks for them.
    Warm(Warm),
}

/// `larder cache warm`, and `larder warm`
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct Warm {
    /// Images as they are called at this Larder, such as docker.io/library/nginx:1; `nginx:1` means that one.
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// Fetch the images for this platform, such as linux/arm64, or for `all`; this machine's when left out.
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<Wanted>,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) asked: AskedPlace,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The Larder that is asked: one of this machine, or one that answers somewhere.
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct AskedPlace {
    /// Ask the one that answers there; else the one that runs on this machine's data directory, or http://localhost:5000.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    pub(crate) server: Option<String>,
    /// Log in there as this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Read the password from standard input; a line break at its end doesn't count.
    #[arg(long, requires = "user")]
    pub(crate) password_stdin: bool,
    /// A file with an authority that is trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: ThisRegistry,
}

/// Runs `larder cache`.
pub(crate) fn run(
    command: &Command,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Status { asked, next, json } => {
            status::run(&Asked::find(asked, environment, may_use_system_directory)?, *next, *json)
        }
        Command::Warm(arguments) => warm(arguments, environment, may_use_system_directory),
    }
}

/// Runs `larder warm`.
pub(crate) fn warm(
    arguments: &Warm,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    warm::run(arguments, &Asked::find(&arguments.asked, environment, may_use_system_directory)?)
}

fn base_url(server: &str) -> Result<BaseUrl, Box<dyn Error>> {
    let has_scheme = server.contains("://");
    let text = if has_scheme { server.to_owned() } else { format!("http://{server}") };
    text.parse().map_err(|error| format!("--server {error}").into())
}

fn password(user: Option<&str>, from_stdin: bool) -> Result<Option<String>, Box<dyn Error>> {
    if !from_stdin {
        return match user {
            Some(user) => Ok(Some(ask::prompt(user, "--password-stdin")?)),
            None => Ok(None),
        };
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
