//! `larder init`: the files of a registry for a house or a small team.

mod files;

use std::error::Error;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use larder_storage::replace_file;

use crate::{data_place, first_start};

/// `larder init`
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Whom it is for: a house (everybody pulls, one user pushes) or a team (TLS, users, a rule for each); home when left out.
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// Where the files go; /etc/larder when left out.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Where images are kept; /var/lib/larder when left out.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The port to listen on; 5000 when left out, 443 with --tls acme.
    #[arg(long)]
    port: Option<u16>,
    /// The first user; admin when left out. A password is made and printed once.
    #[arg(long)]
    user: Option<String>,
    /// Speak TLS with a certificate of Larder's own authority (auto), with one that Let's Encrypt signs for --name (acme), or plain HTTP (off);
    /// when left out a team has its own and a house none.
    #[arg(long, value_enum, conflicts_with = "certificate")]
    tls: Option<TlsWish>,
    /// A name or address that clients call this machine by, for its certificate: of its own, one that it doesn't know itself; of Let's Encrypt's, each.
    /// May be given more than once.
    #[arg(long = "name", value_name = "NAME", conflicts_with = "certificate")]
    names: Vec<String>,
    /// With --tls acme: whom the authority writes to.
    #[arg(long, value_name = "MAILBOX", conflicts_with = "certificate")]
    email: Option<String>,
    /// A registry whose images are fetched and kept, below its name, or `none`; may be given more than once. When left out, for a house
    /// docker.io, ghcr.io, quay.io and registry.k8s.io.
    #[arg(long = "upstream", value_name = "HOST")]
    upstreams: Vec<String>,
    /// The certificate, in a file, instead of one of Larder's own.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Don't ask for what is left out, on a terminal either.
    #[arg(long)]
    yes: bool,
    /// Only print what would be written; asks nothing.
    #[arg(long)]
    print: bool,
}

/// What is to be written, when nothing is left out any more.
struct Plan {
    shape: Shape,
    into: PathBuf,
    data: PathBuf,
    port: u16,
    user: String,
    tls: Tls,
    upstreams: Vec<String>,
    /// The program that a service runs.
    program: PathBuf,
}

/// Where the certificate comes from.
enum Tls {
    /// Plain HTTP.
    None,
    /// From an authority of Larder's own.
    Own {
        names: Vec<String>,
    },
    /// From Let's Encrypt.
    Ordered {
        names: Vec<String>,
        email: Option<String>,
    },
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// What is said of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsWish {
    Auto,
    Acme,
    Off,
}

/// What a house fetches from, as the built-in configuration does.
const UPSTREAMS: [&str; 4] = ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"];

/// Where a service's program is when it lies where no service may look (`ProtectHome`, `PrivateTmp`).
const PROGRAM: &str = "/usr/local/bin/larder";

/// For whom a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Home,
    Team,
}

/// Asks for what is left out, if somebody sits there, and writes the files. What is there already is never changed.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let input = io::stdin();
    let asks = input.is_terminal() && !arguments.yes && !arguments.print;
    let plan = plan(arguments, asks.then_some(&mut input.lock()), out)?;
    write_files(&plan, arguments.print, out)
}

