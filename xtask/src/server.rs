//! The registry under test: Larder, or Debian's docker-registry 2.8.2 as the peer that it must equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::{Context, Result, fail};
use crate::http::Http;
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::{Daemon, Run};
use crate::tls::Authority;

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "correct:horse battery";

/// How long a registry may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    Larder,
    DockerRegistry,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Auth {
    /// Everything is allowed to everyone.
    None,
    /// `auth.htpasswd`: a password for everything.
    Basic,
    /// What Larder does without a configuration: anonymous pulls, pushes with a login, by tokens.
    Token,
}

/// How to start a registry.
pub(crate) struct Plan<'a> {
    pub(crate) program: Program,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<&'a Authority>,
    pub(crate) data: &'a Path,
    /// Further lines of config.yml's `http` section, indented by two.
    pub(crate) http_lines: &'a str,
    /// Further lines of its `storage` section, indented likewise.
    pub(crate) storage_lines: &'a str,
    /// Further sections of it.
    pub(crate) sections: &'a str,
}

/// A registry that runs, ended when dropped.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) auth: Auth,
    /// `address:port`, as it stands in image names.
    pub(crate) host: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certs_dir: Option<PathBuf>,
    pub(crate) data: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) daemon: Daemon,
}

impl Program {
    /// `--peer docker-registry` chooses the peer.
    pub(crate) fn chosen(arguments: &Arguments) -> Result<Self> {
        match arguments.text("peer") {
            None => Ok(Self::Larder),
            Some("docker-registry") => Ok(Self::DockerRegistry),
            Some(other) => fail!("--peer knows only docker-registry, not {other:?}"),
        }
    }
}

impl<'a> Plan<'a> {
    /// Plain HTTP on the loopback address, open to everyone.
    pub(crate) fn open(program: Program, data: &'a Path) -> Self {
        Self { program, auth: Auth::None, tls: None, data, http_lines: "", storage_lines: "", sections: "" }
    }

    pub(crate) fn start(&self, ring: &Ring, name: &str) -> Result<Server> {
        let host = format!("{LOOPBACK}:{}", free_port(LOOPBACK)?);
        fs::create_dir_all(self.data)?;
        let config = ring.write(&format!("{name}.yml"), self.config(ring, &host)?)?;
        let run = match (self.program, self.auth) {
            (Program::DockerRegistry, Auth::Token) => fail!("the peer has no built-in token service"),
            (Program::DockerRegistry, _) => Run::new("docker-registry").arg("serve").arg(&config),
            (Program::Larder, Auth::Token) => self.larder_without_config(&host)?,
            (Program::Larder, _) => Run::new(dist::release()?).arg("serve").arg(&config),
        };
        let mut daemon = run.dir(&ring.dir).daemon(ring, name)?;
        let http = Http { address: host.clone() };
        daemon.wait_until("it answers", START_LIMIT, || match (self.program, self.tls) {
            // The listener is the last thing that opens, so behind TLS a connection says enough.
            (_, Some(_)) => std::net::TcpStream::connect(&host).is_ok(),
            (Program::Larder, None) => http.get("/readyz", &[]).is_ok_and(|answer| answer.status == 200),
            (Program::DockerRegistry, None) => http.get("/", &[]).is_ok(),
        })?;
        Ok(Server {
            program: self.program,
            auth: self.auth,
            host,
            ca: self.tls.map(|authority| authority.ca.clone()),
            certs_dir: self.tls.map(|authority| authority.certs_dir.clone()),
            data: self.data.to_owned(),
            config,
            daemon,
        })
    }

    fn config(&self, ring: &Ring, host: &str) -> Result<String> {
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n{}http:\n  addr: {host}\n  secret: ring\n{}",
            self.data.display(),
            self.storage_lines,
            self.http_lines
        );
        if let Some(authority) = self.tls {
            config.push_str(&format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                authority.certificate.display(),
                authority.key.display()
            ));
        }
        if self.auth == Auth::Basic {
            let users = ring.write("users.htpasswd", bcrypt_line()?)?;
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: ring\n    path: {}\n", users.display()));
        }
        config.push_str(self.sections);
        Ok(config)
    }

    /// The way of a first user: no file, a data directory, and users that pull without a login.
    fn larder_without_config(&self, host: &str) -> Result<Run> {
        add_user(self.data)?;
        let mut run = Run::new(dist::release()?)
            .args(["serve", "--data"])
            .arg(self.data)
            .env("REGISTRY_HTTP_ADDR", host)
            .env("REGISTRY_STORAGE_DELETE_ENABLED", "true");
        if let Some(authority) = self.tls {
            run = run
                .env("REGISTRY_HTTP_TLS_CERTIFICATE", &authority.certificate)
                .env("REGISTRY_HTTP_TLS_KEY", &authority.key);
        }
        Ok(run)
    }
}

impl Server {
    pub(crate) fn http(&self) -> Http {
        Http { address: self.host.clone() }
    }
}

/// Makes the one user of the rings, as `larder serve` without a configuration looks for it.
pub(crate) fn add_user(data: &Path) -> Result {
    let users = data.join("larder/users.htpasswd");
    fs::create_dir_all(users.parent().context("the users file's directory")?)?;
    Run::new(dist::release()?)
        .args(["user", "add", "--file"])
        .arg(&users)
        .args(["--password-stdin", USER])
        .stdin(PASSWORD)
        .ok()?;
    Ok(())
}

/// A line of an htpasswd file, as the program of that name makes it (with a cheap cost: clients log in often).
pub(crate) fn bcrypt_line() -> Result<String> {
    Run::new("htpasswd").args(["-n", "-B", "-C", "5", "-b", USER, PASSWORD]).ok()
}
