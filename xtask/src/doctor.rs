//! `cargo xtask doctor`: `larder doctor` against real registries behind real proxies, each with one fault, and against
//! healthy ones; and the files that `larder proxy` and `larder client` print, in the programs that they are for.

mod faults;
mod servers;
mod mirrors;
mod files;
mod labels;
mod traefik;
mod builders;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::{Daemon, Run};
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Plan, Program, Server, USER};
use crate::tls::Authority;

const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the slow uploads take, in seconds; the proxies' timeouts are half of that.
const SLOW: &str = "4";

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("doctor");
    let ring = Ring::fresh("doctor")?;
    let authority = Authority::make(&ring, &[LOOPBACK, "localhost"])?;
    let only = arguments.text("only");
    let is_meant = |part: &str| only.is_none_or(|only| only.split(',').any(|one| one == part));
    if is_meant("healthy") {
        healthy(&mut report, &ring, &authority);
    }
    if is_meant("faults") {
        faults::cases(&mut report, &ring, &authority);
    }
    if is_meant("traefik") {
        traefik::cases(&mut report, &ring, &authority);
    }
    if is_meant("server") {
        servers::cases(&mut report, &ring, &authority);
    }
    if is_meant("proxies") {
        files::proxies(&mut report, &ring, &authority)?;
    }
    if is_meant("mirrors") {
        mirrors::cases(&mut report, &ring, &authority);
    }
    if is_meant("clients") {
        files::clients(&mut report, &ring, &authority);
    }
    Ok(report)
}

/// What a doctor found: (row, hop, fix, what was seen).
struct Found(Vec<Finding>);

struct Finding {
    row: String,
    hop: String,
    fix: String,
    seen: String,
    cause: String,
}

/// Runs the doctor as nobody with files, against `host`.
fn examine(ring: &Ring, host: &str, more: &[&str], with_login: bool) -> Result<Found> {
    let home = ring.make_dir("doctor-home")?;
    let run = Run::new(dist::release()?)
        .args(["doctor", host, "--write", "--json"])
        .args(if more.contains(&"--slow") { [].as_slice() } else { &["--slow", SLOW] })
        .args(more)
        .env("HOME", &home)
        .env("DOCKER_CONFIG", home.join("docker"));
    let run = if with_login { run.args(["--user", USER, "--password-stdin"]).stdin(PASSWORD) } else { run };
    let output = run.output()?;
    let told: Value = serde_json::from_str(&output.stdout).context(output.all())?;
    Found::of(&told)
}

