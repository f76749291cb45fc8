//! `larder doctor --server` beside a real server, with a real upstream that doesn't take its login, on a disk that is full.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use super::{Found, Proxy, address, backend};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::places::{LOOPBACK, Ring};
use crate::process::Run;
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Plan, Program, USER};
use crate::tls::Authority;

pub(super) fn cases(report: &mut Report, ring: &Ring, authority: &Authority) {
    seams(report, ring, authority);
    report.case(
        "doctor --server",
        "beside a running server whose upstream takes its login: nothing is found",
        || {
            let (upstream, _) = backend(ring, "upstream-well", Program::DockerRegistry, Auth::Basic)?;
            let (found, entries) = with_server(ring, "well", &upstream.host, PASSWORD)?;
            found.nothing()?;
            for words in [
                "keeps files as a registry needs it",
                "upstream answers at",
                "no request has shown the headers of a proxy",
            ] {
                if !entries.contains(words) {
                    fail!("{words:?} is not in {entries}");
                }
            }
            Ok(())
        },
    );
    report.case("doctor --server", "an upstream that doesn't take the login", || {
        let (upstream, _) = backend(ring, "upstream-login", Program::DockerRegistry, Auth::Basic)?;
        let (found, _) = with_server(ring, "login", &upstream.host, "wrong")?;
        found.exactly(&["upstream-login"], "upstream upstream", "upstreams[].username and password")
    });
    report.case("doctor --server", "an upstream that isn't there", || {
        let (found, _) = with_server(ring, "gone", &address()?, PASSWORD)?;
        found.exactly(&["upstream-unreachable"], "upstream upstream", "upstreams[].proxy")
    });
    report.case("doctor --server", "a disk with little space and few files left", || {
        let disk = ring.make_dir("small-disk")?;
        Run::new("mount").args(["-t", "tmpfs", "-o", "size=8m,nr_inodes=100", "tmpfs"]).arg(&disk).ok()?;
        let found = examine(&["--data", &disk.display().to_string()], &[("REGISTRY_UPSTREAMS", "[]")]);
        Run::new("umount").arg(&disk).ok()?;
        let (found, _) = found?;
        for (row, fix) in
            [("disk-volatile", "on a disk"), ("disk-full", "larder gc --now"), ("disk-files", "df -i")]
        {
            found.has(row, "the registry's machine", fix)?;
        }
        Ok(())
    });
}

/// Beside a running server whose one upstream takes this login at a plain address.
fn with_server(ring: &Ring, title: &str, upstream: &str, password: &str) -> Result<(Found, String)> {
    let login = format!("    username: {USER}\n    password: {password}\n");
    with_upstream(ring, title, &format!("http://{upstream}"), &login)
}

/// Beside a running server whose one upstream is at this URL, with more lines about it.
fn with_upstream(ring: &Ring, title: &str, url: &str, lines: &str) -> Result<(Found, String)> {
    let sections = format!("upstreams:\n  - name: upstream\n    urls: [{url}]\n{lines}");
    with_sections(ring, title, &sections)
}

fn with_sections(ring: &Ring, title: &str, sections: &str) -> Result<(Found, String)> {
    let data = ring.make_dir(format!("data-server-{title}"))?;
    let host = address()?;
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n{sections}",
        data.display()
    );
    let config = ring.write(&format!("server-{title}.yml"), config)?;
    let mut daemon =
        Run::new(dist::release()?).arg("serve").arg(&config).daemon(ring, &format!("server-{title}"))?;
    daemon.wait_until("it listens", super::START_LIMIT, || std::net::TcpStream::connect(&host).is_ok())?;
    let found = examine(&["--config", &config.display().to_string()], &[]);
    daemon.stop()?;
    found
}

