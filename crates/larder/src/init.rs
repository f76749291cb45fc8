//! `larder init`: the files of a registry for a house or a small team.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use larder_storage::replace_file;

use crate::first_start;

/// `larder init`
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Whom it is for: a house (everybody pulls, one user pushes, plain HTTP) or a team (TLS, users, a rule for each); home when left out.
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// Where the files go; /etc/larder when left out.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Where images are kept; /var/lib/larder when left out.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The port to listen on; 5000 when left out.
    #[arg(long)]
    port: Option<u16>,
    /// The first user; admin when left out. A password is made and printed once.
    #[arg(long)]
    user: Option<String>,
    /// The certificate, for a team; when left out, an authority of Larder's own signs one (http.tls.auto).
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
    /// Certificate and key.
    files: Option<(PathBuf, PathBuf)>,
}

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
            let question = "Whom is it for? home: everybody in the house pulls, one user pushes, plain HTTP. team: TLS, and only users";
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
            ask("Which port?", "5000", &|answer| answer.parse::<u16>().is_ok_and(|port| port > 0))?.parse()?
        }
    };
    let user = match &arguments.user {
        Some(user) => user.clone(),
        None => ask("What is the first user called?", "admin", &|answer| !answer.contains([':', ' ']))?,
    };
    let files = arguments.certificate.clone().zip(arguments.key.clone());
    Ok(Plan { shape, into, data, port, user, files })
}

