//! A tag is deleted and the disk shrinks by what it alone needed; a second deletion is taken back.

use std::time::Duration;

use super::{GRACE_SECONDS, REPOSITORY, Walk, contents, on_the_base_of};
use crate::failure::{Result, fail, same};
use crate::hands::{blobs_below, disk_usage, noise, wait};
use crate::registry::Registry;
use crate::report::Report;
use crate::server::Server;

/// After the grace time; generous, as it is only how long a failure takes.
const COLLECTED: Duration = Duration::from_secs(90);
/// What a data directory may grow by for other reasons than images: the index and its log.
const INDEX: u64 = 1 << 20;

/// Whether there is something to go on with.
pub(super) fn cases(report: &mut Report, walk: &mut Walk<'_>, server: &Server) -> Result<bool> {
    report.about("space");
    let registry = Registry::new(server.http());
    let name = |tag: &str| format!("{}/{REPOSITORY}:{tag}", server.host);
    let pushed = report.case("docker", "pushes two images that share a layer of 8 MB", || {
        for (tag, seed, length) in [("1", 1, 3_000_000), ("2", 2, 5_000_000)] {
            let files = [("base", noise(0, 8_000_000)), ("own", noise(seed, length))];
            walk.hands.build(&name(tag), &files)?;
            walk.pushed.insert(tag.to_owned(), walk.hands.docker_push(&name(tag))?);
        }
        Ok(())
    });
    let pushed = pushed
        && report.case("skopeo", "pushes a third on the same layer", || {
            let image = on_the_base_of(&registry, "1", 3, 2_000_000)?;
            let layout = walk.ring.make_dir("layout-3")?;
            image.write_layout(&layout, "3")?;
            walk.hands.skopeo_push(&layout, "3", &name("3"))?;
            walk.pushed.insert("3".to_owned(), image.digest().to_owned());
            Ok(())
        });
    if !pushed {
        return Ok(false);
    }
    report.case("larder", "keeps the shared layer once", || {
        let mut all = contents(&registry, "1")?;
        all.extend(contents(&registry, "2")?);
        all.extend(contents(&registry, "3")?);
        same("blobs: bytes and number", &blobs_below(&walk.data)?, &(all.values().sum(), all.len()))
    });
    report.case("larder", "a deleted tag's bytes come back by themselves", || {
        let (mut going, stays) = (contents(&registry, "2")?, ["1", "3"]);
        for tag in stays {
            for digest in contents(&registry, tag)?.keys() {
                going.remove(digest);
            }
        }
        let freed: u64 = going.values().sum();
        let (before, usage) = (blobs_below(&walk.data)?, disk_usage(&walk.data)?);
        same("the status", &registry.delete(&format!("/v2/{REPOSITORY}/manifests/2"))?, &202)?;
        walk.pushed.remove("2");
        // It can still be undone.
        same("the blobs, a moment later", &blobs_below(&walk.data)?, &before)?;
        let after = (before.0.saturating_sub(freed), before.1.saturating_sub(going.len()));
        wait("the disk shrank", COLLECTED, || Ok(blobs_below(&walk.data)? == after))?;
        let usage_after = disk_usage(&walk.data)?;
        println!(
            "{:<16} blobs {} -> {} bytes ({} blobs of {freed} bytes went); du {usage} -> {usage_after} bytes",
            "",
            before.0,
            after.0,
            going.len()
        );
        if usage_after + freed > usage + INDEX {
            fail!("du says {usage_after} after {usage}, and {freed} bytes went");
        }
        Ok(())
    });
    report.case("docker, skopeo", "what shared its layer is pulled whole", || walk.pulls_all(server));
    undo(report, walk, server);
    Ok(true)
}

fn undo(report: &mut Report, walk: &Walk<'_>, server: &Server) {
    let larder =
        |word: &str| walk.hands.larder().map(|larder| larder.arg(word).arg("--data").arg(&walk.data));
    let before = blobs_below(&walk.data);
    report.case("larder", "a second deletion is taken back", || {
        let reference = format!("docker://{}/{REPOSITORY}:3", server.host);
        walk.hands.skopeo("delete").args(["--tls-verify=false", &reference]).ok()?;
        same("what is left", &Registry::new(server.http()).manifest(REPOSITORY, "3")?, &None)?;
        let said = larder("undo")?.arg(format!("{REPOSITORY}:3")).ok()?;
        if said.contains("undone: ") { Ok(()) } else { fail!("it says {said}") }
    });
    report.case("docker, skopeo", "what came back is pulled whole", || walk.pulls_all(server));
    report.case("larder", "and stays when the grace time is over", || {
        // Not a wait for anything: the time in which it must not go.
        std::thread::sleep(Duration::from_secs(GRACE_SECONDS + 1));
        larder("gc")?.arg("--sweep").ok()?;
        same("blobs: bytes and number", &blobs_below(&walk.data)?, &before?)
    });
}
