//! The servers that are compared, each behind the ways in which it can be asked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::Options;
use super::client::{self, Request, Target};
use super::meter::Meter;
use super::nginx;
use super::token::{self, Signer};
use crate::failure::Result;
use crate::places::{LOOPBACK, Ring};
use crate::process::Daemon;
use crate::server::{Auth, Plan, Program};
use crate::tls::Authority;

const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Who {
    Nginx,
    DockerRegistry,
    Larder,
    /// No server, but what pushes are measured by: hashing their bytes and writing them, and nothing else.
    HashAndWrite,
}

/// The servers, in the order of the table.
pub(super) const EVERYBODY: &[Who] = &[Who::Nginx, Who::DockerRegistry, Who::Larder];

/// How a server is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    Plain,
    Tls,
    /// Plain HTTP with a Bearer token.
    Token,
}

/// What all parts of a run share.
pub(super) struct Scene<'a> {
    pub(super) ring: &'a Ring,
    pub(super) options: Options,
    authority: Authority,
    trust: Arc<ClientConfig>,
    signer: Signer,
}

/// A server that runs.
pub(super) struct Stand {
    pub(super) who: Who,
    pub(super) target: Target,
    pub(super) meter: Meter,
    admission: Admission,
    daemon: Daemon,
}

/// What a server wants to see beside the request itself.
enum Admission {
    Nothing,
    /// Larder's tokens last minutes, so that one is fetched for each run.
    LarderToken,
    Token(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nginx => "nginx",
            Self::DockerRegistry => "docker-registry",
            Self::Larder => "larder",
            Self::HashAndWrite => "hash+write",
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

impl<'a> Scene<'a> {
    pub(super) fn make(ring: &'a Ring, options: Options) -> Result<Self> {
        let authority = Authority::make(ring, &[LOOPBACK])?;
        let trust = client::trusting(&authority.ca)?;
        Ok(Self { ring, options, authority, trust, signer: Signer::make(ring)? })
    }
}

impl Stand {
    /// Starts a server over a directory that is its own: a storage directory, or plain files for nginx, which knows
    /// no tokens and so is asked without one in each way.
    pub(super) fn start(scene: &Scene<'_>, who: Who, way: Way, name: &str, data: &Path) -> Result<Self> {
        let tls = (way == Way::Tls).then_some(&scene.authority);
        let larder = who == Who::Larder;
        let token = way == Way::Token;
        let (host, daemon) = if who == Who::Nginx {
            let (host, mut daemon) = nginx::start(scene.ring, name, data, tls)?;
            daemon.wait_until("it listens", START_LIMIT, || std::net::TcpStream::connect(&host).is_ok())?;
            (host, daemon)
        } else {
            let sections = if token && !larder { scene.signer.section() } else { String::new() };
            let program = if larder { Program::Larder } else { Program::DockerRegistry };
            let plan = Plan {
                tls,
                auth: if token && larder { Auth::Token } else { Auth::None },
                storage_lines: if larder { "" } else { PEER_CACHE },
                sections: &sections,
                ..Plan::open(program, data)
            };
            let server = plan.start(scene.ring, name)?;
            (server.host, server.daemon)
        };
        let admission = match who {
            Who::Larder if token => Admission::LarderToken,
            Who::DockerRegistry if token => Admission::Token(scene.signer.token()?),
            _ => Admission::Nothing,
        };
        let target = Target { host, tls: tls.map(|_| Arc::clone(&scene.trust)) };
        if !matches!(admission, Admission::Nothing) {
            token::challenge(&target)?;
        }
        Ok(Self { who, target, meter: Meter::of(daemon.pid()), admission, daemon })
    }

    /// The request with what this server wants to see beside it.
    pub(super) fn admitted(&self, request: &Request) -> Result<Request> {
        let token = match &self.admission {
            Admission::Nothing => return Ok(request.clone()),
            Admission::LarderToken => token::of_larder(&self.target)?,
            Admission::Token(token) => token.clone(),
        };
        Ok(request.clone().with("Authorization", format!("Bearer {token}")))
    }

    pub(super) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub(super) fn stop(self) -> Result {
        self.daemon.stop()
    }
}
