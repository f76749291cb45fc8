//! `larder cache status` and `larder warm`: what is asked of a running Larder about what it keeps of other registries.

mod platform;
mod status;
mod warm;

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use larder_upstream::{AccountSettings, BaseUrl, CredentialSource, Secret, Settings};

pub(crate) use platform::Wanted;

/// Where Larder answers if nobody says so.
const DEFAULT_URL: &str = "http://localhost:5000";

/// `larder cache`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Say what was served from the cache and fetched from upstreams, and how these are.
    Status {
        /// Whom to ask.
        #[command(flatten)]
        server: Server,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `larder warm`
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
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The Larder that is asked.
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its address.
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    pub(crate) server: String,
    /// Log in as this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Read the password from standard input; a line break at its end doesn't count.
    #[arg(long, requires = "user")]
    pub(crate) password_stdin: bool,
    /// A file with an authority that is trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// Runs `larder cache`.
pub(crate) fn run(command: &Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Status { server, json } => status::run(server, *json),
    }
}

/// Runs `larder warm`.
pub(crate) fn warm(arguments: &Warm) -> Result<ExitCode, Box<dyn Error>> {
    warm::run(arguments)
}

impl Server {
    fn url(&self) -> Result<BaseUrl, Box<dyn Error>> {
        let has_scheme = self.server.contains("://");
        let text = if has_scheme { self.server.clone() } else { format!("http://{}", self.server) };
        text.parse().map_err(|error| format!("--server {error}").into())
    }

    fn password(&self) -> Result<Option<String>, Box<dyn Error>> {
        if !self.password_stdin {
            return match &self.user {
                Some(_) => Ok(Some(rpassword::prompt_password("Password: ")?)),
                None => Ok(None),
            };
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// As a registry whose images can be pulled.
    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let mut settings = Settings::new("larder", vec![self.url()?]);
        settings.ca_file.clone_from(&self.ca);
        // A miss there takes as long as Larder waits for its upstream.
        settings.answer_timeout = std::time::Duration::from_secs(60);
        settings.stall_timeout = std::time::Duration::from_secs(120);
        if let (Some(username), Some(password)) = (self.user.clone(), self.password()?) {
            let source = CredentialSource::Password { username, password: Secret::from(password) };
            settings.accounts = vec![AccountSettings { repositories: Vec::new(), hosts: Vec::new(), source }];
        }
        Ok(settings)
    }
}

/// A runtime for one command.
fn block_on<T>(work: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
