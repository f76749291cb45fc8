//! `cargo xtask swap`: one directory, served in turn by docker-registry 2.8.2 and by Larder. Each serves what the
//! other wrote byte for byte, the peer's garbage collector takes nothing away that a client can still reach, and both
//! answer the same where they aren't meant to differ.

mod asked;
mod collected;
mod content;
mod snapshot;

use std::path::Path;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail, same};
use crate::http::Body;
use crate::image::{Image, OCI_INDEX};
use crate::places::Ring;
use crate::process::Run;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{Plan, Program, Server};

use content::{HalfDone, World};
use snapshot::Snapshot;

const PEER: Program = Program::DockerRegistry;

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let other = Program::chosen(arguments)?;
    let mut report = Report::new("swap");
    let ring = Ring::fresh("swap")?;
    let data = ring.make_dir("data")?;
    let mut world = World::default();

    report.about("1 peer fills");
    let server = Plan::open(PEER, &data).start(&ring, "1-peer")?;
    let registry = Registry::new(server.http());
    let half_done = content::fill(&mut report, &registry, &mut world)?;
    let filled = Snapshot::take(&registry, &world)?;
    server.daemon.stop()?;

    report.about("2 larder serves it");
    let server = Plan::open(other, &data).start(&ring, "2-larder")?;
    let registry = Registry::new(server.http());
    report
        .case("larder", "every list, manifest and blob, byte for byte", || filled.equals(&registry, &world));
    report.case("larder", "knows the half-done upload and finishes it", || {
        finish(&registry, other, &half_done)
    });
    world.blob(&half_done.repository, &half_done.digest);
    content::add(&mut report, &registry, &mut world, other)?;
    report.case("larder", "lists the artifact among its subject's referrers", || {
        referrers(&registry, other, &world)
    });
    let added = Snapshot::take(&registry, &world)?;
    server.daemon.stop()?;

    report.about("3 peer serves all");
    let server = Plan::open(PEER, &data).start(&ring, "3-peer")?;
    let registry = Registry::new(server.http());
    report.case("peer", "every list, manifest and blob, byte for byte", || added.equals(&registry, &world));
    let before = report.step("peer", "everything reachable is whole", || walk_all(&registry, &world));
    let config = server.config.clone();
    server.daemon.stop()?;
    let files = count_files(&data)?;
    report.case("peer", "garbage-collect --dry-run", || {
        collect(&config, &["--dry-run"])?;
        same("the number of files", &count_files(&data)?, &files)
    });
    report.case("peer", "garbage-collect", || collect(&config, &[]));

    report.about("4 peer after collecting");
    let server = Plan::open(PEER, &data).start(&ring, "4-peer")?;
    let registry = Registry::new(server.http());
    report.case("peer", "nothing reachable is gone", || nothing_gone(&registry, &world, before.as_ref()));
    content::change(&mut report, &registry, &mut world)?;
    world.forget_unreferenced(&registry)?;
    let collected = Snapshot::take(&registry, &world)?;
    server.daemon.stop()?;

    report.about("5 larder again");
    let server = Plan::open(other, &data).start(&ring, "5-larder")?;
    let registry = Registry::new(server.http());
    report
        .case("larder", "sees what the peer changed, byte for byte", || collected.equals(&registry, &world));
    report.case("larder", "everything reachable is whole", || walk_all(&registry, &world).map(drop));
    report.case("larder", "still lists the artifact", || referrers(&registry, other, &world));
    report.case("larder", "takes a new push", || {
        registry.push_image("swap/again", "one", &Image::single(900, "amd64", &[1000]))?;
        registry.walk("swap/again", "one", &mut Walked::default())
    });
    restart_without_index(&mut report, &ring, server, &world, other)?;
    if other == Program::Larder {
        collected::cases(&mut report, &ring)?;
        asked::cases(&mut report, &ring)?;
    }
    Ok(report)
}

