//! The servers that are compared, each behind the ways in which it can be asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::client::{self, Request, Target};
use super::cpu::Meter;
use super::fixture::Fixture;
use super::nginx;
use crate::failure::Result;
use crate::places::Ring;
use crate::process::Daemon;
use crate::server::{Auth, Plan, Program};
use crate::tls::Authority;

const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Who {
    Nginx,
    DockerRegistry,
    Larder,
}

/// In the order of the table.
pub(super) const EVERYBODY: &[Who] = &[Who::Nginx, Who::DockerRegistry, Who::Larder];

/// How a server is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    Plain,
    Tls,
    /// Plain HTTP with a Bearer token.
    Token,
}

/// A server that runs.
pub(super) struct Stand {
    pub(super) who: Who,
    pub(super) target: Target,
    pub(super) meter: Meter,
    _daemon: Daemon,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nginx => "nginx",
            Self::DockerRegistry => "docker-registry",
            Self::Larder => "larder",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Token => "token",
        })
    }
}

/// As Debian and the registry:2 image configure it; without it docker-registry looks at the disk more often.
pub(super) const PEER_CACHE: &str = "  cache:\n    blobdescriptor: inmemory\n";

impl Stand {
    /// Starts one server over its own copy of the fixture.
    pub(super) fn start(
        ring: &Ring,
        who: Who,
        way: Way,
        fixture: &Fixture,
        authority: &Authority,
        trust: &Arc<ClientConfig>,
    ) -> Result<Self> {
        let name = format!("{who}-{way}");
        let data = ring.make_dir(format!("data-{name}"))?;
        let tls = (way == Way::Tls).then_some(authority);
        let (host, daemon) = match who {
            Who::Nginx => {
                fixture.copy_as_files(&data)?;
                let (host, mut daemon) = nginx::start(ring, &name, &data, tls)?;
                daemon
                    .wait_until("it listens", START_LIMIT, || std::net::TcpStream::connect(&host).is_ok())?;
                (host, daemon)
            }
            Who::DockerRegistry | Who::Larder => {
                fixture.copy(&data)?;
                let server = plan(who, way, &data, tls).start(ring, &name)?;
                (server.host, server.daemon)
            }
        };
        let target = Target { host, tls: tls.map(|_| Arc::clone(trust)) };
        Ok(Self { who, target, meter: Meter::of(daemon.pid()), _daemon: daemon })
    }

    /// What this server wants to see beside the request itself.
    pub(super) fn admitted(&self, request: &Request) -> Result<Request> {
        Ok(request.clone())
    }
}

fn plan<'a>(who: Who, way: Way, data: &'a std::path::Path, tls: Option<&'a Authority>) -> Plan<'a> {
    let program = if who == Who::Larder { Program::Larder } else { Program::DockerRegistry };
    let storage_lines = if who == Who::DockerRegistry { PEER_CACHE } else { "" };
    let auth = if way == Way::Token { Auth::Token } else { Auth::None };
    Plan { tls, auth, storage_lines, ..Plan::open(program, data) }
}

/// The way in which plain files are asked: nginx knows no tokens.
pub(super) fn trust(authority: &Authority) -> Result<Arc<ClientConfig>> {
    client::trusting(&authority.ca)
}
