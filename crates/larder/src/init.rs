//! `larder init`: the files of a registry for a house or a small team.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use larder_storage::replace_file;

use crate::first_start;

/// `larder init`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Whom it is for: a house (everybody pulls, one user pushes, plain HTTP) or a team (TLS, users, a rule for each).
    #[arg(long, value_enum, default_value_t = Shape::Home)]
    shape: Shape,
    /// Where the files go.
    #[arg(long, value_name = "DIR", default_value = "/etc/larder")]
    into: PathBuf,
    /// Where images are kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/larder")]
    data: PathBuf,
    /// The port to listen on.
    #[arg(long, default_value_t = 5000)]
    port: u16,
    /// The first user. A password is made and printed once.
    #[arg(long, default_value = "admin")]
    user: String,
    /// The certificate and its key, for a team: /etc/larder/fullchain.pem and key.pem beside it when left out.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Only print what would be written.
    #[arg(long)]
    print: bool,
}

/// For whom a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Home,
    Team,
}

/// Writes the files. What is there already is never changed.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let files = [
        ("config.yml", config(arguments)),
        ("larder.service", service(arguments)),
        ("compose.yml", compose(arguments)),
    ];
    if arguments.print {
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
        "Then, for each client:  curl http{}://THIS-MACHINE:{}/setup",
        tls(arguments),
        arguments.port
    )?;
    Ok(ExitCode::SUCCESS)
}

fn users(arguments: &Arguments) -> PathBuf {
    arguments.into.join("users.htpasswd")
}

fn tls(arguments: &Arguments) -> &'static str {
    match arguments.shape {
        Shape::Home => "",
        Shape::Team => "s",
    }
}

fn certificate(arguments: &Arguments) -> (PathBuf, PathBuf) {
    let beside = |name: &str| arguments.into.join(name);
    let certificate = arguments.certificate.clone().unwrap_or_else(|| beside("fullchain.pem"));
    (certificate, arguments.key.clone().unwrap_or_else(|| beside("key.pem")))
}

fn config(arguments: &Arguments) -> String {
    let (data, users, user) = (quoted(&arguments.data), quoted(&users(arguments)), text(&arguments.user));
    let port = arguments.port;
    let tls = match arguments.shape {
        Shape::Home => String::new(),
        Shape::Team => {
            let (certificate, key) = certificate(arguments);
            format!("  tls:\n    certificate: {}\n    key: {}\n", quoted(&certificate), quoted(&key))
        }
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

fn service(arguments: &Arguments) -> String {
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

fn compose(arguments: &Arguments) -> String {
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

    fn arguments(shape: Shape, directory: &Path) -> Arguments {
        Arguments {
            shape,
            into: directory.join("etc"),
            data: directory.join("data"),
            port: 5443,
            user: "alice".to_owned(),
            certificate: None,
            key: None,
            print: false,
        }
    }

    fn run_once(arguments: &Arguments) -> String {
        let mut out = Vec::new();
        run(arguments, &mut out).expect("written");
        String::from_utf8(out).expect("text")
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
        let arguments = Arguments { print: true, ..arguments(Shape::Team, directory.path()) };
        let told = run_once(&arguments);
        assert!(told.contains("fullchain.pem") && told.contains("ExecStart="), "{told}");
        assert!(!arguments.into.try_exists().expect("looked"));
    }
}