/// Asks for each thing that is left out, where there is somebody to ask; an empty answer, or none, takes what is proposed.
fn plan(
    arguments: &Arguments,
    mut input: Option<&mut impl BufRead>,
    out: &mut impl Write,
) -> Result<Plan, Box<dyn Error>> {
    let mut ask = |question: &str, proposed: &str, is_good: &dyn Fn(&str) -> bool| -> io::Result<String> {
        let Some(input) = input.as_mut() else { return Ok(proposed.to_owned()) };
        loop {
            write!(out, "{question} [{proposed}]: ")?;
            out.flush()?;
            let mut line = String::new();
            let has_ended = input.read_line(&mut line)? == 0;
            match line.trim() {
                "" => return Ok(proposed.to_owned()),
                answer if is_good(answer) => return Ok(answer.to_owned()),
                answer => writeln!(out, "{answer:?} can't be that.")?,
            }
            if has_ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let is_path = |answer: &str| Path::new(answer).is_absolute();
    let shape = match arguments.shape {
        Some(shape) => shape,
        None => {
            let question =
                "Whom is it for? home: everybody in the house pulls, one user pushes. team: only users";
            match ask(question, "home", &|answer| matches!(answer, "home" | "team"))?.as_str() {
                "team" => Shape::Team,
                _ => Shape::Home,
            }
        }
    };
    let into = match &arguments.into {
        Some(into) => into.clone(),
        None => ask("Where do configuration and users go?", "/etc/larder", &is_path)?.into(),
    };
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => ask("Where are images kept?", "/var/lib/larder", &is_path)?.into(),
    };
    let port = match arguments.port {
        Some(port) => port,
        None => {
            let proposed = if arguments.tls == Some(TlsWish::Acme) { "443" } else { "5000" };
            ask("Which port?", proposed, &|answer| answer.parse::<u16>().is_ok_and(|port| port > 0))?
                .parse()?
        }
    };
    let user = match &arguments.user {
        Some(user) => user.clone(),
        None => ask("What is the first user called?", "admin", &|answer| !answer.contains([':', ' ']))?,
    };
    let wish = match arguments.tls {
        Some(wish) => wish,
        None if arguments.certificate.is_some() => TlsWish::Off,
        None => {
            let question = "TLS? auto: with a certificate of its own authority, which each client trusts after one line. acme: with one of Let's Encrypt, for a \
                            public name. off: plain HTTP";
            let proposed = if shape == Shape::Team { "auto" } else { "off" };
            match ask(question, proposed, &|answer| matches!(answer, "auto" | "acme" | "off"))?.as_str() {
                "auto" => TlsWish::Auto,
                "acme" => TlsWish::Acme,
                _ => TlsWish::Off,
            }
        }
    };
    if arguments.email.is_some() && wish != TlsWish::Acme {
        return Err("--email is for --tls acme: nobody else writes to it".into());
    }
    let tls = match (arguments.certificate.clone().zip(arguments.key.clone()), wish) {
        (Some((certificate, key)), _) => Tls::Files { certificate, key },
        (None, TlsWish::Off) => Tls::None,
        (None, TlsWish::Auto) => Tls::Own { names: arguments.names.clone() },
        (None, TlsWish::Acme) => {
            let mut names = arguments.names.clone();
            if names.is_empty() {
                let question = "By which public name do clients reach it?";
                names.push(ask(question, "", &|answer| larder_certificates::usable(answer))?);
            }
            if names.iter().any(String::is_empty) {
                return Err(
                    "a certificate is ordered for a name: give it with --name registry.example.com".into()
                );
            }
            let email = match &arguments.email {
                Some(email) => email.clone(),
                None => ask("Whom does the authority write to?", "", &|answer| answer.contains('@'))?,
            };
            Tls::Ordered { names, email: Some(email).filter(|email| !email.is_empty()) }
        }
    };
    let upstreams = match (arguments.upstreams.as_slice(), shape) {
        ([], Shape::Home) => UPSTREAMS.map(str::to_owned).to_vec(),
        (given, _) => given.iter().filter(|host| *host != "none").cloned().collect(),
    };
    Ok(Plan { shape, into, data, port, user, tls, upstreams, program: program() })
}

/// This program, if a service can run it where it is.
fn program() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let is_out_of_sight =
        ["/home", "/root", "/run/user", "/tmp", "/var/tmp"].iter().any(|place| here.starts_with(place));
    if here.as_os_str().is_empty() || is_out_of_sight { PROGRAM.into() } else { here }
}

fn write_files(arguments: &Plan, only_print: bool, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let files = [
        ("config.yml", files::config(arguments)),
        ("larder.service", files::service(arguments)),
        ("compose.yml", files::compose(arguments)),
    ];
    if only_print {
        for (name, content) in files {
            writeln!(out, "# {}\n{content}", arguments.into.join(name).display())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The service may write only to the data directory, which therefore must be there before it.
    for directory in [&arguments.into, &arguments.data] {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    for (name, content) in files {
        let path = arguments.into.join(name);
        if path.try_exists().map_err(data_place::refused("look for", &path))? {
            writeln!(out, "{} is there already and stays as it is", path.display())?;
            continue;
        }
        replace_file(&path, content.as_bytes(), None)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    let users = users(arguments);
    match first_start::first_user(&users, &arguments.user)? {
        Some(password) => writeln!(
            out,
            "made the user {} in {}; the password, which is kept nowhere: {}",
            arguments.user,
            users.display(),
            String::from_utf8_lossy(password.expose())
        )?,
        None => writeln!(out, "{} is there already and stays as it is", users.display())?,
    }
    writeln!(out, "\nStart it:  larder serve {}", arguments.into.join("config.yml").display())?;
    let is_elsewhere = arguments.program == Path::new(PROGRAM)
        && std::env::current_exe().is_ok_and(|here| here != arguments.program);
    let install = match std::env::current_exe() {
        Ok(here) if is_elsewhere => format!("sudo install {} {PROGRAM} && ", here.display()),
        Ok(_) | Err(_) => String::new(),
    };
    writeln!(
        out,
        "or:        {install}sudo cp {} /etc/systemd/system/ && sudo systemctl enable --now larder",
        arguments.into.join("larder.service").display()
    )?;
    writeln!(out, "or:        docker compose -f {} up -d", arguments.into.join("compose.yml").display())?;
    writeln!(
        out,
        "Then, for each client:  curl {}://THIS-MACHINE:{}/setup",
        match arguments.tls {
            Tls::None => "http",
            Tls::Files { .. } | Tls::Ordered { .. } => "https",
            Tls::Own { .. } => "-k https",
        },
        arguments.port
    )?;
    if let Tls::Ordered { names, .. } = &arguments.tls {
        writeln!(
            out,
            "The authority asks at port 443 of {}, which must lead to port {} of this machine; `larder doctor --server` says what is wrong.",
            names.join(" and "),
            arguments.port
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn users(arguments: &Plan) -> PathBuf {
    arguments.into.join("users.htpasswd")
}

#[cfg(test)]
mod tests;