fn write_files(arguments: &Plan, only_print: bool, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let files = [
        ("config.yml", config(arguments)),
        ("larder.service", service(arguments)),
        ("compose.yml", compose(arguments)),
    ];
    if only_print {
        for (name, content) in files {
            writeln!(out, "# {}\n{content}", arguments.into.join(name).display())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::create_dir_all(&arguments.into)
        .map_err(|error| format!("{}: {error}", arguments.into.display()))?;
    for (name, content) in files {
        let path = arguments.into.join(name);
        if path.try_exists()? {
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
    writeln!(
        out,
        "or:        sudo cp {} /etc/systemd/system/ && sudo systemctl enable --now larder",
        arguments.into.join("larder.service").display()
    )?;
    writeln!(out, "or:        docker compose -f {} up -d", arguments.into.join("compose.yml").display())?;
    writeln!(
        out,
        "Then, for each client:  curl {}://THIS-MACHINE:{}/setup",
        match (arguments.shape, &arguments.files) {
            (Shape::Home, _) => "http",
            (Shape::Team, Some(_)) => "https",
            (Shape::Team, None) => "-k https",
        },
        arguments.port
    )?;
    Ok(ExitCode::SUCCESS)
}

fn users(arguments: &Plan) -> PathBuf {
    arguments.into.join("users.htpasswd")
}

fn config(arguments: &Plan) -> String {
    let (data, users, user) = (quoted(&arguments.data), quoted(&users(arguments)), text(&arguments.user));
    let port = arguments.port;
    let tls = match arguments.shape {
        Shape::Home => String::new(),
        Shape::Team => match &arguments.files {
            Some((certificate, key)) => {
                format!("  tls:\n    certificate: {}\n    key: {}\n", quoted(certificate), quoted(key))
            }
            None => {
                "  tls:\n    auto: true        # names: [registry.lan] adds what this machine doesn't know\n"
                    .to_owned()
            }
        },
    };
    let rules = match arguments.shape {
        Shape::Home => format!(
            "  rules:\n    - {{who: anonymous, may: pull}}\n    - {{who: {user}, may: [pull, push, delete, list, admin]}}\n"
        ),
        Shape::Team => format!(
            "  groups:\n    team: [{user}]\n  rules:\n    - {{who: {user}, may: [pull, push, delete, list, admin]}}\n    - {{who: team, may: [pull, push, list]}}\n"
        ),
    };
    format!(
        "\
# Every key is in `larder config reference`; `larder config check {}` says what is in force.
version: 0.1
storage:
  filesystem:
    rootdirectory: {data}
  delete:
    enabled: true
http:
  addr: :{port}
{tls}auth:
  htpasswd:
    realm: Larder
    path: {users}        # larder user add NAME --file {users}
access:
{rules}",
        arguments.into.join("config.yml").display()
    )
}

fn service(arguments: &Plan) -> String {
    format!(
        "\
[Unit]
Description=Larder, a container registry
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/local/bin/larder serve {}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
# Longer than http.draintimeout, so that running pulls end well.
TimeoutStopSec=60
LimitNOFILE=65536
ProtectSystem=strict
ReadWritePaths={}
ProtectHome=true
PrivateTmp=true
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
",
        arguments.into.join("config.yml").display(),
        arguments.data.display()
    )
}

fn compose(arguments: &Plan) -> String {
    let (into, data) = (arguments.into.display(), arguments.data.display());
    let port = arguments.port;
    format!(
        "\
services:
  larder:
    image: larder
    command: [serve, {into}/config.yml]
    restart: always
    stop_grace_period: 60s
    ports: [\"{port}:{port}\"]
    volumes:
      - {into}:{into}:ro
      - {data}:{data}
"
    )
}

/// A path as a YAML string.
fn quoted(path: &Path) -> String {
    text(&path.display().to_string())
}

/// JSON's strings are YAML's, too.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment, Source};

    fn arguments(shape: Shape, directory: &Path) -> Plan {
        Plan {
            shape,
            into: directory.join("etc"),
            data: directory.join("data"),
            port: 5443,
            user: "alice".to_owned(),
            files: None,
        }
    }

    fn run_once(plan: &Plan) -> String {
        let mut out = Vec::new();
        write_files(plan, false, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    /// What comes of these answers, and what was said.
    fn answered(arguments: &Arguments, answers: &str) -> (Result<Plan, String>, String) {
        let mut out = Vec::new();
        let planned =
            plan(arguments, Some(&mut answers.as_bytes()), &mut out).map_err(|error| error.to_string());
        (planned, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_is_left_out_is_asked_for() {
        let (planned, said) =
            answered(&Arguments::default(), "team\nrelative\n/srv/etc\n\n99999\n443\nbob\n");
        let planned = planned.expect("a plan");
        assert_eq!((planned.shape, planned.port, planned.user.as_str()), (Shape::Team, 443, "bob"));
        assert_eq!((planned.into, planned.data), ("/srv/etc".into(), "/var/lib/larder".into()));
        assert!(
            said.contains("\"relative\" can't be that.") && said.contains("\"99999\" can't be that."),
            "{said}"
        );
        assert_eq!(said.matches("]: ").count(), 7, "{said}");
    }

    #[test]
    fn what_was_given_is_not_asked_for_and_silence_takes_what_is_proposed() {
        let given = Arguments {
            shape: Some(Shape::Home),
            into: Some("/a".into()),
            data: Some("/b".into()),
            port: Some(1),
            user: Some("eve".to_owned()),
            ..Arguments::default()
        };
        assert_eq!(answered(&given, "").1, "");
        let (planned, _) = answered(&Arguments::default(), "");
        let planned = planned.expect("a plan");
        assert_eq!((planned.shape, planned.port, planned.user.as_str()), (Shape::Home, 5000, "admin"));
        let nobody = plan(&Arguments::default(), None::<&mut &[u8]>, &mut Vec::new()).expect("a plan");
        assert_eq!(nobody.into, Path::new("/etc/larder"));
    }

    #[test]
    fn a_team_without_a_certificate_has_larders_own() {
        let own = config(&arguments(Shape::Team, Path::new("/d")));
        assert!(own.contains("auto: true") && !own.contains("certificate:"), "{own}");
        let files = Some(("/c.pem".into(), "/k.pem".into()));
        let brought = config(&Plan { files, ..arguments(Shape::Team, Path::new("/d")) });
        assert!(brought.contains("certificate: \"/c.pem\"") && !brought.contains("auto:"), "{brought}");
    }

    #[test]
    fn what_is_written_is_a_configuration_without_mistakes_or_warnings() {
        for shape in [Shape::Home, Shape::Team] {
            let directory = tempfile::tempdir().expect("a directory");
            let arguments = arguments(shape, directory.path());
            let told = run_once(&arguments);
            assert!(told.contains("made the user alice"), "{told}");
            let environment = Environment::default();
            let path = arguments.into.join("config.yml");
            let source = Source::choose(Some(&path), None, &environment, false).expect("a source");
            let loaded = config::load(&source, &environment).expect("a good configuration");
            assert_eq!(loaded.warnings, Vec::<String>::new(), "{shape:?}");
            assert_eq!(loaded.config.http.addr.port, 5443);
        }
    }

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments(Shape::Home, directory.path());
        run_once(&arguments);
        let users = std::fs::read_to_string(users(&arguments)).expect("users");
        let told = run_once(&arguments);
        assert_eq!(told.matches("stays as it is").count(), 4, "{told}");
        assert_eq!(std::fs::read_to_string(super::users(&arguments)).expect("users"), users);
    }

    #[test]
    fn printing_writes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments(Shape::Team, directory.path());
        let mut out = Vec::new();
        write_files(&arguments, true, &mut out).expect("written");
        let told = String::from_utf8(out).expect("text");
        assert!(told.contains("auto: true") && told.contains("ExecStart="), "{told}");
        assert!(!arguments.into.try_exists().expect("looked"));
    }
}