impl Found {
    /// Of a doctor's `--json`.
    fn of(told: &Value) -> Result<Found> {
        let entries = told.get("entries").and_then(Value::as_array).context("entries")?;
        let text = |entry: &Value, name: &str| {
            entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let findings: Vec<Finding> = entries
            .iter()
            .filter(|entry| entry.get("row").is_some())
            .map(|entry| Finding {
                row: text(entry, "row"),
                hop: text(entry, "hop"),
                fix: text(entry, "fix"),
                seen: text(entry, "seen"),
                cause: text(entry, "cause"),
            })
            .collect();
        if entries.len() < 3 {
            fail!("the doctor looked at next to nothing: {told}");
        }
        Ok(Found(findings))
    }

    fn nothing(&self) -> Result {
        same("what was found", &self.rows(), &Vec::<&str>::new()).context(self.seen())
    }

    fn rows(&self) -> Vec<&str> {
        self.0.iter().map(|finding| finding.row.as_str()).collect()
    }

    fn seen(&self) -> String {
        self.0.iter().map(|finding| finding.seen.clone()).collect::<Vec<_>>().join("; ")
    }

    /// These rows and no others, and of the first its hop and a part of its fix.
    fn exactly(&self, rows: &[&str], hop: &str, fix: &str) -> Result {
        same("what was found", &self.rows(), &rows.to_vec()).context(self.seen())?;
        self.has(rows.first().copied().unwrap_or_default(), hop, fix)
    }

    /// That a row was found for this cause.
    fn because(&self, row: &str, cause: &str) -> Result {
        if self.0.iter().any(|finding| finding.row == row && finding.cause.contains(cause)) {
            return Ok(());
        }
        fail!(
            "no {row} is because {cause:?}: {:?}",
            self.0.iter().map(|each| &each.cause).collect::<Vec<_>>()
        )
    }

    fn has(&self, row: &str, hop: &str, fix: &str) -> Result {
        let finding = self.0.iter().find(|finding| finding.row == row);
        let finding = finding.context(format!("{row} among {:?}: {}", self.rows(), self.seen()))?;
        same("the hop", &finding.hop.as_str(), &hop)?;
        if !finding.fix.contains(fix) {
            fail!("{fix:?} is not in the fix {:?}", finding.fix);
        }
        Ok(())
    }
}

/// Of healthy registries, plain and TLS, open, by password and by token, nothing is found.
fn healthy(report: &mut Report, ring: &Ring, authority: &Authority) {
    for auth in [Auth::None, Auth::Basic, Auth::Token] {
        for tls in [false, true] {
            let title = format!("healthy-{auth:?}-{}", if tls { "https" } else { "http" }).to_lowercase();
            report.case("doctor", &format!("{title}: nothing is found"), || {
                let data = ring.make_dir(format!("data-{title}"))?;
                let plan = Plan { auth, tls: tls.then_some(authority), ..Plan::open(Program::Larder, &data) };
                let server = plan.start(ring, &title)?;
                let ca = authority.ca.display().to_string();
                let more: &[&str] = if tls { &["--ca", &ca] } else { &[] };
                examine(ring, &server.host, more, auth != Auth::None)?.nothing()?;
                server.daemon.stop()
            });
        }
    }
    report.case("doctor", "of a certificate that nobody vouches for it says so", || {
        let data = ring.make_dir("data-unknown")?;
        let plan = Plan { tls: Some(authority), ..Plan::open(Program::Larder, &data) };
        let server = plan.start(ring, "unknown")?;
        let fix = format!("/etc/docker/certs.d/{}/ca.crt", server.host);
        examine(ring, &server.host, &[], false)?.exactly(&["unknown-authority"], "this machine", &fix)
    });
}

/// A proxy that runs in front of a registry.
struct Front {
    host: String,
    _daemon: Daemon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Apache,
    Traefik,
}

impl Proxy {
    /// Starts it with a configuration that holds its whole front; what a test needs besides stands around it.
    fn start(self, ring: &Ring, title: &str, host: &str, front: &str) -> Result<Front> {
        let home = ring.make_dir(format!("home-{title}"))?;
        let config = match self {
            Proxy::Nginx => {
                let home = home.display();
                format!(
                    "daemon off;\nuser root;\npid {home}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
                     client_body_temp_path {home}/body;\nproxy_temp_path {home}/proxy;\nfastcgi_temp_path {home}/f;\n\
                     uwsgi_temp_path {home}/u;\nscgi_temp_path {home}/s;\n{front}\n}}\n"
                )
            }
            // The modules that Debian loads unasked, and those that the printed file asks for.
            Proxy::Apache => {
                let modules: String =
                    ["mpm_event", "authz_core", "ssl", "socache_shmcb", "proxy", "proxy_http"]
                        .into_iter()
                        .chain(["headers", "reqtimeout", "env"])
                        .map(|name| {
                            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                        })
                        .collect();
                let home = home.display();
                format!(
                    "ServerRoot {home}\nServerName localhost\nPidFile {home}/pid\nErrorLog {home}/error.log\n{modules}{front}\n"
                )
            }
            Proxy::Caddy | Proxy::Haproxy | Proxy::Traefik => front.to_owned(),
        };
        if self == Proxy::Traefik {
            return Ok(Front {
                host: host.to_owned(),
                _daemon: crate::traefik::start(ring, title, &config)?,
            });
        }
        let file = ring.write(&format!("{title}.conf"), &config)?;
        let run = match self {
            Proxy::Nginx => Run::new("nginx")
                .arg("-p")
                .arg(&home)
                .arg("-e")
                .arg(home.join("error.log"))
                .arg("-c")
                .arg(file),
            Proxy::Caddy => Run::new("caddy").args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
            Proxy::Haproxy => Run::new("haproxy").arg("-db").arg("-f").arg(file),
            Proxy::Apache => Run::new("apache2").args(["-DFOREGROUND", "-f"]).arg(file),
            Proxy::Traefik => {
                let daemon = crate::traefik::start(ring, title, &config)?;
                return Ok(Front { host: host.to_owned(), _daemon: daemon });
            }
        };
        let run = run.env("HOME", &home).env("XDG_DATA_HOME", &home).env("XDG_CONFIG_HOME", &home);
        let mut daemon = run.daemon(ring, &format!("proxy-{title}"))?;
        daemon.wait_until("it listens", START_LIMIT, || std::net::TcpStream::connect(host).is_ok())?;
        Ok(Front { host: host.to_owned(), _daemon: daemon })
    }
}

fn address() -> Result<String> {
    Ok(format!("{LOOPBACK}:{}", free_port(LOOPBACK)?))
}

/// A registry to stand behind something.
fn backend(ring: &Ring, title: &str, program: Program, auth: Auth) -> Result<(Server, PathBuf)> {
    let data = ring.make_dir(format!("data-{title}"))?;
    let plan = Plan { auth, ..Plan::open(program, &data) };
    Ok((plan.start(ring, &format!("registry-{title}"))?, data))
}
