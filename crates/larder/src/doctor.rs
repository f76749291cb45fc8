//! `larder doctor`: looks at a registry from a client's machine. What is looked at is in `larder-doctor`; here are the
//! arguments and the page.

mod print;
mod server;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use larder_doctor::{Doctor, Journal, Login, Machine, Options, Password, Target};

use crate::config::Environment;
use crate::{ask, output};
use print::Page;

/// `larder doctor`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The registry as it stands in image names, with a repository and tag if they are meant: registry.lan:5000/team/app:1.
    #[arg(required_unless_present = "server")]
    registry: Option<String>,
    /// Look at a registry of this machine from its own side: configuration, disk, clock, upstreams, the proxy in front.
    #[arg(long, conflicts_with_all = ["registry", "write", "mirrors", "user", "ca"])]
    server: bool,
    /// The config.yml of the registry that --server is about; else the one that a start would use.
    #[arg(long, value_name = "CONFIG", requires = "server")]
    config: Option<PathBuf>,
    /// The data directory of a start without a config file, for --server.
    #[arg(long, value_name = "DIR", requires = "server", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// Also write: push a small canary to the repository (or to one of its own), and take it away again.
    #[arg(long)]
    write: bool,
    /// Prove the mirrors: have docker, containerd (also as Kubernetes asks it), k3s, podman and BuildKit of this machine pull a tiny image
    /// that this registry alone has, under the names of the upstreams that they have it as a mirror for. It is pushed for that, and taken
    /// away again.
    #[arg(long)]
    mirrors: bool,
    /// Log in as this user, and not as docker or podman on this machine would.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from this file; a line break at its end doesn't count.
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input; a line break at its end doesn't count.
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// A file with an authority that counts as this machine's own.
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// How long the slow uploads of --write take, in seconds: longer than the timeouts that they are to find. 0 leaves them out.
    #[arg(long, value_name = "SECONDS", default_value_t = 75)]
    slow: u64,
    /// The largest layer that --write really sends, in MB; larger ones are only announced.
    #[arg(long, value_name = "MB", default_value_t = 12)]
    send: u64,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Looks, and prints. The exit code is 0 when nothing fails, else that of the first stage that does (10 and up).
pub(crate) fn run(
    arguments: &Arguments,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let subject = match &arguments.registry {
        Some(registry) => Subject::Client(Box::new(client(arguments, registry.parse()?)?)),
        None => Subject::Server(server::Place {
            config: arguments.config.as_deref(),
            data: arguments.data.as_deref(),
            environment,
            may_use_system_directory,
        }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = if arguments.json {
        let mut journal = Journal::new(|_| {});
        runtime.block_on(subject.examine(&mut journal))?;
        writeln!(output::standard(), "{:#}", journal.to_json())?;
        journal.exit_code()
    } else {
        let page = Page::new(io::stderr().is_terminal());
        let mut trouble = None;
        let mut journal = Journal::new(|entry| {
            let told = page.entry(&mut output::standard(), &mut io::stderr(), entry);
            trouble = trouble.take().or(told.err());
        });
        runtime.block_on(subject.examine(&mut journal))?;
        let (sum, code) = (print::sum(journal.findings()), journal.exit_code());
        drop(journal);
        if let Some(error) = trouble {
            return Err(error.into());
        }
        writeln!(output::standard(), "\n{sum}")?;
        code
    };
    Ok(ExitCode::from(code))
}

/// Which side of a registry is looked at.
enum Subject<'a> {
    Client(Box<Doctor>),
    Server(server::Place<'a>),
}

impl Subject<'_> {
    async fn examine(&self, journal: &mut Journal<'_>) -> Result<(), Box<dyn Error>> {
        match self {
            Subject::Client(doctor) => Ok(doctor.examine(journal).await?),
            Subject::Server(place) => server::examine(place, journal).await,
        }
    }
}

fn client(arguments: &Arguments, target: Target) -> Result<Doctor, Box<dyn Error>> {
    let machine = Machine::here();
    let options = Options {
        write: arguments.write,
        mirrors: arguments.mirrors,
        login: login(arguments)?.or_else(|| machine.login(&target.authority())),
        authorities: arguments.ca.clone(),
        slow: Duration::from_secs(arguments.slow),
        sent_at_most: arguments.send.saturating_mul(1_000_000),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        machine: Some(machine),
        ..Options::default()
    };
    Ok(Doctor { target, options })
}

/// An error with what caused it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

fn login(arguments: &Arguments) -> Result<Option<Login>, Box<dyn Error>> {
    let Some(user) = &arguments.user else { return Ok(None) };
    let password = match &arguments.password_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None if arguments.password_stdin => io::read_to_string(io::stdin())?,
        None => ask::prompt(user, "--password-stdin or --password-file FILE")?,
    };
    let password = password.trim_end_matches(['\r', '\n']);
    Ok(Some(Login { user: user.clone(), password: Password::new(password), source: "--user".to_owned() }))
}