/// The index is disposable: without it Larder serves the same.
fn restart_without_index(
    report: &mut Report,
    ring: &Ring,
    server: Server,
    world: &World,
    other: Program,
) -> Result {
    report.about("6 larder without its index");
    let before = Snapshot::take(&Registry::new(server.http()), world)?;
    let data = server.data.clone();
    server.daemon.stop()?;
    report.case("larder", "serves the same after larder/index.db is deleted", || {
        forget_index(&data, other)?;
        let server = Plan::open(other, &data).start(ring, "6-larder")?;
        before.equals(&Registry::new(server.http()), world)?;
        referrers(&Registry::new(server.http()), other, world)?;
        server.daemon.stop()
    });
    Ok(())
}

/// Deletes `larder/index.db*`; there must be one, or the ring would prove nothing.
pub(crate) fn forget_index(data: &Path, program: Program) -> Result {
    if program != Program::Larder {
        return Ok(());
    }
    let mut deleted = 0;
    for entry in std::fs::read_dir(data.join("larder")).context("the larder directory")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("index.db") {
            std::fs::remove_file(entry.path())?;
            deleted += 1;
        }
    }
    if deleted == 0 {
        fail!("there is no {}/larder/index.db", data.display());
    }
    Ok(())
}

fn finish(registry: &Registry, program: Program, half_done: &HalfDone) -> Result {
    // The peer wants its signed state back; Larder must know the upload by its path alone.
    let location = match program {
        Program::Larder => half_done.location.split('?').next().unwrap_or_default(),
        Program::DockerRegistry => half_done.location.as_str(),
    };
    let status = registry.http.get(location, &[])?.expect("the upload's status", &[204])?;
    let range = status.header("range").context("Range")?.to_owned();
    same("the upload's Range", &range, &format!("0-{}", half_done.sent.len() - 1))?;
    let upload = registry.append(&status.location()?, half_done.sent.len(), &half_done.rest)?;
    registry.finish_upload(&upload, &half_done.digest, &[])?;
    registry.blob(&half_done.repository, &half_done.digest)?.context("the finished blob").map(drop)
}

fn referrers(registry: &Registry, program: Program, world: &World) -> Result {
    let Some((repository, subject, artifact)) = &world.artifact else { fail!("no artifact was pushed") };
    if program != Program::Larder {
        return Ok(());
    }
    let path = format!("/v2/{repository}/referrers/{subject}");
    let answer = registry.http.send("GET", &path, &[], Body::Whole(&[]))?.expect(&path, &[200])?;
    same("the referrers' type", &answer.header("content-type"), &Some(OCI_INDEX))?;
    if !String::from_utf8_lossy(&answer.body).contains(artifact.as_str()) {
        fail!("{artifact} is not among {}", String::from_utf8_lossy(&answer.body));
    }
    Ok(())
}

/// Reads every tag and every known manifest with all that it names.
fn walk_all(registry: &Registry, world: &World) -> Result<Walked> {
    let mut walked = Walked::default();
    for repository in registry.repositories()? {
        for tag in registry.tags(&repository)?.unwrap_or_default() {
            registry.walk(&repository, &tag, &mut walked)?;
        }
        for digest in world.manifests_of(&repository) {
            if registry.manifest(&repository, digest)?.is_some() {
                registry.walk(&repository, digest, &mut walked)?;
            }
        }
    }
    Ok(walked)
}

fn nothing_gone(registry: &Registry, world: &World, before: Option<&Walked>) -> Result {
    let before = before.context("what was reachable before")?;
    let after = walk_all(registry, world)?;
    let gone: Vec<_> = before
        .manifests
        .difference(&after.manifests)
        .chain(before.blobs.difference(&after.blobs))
        .map(|(repository, digest)| format!("{repository}@{digest}"))
        .collect();
    if gone.is_empty() { Ok(()) } else { fail!("gone: {}", gone.join(", ")) }
}

fn collect(config: &Path, flags: &[&str]) -> Result {
    Run::new("docker-registry").arg("garbage-collect").args(flags).arg(config).ok().map(drop)
}

fn count_files(dir: &Path) -> Result<String> {
    Run::new("find").arg(dir).args(["-type", "f", "-printf", "x"]).ok().map(|marks| marks.len().to_string())
}
