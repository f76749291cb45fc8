//! Backups of the running registry, and what comes of them when its directory is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{REPOSITORY, Walk, contents, on_the_base_of};
use crate::failure::{Result, fail, same};
use crate::hands::{blobs_below, disk_usage, says};
use crate::image::Image;
use crate::process::Run;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::Server;

pub(super) fn cases(report: &mut Report, walk: &mut Walk<'_>, mut server: Server) -> Result {
    report.about("backup");
    let registry = Registry::new(server.http());
    let backups = walk.ring.dir.join("backup");
    let backup =
        |walk: &Walk<'_>| walk.hands.larder()?.arg("backup").arg(&backups).arg("--data").arg(&walk.data).ok();
    report.case("larder", "backs the running registry up", || {
        let said = backup(walk)?;
        let (bytes, blobs) = blobs_below(&walk.data)?;
        says(&said, &format!("{blobs} blobs, of which {blobs} ("))?;
        same("the backup's blobs", &blobs_below(&backups)?, &(bytes, blobs))?;
        println!("{:<16} {}; du {} bytes", "", said.trim(), disk_usage(&backups)?);
        Ok(())
    });
    report.case("larder", "again: nothing is copied", || {
        let before = blobs_below(&backups)?;
        let said = backup(walk)?;
        says(&said, "of which 0 (0 bytes) were new")?;
        println!("{:<16} {}; du {} bytes", "", said.trim(), disk_usage(&backups)?);
        same("the backup's blobs", &blobs_below(&backups)?, &before)
    });
    report.case("larder", "after a push: only what is new is copied", || {
        let image = on_the_base_of(&registry, "1", 4, 1_000_000)?;
        let layout = walk.ring.make_dir("layout-4")?;
        image.write_layout(&layout, "4")?;
        walk.hands.skopeo_push(&layout, "4", &format!("{}/{REPOSITORY}:4", server.host))?;
        walk.pushed.insert("4".to_owned(), image.digest().to_owned());
        let mut new: BTreeMap<String, u64> = contents(&registry, "4")?;
        new.retain(|digest, _| !backed_up(&backups, digest));
        let before = blobs_below(&backups)?;
        let said = backup(walk)?;
        println!("{:<16} {}; du {} bytes", "", said.trim(), disk_usage(&backups)?);
        says(&said, "of which 3 (")?;
        let after = (before.0 + new.values().sum::<u64>(), before.1 + 3);
        same("the backup's blobs", &blobs_below(&backups)?, &after)
    });
    let archive = walk.ring.dir.join("registry.tgz");
    report.case("tar", "packs the directory while images are pushed", || {
        pack_under_pushes(&registry, &walk.data, &archive)
    });

    report.about("restore");
    report.case("larder", "the whole directory is lost", || {
        server.daemon.kill()?;
        fs::remove_dir_all(&walk.data)?;
        same("whether it is there", &walk.data.try_exists()?, &false)
    });
    restored(report, walk, "from the backup", |data| {
        let said = walk.hands.larder()?.arg("restore").arg(&backups).arg(data).ok()?;
        println!("{:<16} {}", "", said.trim());
        same("the blobs", &blobs_below(data)?, &blobs_below(&backups)?)
    });
    restored(report, walk, "from tar's archive", |data| {
        let said = walk.hands.larder()?.arg("restore").arg(&archive).arg(data).ok()?;
        println!("{:<16} {}", "", said.trim());
        Ok(())
    });
    restored(report, walk, "by tar itself", |data| {
        fs::create_dir_all(data)?;
        let tar = Run::new("tar").arg("xzf").arg(&archive).arg("-C").arg(data);
        tar.arg("--strip-components=1").ok().map(drop)
    });
    Ok(())
}

/// Makes the directory again, and looks whether all is there.
fn restored(report: &mut Report, walk: &Walk<'_>, how: &str, restore: impl FnOnce(&Path) -> Result) {
    let server = report.step("larder", &format!("{how}: it is there again, and served"), || {
        if walk.data.try_exists()? {
            fs::remove_dir_all(&walk.data)?;
        }
        restore(&walk.data)?;
        walk.start("restored")
    });
    let Some(server) = server else { return };
    report.case("docker, skopeo", &format!("{how}: every image has its digest"), || walk.pulls_all(&server));
    report.case("larder", &format!("{how}: larder verify finds nothing"), || {
        server.daemon.stop()?;
        walk.hands.larder()?.args(["verify", "--data"]).arg(&walk.data).ok().map(drop)
    });
}

/// `tar` ends with 1 when a file changed under its hands, which is what files do in a running registry.
fn pack_under_pushes(registry: &Registry, data: &Path, archive: &Path) -> Result {
    let stop = AtomicBool::new(false);
    let (name, parent) = (data.file_name().unwrap_or_default(), data.parent().unwrap_or(data));
    std::thread::scope(|scope| {
        let pusher = scope.spawn(|| -> Result<u64> {
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                number += 1;
                let image = Image::single(5000 + number * 4, "amd64", &[40_000]);
                registry.push_image("team/passing", &format!("n{}", number % 5), &image)?;
            }
            Ok(number)
        });
        let packed = Run::new("tar").arg("czf").arg(archive).arg("-C").arg(parent).arg(name).output();
        stop.store(true, Ordering::SeqCst);
        let pushes = match pusher.join() {
            Ok(outcome) => outcome?,
            Err(_) => fail!("the pusher panicked"),
        };
        let packed = packed?;
        println!("{:<16} {pushes} pushes meanwhile; tar ended with {:?}", "", packed.code);
        if pushes == 0 || !matches!(packed.code, Some(0 | 1)) {
            fail!("tar said {}", packed.all());
        }
        Ok(())
    })
}

fn backed_up(backups: &Path, digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    let place = hex.get(..2).map(|start| format!("docker/registry/v2/blobs/sha256/{start}/{hex}/data"));
    place.is_some_and(|place| backups.join(place).is_file())
}
