//! Builds the programs that the rings run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::failure::{Context, Failure, Result, fail};
use crate::places;
use crate::process::Run;

/// Longest that a release build may take.
const BUILD_SECONDS: u64 = 1800;

static RELEASE: OnceLock<std::result::Result<PathBuf, Failure>> = OnceLock::new();

/// The release binary, built once in a run; `LARDER_BIN` names another one.
pub(crate) fn release() -> Result<PathBuf> {
    RELEASE.get_or_init(build_release).clone()
}

/// Makes [`release`] the binary that is shipped: one release build instead of two, and the rings prove that one.
pub(crate) fn prefer_shipped() -> Result {
    let binary = make()?;
    RELEASE.get_or_init(|| Ok(binary));
    Ok(())
}

/// [`release`], which becomes the binary that is shipped if nothing has been built or named before.
pub(crate) fn shipped() -> Result<PathBuf> {
    let named = || std::env::var_os("LARDER_BIN").map(PathBuf::from);
    RELEASE.get_or_init(|| named().map_or_else(make, Ok)).clone()
}

fn build_release() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LARDER_BIN") {
        return Ok(PathBuf::from(path));
    }
    cargo().args(["build", "--release", "--package", "larder"]).shown()?;
    Ok(places::target().join("release/larder"))
}

/// `target/dist/larder`: one file that needs nothing of the system it runs on.
pub(crate) fn make() -> Result<PathBuf> {
    let host = host_triple()?;
    if !host.contains("linux") {
        fail!("dist makes a static Linux binary; this machine is {host}");
    }
    // With an explicit target the flag is not applied to build scripts and proc macros, which can't be static.
    cargo()
        .args(["build", "--release", "--package", "larder", "--target", &host])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .shown()?;
    let dir = places::target().join("dist");
    fs::create_dir_all(&dir)?;
    let binary = dir.join("larder");
    fs::copy(places::target().join(&host).join("release/larder"), &binary).context("copying the binary")?;
    link_names(&dir.join("names"))?;
    let headers = Run::new("ldd").arg(&binary).output()?.all();
    if !headers.contains("statically linked") && !headers.contains("not a dynamic executable") {
        fail!("{} is not static:\n{headers}", binary.display());
    }
    Ok(binary)
}

/// The names under which registry:2's image has its program, and which people write into manifests and Compose files.
fn link_names(names: &Path) -> Result {
    if names.try_exists()? {
        fs::remove_dir_all(names)?;
    }
    fs::create_dir_all(names.join("bin"))?;
    for name in ["bin/registry", "bin/larder", "entrypoint.sh"] {
        symlink("/larder", names.join(name))?;
    }
    Ok(())
}

pub(crate) fn host_triple() -> Result<String> {
    let version = Run::new("rustc").arg("-vV").ok()?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names the host")?;
    Ok(host.to_owned())
}

pub(crate) fn cargo() -> Run {
    Run::new("cargo").dir(&places::workspace()).limit(BUILD_SECONDS)
}
