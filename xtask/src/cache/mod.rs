//! `cargo xtask cache`: Larder as a cache of a real registry, docker-registry 2.8.2, behind a [`front`] that spoils
//! what it answers and counts what it is asked.
//!
//! `CACHE_RING_ONLY=keep,cold` in the environment runs these parts alone.

mod cold;
mod crowd;
mod front;
mod keep;
mod matrix;
mod seams;

use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::failure::{Result, fail};
use crate::http::{Answer, Http};
use crate::image::Image;
use crate::places::Ring;
use crate::registry::{ACCEPT, Registry};
use crate::report::Report;
use crate::server::{Plan, Program, Server};
use front::Front;

type Part = fn(&mut Report, &Ring, &Origin) -> Result;

const PARTS: [(&str, Part); 5] = [
    ("matrix", matrix::cases),
    ("crowd", crowd::cases),
    ("cold", cold::cases),
    ("seams", seams::cases),
    ("keep", keep::cases),
];

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let only = std::env::var("CACHE_RING_ONLY").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|names| names.split(',').collect());
    if let Some(unknown) = only.iter().flatten().find(|name| PARTS.iter().all(|(part, _)| part != *name)) {
        fail!("CACHE_RING_ONLY names {unknown:?}, which is no part of this ring");
    }
    let ring = Ring::fresh("cache")?;
    let mut report = Report::new("cache");
    let Some(origin) = report.step("docker-registry", "starts as the upstream", || Origin::start(&ring))
    else {
        return Ok(report);
    };
    for (_, part) in PARTS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only.contains(name))) {
        part(&mut report, &ring, &origin)?;
    }
    Ok(report)
}

/// The registry that is cached.
struct Origin {
    server: Server,
}

impl Origin {
    fn start(ring: &Ring) -> Result<Self> {
        let data = ring.make_dir("origin")?;
        Ok(Self { server: Plan::open(Program::DockerRegistry, &data).start(ring, "origin")? })
    }

    fn push(&self, repository: &str, tag: &str, image: &Image) -> Result {
        Registry::new(self.server.http()).push_image(repository, tag, image)
    }

    fn front(&self) -> Result<Front> {
        Front::before(&self.server.host)
    }
}

/// A cache's data directory, over which it can be started more than once.
struct Cache<'a> {
    ring: &'a Ring,
    program: Program,
    name: String,
    data: PathBuf,
    sections: String,
}

impl<'a> Cache<'a> {
    /// A cache of what stands behind this front. Of Larder's, each pull of a tag asks anew.
    fn of(ring: &'a Ring, program: Program, name: &str, front: &Front) -> Result<Self> {
        Self::with_hosts(ring, program, name, front, &[])
    }

    /// The same, and these hosts belong to the upstream too.
    fn with_hosts(
        ring: &'a Ring,
        program: Program,
        name: &str,
        front: &Front,
        hosts: &[&Front],
    ) -> Result<Self> {
        let url = format!("http://{}", front.host);
        let hosts: Vec<&str> = hosts.iter().map(|front| front.host.as_str()).collect();
        let sections = match program {
            Program::DockerRegistry => format!("proxy:\n  remoteurl: {url}\n"),
            Program::Larder => format!(
                "upstreams:\n  - name: origin\n    prefix: /\n    urls: [\"{url}\"]\n    freshfor: 0s\n    hosts: {hosts:?}\n"
            ),
        };
        let data = ring.make_dir(format!("{name}-data"))?;
        Ok(Self { ring, program, name: name.to_owned(), data, sections })
    }

    fn start(&self) -> Result<Server> {
        let plan = Plan { sections: &self.sections, ..Plan::open(self.program, &self.data) };
        plan.start(self.ring, &self.name)
    }
}

/// A pull of a manifest as clients make it.
fn pull_manifest(http: &Http, repository: &str, reference: &str) -> Result<Answer> {
    http.get(&manifest_path(repository, reference), &[("Accept", ACCEPT)])
}

fn manifest_path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}
