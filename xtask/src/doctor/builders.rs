//! Files for k3s and BuildKit in what reads them: k3s' own library for its `registries.yaml`, and a buildkitd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Result, fail};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::report::Report;

const START_LIMIT: Duration = Duration::from_secs(60);
/// The canary's names, under Docker Hub's and under another registry's.
const NAMES: [&str; 2] = ["docker.io/library/larder-canary:1", "ghcr.io/larder/canary:1"];

/// A BuildKit of the ring's own.
pub(super) struct Buildkit {
    pub(super) daemon: Daemon,
    /// As `BUILDKIT_HOST` takes it.
    pub(super) address: String,
}

impl Buildkit {
    pub(super) fn start(ring: &Ring, title: &str, config: &Path) -> Result<Buildkit> {
        let address = format!("unix://{}", ring.make_short_dir()?.join("b.sock").display());
        let mut daemon = Run::new("buildkitd")
            .arg("--config")
            .arg(config)
            .args([
                "--addr",
                &address,
                "--oci-worker-snapshotter=native",
                "--containerd-worker=false",
                "--root",
            ])
            .arg(ring.make_dir(format!("buildkit-{title}"))?)
            .daemon(ring, &format!("buildkitd-{title}"))?;
        daemon.wait_until("buildctl reaches it", START_LIMIT, || {
            buildctl(&address, &["debug", "workers"]).output().is_ok_and(|output| output.code == Some(0))
        })?;
        Ok(Buildkit { daemon, address })
    }

    pub(super) fn buildctl(&self, arguments: &[&str]) -> Run {
        buildctl(&self.address, arguments)
    }
}

fn buildctl(address: &str, arguments: &[&str]) -> Run {
    Run::new("buildctl").args(["--addr", address]).args(arguments)
}

/// `printed` writes the client's files and says below which directory.
pub(super) fn k3s(report: &mut Report, ring: &Ring, printed: impl FnOnce() -> Result<PathBuf>) {
    report.case("k3s", "its reader of registries.yaml pulls both upstreams' names from the mirror", || {
        let into = printed()?;
        let file = into.join("etc/rancher/k3s/registries.yaml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace(" /etc/", &format!(" {}/etc/", into.display())))?;
        let home = ring.make_dir("home-k3s")?;
        for (number, name) in NAMES.iter().enumerate() {
            let out = ring.make_dir(format!("k3s-pulled-{number}"))?;
            let pull = Run::new("wharfie").arg("--private-registry").arg(&file).arg(name).arg(&out);
            pull.env("HOME", &home).env("DOCKER_CONFIG", &home).ok()?;
            has_canary(&out, name)?;
        }
        Ok(())
    });
}

/// As [`k3s`].
pub(super) fn buildkit(
    report: &mut Report,
    ring: &Ring,
    host: &str,
    printed: impl FnOnce() -> Result<PathBuf>,
) {
    report.case("buildkit", "builds from both upstreams' names out of the mirror, and pushes", || {
        let into = printed()?;
        let file = into.join("etc/buildkit/buildkitd.toml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace("\"/etc/", &format!("\"{}/etc/", into.display())))?;
        let buildkit = Buildkit::start(ring, "printed", &file)?;
        for (number, name) in NAMES.iter().enumerate() {
            let context = ring.make_dir(format!("buildkit-context-{number}"))?;
            std::fs::write(context.join("Dockerfile"), format!("FROM {name}\nLABEL of=ring\n"))?;
            let out = ring.make_dir(format!("buildkit-out-{number}"))?;
            let context = context.display();
            let (context, dockerfile) = (format!("context={context}"), format!("dockerfile={context}"));
            let build = |output: &str| {
                let what = ["build", "--frontend=dockerfile.v0", "--local", &context, "--local", &dockerfile];
                buildkit.buildctl(&what).args(["--output", output]).ok()
            };
            build(&format!("type=local,dest={}", out.display()))?;
            has_canary(&out, name)?;
            build(&format!("type=image,name={host}/ring/built:{number},push=true"))?;
        }
        buildkit.daemon.stop()
    });
}

/// The canary's one layer holds one file.
fn has_canary(dir: &Path, name: &str) -> Result {
    let names: Vec<String> =
        std::fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    if names.iter().any(|file| file.starts_with("file-11-")) {
        Ok(())
    } else {
        fail!("{name} came without its file: {names:?}")
    }
}
