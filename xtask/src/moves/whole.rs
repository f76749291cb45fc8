//! A whole repository of several tags, an index and what is attached, from one registry to others.

use std::path::Path;

use serde_json::{Value, json};

use super::Desk;
use crate::failure::{Context, Result, fail, same};
use crate::hands::says;
use crate::image::{self, Image, OCI_MANIFEST};
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{Plan, Program};

const REPOSITORY: &str = "whole/app";

pub(super) fn cases(report: &mut Report, desk: &Desk<'_>) -> Result {
    report.about("a repository");
    let registry = desk.registry();
    let index = Image::index(20, &["amd64", "arm64", "s390x"], &[100_000, 5000]);
    let pushed = report.step("larder", "has tags, an index, and something attached", || {
        registry.push_image(REPOSITORY, "one", &Image::single(30, "amd64", &[700_000]))?;
        registry.push_image(REPOSITORY, "two", &Image::single(31, "arm64", &[1, 70_000]))?;
        registry.push_image(REPOSITORY, "also-two", &Image::single(31, "arm64", &[1, 70_000]))?;
        registry.push_image(REPOSITORY, "many", &index)?;
        for (seed, subject) in [(40, &index), (41, index.children.first().context("a child")?)] {
            let note = attached(seed, subject)?;
            registry.push_image(REPOSITORY, note.digest(), &note)?;
        }
        let state = state(&registry, &index)?;
        same("tags and referrers", &state.len(), &6)?;
        Ok(state)
    });
    let Some(state_here) = pushed else { return Ok(()) };
    let (layout, archive) = (desk.path("whole"), desk.path("whole.tar.gz"));
    report.case("larder", "exports it as a layout and as an archive", || {
        desk.export(&[REPOSITORY], &layout)?;
        desk.export(&[REPOSITORY], &archive)
    });
    for (how, source) in [("a layout", &layout), ("an archive", &archive)] {
        let data = desk.ring.make_dir(format!("elsewhere-{}", how.replace(' ', "-")))?;
        report.case("larder", &format!("{how} pushed to another registry: digests are equal"), || {
            let server = Plan::open(Program::Larder, &data).start(desk.ring, "elsewhere")?;
            let import = desk.hands.larder()?.arg("import").arg(source).args(["--to", &server.host]);
            says(&import.ok()?, "6 images, ")?;
            same_there(&Registry::new(server.http()), &index, &state_here)?;
            server.daemon.stop()
        });
    }
    report.case("larder", "piped into a directory without a server: digests are equal", || {
        let data = desk.ring.make_dir("piped")?;
        let words = format!(
            "$larder export {REPOSITORY} - --data $data | $larder import - --data {}",
            data.display()
        );
        says(&desk.shell(&words)?.ok()?, "6 images, ")?;
        served_there(desk, &data, &index, &state_here)
    });
    report.case("skopeo", "copies the index of the layout with its digest", || {
        let reference = format!("{}/whole/by-skopeo:many", desk.server.host);
        desk.hands.skopeo_push(&layout, "many", &reference)?;
        let there = registry.manifest("whole/by-skopeo", "many")?.context("the index")?;
        same("the digest", &there.digest.as_str(), &index.digest())
    });
    Ok(())
}

/// An artifact without a tag that is about something.
fn attached(seed: u64, subject: &Image) -> Result<Image> {
    let descriptor = subject.manifest.descriptor();
    Image::single(seed, "amd64", &[300]).with_manifest(OCI_MANIFEST, |manifest| {
        image::set(manifest, "", "artifactType", json!("application/vnd.ring.note"));
        image::set(manifest, "", "subject", descriptor);
    })
}

/// Every tag with its digest, and what is attached to the index and its first child.
fn state(registry: &Registry, index: &Image) -> Result<Vec<String>> {
    let mut state = Vec::new();
    for tag in registry.tags(REPOSITORY)?.unwrap_or_default() {
        let served = registry.manifest(REPOSITORY, &tag)?.context(format!("the image {tag}"))?;
        state.push(format!("{tag} {} {}", served.digest, served.media_type));
        registry.walk(REPOSITORY, &tag, &mut Walked::default())?;
    }
    for subject in std::iter::once(index).chain(index.children.first()) {
        let path = format!("/v2/{REPOSITORY}/referrers/{}", subject.digest());
        let answer = registry.http.get(&path, &[])?.expect(&path, &[200])?;
        let list: Value = serde_json::from_slice(&answer.body)?;
        for each in list.get("manifests").and_then(Value::as_array).into_iter().flatten() {
            let digest = each.get("digest").and_then(Value::as_str).context("a digest")?;
            registry.walk(REPOSITORY, digest, &mut Walked::default())?;
            state.push(format!("{digest} about {}", subject.digest()));
        }
    }
    Ok(state)
}

fn same_there(registry: &Registry, index: &Image, here: &[String]) -> Result {
    let there = state(registry, index)?;
    if there != here {
        fail!("there: {there:#?}\nhere: {here:#?}");
    }
    Ok(())
}

fn served_there(desk: &Desk<'_>, data: &Path, index: &Image, here: &[String]) -> Result {
    let server = Plan::open(Program::Larder, data).start(desk.ring, "piped")?;
    same_there(&Registry::new(server.http()), index, here)?;
    server.daemon.stop()?;
    desk.hands.larder()?.args(["verify", "--data"]).arg(data).ok().map(drop)
}
