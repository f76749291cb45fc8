//! `cargo xtask moves`: images moved in and out by `larder import` and `larder export`, with what people have: docker's
//! archives and engine, podman's, skopeo's layouts, whole repositories from one registry to another, and archives that
//! are broken.

mod broken;
mod containers;
mod docker;
mod whole;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, same};
use crate::hands::Hands;
use crate::places::Ring;
use crate::process::Run;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("moves");
    let ring = Ring::fresh("moves")?;
    let data = ring.make_dir("registry")?;
    let Some(server) =
        report.step("larder", "starts", || Plan::open(Program::Larder, &data).start(&ring, "moves"))
    else {
        return Ok(report);
    };
    let desk = Desk { ring: &ring, hands: Hands::new(&ring)?, server, count: Cell::new(0) };
    if let Some(id) = docker::cases(&mut report, &desk) {
        containers::cases(&mut report, &desk, &id);
    }
    whole::cases(&mut report, &desk)?;
    broken::cases(&mut report, &desk)?;
    report.about("");
    let Desk { hands, server, .. } = desk;
    report.case("larder", "ends on SIGTERM", || server.daemon.stop());
    hands.stop(&mut report);
    Ok(report)
}

/// A registry, and all that is needed to work with it.
struct Desk<'a> {
    ring: &'a Ring,
    hands: Hands<'a>,
    server: Server,
    count: Cell<u32>,
}

impl Desk<'_> {
    fn registry(&self) -> Registry {
        Registry::new(self.server.http())
    }

    /// A number that nobody else gets.
    fn next(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.ring.dir.join(name)
    }

    /// `larder import SOURCE --prefix PREFIX --to` this registry.
    fn import(&self, source: &Path, prefix: &str) -> Result<Run> {
        let run = self.hands.larder()?.arg("import").arg(source).args(["--prefix", prefix]);
        Ok(run.args(["--to", &self.server.host]))
    }

    /// `larder export IMAGES… DESTINATION`, out of this registry's directory.
    fn export(&self, images: &[&str], destination: &Path) -> Result {
        let run = self.hands.larder()?.arg("export").args(images).arg(destination);
        run.arg("--data").arg(&self.server.data).ok().map(drop)
    }

    /// Words for a shell, which ends an import by `$import PREFIX` and begins an export by `$export`.
    fn shell(&self, words: &str) -> Result<Run> {
        let import = format!("$larder import - --to {} --prefix", self.server.host);
        let words = words.replace("$import", &import);
        Ok(self.hands.shell(&words)?.env("data", &self.server.data))
    }

    /// The digest of an image's config, which docker and podman call its id.
    fn id(&self, repository: &str, tag: &str) -> Result<String> {
        let served = self.registry().manifest(repository, tag)?.context(format!("{repository}:{tag}"))?;
        let manifest: Value = serde_json::from_slice(&served.bytes)?;
        let config = manifest.pointer("/config/digest").and_then(Value::as_str);
        Ok(config.context("its config")?.to_owned())
    }

    /// Pulls with docker, and compares the image's id.
    fn has_id(&self, name: &str, id: &str) -> Result {
        let (_, pulled) = self.hands.docker_pull(&format!("{}/{name}", self.server.host))?;
        same(&format!("the id of {name}"), &pulled.as_str(), &id)
    }
}
