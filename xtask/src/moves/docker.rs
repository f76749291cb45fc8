//! `docker save` by file, by pipe and packed, the engine's own socket, and `docker load` of what is exported.

use super::Desk;
use crate::failure::same;
use crate::hands::{noise, says};
use crate::report::Report;

/// Gives the id of the image that is in the registry as `file/team/app:1` afterwards.
pub(super) fn cases(report: &mut Report, desk: &Desk<'_>) -> Option<String> {
    report.about("docker");
    let hands = &desk.hands;
    let (one, two) = ("team/app:1", "plain:2");
    let built = report.step("docker", "builds two images on one layer", || {
        let base = || ("base", noise(0, 3_000_000));
        let id = hands.build(one, &[base(), ("own", noise(1, 400_000))])?;
        Ok((id, hands.build(two, &[base(), ("own", noise(2, 200_000))])?))
    });
    let (id, other) = built?;
    let saved = desk.path("saved.tar");
    report.case("larder", "imports a file of docker save", || {
        hands.docker().arg("save").arg("--output").arg(&saved).args([one, two]).ok()?;
        says(&desk.import(&saved, "file")?.ok()?, "2 images, ")
    });
    report.case("larder", "imports docker save by pipe", || {
        let words = format!("$docker save {one} {two} | $import pipe");
        says(&desk.shell(&words)?.ok()?, "2 images, 3.4 MiB new")?;
        // The second time everything is there.
        says(&desk.shell(&words)?.ok()?, "2 images, 0 bytes new")
    });
    report.case("larder", "imports docker save packed by gzip", || {
        says(&desk.shell(&format!("$docker save {one} | gzip | $import gzip"))?.ok()?, "1 image, ")
    });
    let engine = |words: &[&str]| {
        let run = hands.larder()?.args(["import", "--docker"]).args(words);
        run.args(["--to", &desk.server.host]).env("DOCKER_HOST", &hands.engine.url).ok()
    };
    report.case("larder", "imports all images of the engine by its socket", || {
        says(&engine(&["--prefix", "all"])?, "2 images, ")
    });
    report.case("larder", "imports one image of the engine by its name", || {
        says(&engine(&[two, "--as", "named/plain:3"])?, "1 image, ")
    });
    report.case("docker", "each pulled image has the id that was built", || {
        for name in ["file/team/app:1", "pipe/team/app:1", "gzip/team/app:1", "all/team/app:1"] {
            desk.has_id(name, &id)?;
        }
        for name in ["file/plain:2", "pipe/plain:2", "all/plain:2", "named/plain:3"] {
            desk.has_id(name, &other)?;
        }
        Ok(())
    });
    report.case("docker", "loads an export by pipe: the same id", || {
        hands.docker_forget()?;
        desk.shell("$larder export file/team/app:1 - --data $data | $docker load")?.ok()?;
        same("the id", &hands.docker_id("file/team/app:1")?, &id)
    });
    report.case("docker", "loads an export of several images, packed", || {
        hands.docker_forget()?;
        let file = desk.path("both.tar.gz");
        desk.export(&["file/team/app", "named/plain:3"], &file)?;
        hands.docker().arg("load").arg("--input").arg(&file).ok()?;
        same("the id of the one", &hands.docker_id("file/team/app:1")?, &id)?;
        same("the id of the other", &hands.docker_id("named/plain:3")?, &other)
    });
    Some(id)
}
