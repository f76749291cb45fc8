//! `larder doctor --server` beside a real server, with a real upstream that doesn't take its login, on a disk that is full.

use serde_json::Value;

use super::{Found, address, backend};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::places::Ring;
use crate::process::Run;
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Program, USER};

pub(super) fn cases(report: &mut Report, ring: &Ring) {
    report.case(
        "doctor --server",
        "beside a running server whose upstream takes its login: nothing is found",
        || {
            let (upstream, _) = backend(ring, "upstream-well", Program::DockerRegistry, Auth::Basic)?;
            let (found, entries) = with_server(ring, "well", &upstream.host, PASSWORD)?;
            found.nothing()?;
            for words in
                ["keeps files as a registry needs it", "upstream answers at", "no proxy has shown itself"]
            {
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

fn with_server(ring: &Ring, title: &str, upstream: &str, password: &str) -> Result<(Found, String)> {
    let data = ring.make_dir(format!("data-server-{title}"))?;
    let host = address()?;
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\nupstreams:\n  - name: upstream\n    \
         urls: [http://{upstream}]\n    username: {USER}\n    password: {password}\n",
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
