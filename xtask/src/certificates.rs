//! `cargo xtask certificates`: a registry with an authority of its own, and real clients, each of which refuses it first and believes it
//! after exactly the line that `/setup` prints; and registries that get theirs by ACME from a real authority. In networks of their own: docker
//! asks no certificate of 127.0.0.0/8, and an authority asks at ports 80 and 443.

use std::path::Path;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::{Context, Result, same};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::report::Report;

mod acme;
mod pebble;

/// Reserved for documentation; only the ring's own network has it.
pub(crate) const ADDRESS: &str = "192.0.2.77";
pub(crate) const HOST: &str = "192.0.2.77:5443";
const IMAGE: &str = "192.0.2.77:5443/ring/app:1";
const START_LIMIT: Duration = Duration::from_secs(30);
/// Where the printed lines put things for this one registry.
const TRUSTED: [&str; 3] = ["/etc/docker/certs.d", "/etc/containers/certs.d", "/etc/containerd/certs.d"];
/// What the clients say before.
const REFUSED: &str = "x509: certificate signed by unknown authority";

/// A network namespace; removed when it is dropped.
pub(crate) struct Network(String);

impl Network {
    pub(crate) fn make(ring: &str) -> Result<Self> {
        forget();
        let network = Self(format!("larder-{ring}-{}", std::process::id()));
        let name = network.0.as_str();
        Run::new("ip").args(["netns", "add", name]).ok()?;
        Run::new("ip").args(["-n", name, "link", "set", "lo", "up"]).ok()?;
        Run::new("ip").args(["-n", name, "addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).ok()?;
        Ok(network)
    }

    pub(crate) fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        // `ip netns exec` would hide the cgroups, which dockerd needs.
        Run::new("nsenter").arg(format!("--net=/run/netns/{}", self.0)).arg(program)
    }

    /// Does what the page `/setup` says under this title.
    pub(crate) fn follow(&self, ring: &Ring, page: &str, client: &str) -> Result {
        let mut lines = page.lines().skip_while(|line| !line.starts_with(&format!("# {client}")));
        let line = lines.nth(1).context(format!("a line for {client}"))?;
        // Root needs no sudo, and may not have one.
        let script = format!("sudo() {{ \"$@\"; }}; {line}");
        self.run("bash").args(["-c", &script]).dir(&ring.dir).ok().map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        forget();
        let _ = Run::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

/// Takes back what the lines have written.
fn forget() {
    for place in TRUSTED {
        let _ = std::fs::remove_dir_all(Path::new(place).join(HOST));
    }
}

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("certificates");
    let ring = Ring::fresh("certificates")?;
    let network = Network::make("certificates")?;
    let data = ring.make_dir("data")?;
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{HOST}', tls: {{auto: true}}}}\n",
        data.display()
    );
    let config = ring.write("config.yml", config)?;
    let mut larder = network.run(dist::release()?).arg("serve").arg(&config).daemon(&ring, "larder")?;
    let page = || network.run("curl").args(["-fsSk", &format!("https://{HOST}/setup")]).output();
    larder.wait_until("/setup answers", START_LIMIT, || page().is_ok_and(|page| page.code == Some(0)))?;
    let page = page()?.stdout;
    let authority = data.join("larder/tls/ca.crt");
    report.case("registry", "takes an image", || {
        let layer = ring.write("file", "hello")?;
        let layers = ring.dir.join("layer.tar");
        Run::new("tar")
            .arg("-cf")
            .arg(&layers)
            .arg("-C")
            .arg(&ring.dir)
            .arg(layer.file_name().context("a name")?)
            .ok()?;
        let push = network.run("crane").arg("append").arg("-f").arg(&layers).args(["-t", IMAGE]);
        push.env("SSL_CERT_FILE", &authority).ok().map(drop)
    });
    let trust = |client: &str| network.follow(&ring, &page, client);
    let refused_then = |client: &str, pull: &dyn Fn() -> Run| -> Result {
        pull().output()?.refused(REFUSED)?;
        trust(client)?;
        pull().ok().map(drop)
    };
    report.case("curl", "believes after the line", || {
        let untold = network.run("curl").args(["-sS", &format!("https://{HOST}/v2/")]).output()?;
        same("curl's exit code", &untold.code, &Some(60))?;
        trust("curl")
    });
    report.case("podman", "pulls after the line", || {
        let home = ring.make_short_dir()?;
        refused_then("podman", &|| {
            let run =
                network.run("podman").arg("--root").arg(home.join("r")).arg("--runroot").arg(home.join("s"));
            run.args(["--storage-driver", "vfs", "pull", "-q", IMAGE])
        })
    });
    report.case("containerd", "pulls after the line", || {
        let home = ring.make_short_dir()?;
        let socket = home.join("c.sock");
        let run =
            network.run("containerd").arg("--root").arg(home.join("r")).arg("--state").arg(home.join("s"));
        let mut daemon = run.arg("-a").arg(&socket).daemon(&ring, "containerd")?;
        daemon.wait_until("its socket is there", START_LIMIT, || socket.try_exists().unwrap_or(false))?;
        let pulled = refused_then("containerd", &|| {
            let run = network.run("ctr").arg("-a").arg(&socket).args(["content", "fetch"]);
            run.args(["--hosts-dir", "/etc/containerd/certs.d", IMAGE])
        });
        ended(daemon, pulled)
    });
    report.case("docker", "pulls after the line", || {
        let home = ring.make_short_dir()?;
        let socket = format!("unix://{}", home.join("k.sock").display());
        let run = network
            .run("dockerd")
            .arg("--data-root")
            .arg(home.join("r"))
            .arg("--exec-root")
            .arg(home.join("s"));
        let run = run.arg("-p").arg(home.join("pid")).args(["-H", &socket, "--bridge=none"]);
        let mut daemon = run.args(["--iptables=false", "--ip6tables=false"]).daemon(&ring, "dockerd")?;
        let docker = |words: &[&str]| network.run("docker").args(["-H", &socket]).args(words);
        daemon.wait_until("it answers", START_LIMIT, || {
            docker(&["info"]).output().is_ok_and(|output| output.code == Some(0))
        })?;
        let pulled = refused_then("docker", &|| docker(&["pull", "-q", IMAGE]));
        ended(daemon, pulled)
    });
    report.case("registry", "ends", || larder.stop());
    acme::cases(&mut report)?;
    Ok(report)
}

/// A daemon that doesn't end is told of only where nothing else was wrong.
fn ended(daemon: Daemon, outcome: Result) -> Result {
    let stopped = daemon.stop();
    outcome?;
    stopped
}
