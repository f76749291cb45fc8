//! BuildKit, made to build: what it builds is the canary's one layer, which comes back as an archive.

use std::path::Path;

use larder_oci::Digest;
use tokio::process::Command;

use super::super::image::{Image, architecture};
use super::{finish, run, shortened};

/// Asks whether a BuildKit listens there.
pub(super) async fn reach(buildctl: &Path, address: &str) -> Result<(), String> {
    let asked = run(buildctl, &["--addr", address, "debug", "workers"]).await;
    asked.map(drop).map_err(|why| format!("no BuildKit answers at {address}: {}", shortened(&why)))
}

/// Asks whether a builder of docker buildx runs; asking doesn't start it.
pub(super) async fn reach_builder(docker: &Path, builder: &str) -> Result<(), String> {
    if run(docker, &["buildx", "version"]).await.is_err() {
        return Err("docker buildx isn't installed".to_owned());
    }
    let told = run(docker, &["buildx", "inspect", builder])
        .await
        .map_err(|why| format!("docker buildx inspect {builder} fails: {}", shortened(&why)))?;
    let runs =
        told.lines().any(|line| line.strip_prefix("Status:").is_some_and(|state| state.trim() == "running"));
    if runs {
        Ok(())
    } else {
        Err(format!("its builder doesn't run: docker buildx inspect --bootstrap {builder} starts it"))
    }
}

/// Builds at an address. Neither a context nor a Dockerfile is sent, so that nothing but the layer gets into the cache.
pub(super) async fn build(
    buildctl: &Path,
    address: &str,
    reference: &str,
    image: &Image,
) -> Result<(), String> {
    let arguments = ["--addr", address, "build", "--progress", "plain", "--output", "type=tar"];
    let built = finish(Command::new(buildctl).args(arguments), Some(&definition(reference))).await?;
    let _ = run(buildctl, &["--addr", address, "prune", "--filter", &of(image)]).await;
    holds(&built, image)
}

/// Builds in a builder of docker buildx, with the login that docker has.
pub(super) async fn build_by(
    docker: &Path,
    builder: &str,
    reference: &str,
    image: &Image,
) -> Result<(), String> {
    let arguments =
        ["buildx", "build", "--builder", builder, "--progress", "plain", "--output", "type=tar,dest=-", "-"];
    let dockerfile = format!("FROM {reference}\n");
    let mut command = Command::new(docker);
    // An archive of files needs no account of how they were built.
    command.args(arguments).env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let built = finish(&mut command, Some(dockerfile.as_bytes())).await?;
    let prune = ["buildx", "prune", "--builder", builder, "--force", "--filter", &of(image)];
    let _ = run(docker, &prune).await;
    holds(&built, image)
}

/// Which part of the cache is ours: what was pulled is kept under its name.
fn of(image: &Image) -> String {
    format!("description~={}", image.tag)
}

/// Whether an archive has the canary's file in it.
fn holds(archive: &[u8], image: &Image) -> Result<(), String> {
    let content = image.content.as_bytes();
    if archive.windows(content.len()).any(|window| window == content) {
        Ok(())
    } else {
        Err("what was built isn't the canary".to_owned())
    }
}

/// BuildKit's own form of `FROM reference` (`Definition` in its `solver/pb/ops.proto`): one operation, and one that
/// names its result.
fn definition(reference: &str) -> Vec<u8> {
    let source = bytes(1, format!("docker-image://{reference}").as_bytes());
    let platform = [bytes(1, architecture().as_bytes()), bytes(2, b"linux")].concat();
    let operation = [bytes(3, &source), bytes(10, &platform)].concat();
    let input = bytes(1, Digest::sha256(&operation).to_string().as_bytes());
    [bytes(1, &operation), bytes(1, &bytes(1, &input))].concat()
}

/// A field of a protobuf message that holds bytes, a text or another message.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    const OF_BYTES: u8 = 2;
    let mut encoded = vec![field << 3 | OF_BYTES];
    let mut length = content.len();
    while length > 0x7f {
        encoded.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    encoded.push(length as u8);
    encoded.extend_from_slice(content);
    encoded
}
