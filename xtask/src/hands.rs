//! docker, skopeo, podman and larder as somebody types them, all in one home.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::image::check_layout;
use crate::places::Ring;
use crate::process::Run;
use crate::random::Random;
use crate::report::Report;

/// How often a thing that is being waited for is looked at.
const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Hands<'a> {
    ring: &'a Ring,
    home: PathBuf,
    short: PathBuf,
    pub(crate) engine: Engine,
}

impl<'a> Hands<'a> {
    /// Starts a dockerd of its own.
    pub(crate) fn new(ring: &'a Ring) -> Result<Self> {
        let (home, short) = (ring.make_dir("home")?, ring.make_short_dir()?);
        // podman refuses to pull when the file that the environment names is not there.
        fs::write(home.join("auth.json"), "{}")?;
        Ok(Self { ring, home, short, engine: Engine::start(ring, "docker", &[])? })
    }

    fn at_home(&self, run: Run) -> Run {
        run.env("HOME", &self.home).env("REGISTRY_AUTH_FILE", self.home.join("auth.json")).dir(&self.ring.dir)
    }

    pub(crate) fn docker(&self) -> Run {
        self.at_home(Run::new("docker")).args(["--host", &self.engine.url])
    }

    pub(crate) fn skopeo(&self, command: &str) -> Run {
        self.at_home(Run::new("skopeo")).arg(command)
    }

    pub(crate) fn podman(&self) -> Run {
        let run = self.at_home(Run::new("podman")).args(["--storage-driver", "vfs"]);
        run.arg("--root").arg(self.short.join("root")).arg("--runroot").arg(self.short.join("run"))
    }

    pub(crate) fn larder(&self) -> Result<Run> {
        Ok(self.at_home(Run::new(dist::release()?)))
    }

    /// Words with pipes in them. `$larder`, `$docker` and `$podman` are the programs with what they need to know.
    pub(crate) fn shell(&self, words: &str) -> Result<Run> {
        let podman =
            format!("podman --storage-driver vfs --root {0}/root --runroot {0}/run", self.short.display());
        let run = self.at_home(Run::new("bash")).env("larder", dist::release()?).env("podman", podman);
        let run = run.env("docker", format!("docker --host {}", self.engine.url));
        Ok(run.args(["-o", "pipefail", "-c", words]))
    }

    /// Builds a `FROM scratch` image with a layer for each file, and gives its id. A file that stands at the same
    /// place in two images is a layer that they share.
    pub(crate) fn build(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Result<String> {
        let context = self.ring.make_dir("context")?;
        let mut dockerfile = String::from("FROM scratch\n");
        for (file, bytes) in files {
            fs::write(context.join(file), bytes)?;
            dockerfile.push_str(&format!("COPY {file} /{file}\nLABEL {file}=\"\"\n"));
        }
        fs::write(context.join("Dockerfile"), dockerfile)?;
        let build = self.docker().args(["build", "--quiet", "--tag", name]).arg(&context);
        Ok(build.env("DOCKER_BUILDKIT", "0").ok()?.trim().to_owned())
    }

    /// Pushes what has been built, and gives the digest.
    pub(crate) fn docker_push(&self, reference: &str) -> Result<String> {
        let said = self.docker().args(["push", reference]).ok()?;
        let digest = said.split_once("digest: ").and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(digest.context(format!("the digest in {said}"))?.to_owned())
    }

    /// Pulls with an engine that has nothing, and gives the digest and the image's id.
    pub(crate) fn docker_pull(&self, reference: &str) -> Result<(String, String)> {
        self.docker_forget()?;
        let said = self.docker().args(["pull", reference]).ok()?;
        let digest = said.lines().find_map(|line| line.strip_prefix("Digest: "));
        let digest = digest.context(format!("the digest in {said}"))?.trim().to_owned();
        Ok((digest, self.docker_id(reference)?))
    }

    pub(crate) fn docker_id(&self, reference: &str) -> Result<String> {
        let id = self.docker().args(["image", "inspect", "--format", "{{.Id}}", reference]).ok()?;
        Ok(id.trim().to_owned())
    }

    /// Takes all images from the engine.
    pub(crate) fn docker_forget(&self) -> Result {
        self.docker().args(["image", "prune", "--all", "--force"]).ok()?;
        same("what is left in the engine", &self.docker().args(["images", "--quiet"]).ok()?.trim(), &"")
    }

    /// Copies what a registry has to a layout, hashes all of it, and gives the digest.
    pub(crate) fn skopeo_pull(&self, reference: &str) -> Result<String> {
        let out = self.ring.dir.join("pulled");
        if out.try_exists()? {
            fs::remove_dir_all(&out)?;
        }
        let copy = self.skopeo("copy").args(["--all", "--preserve-digests", "--src-tls-verify=false"]);
        copy.arg(format!("docker://{reference}")).arg(format!("oci:{}:pulled", out.display())).ok()?;
        check_layout(&out)
    }

    /// Copies a layout's tag to a registry.
    pub(crate) fn skopeo_push(&self, layout: &Path, tag: &str, reference: &str) -> Result {
        let copy = self.skopeo("copy").args(["--all", "--preserve-digests", "--dest-tls-verify=false"]);
        copy.arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{reference}"))
            .ok()
            .map(drop)
    }

    pub(crate) fn stop(self, report: &mut Report) {
        self.engine.stop(report);
    }
}

/// Waits for something that has to come by itself.
pub(crate) fn wait(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result {
    let begun = Instant::now();
    while !ready()? {
        if begun.elapsed() > limit {
            fail!("{limit:?} were over before {what}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// What `du` says of a directory: bytes of the disk.
pub(crate) fn disk_usage(dir: &Path) -> Result<u64> {
    let said = Run::new("du").args(["--summarize", "--block-size=1"]).arg(dir).ok()?;
    let bytes = said.split_whitespace().next().and_then(|bytes| bytes.parse().ok());
    bytes.context(format!("the bytes in {said:?}"))
}

/// The lengths of all blobs below a data directory or a backup, and how many there are.
pub(crate) fn blobs_below(dir: &Path) -> Result<(u64, usize)> {
    let blobs = dir.join("docker/registry/v2/blobs");
    let said = Run::new("find").arg(blobs).args(["-type", "f", "-name", "data", "-printf", "%s\n"]).ok()?;
    let lengths: std::result::Result<Vec<u64>, _> = said.lines().map(str::parse).collect();
    let lengths = lengths?;
    Ok((lengths.iter().sum(), lengths.len()))
}

/// Bytes that don't shrink, of a layer's file.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// Fails unless a command said these words.
pub(crate) fn says(said: &str, words: &str) -> Result {
    if said.contains(words) { Ok(()) } else { fail!("it does not say {words:?}: {said}") }
}
