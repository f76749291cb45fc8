//! `larder doctor`: looks at a registry from a client's machine. What is looked at is in `larder-doctor`; here are the
//! arguments and the page.

mod print;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use larder_doctor::{Doctor, Journal, Login, Machine, Options, Password, Target};

use print::Page;

/// `larder doctor`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The registry as it stands in image names, with a repository and tag if they are meant: registry.lan:5000/team/app:1.
    registry: String,
    /// Also write: push a small canary to the repository (or to one of its own), and take it away again.
    #[arg(long)]
    write: bool,
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
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let target: Target = arguments.registry.parse()?;
    let machine = Machine::here();
    let options = Options {
        write: arguments.write,
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
    let doctor = Doctor { target, options };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = if arguments.json {
        let mut journal = Journal::new(|_| {});
        runtime.block_on(doctor.examine(&mut journal))?;
        writeln!(io::stdout(), "{:#}", journal.to_json())?;
        journal.exit_code()
    } else {
        let page = Page::new(io::stderr().is_terminal());
        let mut trouble = None;
        let mut journal = Journal::new(|entry| {
            let told = page.entry(&mut io::stdout(), &mut io::stderr(), entry);
            trouble = trouble.take().or(told.err());
        });
        runtime.block_on(doctor.examine(&mut journal))?;
        let (sum, code) = (print::sum(journal.findings()), journal.exit_code());
        drop(journal);
        if let Some(error) = trouble {
            return Err(error.into());
        }
        writeln!(io::stdout(), "\n{sum}")?;
        code
    };
    Ok(ExitCode::from(code))
}

fn login(arguments: &Arguments) -> Result<Option<Login>, Box<dyn Error>> {
    let Some(user) = &arguments.user else { return Ok(None) };
    let password = match &arguments.password_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None if arguments.password_stdin => io::read_to_string(io::stdin())?,
        None => rpassword::prompt_password(format!("Password of {user}: "))?,
    };
    let password = password.trim_end_matches(['\r', '\n']);
    Ok(Some(Login { user: user.clone(), password: Password::new(password), source: "--user".to_owned() }))
}
