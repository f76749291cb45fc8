//! podman and skopeo: what they write is imported, and what is exported they read.

use std::fs;

use super::Desk;
use crate::failure::{Context, Failure, same};
use crate::hands::says;
use crate::image::{check_layout, sha256};
use crate::report::Report;

const IMAGE: &str = "file/team/app:1";

pub(super) fn cases(report: &mut Report, desk: &Desk<'_>, id: &str) {
    podman(report, desk, id);
    skopeo_reads(report, desk, id);
    skopeo_writes(report, desk, id);
}

fn podman(report: &mut Report, desk: &Desk<'_>, id: &str) {
    report.about("podman");
    let hands = &desk.hands;
    let podman_id = |name: &str| {
        let found = hands.podman().args(["image", "inspect", "--format", "{{.Id}}", name]).ok()?;
        Ok::<_, Failure>(format!("sha256:{}", found.trim()))
    };
    report.case("podman", "loads an export by pipe: the same id", || {
        desk.shell(&format!("$larder export {IMAGE} - --data $data | $podman load"))?.ok()?;
        same("the id", &podman_id(IMAGE)?.as_str(), &id)
    });
    report.case("larder", "imports podman save, by pipe and as an OCI archive", || {
        hands.podman().args(["tag", IMAGE, "localhost/pod/app:3"]).ok()?;
        says(&desk.shell("$podman save --quiet pod/app:3 | $import pipe")?.ok()?, "pipe/pod/app:3")?;
        let archive = desk.path("podman-oci.tar");
        let save = hands.podman().args(["save", "--quiet", "--format", "oci-archive", "--output"]);
        save.arg(&archive).arg("pod/app:3").ok()?;
        says(&desk.import(&archive, "oci")?.ok()?, "oci/pod/app:3")
    });
    report.case("podman", "each pulled image has the id that it had", || {
        for name in ["pipe/pod/app:3", "oci/pod/app:3"] {
            hands.podman().args(["rmi", "--all", "--force"]).ok()?;
            let reference = format!("{}/{name}", desk.server.host);
            hands.podman().args(["pull", "--quiet", "--tls-verify=false", &reference]).ok()?;
            same(&format!("the id of {name}"), &podman_id(&reference)?.as_str(), &id)?;
        }
        Ok(())
    });
}

/// What is exported, by every transport that skopeo has for it.
fn skopeo_reads(report: &mut Report, desk: &Desk<'_>, id: &str) {
    report.about("skopeo reads");
    let (archive, layout) = (desk.path("one.tar"), desk.path("one"));
    let exported = report.step("larder", "exports an archive and a layout", || {
        desk.export(&[IMAGE], &archive)?;
        desk.export(&[IMAGE], &layout)?;
        let served = desk.registry().manifest("file/team/app", "1")?.context("the image")?;
        Ok(served.digest)
    });
    let Some(digest) = exported else { return };
    let read = |source: &str| {
        let out = desk.path("read");
        if out.try_exists()? {
            fs::remove_dir_all(&out)?;
        }
        desk.hands.skopeo("copy").arg(source).arg(format!("dir:{}", out.display())).ok()?;
        Ok::<_, Failure>(fs::read(out.join("manifest.json"))?)
    };
    let (archive, layout) = (archive.display(), layout.display());
    for source in [format!("oci-archive:{archive}"), format!("oci:{layout}"), format!("oci:{layout}:1")] {
        let kind = source.split(':').next().unwrap_or_default().to_owned();
        report.case("skopeo", &format!("{kind}: the same digest"), || {
            same("the digest", &sha256(&read(&source)?), &digest)
        });
    }
    for source in [format!("docker-archive:{archive}"), format!("docker-archive:{archive}:{IMAGE}")] {
        report.case("skopeo", "docker-archive: the same id", || {
            let manifest: serde_json::Value = serde_json::from_slice(&read(&source)?)?;
            let config = manifest.pointer("/config/digest").and_then(serde_json::Value::as_str);
            same("the id", &config, &Some(id))
        });
    }
}

/// What skopeo writes, imported.
fn skopeo_writes(report: &mut Report, desk: &Desk<'_>, id: &str) {
    report.about("skopeo writes");
    let digest = |repository: &str, tag: &str| {
        let served = desk.registry().manifest(repository, tag)?;
        Ok::<_, Failure>(served.context(format!("{repository}:{tag}"))?.digest)
    };
    let write = |options: &[&str], to: &str| {
        let from = format!("docker://{}/{IMAGE}", desk.server.host);
        let copy = desk.hands.skopeo("copy").args(options);
        copy.args(["--src-tls-verify=false", &from, to]).ok().map(drop)
    };
    report.case("larder", "imports its oci: layout, and the digest stays", || {
        let layout = desk.path("skopeo-layout");
        // Otherwise it packs the layers, which docker saved unpacked.
        write(&["--preserve-digests"], &format!("oci:{}:v1", layout.display()))?;
        let import = desk.hands.larder()?.arg("import").arg(&layout);
        import.args(["--as", "skopeo/layout", "--to", &desk.server.host]).ok()?;
        let kept = digest("skopeo/layout", "v1")?;
        same("the digest", &kept, &check_layout(&layout)?)?;
        same("and the registry's own", &kept, &digest("file/team/app", "1")?)
    });
    report.case("larder", "imports its oci-archive:, and the digest stays", || {
        let archive = desk.path("skopeo-oci.tar");
        write(&["--preserve-digests"], &format!("oci-archive:{}:skopeo/archive:v2", archive.display()))?;
        desk.import(&archive, "x")?.ok()?;
        same("the digest", &digest("x/skopeo/archive", "v2")?, &digest("file/team/app", "1")?)
    });
    report.case("larder", "imports its docker-archive:, and the id stays", || {
        let archive = desk.path("skopeo-docker.tar");
        write(&[], &format!("docker-archive:{}:skopeo/docker:v3", archive.display()))?;
        desk.import(&archive, "x")?.ok()?;
        same("the id", &desk.id("x/skopeo/docker", "v3")?.as_str(), &id)?;
        desk.has_id("x/skopeo/docker:v3", id)
    });
}
