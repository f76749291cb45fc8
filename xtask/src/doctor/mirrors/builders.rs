//! BuildKit alone, and as a builder of docker buildx in a container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{NOWHERE, Said, Stand, path_of, put_wrong};
use crate::clients::docker::Engine;
use crate::doctor::builders::Buildkit;
use crate::failure::{Result, fail};
use crate::places;
use crate::process::Run;
use crate::report::Report;

/// The builder's image, which no registry has.
const IMAGE: &str = "larder-ring/buildkit:1";

pub(super) fn cases(report: &mut Report, stand: &Stand<'_>) {
    report.case(
        "doctor --mirrors",
        "BuildKit builds from both upstreams' canaries by the printed file",
        || {
            let found = stand.buildkit("right", &["docker.io", "ghcr.io"], |_| Ok(()))?;
            found.found.nothing()?;
            found.has("BuildKit pulled docker.io/library/larder-canary:")?;
            found.has("BuildKit pulled ghcr.io/larder-doctor.invalid/canary:")
        },
    );
    report.case("doctor --mirrors", "BuildKit goes past a mirror at the wrong port in silence", || {
        let host = &stand.server.host;
        let wrong = |file: &Path| put_wrong(file, &format!("{host}/ghcr.io"), &format!("{NOWHERE}/ghcr.io"));
        let found = stand.buildkit("port", &["ghcr.io"], wrong)?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "then restart buildkitd")?;
        found.found.because("mirror-bypassed", "BuildKit can't get an image from the mirror")?;
        found.has(&format!("bypassed: BuildKit is told of {NOWHERE}/ghcr.io"))?;
        found.has("it got nothing there: ")
    });
    report.case("doctor --mirrors", "BuildKit goes past a mirror with the wrong scheme in silence", || {
        let found =
            stand.buildkit("scheme", &["ghcr.io"], |file| put_wrong(file, "http = false", "http = true"))?;
        found.found.exactly(&["mirror-scheme", "mirror-bypassed"], "this machine", "no http = true")?;
        found.found.has("mirror-bypassed", "this machine", "larder client buildkit")?;
        found.has("it got nothing there: ")
    });
    report.case("doctor --mirrors", "BuildKit that was not started again doesn't know its mirror", || {
        let into = stand.printed_for_buildkit("before", &["ghcr.io"], |_| Ok(()))?;
        let without = stand.printed_for_buildkit("without", &["docker.io"], |_| Ok(()))?;
        let found = stand.buildkit_started_with("before", &without, &into)?;
        found.found.exactly(&["mirror-bypassed"], "this machine", "then restart buildkitd")?;
        found.found.because("mirror-bypassed", "or it was started before its file was written")?;
        found.has("it asked ghcr.io: ")
    });
    report.case("doctor --mirrors", "of a BuildKit that isn't there it says so, and finds nothing", || {
        let into = stand.printed("buildkit", "absent", &["ghcr.io"])?;
        let found = stand.examine_buildkit(&into, "unix:///nowhere.sock")?;
        found.found.nothing()?;
        found.has("names this registry, and no BuildKit answers at unix:///nowhere.sock")
    });
    let started =
        report.step("buildx", "a docker that runs builders, and their image", || Builders::start(stand));
    let Some(builders) = started else { return };
    report.case("doctor --mirrors", "docker buildx's builder builds from both upstreams' canaries", || {
        let found = builders.examine("right", &["docker.io", "ghcr.io"], true, |_| Ok(()))?;
        found.found.nothing()?;
        found.has("docker buildx's builder right pulled docker.io/library/larder-canary:")?;
        found.has("docker buildx's builder right pulled ghcr.io/larder-doctor.invalid/canary:")
    });
    report.case(
        "doctor --mirrors",
        "docker buildx's builder goes past a mirror at the wrong port in silence",
        || {
            let host = &stand.server.host;
            let wrong =
                |file: &Path| put_wrong(file, &format!("{host}/ghcr.io"), &format!("{NOWHERE}/ghcr.io"));
            let found = builders.examine("wrong", &["ghcr.io"], true, wrong)?;
            found.found.exactly(&["mirror-bypassed"], "this machine", "docker buildx rm wrong")?;
            found.found.because(
                "mirror-bypassed",
                "docker buildx's builder wrong can't get an image from the mirror",
            )?;
            found.has(&format!("bypassed: docker buildx's builder wrong is told of {NOWHERE}/ghcr.io"))
        },
    );
    report.case(
        "doctor --mirrors",
        "a builder that doesn't run is left so, and what it was made with is looked at",
        || {
            let wrong = |file: &Path| put_wrong(file, "http = false", "http = true");
            let found = builders.examine("still", &["ghcr.io"], false, wrong)?;
            found.found.exactly(&["mirror-scheme"], "this machine", "docker buildx rm still")?;
            found.has("its builder doesn't run: docker buildx inspect --bootstrap still starts it")
        },
    );
    report.case("dockerd", "ends", || builders.engine.end());
}

