//! `cargo xtask tools`: installs every program that the rings run. What can't be installed fails here, loudly;
//! no ring leaves a client out because it is missing.

use std::fs;
use std::path::Path;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail};
use crate::places;
use crate::process::Run;
use crate::report::Report;

/// Debian and Ubuntu packages: (package, a program of it). A program that is there already is good enough.
const PACKAGES: &[(&str, &str)] = &[
    ("ca-certificates", "update-ca-certificates"),
    ("docker.io", "dockerd"),
    ("docker.io", "docker"),
    ("docker-cli", "docker"),
    ("containerd", "containerd"),
    ("containerd", "ctr"),
    ("podman", "podman"),
    ("skopeo", "skopeo"),
    ("buildah", "buildah"),
    ("docker-registry", "docker-registry"),
    ("nginx", "nginx"),
    ("caddy", "caddy"),
    ("haproxy", "haproxy"),
    ("apache2-bin", "apache2"),
    ("apache2-utils", "htpasswd"),
    ("curl", "curl"),
    ("wrk", "wrk"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("iptables", "iptables"),
    ("fuse-overlayfs", "fuse-overlayfs"),
    // podman, skopeo and buildah refuse to work without the policy file of this one.
    ("golang-github-containers-common", "/etc/containers/policy.json"),
    // For libfuzzer-sys, and for the C parts of the workspace.
    ("g++", "g++"),
];

/// Go programs, pinned: (program, module path of its command, version).
const GO_TOOLS: &[(&str, &str, &str)] = &[
    ("crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1"),
    ("oras", "oras.land/oras/cmd/oras", "v1.3.6"),
    ("regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7"),
    ("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    // Reads k3s' registries.yaml with k3s' own library.
    ("wharfie", "github.com/rancher/wharfie", "v0.7.1"),
    // Asks containerd to pull as Kubernetes does.
    ("crictl", "sigs.k8s.io/cri-tools/cmd/crictl", "v1.34.0"),
    // A certificate authority for tests, and the DNS that it asks.
    ("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble", "v2.10.1"),
    ("pebble-challtestsrv", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv", "v2.10.1"),
    // The module proxy doesn't serve commit 967efdc079b9 of the suite; this one is its successor.
    (
        "conformance",
        "github.com/opencontainers/distribution-spec/conformance",
        "v0.0.0-20260831232431-97274622c111",
    ),
];

/// Programs whose module says `exclude`, which `go install` refuses, or that need another name: built where the module is unpacked.
/// (program, module, version, its command in the module).
const GO_MODULES: &[(&str, &str, &str, &str)] = &[
    ("buildkitd", "github.com/moby/buildkit", "v0.34.2", "./cmd/buildkitd"),
    ("buildctl", "github.com/moby/buildkit", "v0.34.2", "./cmd/buildctl"),
    // Debian's is 1.6; under a name of its own, so that it isn't taken for that one.
    ("containerd-2", "github.com/containerd/containerd/v2", "v2.4.2", "./cmd/containerd"),
    ("docker-buildx", "github.com/docker/buildx", "v0.30.1", "./cmd/buildx"),
    ("traefik", "github.com/traefik/traefik/v3", TRAEFIK, "./cmd/traefik"),
];

/// Its web page is not in its module; what the rings ask of it is.
const TRAEFIK: &str = "v3.6.0";

/// Go's own compiler is fetched by an older `go`, and cold builds of helm take minutes.
const GO_SECONDS: u64 = 1800;
/// What is fetched when the system's Go can't do so by itself.
const GO_TOOLCHAIN: &str = "go1.26.8";
const APT_SECONDS: u64 = 1200;
/// Says to Debian's maintainer scripts whether they may start services; ours says no.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("tools");
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, program)| !is_there(program)).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        report.case("apt", "update", || {
            Run::new("apt-get")
                .args(["update", "-q"])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .limit(APT_SECONDS)
                .ok()?;
            Ok(())
        });
        report.case("apt", "install the missing packages", || install(&missing));
    }
    for (package, program) in PACKAGES.iter().filter(|(package, _)| *package != "docker-cli") {
        report.case(package, program, || {
            if is_there(program) { Ok(()) } else { fail!("{program} is still missing") }
        });
    }
    for (program, module, version) in GO_TOOLS {
        report.case(program, version, || go_install(program, module, version));
    }
    for (program, module, version, command) in GO_MODULES {
        report.case(program, version, || go_build(program, module, version, command));
    }
    Ok(report)
}

fn is_there(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).try_exists().unwrap_or(false);
    }
    Run::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|output| output.code == Some(0))
}

