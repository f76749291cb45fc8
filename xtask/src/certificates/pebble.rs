//! The authority: Let's Encrypt's own test server, and the DNS that it asks.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{ADDRESS, Network};
use crate::failure::{Context, Result};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::tls::Authority;

const START_LIMIT: Duration = Duration::from_secs(30);
const DNS: &str = "127.0.0.1:8053";
const DNS_MANAGEMENT: &str = "127.0.0.1:8055";

/// A DNS in which every name leads to the ring's address until it is told otherwise.
pub(super) struct Dns {
    _server: Daemon,
}

impl Dns {
    pub(super) fn start(ring: &Ring, network: &Network) -> Result<Self> {
        let run = network.run("pebble-challtestsrv").args(["-defaultIPv4", ADDRESS, "-defaultIPv6", ""]);
        let run = run.args(["-dnsserver", DNS, "-management", DNS_MANAGEMENT]);
        let mut server =
            run.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]).daemon(ring, "dns")?;
        server.wait_until("the DNS is managed", START_LIMIT, || {
            Dns::tell(network, "clear-a", &json!({"host": "nobody.example.test"})).is_ok()
        })?;
        Ok(Self { _server: server })
    }

    pub(super) fn lead(network: &Network, host: &str, address: &str) -> Result {
        Dns::tell(network, "add-a", &json!({"host": host, "addresses": [address]}))
    }

    pub(super) fn tell(network: &Network, what: &str, body: &serde_json::Value) -> Result {
        let url = format!("http://{DNS_MANAGEMENT}/{what}");
        network.run("curl").args(["-fsS", "-d", &body.to_string(), &url]).ok().map(drop)
    }
}

/// How an authority behaves.
pub(super) struct Behaviour {
    pub(super) name: &'static str,
    /// The port of its directory; that of its management is a thousand more.
    pub(super) port: u16,
    /// Where it looks for proofs.
    pub(super) tls_port: u16,
    /// How long what it signs counts.
    pub(super) life_seconds: u64,
    /// How many of a hundred good nonces it refuses.
    pub(super) nonces_refused: u8,
}

pub(super) struct Pebble {
    pub(super) behaviour: Behaviour,
    pub(super) root: PathBuf,
    server: Daemon,
    log: PathBuf,
}

impl Pebble {
    /// Its directory's certificate comes from a private authority, as it does where people run their own.
    pub(super) fn start(
        ring: &Ring,
        network: &Network,
        tls: &Authority,
        behaviour: Behaviour,
    ) -> Result<Self> {
        let Behaviour { name, port, tls_port, life_seconds, nonces_refused } = behaviour;
        let management = port + 1000;
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": tls.certificate, "privateKey": tls.key,
            "httpPort": 80, "tlsPort": tls_port, "keyAlgorithm": "ecdsa",
            "retryAfter": {"authz": 1, "order": 1},
            "domainBlocklist": ["blocked.example.test"],
            "profiles": {"default": {"description": "the only one", "validityPeriod": life_seconds}},
        }});
        let config = ring.write(&format!("{name}.json"), config.to_string())?;
        let run = network.run("pebble").arg("-config").arg(config).args(["-strict", "-dnsserver", DNS]);
        let run = run.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        let mut server = run.env("PEBBLE_WFE_NONCEREJECT", nonces_refused.to_string()).daemon(ring, name)?;
        let url = format!("https://localhost:{management}/roots/0");
        let ask = || network.run("curl").arg("--cacert").arg(&tls.ca).args(["-fsS", &url]).output();
        server.wait_until("its root can be had", START_LIMIT, || {
            ask().is_ok_and(|root| root.code == Some(0))
        })?;
        let root = ring.write(&format!("{name}-root.pem"), ask()?.stdout)?;
        Ok(Self { behaviour, root, server, log: ring.dir.join(format!("{name}.log")) })
    }

    /// Forgets all accounts, orders and its own root: it keeps them in memory.
    pub(super) fn set_up_anew(self, ring: &Ring, network: &Network, tls: &Authority) -> Result<Self> {
        self.server.stop()?;
        Pebble::start(ring, network, tls, self.behaviour)
    }

    pub(super) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.behaviour.port)
    }

    /// How many requests it was asked.
    pub(super) fn requests(&self) -> Result<usize> {
        Ok(fs::read_to_string(&self.log)?.matches("calling handler()").count())
    }

    pub(super) fn stop(self) -> Result {
        self.server.stop()
    }
}

/// A program for which the ring's names lead to the ring's address: a file of hosts in a mount namespace of its own.
pub(super) fn naming(network: &Network, hosts: &std::path::Path, program: &std::path::Path) -> Run {
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    network.run("unshare").args(["-m", "sh", "-c", script]).arg(hosts).arg(program)
}

/// What a client shows of the certificate that it was shown.
pub(super) fn shown_certificate(written: &str) -> Result<String> {
    let begin = written.find("-----BEGIN CERTIFICATE-----").context("a certificate")?;
    let end = written.find("-----END CERTIFICATE-----").context("a whole certificate")?;
    written.get(begin..end).map(str::to_owned).context("a certificate")
}