/// Upstreams with one fault each, and a configuration with something that has no effect.
fn seams(report: &mut Report, ring: &Ring, authority: &Authority) {
    report.case("doctor --server", "a key of registry:2 that has no effect", || {
        let (found, _) = with_sections(ring, "ignored", "redis:\n  addr: redis:6379\n")?;
        found.exactly(&["config-ignored"], "the registry's machine", "docs/configuration.md")?;
        found.because("config-ignored", "it says something that the server doesn't do")
    });
    report.case("doctor --server", "an upstream whose authority nobody was told of, and then was", || {
        let data = ring.make_dir("data-upstream-tls")?;
        let plan = Plan { tls: Some(authority), ..Plan::open(Program::DockerRegistry, &data) };
        let upstream = plan.start(ring, "upstream-tls")?;
        let url = format!("https://{}", upstream.host);
        let (found, _) = with_upstream(ring, "tls", &url, "")?;
        found.exactly(&["upstream-tls"], "upstream upstream", "upstreams[].ca: ")?;
        found.because("upstream-tls", "its authority isn't known to this machine")?;
        let told = format!("    ca: {}\n", authority.ca.display());
        with_upstream(ring, "tls-told", &url, &told)?.0.nothing()?;
        upstream.daemon.stop()
    });
    for (title, what, row, answers, cause, fix) in [
        (
            "scarce",
            "an upstream with few pulls left",
            "upstream-limit",
            "location / { proxy_pass http://@backend; proxy_set_header Host $http_host; \
             add_header RateLimit-Limit '100;w=21600' always; add_header RateLimit-Remaining '3;w=21600' always; }",
            "the upstream counts pulls",
            "upstreams[].accounts",
        ),
        (
            "used-up",
            "an upstream whose limit is reached",
            "upstream-limit",
            "location / { add_header Retry-After 60 always; return 429; }",
            "the upstream counts pulls",
            "upstreams[].accounts",
        ),
        (
            "failing",
            "an upstream that is down behind its proxy",
            "upstream-failed",
            "location / { return 503; }",
            "it is down, or something on the way answers in its place",
            "larder doctor 127.0.0.1:",
        ),
    ] {
        report.case("doctor --server", what, || {
            let (upstream, _) =
                backend(ring, &format!("upstream-{title}"), Program::DockerRegistry, Auth::None)?;
            let host = address()?;
            let front =
                format!("server {{ listen {host}; {} }}", answers.replace("@backend", &upstream.host));
            let front = Proxy::Nginx.start(ring, &format!("upstream-{title}"), &host, &front)?;
            let (found, _) = with_upstream(ring, title, &format!("http://{}", front.host), "")?;
            found.exactly(&[row], "upstream upstream", fix)?;
            found.because(row, cause)
        });
    }
    report.case("doctor --server", "a clock that differs from an upstream's", || {
        let upstream = Yesterdays::start()?;
        let (found, _) = with_upstream(ring, "clock", &format!("http://{}", upstream.host), "")?;
        found.exactly(&["clock-wrong"], "the registry's machine", "sudo timedatectl set-ntp true")?;
        found.because("clock-wrong", "`token not to be used before …`")
    });
    report.case("doctor", "a clock that differs from the registry's", || {
        let registry = Yesterdays::start()?;
        let host = format!("http://{}", registry.host);
        let found = read_only(ring, Run::new(dist::release()?), &host)?;
        found.exactly(&["clock-wrong"], "this machine", "sudo timedatectl set-ntp true")?;
        found.because("clock-wrong", "one of both is wrong")
    });
    report.case("doctor", "a name with an address that is dead", || {
        let (registry, _) = backend(ring, "two-families", Program::Larder, Auth::None)?;
        let hosts =
            ring.write("hosts", "127.0.0.1 localhost two.ring.test\n::1 localhost two.ring.test\n")?;
        let port = registry.host.rsplit(':').next().context("a port")?;
        let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
        let run = Run::new("unshare").args(["-m", "bash", "-c", &script]).arg(dist::release()?);
        let found = read_only(ring, run, &format!("http://two.ring.test:{port}"))?;
        found.has("address-dead", "network", "remove the AAAA record of two.ring.test")?;
        found.because("address-dead", "clients that try this address first hang")?;
        registry.daemon.stop()
    });
}

/// The doctor, run so, looks at a registry and writes nothing.
fn read_only(ring: &Ring, run: Run, host: &str) -> Result<Found> {
    let home = ring.make_dir("doctor-home")?;
    let run =
        run.args(["doctor", host, "--json"]).env("HOME", &home).env("DOCKER_CONFIG", home.join("docker"));
    let output = run.output()?;
    Found::of(&serde_json::from_str(&output.stdout).context(output.all())?)
}

/// A registry whose clock stands still since the beginning of 2020. Its thread ends with the process.
struct Yesterdays {
    host: String,
}

impl Yesterdays {
    fn start() -> Result<Yesterdays> {
        let listener = TcpListener::bind((LOOPBACK, 0))?;
        let host = listener.local_addr()?.to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves is no fault here.
                let _ = answer(&stream);
            }
        });
        Ok(Yesterdays { host })
    }
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) =
        if first.contains(" /v2/ ") { ("200 OK", "{}") } else { ("404 Not Found", "{\"errors\":[]}") };
    let body_sent = if first.starts_with("HEAD") { "" } else { body };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nDate: Wed, 01 Jan 2020 00:00:00 GMT\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body_sent}",
        body.len()
    )
}

/// What is found, and everything that was looked at, as text.
fn examine(more: &[&str], environment: &[(&str, &str)]) -> Result<(Found, String)> {
    let mut run = Run::new(dist::release()?).args(["doctor", "--server", "--json"]).args(more);
    for (name, value) in environment {
        run = run.env(name, value);
    }
    let output = run.output()?;
    let told: Value = serde_json::from_str(&output.stdout).context(output.all())?;
    let found = Found::of(&told)?;
    let code = told.get("exit_code").and_then(Value::as_i64).context("exit_code")?;
    same("the exit code", &output.code.map(i64::from), &Some(code))?;
    Ok((found, output.stdout))
}
