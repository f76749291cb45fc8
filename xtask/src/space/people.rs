//! What people see: docker, podman, skopeo and containerd push to a full disk, and each says what is missing.

use std::time::{Duration, Instant};

use super::small::Small;
use crate::clients::{ctr, docker};
use crate::failure::{Result, fail};
use crate::image::Image;
use crate::places::Ring;
use crate::process::Run;
use crate::report::Report;
use crate::server::{Plan, Program};

/// docker tries a failed layer five times in 51 s, unless it is told that there is no use.
const AT_ONCE: Duration = Duration::from_secs(25);

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("clients");
    let Some(small) = report.step("disk", "another file system is made", || Small::make(ring, "people", 32))
    else {
        return Ok(());
    };
    let data = small.dir("data")?;
    let server = Plan::open(Program::Larder, &data).start(ring, "people")?;
    let _ballast = small.fill()?;
    let layout = ring.make_dir("layout")?;
    Image::single(400, "amd64", &[3_000_000, 500]).write_layout(&layout, "one")?;
    let source = format!("oci:{}:one", layout.display());
    let reference = format!("{}/people/app:one", server.host);
    let words = format!("no space left on device*bytes are free in {}", data.display());

    report.case("skopeo", "says what is missing", || {
        let copy = Run::new("skopeo").args(["copy", "--dest-tls-verify=false", &source]);
        copy.arg(format!("docker://{reference}")).refused(&words)
    });
    report.case("podman", "says what is missing", || {
        let home = ring.make_short_dir()?;
        let podman = || {
            let run = Run::new("podman").env("HOME", &home).args(["--storage-driver", "vfs"]);
            run.arg("--root").arg(home.join("root")).arg("--runroot").arg(home.join("run"))
        };
        let id = podman().args(["pull", "--quiet", &source]).ok()?;
        let push = podman().args(["push", "--tls-verify=false"]);
        push.args([id.trim(), &reference]).refused(&words)
    });
    let engine = report.step("dockerd", "starts", || docker::Engine::start(ring, "dockerd", &[]));
    if let Some(engine) = engine {
        report.case("docker", "says what is missing, and doesn't try for a minute", || {
            let docker = || Run::new("docker").args(["--host", &engine.url]);
            let context = ring.make_dir("context")?;
            std::fs::write(context.join("file"), crate::random::Random::new(5).bytes(2_000_000))?;
            std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY file /file\n")?;
            let build = docker().args(["build", "--quiet", "--tag", &reference]).arg(&context);
            build.env("DOCKER_BUILDKIT", "0").ok()?;
            let begun = Instant::now();
            docker().args(["push", &reference]).refused(&words)?;
            if begun.elapsed() > AT_ONCE {
                fail!("it took {:?}", begun.elapsed());
            }
            Ok(())
        });
        engine.stop(report);
    }
    let engine = report.step("containerd", "starts", || ctr::Engine::start_named(ring, "people"));
    if let Some(engine) = engine {
        report.case("ctr", "says what is missing", || {
            let ctr = || {
                let run = Run::new("ctr").arg("--address").arg(&engine.socket);
                run.args(["--namespace", "ring", "images"])
            };
            let archive = ring.dir.join("one.tar");
            Run::new("tar").arg("-C").arg(&layout).arg("-cf").arg(&archive).arg(".").ok()?;
            let import = ctr().args(["import", "--no-unpack", "--all-platforms", "--index-name", &reference]);
            import.arg(&archive).ok()?;
            ctr().args(["push", "--plain-http", &reference]).refused(&words)
        });
        engine.stop(report);
    }
    server.daemon.stop()
}
