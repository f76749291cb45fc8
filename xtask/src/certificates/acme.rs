//! Certificates that are ordered: a real authority that looks for real proofs, and clients that trust it and nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pebble::{Behaviour, Dns, Pebble, naming, shown_certificate};
use super::{ADDRESS, Network, ended};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::report::Report;
use crate::tls::Authority;

mod failures;

const START_LIMIT: Duration = Duration::from_secs(30);
/// An order takes two seconds; one that fails first, a few more.
const ORDER_LIMIT: Duration = Duration::from_secs(60);
const HOSTS: [&str; 6] = [
    "registry.example.test",
    "mirror.example.test",
    "plain.example.test",
    "lost.example.test",
    "short.example.test",
    "later.example.test",
];
const YEAR_SECONDS: u64 = 90 * 86_400;
/// Long enough to be read slowly through a renewal.
const LAYER_BYTES: usize = 6 << 20;

struct Stage {
    ring: Ring,
    network: Network,
    hosts: PathBuf,
    directory_ca: PathBuf,
}

/// One registry of the ring.
struct Registry<'a> {
    stage: &'a Stage,
    name: &'static str,
    port: u16,
    root: PathBuf,
    config: PathBuf,
    data: PathBuf,
}

impl Stage {
    fn registry(&self, name: &'static str, port: u16, pebble: &Pebble, keys: &str) -> Result<Registry<'_>> {
        let data = self.ring.make_dir(format!("{name}-data"))?;
        let registry = Registry {
            stage: self,
            name,
            port,
            root: pebble.root.clone(),
            config: self.ring.dir.join(format!("{name}.yml")),
            data,
        };
        registry.configure(pebble, keys)?;
        Ok(registry)
    }
}

impl Registry<'_> {
    fn configure(&self, pebble: &Pebble, keys: &str) -> Result {
        let (data, ca, port) = (self.data.display(), self.stage.directory_ca.display(), self.port);
        let debug = port + 10_000;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n\
             http: {{addr: '{ADDRESS}:{port}', debug: {{addr: '127.0.0.1:{debug}', prometheus: {{enabled: true}}}}, tls: {{letsencrypt: {{\n  \
             directoryurl: '{}', directoryca: {ca}, email: ring@example.test, retry: 1s,\n  {keys}}}}}}}\n",
            pebble.directory()
        );
        Ok(fs::write(&self.config, config)?)
    }

    fn start(&self) -> Result<Daemon> {
        self.run("serve")?.arg(&self.config).daemon(&self.stage.ring, self.name)
    }

    fn run(&self, command: &str) -> Result<Run> {
        Ok(self.stage.network.run(dist::release()?).arg(command))
    }

    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.stage.ring.dir.join(format!("{}.log", self.name)))?)
    }

    /// Its log, once it says this: lines are written together, a moment after they happen.
    fn log_with(&self, words: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            let log = self.log()?;
            if log.contains(words) {
                return Ok(log);
            }
            if begun.elapsed() > START_LIMIT {
                fail!("the log doesn't say {words:?}: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// curl, which trusts the authority and nobody else.
    fn curl(&self, host: &str, path: &str) -> Run {
        let curl = naming(&self.stage.network, &self.stage.hosts, Path::new("curl"));
        curl.args(["-fsS", "--max-time", "60", "--cacert"]).arg(&self.root).arg(self.url(host, path))
    }

    fn crane(&self) -> Run {
        naming(&self.stage.network, &self.stage.hosts, Path::new("crane")).env("SSL_CERT_FILE", &self.root)
    }

    /// Waits for the port, and for nothing else.
    fn await_port(&self, larder: &mut Daemon) -> Result {
        let url = format!("http://{ADDRESS}:{}/", self.port);
        larder.wait_until("its port is open", START_LIMIT, || {
            // A TLS port says so to plain HTTP.
            self.stage
                .network
                .run("curl")
                .args(["-s", &url])
                .output()
                .is_ok_and(|output| output.code == Some(0))
        })
    }

    fn await_certificate(&self, larder: &mut Daemon, host: &str) -> Result {
        larder.wait_until("it is believed", ORDER_LIMIT, || {
            self.curl(host, "/v2/").output().is_ok_and(|output| output.code == Some(0))
        })
    }

    fn certificate(&self) -> Result<PathBuf> {
        let kept = self.data.join("larder/acme");
        let authority = fs::read_dir(&kept).context("what is kept")?.next().context("an authority")??;
        Ok(authority.path().join("certificate.pem"))
    }

    /// What the registry says is wrong, as JSON; of nothing, nothing.
    fn problems(&self) -> Result<String> {
        let socket = self.data.join("larder/control/socket");
        let run = Run::new("curl").args(["-fsS", "--unix-socket"]).arg(socket);
        let answer: serde_json::Value =
            serde_json::from_str(&run.arg("http://larder/api/v1/problems").ok()?)?;
        let problems =
            answer.get("problems").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let line = |problem: &serde_json::Value| {
            let text =
                |name| problem.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            format!("{}\n    fix: {}\n", text("reason"), text("fix"))
        };
        Ok(problems.iter().map(line).collect())
    }

    fn metrics(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port + 10_000);
        self.stage.network.run("curl").args(["-fsS", &url]).ok()
    }
}

pub(super) fn cases(report: &mut Report) -> Result {
    let ring = Ring::fresh("acme")?;
    let network = Network::make("acme")?;
    let hosts = ring.write("hosts", format!("127.0.0.1 localhost\n{ADDRESS} {}\n", HOSTS.join(" ")))?;
    let tls = Authority::make(&ring, &["localhost"])?;
    let stage = Stage { directory_ca: tls.ca.clone(), ring, network, hosts };
    let _dns = Dns::start(&stage.ring, &stage.network)?;
    let behaviour = |name, port, tls_port| Behaviour {
        name,
        port,
        tls_port,
        life_seconds: YEAR_SECONDS,
        nonces_refused: 0,
    };
    let pebble = Pebble::start(&stage.ring, &stage.network, &tls, behaviour("pebble", 14_000, 443))?;
    report.about("acme");
    own_port(report, &stage, &pebble)?;
    shared_place(report, &stage, &pebble)?;
    plain_port(report, &stage, &pebble)?;
    failures::cases(report, &stage, &pebble)?;
    kills(report, &stage, &pebble)?;
    refused_nonces(report, &stage, &tls)?;
    renewal(report, &stage, &tls)?;
    new_authority(report, &stage, pebble, &tls)?;
    report.about("");
    Ok(())
}

/// TLS-ALPN-01 for two names; and that what was got is kept.
fn own_port(report: &mut Report, stage: &Stage, pebble: &Pebble) -> Result {
    let registry =
        stage.registry("own-port", 443, pebble, "hosts: [registry.example.test, mirror.example.test]")?;
    let mut larder = registry.start()?;
    report.case("curl", "comes before the certificate, waits for it and believes it", || {
        registry.await_port(&mut larder)?;
        registry.curl("registry.example.test", "/v2/").ok().map(drop)
    });
    report.case("curl", "believes the other name, and the log says by which proof", || {
        registry.curl("mirror.example.test", "/v2/").ok()?;
        registry.log_with("proof=tls-alpn-01").map(drop)
    });
    report.case("files", "key and account are secret", || {
        let certificate = registry.certificate()?;
        for path in [certificate.with_file_name("account.json"), certificate] {
            let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
            same(&path.display().to_string(), &format!("{mode:o}"), &"600".to_owned())?;
        }
        Ok(())
    });
    report.case("crane", "pushes", || push(&registry, "registry.example.test/ring/app:1"));
    report.case("docker", "pulls", || docker_pulls(&registry, "mirror.example.test/ring/app:1"));
    report.case("metrics", "count one order", || {
        let metrics = registry.metrics()?;
        let wanted = [
            "larder_certificate_orders_total{outcome=\"issued\"} 1",
            "larder_certificate_orders_total{outcome=\"failed\"} 0",
        ];
        match wanted.iter().find(|line| !metrics.contains(*line)) {
            Some(line) => fail!("no line {line}"),
            None => Ok(()),
        }
    });
    larder.stop()?;
    report.case("registry", "starts again with what it has, and asks nothing", || {
        let (asked, kept) = (pebble.requests()?, fs::read(registry.certificate()?)?);
        let mut larder = registry.start()?;
        registry.await_certificate(&mut larder, "registry.example.test")?;
        same("requests to the authority", &pebble.requests()?, &asked)?;
        same("the certificate's length", &fs::read(registry.certificate()?)?.len(), &kept.len())?;
        ended(larder, Ok(()))
    });
    Ok(())
}

/// What one has got, all show that share its place.
fn shared_place(report: &mut Report, stage: &Stage, pebble: &Pebble) -> Result {
    let keys =
        format!("hosts: [registry.example.test], cachefile: {}", stage.ring.dir.join("shared").display());
    let first = stage.registry("first", 443, pebble, &keys)?;
    let second = stage.registry("second", 444, pebble, &keys)?;
    let mut larder = first.start()?;
    report.case("registry", "shows what another one with the same cachefile has got", || {
        first.await_certificate(&mut larder, "registry.example.test")?;
        let asked = pebble.requests()?;
        let mut other = second.start()?;
        second.await_certificate(&mut other, "registry.example.test")?;
        other.stop()?;
        same("requests to the authority", &pebble.requests()?, &asked)
    });
    larder.stop()
}

/// HTTP-01, at a port of its own.
fn plain_port(report: &mut Report, stage: &Stage, pebble: &Pebble) -> Result {
    let keys = format!("hosts: [plain.example.test, later.example.test], addr: '{ADDRESS}:80'");
    let registry = stage.registry("plain-port", 5443, pebble, &keys)?;
    let mut larder = registry.start()?;
    report.case("curl", "believes what was proven on port 80", || {
        registry.await_certificate(&mut larder, "plain.example.test")?;
        registry.curl("later.example.test", "/v2/").ok().map(drop)
    });
    report.case("curl", "gets nothing else on port 80", || {
        let url = format!("http://{ADDRESS}/v2/");
        let answer = stage.network.run("curl").args(["-sS", "-w", "%{http_code}", &url]).ok()?;
        if !answer.contains("certificate authority") || !answer.ends_with("404") {
            fail!("{answer}");
        }
        Ok(())
    });
    ended(larder, Ok(()))
}

/// Killed at any moment of an order, it gets its certificate in the end.
fn kills(report: &mut Report, stage: &Stage, pebble: &Pebble) -> Result {
    let registry = stage.registry("killed", 443, pebble, "hosts: [registry.example.test]")?;
    report.case("registry", "killed at 12 moments of an order, comes to its certificate", || {
        let mut unfinished = 0;
        for moment in 1..=12 {
            let mut larder = registry.start()?;
            registry.await_port(&mut larder)?;
            std::thread::sleep(Duration::from_millis(moment * 40));
            larder.kill()?;
            unfinished += usize::from(!registry.certificate().is_ok_and(|path| path.is_file()));
        }
        if unfinished < 6 {
            fail!("only {unfinished} orders were cut off");
        }
        let mut larder = registry.start()?;
        let believed = registry.await_certificate(&mut larder, "registry.example.test");
        ended(larder, believed)
    });
    Ok(())
}

/// An authority that takes good numbers for old, as real ones do now and then.
fn refused_nonces(report: &mut Report, stage: &Stage, tls: &Authority) -> Result {
    let behaviour = Behaviour {
        name: "forgetful",
        port: 14_001,
        tls_port: 443,
        life_seconds: YEAR_SECONDS,
        nonces_refused: 30,
    };
    let pebble = Pebble::start(&stage.ring, &stage.network, tls, behaviour)?;
    let registry = stage.registry("nonces", 443, &pebble, "hosts: [registry.example.test]")?;
    report.case("registry", "gets through where three of ten nonces are refused", || {
        let mut larder = registry.start()?;
        let believed = registry.await_certificate(&mut larder, "registry.example.test");
        ended(larder, believed)
    });
    pebble.stop()
}

/// A life of seconds, and a download that lasts longer.
fn renewal(report: &mut Report, stage: &Stage, tls: &Authority) -> Result {
    let behaviour =
        Behaviour { name: "short", port: 14_002, tls_port: 443, life_seconds: 24, nonces_refused: 0 };
    let pebble = Pebble::start(&stage.ring, &stage.network, tls, behaviour)?;
    let registry = stage.registry("short-lived", 443, &pebble, "hosts: [short.example.test]")?;
    let mut larder = registry.start()?;
    report.case("registry", "renews while a pull runs, which isn't cut", || {
        registry.await_certificate(&mut larder, "short.example.test")?;
        push(&registry, "short.example.test/ring/app:1")?;
        let digest = layer_digest(&registry, "short.example.test/ring/app:1")?;
        let before = fs::read_to_string(registry.certificate()?)?;
        // Twenty seconds: the renewal is after sixteen of a life.
        let path = format!("/v2/ring/app/blobs/{digest}");
        let curl = registry.curl("short.example.test", &path).args(["--limit-rate", "300k", "-o"]);
        let file = stage.ring.dir.join("pulled");
        curl.arg(&file).ok()?;
        let sum = Run::new("sha256sum").arg(&file).ok()?;
        same("what was pulled", &sum.split(' ').next().map(|sum| format!("sha256:{sum}")), &Some(digest))?;
        let after = fs::read_to_string(registry.certificate()?)?;
        if after == before {
            fail!("the certificate is the same after twenty seconds of a life of 24");
        }
        let written = registry.curl("short.example.test", "/v2/").args(["-w", "%{certs}"]).ok()?;
        let shown = shown_certificate(&written)?;
        if before.contains(&shown) {
            fail!("new connections are shown the certificate from before");
        }
        same("problems", &registry.problems()?, &String::new())
    });
    larder.stop()?;
    pebble.stop()
}

/// An authority that has lost its memory, and a further host by a reload.
fn new_authority(report: &mut Report, stage: &Stage, pebble: Pebble, tls: &Authority) -> Result {
    let registry = stage.registry("reloaded", 443, &pebble, "hosts: [registry.example.test]")?;
    let mut larder = registry.start()?;
    let ready = report.case("registry", "gets a certificate for one name", || {
        registry.await_certificate(&mut larder, "registry.example.test")
    });
    let pebble = pebble.set_up_anew(&stage.ring, &stage.network, tls)?;
    if ready {
        report.case("registry", "takes up another name by a reload, with another account", || {
            registry.configure(&pebble, "hosts: [registry.example.test, mirror.example.test]")?;
            Run::new("kill").args(["-HUP", &larder.pid().to_string()]).ok()?;
            let renewed = Registry {
                root: pebble.root.clone(),
                config: registry.config.clone(),
                data: registry.data.clone(),
                ..registry
            };
            renewed.await_certificate(&mut larder, "mirror.example.test")?;
            renewed.log_with("doesn't know the registry's account any more").map(drop)
        });
    }
    larder.stop()?;
    pebble.stop()
}

fn push(registry: &Registry<'_>, image: &str) -> Result {
    let dir = &registry.stage.ring.dir;
    fs::write(dir.join("content"), crate::random::Random::new(7).bytes(LAYER_BYTES))?;
    let layers = dir.join("layer.tar");
    Run::new("tar").arg("-cf").arg(&layers).arg("-C").arg(dir).arg("content").ok()?;
    registry.crane().arg("append").arg("-f").arg(&layers).args(["-t", image]).ok().map(drop)
}

fn layer_digest(registry: &Registry<'_>, image: &str) -> Result<String> {
    let manifest: serde_json::Value =
        serde_json::from_str(&registry.crane().args(["manifest", image]).ok()?)?;
    let digest = manifest.pointer("/layers/0/digest").and_then(serde_json::Value::as_str);
    digest.map(str::to_owned).context("a layer")
}

fn docker_pulls(registry: &Registry<'_>, image: &str) -> Result {
    let stage = registry.stage;
    let home = stage.ring.make_short_dir()?;
    let socket = format!("unix://{}", home.join("k.sock").display());
    let run = naming(&stage.network, &stage.hosts, Path::new("dockerd")).env("SSL_CERT_FILE", &registry.root);
    let run = run.arg("--data-root").arg(home.join("r")).arg("--exec-root").arg(home.join("s"));
    let run = run.arg("-p").arg(home.join("pid")).args(["-H", &socket, "--bridge=none"]);
    let mut daemon = run.args(["--iptables=false", "--ip6tables=false"]).daemon(&stage.ring, "dockerd")?;
    let docker = |words: &[&str]| stage.network.run("docker").args(["-H", &socket]).args(words);
    daemon.wait_until("it answers", START_LIMIT, || {
        docker(&["info"]).output().is_ok_and(|output| output.code == Some(0))
    })?;
    let pulled = docker(&["pull", "-q", image]).ok().map(drop);
    ended(daemon, pulled)
}