impl Stand<'_> {
    /// `change` makes of the printed file what the case is about.
    fn buildkit(
        &self,
        title: &str,
        upstreams: &[&str],
        change: impl FnOnce(&Path) -> Result,
    ) -> Result<Said> {
        let into = self.printed_for_buildkit(title, upstreams, change)?;
        self.buildkit_started_with(title, &into, &into)
    }

    /// A BuildKit that has read one file, and a doctor who reads another.
    fn buildkit_started_with(&self, title: &str, started_with: &Path, into: &Path) -> Result<Said> {
        let config = started_with.join("etc/buildkit/buildkitd.toml");
        let buildkit = Buildkit::start(self.ring, title, &config)?;
        let said = self.examine_buildkit(into, &buildkit.address);
        let kept = buildkit.buildctl(&["du", "--verbose"]).ok()?;
        if kept.contains("ID:") {
            fail!("the doctor left something in BuildKit's cache: {kept}");
        }
        buildkit.daemon.stop()?;
        said
    }

    fn examine_buildkit(&self, into: &Path, address: &str) -> Result<Said> {
        let path = path_of(self.ring, "buildkit", &[("buildctl", places::tools().join("buildctl"))])?;
        let etc = into.join("etc/buildkit");
        self.examine(&self.server.host, &[(&etc, "/etc/buildkit")], |run| {
            run.env("PATH", path).env("BUILDKIT_HOST", address)
        })
    }

    /// The printed file names the authority where it belongs on a real machine.
    fn printed_for_buildkit(
        &self,
        title: &str,
        upstreams: &[&str],
        change: impl FnOnce(&Path) -> Result,
    ) -> Result<PathBuf> {
        let into = self.printed("buildkit", title, upstreams)?;
        let file = into.join("etc/buildkit/buildkitd.toml");
        put_wrong(&file, "\"/etc/", &format!("\"{}/etc/", into.display()))?;
        change(&file)?;
        Ok(into)
    }
}

/// A docker whose builders are containers, and the settings of the user whose they are.
struct Builders<'s, 'a> {
    stand: &'s Stand<'a>,
    engine: Engine,
    config: PathBuf,
}

impl<'s, 'a> Builders<'s, 'a> {
    fn start(stand: &'s Stand<'a>) -> Result<Builders<'s, 'a>> {
        let config = stand.ring.make_dir("docker-buildx")?;
        fs::create_dir_all(config.join("cli-plugins"))?;
        std::os::unix::fs::symlink(
            places::tools().join("docker-buildx"),
            config.join("cli-plugins/docker-buildx"),
        )?;
        let runtime = stand.ring.write("runtime", RUNTIME)?;
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
        let runtime = format!("ring={}", runtime.display());
        let engine = Engine::start(
            stand.ring,
            "docker-builders",
            &["--add-runtime", &runtime, "--default-runtime", "ring"],
        )?;
        let builders = Builders { stand, engine, config };
        builders.make_image()?;
        Ok(builders)
    }

    fn docker(&self) -> Run {
        Run::new("docker").env("DOCKER_HOST", &self.engine.url).env("DOCKER_CONFIG", &self.config)
    }

    /// buildkitd with what it calls, and nothing else.
    fn make_image(&self) -> Result {
        let empty = self.stand.ring.make_dir("empty")?;
        fs::create_dir_all(empty.join("tmp"))?;
        let script = "set -o pipefail; runc=$(command -v runc); tar -ch -C \"$1\" buildkitd buildctl -C \"$2\" tmp \
                      -C / \"${runc#/}\" $(ldd \"$runc\" | grep -o '/[^ ]*' | sed 's|^/||') | docker import \
                      --change 'ENTRYPOINT [\"/buildkitd\"]' --change \"ENV PATH=/:${runc%/*}\" - \"$3\"";
        self.docker_shell(script).arg(places::tools()).arg(&empty).arg(IMAGE).ok().map(drop)
    }

    fn docker_shell(&self, script: &str) -> Run {
        let run = Run::new("bash").args(["-c", script, "bash"]);
        run.env("DOCKER_HOST", &self.engine.url).env("DOCKER_CONFIG", &self.config)
    }

    /// What the doctor says when this builder is the only one.
    fn examine(
        &self,
        name: &str,
        upstreams: &[&str],
        running: bool,
        change: impl FnOnce(&Path) -> Result,
    ) -> Result<Said> {
        let stand = self.stand;
        let into = stand.printed_for_buildkit(&format!("buildx-{name}"), upstreams, change)?;
        let create = ["buildx", "create", "--name", name, "--driver", "docker-container", "--driver-opt"];
        let options = format!("image={IMAGE},network=host");
        let create = self.docker().args(create).arg(options).arg("--buildkitd-config");
        create.arg(into.join("etc/buildkit/buildkitd.toml")).ok()?;
        if running {
            self.docker().args(["buildx", "inspect", "--bootstrap", name]).ok()?;
        }
        let docker = PathBuf::from(Run::new("sh").args(["-c", "command -v docker"]).ok()?.trim());
        let path = path_of(stand.ring, "buildx", &[("docker", docker)])?;
        let said = stand.examine(&stand.server.host, &[], |run| {
            run.env("DOCKER_HOST", &self.engine.url).env("DOCKER_CONFIG", &self.config).env("PATH", path)
        });
        if running {
            let kept = self.docker().args(["buildx", "du", "--verbose", "--builder", name]).ok()?;
            if kept.contains("larder-canary") || kept.contains("larder-doctor") {
                fail!("the doctor left its image in the builder: {kept}");
            }
        }
        let containers = self.docker().args(["ps", "--all", "--format", "{{.Names}}"]).ok()?;
        if containers.contains(name) != running {
            fail!("the builder {name} should run: {running}; there are {containers:?}");
        }
        self.docker().args(["buildx", "rm", name]).ok()?;
        said
    }
}

/// A privileged container gets every right there is. Where the ring's machine itself lacks one, runc refuses to give it.
const RUNTIME: &str = r#"#!/bin/bash
bounding=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
if (( (16#$bounding >> 24) & 1 )); then exec runc "$@"; fi
last=
for word; do
  case "$last" in
    --bundle) sed -i 's/"CAP_SYS_RESOURCE",\{0,1\}//g' "$word/config.json" ;;
    --process) sed -i 's/"CAP_SYS_RESOURCE",\{0,1\}//g' "$word" ;;
  esac
  last=$word
done
exec runc "$@"
"#;
