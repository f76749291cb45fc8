//! Backups into, and restores onto, a disk that fills.

use super::small::Small;
use super::{Pushed, all_is_there};
use crate::dist;
use crate::failure::{Result, fail};
use crate::image::Image;
use crate::places::Ring;
use crate::process::Run;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program};

const REPOSITORY: &str = "copies/app";

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("backup");
    let data = ring.make_dir("copied")?;
    let server = Plan::open(Program::Larder, &data).start(ring, "copied")?;
    let registry = Registry::new(server.http());
    let mut pushed: Vec<Pushed> = Vec::new();
    let push = |pushed: &mut Vec<Pushed>, number: u64| {
        let image = Image::single(7000 + number, "amd64", &[1 << 20, 5000]);
        registry.push_image(REPOSITORY, &format!("v{number}"), &image)?;
        pushed.push((REPOSITORY.to_owned(), format!("v{number}"), image));
        Ok::<_, crate::failure::Failure>(())
    };
    for number in 0..3 {
        push(&mut pushed, number)?;
    }
    let Some(small) = report.step("disk", "one for the backups is made", || Small::make(ring, "backups", 32))
    else {
        return Ok(());
    };
    let backups = small.dir("backups")?;
    let larder = || Ok::<_, crate::failure::Failure>(Run::new(dist::release()?));
    let backup =
        || Ok::<_, crate::failure::Failure>(larder()?.arg("backup").arg(&backups).arg("--data").arg(&data));
    report.case("larder", "a first backup fits", || backup()?.ok().map(drop));
    for number in 3..6 {
        push(&mut pushed, number)?;
    }
    let Some(ballast) =
        report.step("disk", "is filled but for half of the next", || small.fill_but(1_500_000))
    else {
        return Ok(());
    };
    report.case("larder", "the next one says what is missing and where", || {
        backup()?.refused(&format!("no space left*bytes are free in {}", backups.display()))
    });
    report.case("larder", "the first is still whole", || {
        let said = larder()?.args(["backup", "verify"]).arg(&backups).ok()?;
        if said.contains("all can be restored whole") { Ok(()) } else { fail!("it says {said}") }
    });
    drop(ballast);
    report.case("larder", "with room it goes on, and both are whole", || {
        backup()?.ok()?;
        let said = larder()?.args(["backup", "verify"]).arg(&backups).ok()?;
        if said.contains("2 snapshots") && said.contains("all can be restored whole") {
            return Ok(());
        }
        fail!("it says {said}")
    });
    report.about("restore");
    let Some(target) = report.step("disk", "one to restore onto is made", || Small::make(ring, "target", 24))
    else {
        return Ok(());
    };
    let restored = target.dir("data")?;
    let restore = || {
        let run = larder()?.arg("restore").arg(&backups).arg(&restored);
        Ok::<_, crate::failure::Failure>(run)
    };
    let ballast = target.fill_but(3_000_000)?;
    report.case("larder", "a restore that doesn't fit says what is missing and where", || {
        restore()?.refused(&format!("no space left*bytes are free in {}", restored.display()))
    });
    report.case("larder", "no registry starts on half of one", || {
        let serve =
            larder()?.args(["serve", "--data"]).arg(&restored).env("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
        serve.limit(30).refused("restore")
    });
    drop(ballast);
    report.case("larder", "with room it goes on, and all is there", || {
        restore()?.ok()?;
        let server = Plan::open(Program::Larder, &restored).start(ring, "restored")?;
        all_is_there(&Registry::new(server.http()), &pushed)?;
        server.daemon.stop()
    });
    server.daemon.stop()
}
