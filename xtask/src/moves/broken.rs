//! Archives that are not what they should be are refused with words, and nothing gets a name.

use std::fs;

use super::Desk;
use crate::failure::{Context, Result, fail, same};
use crate::hands::noise;
use crate::image::Image;
use crate::report::Report;

/// What docker's and our archives are broken by, and what is said of each.
pub(super) fn cases(report: &mut Report, desk: &Desk<'_>) -> Result {
    report.about("broken");
    let (docker, oci) = (desk.path("good-docker.tar"), desk.path("good-oci.tar"));
    let layer = noise(50, 900_000);
    let made = report.case("docker, larder", "write archives of both kinds", || {
        desk.hands.build("broken/app:1", &[("file", layer.clone())])?;
        desk.hands.docker().args(["save", "--output"]).arg(&docker).arg("broken/app:1").ok()?;
        let image = Image::single(51, "amd64", &[900_000]);
        desk.registry().push_image("broken/oci", "1", &image)?;
        desk.export(&["broken/oci:1"], &oci)
    });
    if !made {
        return Ok(());
    }
    for (kind, path) in [("docker save", &docker), ("an OCI archive", &oci)] {
        let whole = fs::read(path)?;
        let half = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
        refused(report, desk, &format!("{kind}, cut in the middle"), &half, "it is cut off within");
        let packed = packed(desk, &whole)?;
        let half = packed.get(..packed.len() / 2).unwrap_or_default().to_vec();
        refused(report, desk, &format!("{kind}, packed and cut"), &half, "it is cut off");
        let flipped = flipped(&whole)?;
        refused(
            report,
            desk,
            &format!("{kind}, a byte of a layer changed"),
            &flipped,
            "it is damaged: * hash* to",
        );
    }
    let config = renamed_config(&fs::read(&docker)?)?;
    refused(report, desk, "docker save, its config changed", &config, "it is damaged: * hash* to");
    let manifest = renamed_config(&fs::read(&oci)?)?;
    refused(report, desk, "an OCI archive, its config changed", &manifest, "it is damaged: * hash* to");
    refused(report, desk, "0 bytes", &[], "it is empty, or no tar archive");
    refused(report, desk, "no archive at all", &noise(52, 20_000), "it is no tar archive");
    Ok(())
}

/// As a file and by pipe; neither leaves a tag.
fn refused(report: &mut Report, desk: &Desk<'_>, what: &str, bytes: &[u8], words: &str) {
    report.case("larder", &format!("{what}: refused, and nothing is named"), || {
        let registry = desk.registry();
        let path = desk.path("broken.tar");
        fs::write(&path, bytes)?;
        // Of one that is refused for its layer the config may have come: it must not be taken for what others push.
        let prefix = format!("bad-{}", desk.next());
        let by_file = desk.import(&path, &prefix)?.output()?;
        by_file.refused(words)?;
        println!("{:<16} {}", "", by_file.stderr.trim().replace(&*path.to_string_lossy(), "FILE"));
        desk.shell(&format!("cat {} | $import {prefix}-pipe", path.display()))?.refused(words)?;
        for repository in registry.repositories()?.iter().filter(|name| name.starts_with(&prefix)) {
            same("the tags", &registry.tags(repository)?.unwrap_or_default(), &Vec::new())?;
        }
        Ok(())
    });
}

fn packed(desk: &Desk<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let path = desk.path("to-pack.tar");
    fs::write(&path, bytes)?;
    desk.shell(&format!("gzip --force {}", path.display()))?.ok()?;
    Ok(fs::read(desk.path("to-pack.tar.gz"))?)
}

/// A byte of the longest file in it: a layer takes nearly all of these archives.
fn flipped(archive: &[u8]) -> Result<Vec<u8>> {
    let mut archive = archive.to_vec();
    let middle = archive.len() / 2;
    let byte = archive.get_mut(middle).context("a byte")?;
    *byte ^= 1;
    Ok(archive)
}

/// Another architecture in the image's config, of the same length.
fn renamed_config(archive: &[u8]) -> Result<Vec<u8>> {
    let (old, new) = (b"\"architecture\":\"amd64\"", b"\"architecture\":\"amd65\"");
    let mut archive = archive.to_vec();
    // docker also writes it into files that nobody reads, before or after the config.
    let starts: Vec<usize> = (0..archive.len())
        .filter(|at| archive.get(*at..).is_some_and(|rest| rest.starts_with(old)))
        .collect();
    if starts.is_empty() {
        fail!("no architecture in the archive");
    }
    for at in starts {
        if let Some(place) = archive.get_mut(at..at + new.len()) {
            place.copy_from_slice(new);
        }
    }
    Ok(archive)
}