fn install(packages: &[&str]) -> Result {
    // `docker-cli` is a package of its own only since Debian 13; elsewhere docker.io brings the client.
    let known = |package: &&str| {
        Run::new("apt-cache").args(["show", package]).output().is_ok_and(|output| output.code == Some(0))
    };
    let mut packages: Vec<&str> =
        packages.iter().filter(|name| **name != "docker-cli" || known(name)).copied().collect();
    packages.dedup();
    println!("installing {}", packages.join(" "));
    let policy = Path::new(SERVICE_POLICY);
    let ours = !policy.try_exists()?;
    if ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        Run::new("chmod").args(["755", SERVICE_POLICY]).ok()?;
    }
    let installed = Run::new("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .limit(APT_SECONDS)
        .ok();
    if ours {
        fs::remove_file(policy)?;
    }
    installed.context("installing the rings' packages (this wants root)").map(drop)
}

fn go_install(program: &str, module: &str, version: &str) -> Result {
    once(program, version, |dir| {
        let install = go().args(["install", &format!("{module}@{version}")]).env("GOBIN", dir);
        install.ok().map(drop)
    })
}

fn go_build(program: &str, module: &str, version: &str, command: &str) -> Result {
    once(program, version, |dir| {
        let answer = go()
            .args(["mod", "download", "-json", &format!("{module}@{version}")])
            .dir(Path::new("/"))
            .ok()?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let unpacked =
            answer.get("Dir").and_then(serde_json::Value::as_str).context("the module's directory")?;
        let build = go()
            .args(["build", "-ldflags=-s -w", "-o"])
            .arg(dir.join(program))
            .arg(command)
            .dir(Path::new(unpacked));
        build.ok().map(drop)
    })
}

fn go() -> Run {
    let run = Run::new("go").env("GOFLAGS", "-trimpath").env("GOTOOLCHAIN", "auto").env("CGO_ENABLED", "0");
    run.limit(GO_SECONDS)
}

/// Makes a program below the directory of tools, unless it is there in this version.
fn once(program: &str, version: &str, make: impl FnOnce(&Path) -> Result) -> Result {
    let dir = places::tools();
    let stamp = dir.join(format!(".{program}-{version}"));
    if dir.join(program).try_exists()? && stamp.try_exists()? {
        return Ok(());
    }
    if !is_there("go") {
        install_go()?;
    }
    fs::create_dir_all(&dir)?;
    make(&dir).context(
        "installing a Go client (these need Go 1.26, which an older Go since 1.21 fetches by itself)",
    )?;
    fs::write(stamp, "")?;
    Ok(())
}

/// Debian 12's Go is 1.19: too old for these modules, and older than the releases that fetch a newer toolchain by
/// themselves. But the toolchain is a module like any other, so even that Go can download it.
fn install_go() -> Result {
    Run::new("apt-get").args(["update", "-q"]).limit(APT_SECONDS).ok()?;
    install(&["golang-go"]).context("the Go clients need `go` in PATH; installing the system's")?;
    let version = Run::new("go").args(["env", "GOVERSION"]).ok()?;
    if fetches_toolchains(version.trim()) {
        return Ok(());
    }
    let architecture = crate::image::native_architecture();
    let module = format!("golang.org/toolchain@v0.0.1-{GO_TOOLCHAIN}.linux-{architecture}");
    let download =
        Run::new("go").args(["mod", "download", "-json", &module]).limit(GO_SECONDS).dir(Path::new("/"));
    let answer = download
        .ok()
        .context(format!("{} is too old, and fetching {GO_TOOLCHAIN} failed", version.trim()))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let root = answer.get("Dir").and_then(serde_json::Value::as_str).context("the toolchain's directory")?;
    let root = Path::new(root);
    // Modules are unpacked without the executable bit.
    Run::new("chmod").args(["-R", "a+x"]).arg(root.join("bin")).arg(root.join("pkg/tool")).ok()?;
    fs::create_dir_all(places::tools())?;
    let link = places::tools().join("go");
    Run::new("ln").arg("-sfn").arg(root.join("bin/go")).arg(&link).ok()?;
    Run::new("go").arg("version").ok().map(drop)
}

/// Whether this Go fetches the toolchain that a module asks for: since 1.21.
fn fetches_toolchains(version: &str) -> bool {
    let mut numbers =
        version.trim_start_matches("go").split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

#[cfg(test)]
mod tests {
    use super::fetches_toolchains;

    #[test]
    fn toolchains_are_fetched_since_go_1_21() {
        assert!(!fetches_toolchains("go1.19.8"));
        assert!(fetches_toolchains("go1.21"));
        assert!(fetches_toolchains("go1.26.8"));
    }
}
