//! The same directory collected by docker-registry and by Larder: what each frees, and what each breaks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::image::{self, Image, OCI_MANIFEST};
use crate::places::Ring;
use crate::process::Run;
use crate::registry::{Registry, Style, Walked};
use crate::report::Report;
use crate::server::{Plan, Program};

const REPOSITORY: &str = "collect/app";
const OTHER: &str = "collect/other";

/// What is in the directory.
struct Contents {
    index: Image,
    tagged: Image,
    signature: Image,
    moved: Image,
    deleted: Image,
    shared: Image,
}

/// What is left after a collection.
struct Left {
    bytes: u64,
    index: bool,
    tagged: bool,
    signature: bool,
    moved: bool,
    deleted: bool,
    shared: bool,
}

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("7 collected by each");
    let data = ring.make_dir("collected")?;
    let Some(contents) = report.step("larder", "a directory to collect is made", || fill(ring, &data)) else {
        return Ok(());
    };
    println!(
        "{:<36} {:>12}  {:<8} {:<8} {:<10} {:<12} {:<8} other repository",
        "", "bytes left", "index", "tagged", "signature", "moved away", "deleted"
    );
    let before = look(ring, &contents, &data, "untouched")?;
    row("nothing collected", &before);
    for untagged in [false, true] {
        let [peer, larder] = [Program::DockerRegistry, Program::Larder].map(|program| {
            let name = match program {
                Program::DockerRegistry => "docker-registry",
                Program::Larder => "larder",
            };
            let what = format!("{name} garbage-collect{}", if untagged { " -m" } else { "" });
            report.step(name, &what, || {
                let copy = collect(ring, program, &data, untagged, &what)?;
                let left = look(ring, &contents, &copy, &what.replace(' ', "-"))?;
                row(&what, &left);
                Ok(left)
            })
        });
        let (Some(peer), Some(larder)) = (peer, larder) else { continue };
        report.case("larder", "keeps whatever a tag leads to, and what is attached to it", || {
            let kept = [larder.index, larder.tagged, larder.signature, larder.shared];
            same("the index, the image, its signature, the other repository", &kept, &[true; 4])?;
            same("the image whose tag has moved on", &larder.moved, &!untagged)?;
            same("the deleted image", &larder.deleted, &false)?;
            if larder.bytes >= before.bytes {
                fail!("nothing was freed of {} bytes", before.bytes);
            }
            // Where the peer breaks nothing, it frees no more.
            let peer_is_right = [peer.index, peer.signature] == [true; 2];
            if peer_is_right && larder.bytes > peer.bytes {
                fail!("{} bytes are left, and docker-registry leaves {}", larder.bytes, peer.bytes);
            }
            Ok(())
        });
    }
    report.about("");
    Ok(())
}

fn row(what: &str, left: &Left) {
    let word = |is_whole| if is_whole { "whole" } else { "gone" };
    println!(
        "{what:<36} {:>12}  {:<8} {:<8} {:<10} {:<12} {:<8} {}",
        left.bytes,
        word(left.index),
        word(left.tagged),
        word(left.signature),
        word(left.moved),
        word(left.deleted),
        word(left.shared)
    );
}

fn fill(ring: &Ring, data: &Path) -> Result<Contents> {
    let server = Plan::open(Program::Larder, data).start(ring, "collected")?;
    let registry = Registry::new(server.http());
    let index = Image::index(8000, &["amd64", "arm64"], &[3_000_000]);
    let tagged = Image::single(8100, "amd64", &[3_000_000]);
    let signature = Image::single(8200, "amd64", &[50_000]).with_manifest(OCI_MANIFEST, |manifest| {
        image::set(manifest, "", "artifactType", json!("application/vnd.ring.signature"));
        image::set(manifest, "", "subject", tagged.manifest.descriptor());
    })?;
    let (moved, deleted) =
        (Image::single(8300, "amd64", &[1_000_000]), Image::single(8400, "amd64", &[2_000_000]));
    registry.push_image(REPOSITORY, "index", &index)?;
    registry.push_image(REPOSITORY, "tagged", &tagged)?;
    registry.push_image(REPOSITORY, signature.digest(), &signature)?;
    registry.push_image(REPOSITORY, "moving", &moved)?;
    registry.put_manifest(REPOSITORY, "moving", &tagged.manifest)?;
    registry.push_image(REPOSITORY, "deleted", &deleted)?;
    same("DELETE", &registry.delete(&format!("/v2/{REPOSITORY}/manifests/{}", deleted.digest()))?, &202)?;
    for blob in tagged.all_blobs() {
        registry.push_blob(OTHER, &blob.digest, &blob.bytes, Style::Patch)?;
    }
    registry.put_manifest(OTHER, "same", &tagged.manifest)?;
    server.daemon.stop()?;
    let shared = tagged.clone();
    Ok(Contents { index, tagged, signature, moved, deleted, shared })
}

/// Collects in a copy of the directory.
fn collect(ring: &Ring, program: Program, data: &Path, untagged: bool, what: &str) -> Result<PathBuf> {
    let copy = ring.dir.join(what.replace(' ', "-"));
    Run::new("cp").arg("-a").arg(data).arg(&copy).ok()?;
    let server = Plan::open(program, &copy).start(ring, &format!("config-{}", what.replace(' ', "-")))?;
    let config = server.config.clone();
    server.daemon.stop()?;
    let run = match program {
        Program::DockerRegistry => Run::new("docker-registry"),
        Program::Larder => Run::new(dist::release()?),
    };
    let run = run.arg("garbage-collect");
    let run = if untagged { run.arg("-m") } else { run };
    run.arg(&config).ok()?;
    Ok(copy)
}

/// What of it can be pulled whole, and how many bytes of content there are.
fn look(ring: &Ring, contents: &Contents, data: &Path, name: &str) -> Result<Left> {
    let bytes = bytes_below(&data.join("docker/registry/v2/blobs"))?;
    let server = Plan::open(Program::Larder, data).start(ring, &format!("look-{name}"))?;
    let registry = Registry::new(server.http());
    let is_whole = |repository: &str, reference: &str| {
        registry.walk(repository, reference, &mut Walked::default()).is_ok()
    };
    let left = Left {
        bytes,
        index: is_whole(REPOSITORY, contents.index.digest()),
        tagged: is_whole(REPOSITORY, contents.tagged.digest()),
        signature: is_whole(REPOSITORY, contents.signature.digest()),
        moved: is_whole(REPOSITORY, contents.moved.digest()),
        deleted: is_whole(REPOSITORY, contents.deleted.digest()),
        shared: is_whole(OTHER, contents.shared.digest()),
    };
    server.daemon.stop()?;
    Ok(left)
}

fn bytes_below(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).context(dir.display())? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
