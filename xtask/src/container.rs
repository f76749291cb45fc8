//! `cargo xtask image`: Larder's container image in the place of registry:2's: the same run command, environment and
//! volume, on a directory that docker-registry 2.8.2 has filled.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::clients::docker::Engine;
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::http::Http;
use crate::image::{Image, check_layout, native_architecture};
use crate::places::{self, Ring, free_port};
use crate::process::Run;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{PASSWORD, Plan, Program, USER};

const IMAGE: &str = "larder:ring";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A container that is removed when dropped.
struct Container<'a> {
    engine: &'a Engine,
    id: String,
    host: String,
}

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("image");
    let ring = Ring::fresh("image")?;
    let data = ring.make_dir("registry")?;
    let old = Image::index(1, &["amd64", "arm64"], &[5000, 300_000]);
    report.case("peer", "fills the volume", || {
        let server = Plan::open(Program::DockerRegistry, &data).start(&ring, "peer")?;
        Registry::new(server.http()).push_image("ring/old", "one", &old)?;
        server.daemon.stop()
    });
    let layout = ring.make_dir("layout")?;
    let new = Image::single(50, native_architecture(), &[7000, 200_000]);
    new.write_layout(&layout, "new")?;

    if report.step("cargo", "the static binary is built", dist::make).is_none() {
        return Ok(report);
    }
    let engine = Engine::start(&ring, "docker", &[])?;
    report.case("docker", "builds the image", || {
        let dockerfile = places::workspace().join("Dockerfile");
        let build = docker(&engine).args(["build", "--quiet", "--tag", IMAGE, "--file"]).arg(dockerfile);
        build.arg(places::target().join("dist")).env("DOCKER_BUILDKIT", "0").ok().map(drop)
    });
    report.case("docker", "it has registry:2's port, volume and command", || looks_like_registry_2(&engine));

    report.case("docker", "it takes every form in which registry:2's image is started", || {
        takes_the_forms_of_registry_2(&engine)
    });

    report.about("as it comes");
    let environment = ["REGISTRY_STORAGE_DELETE_ENABLED=true", "REGISTRY_LOG_LEVEL=info"];
    let volume = format!("{}:/var/lib/registry", data.display());
    if let Some(container) = run(&mut report, &engine, &environment, &[&volume]) {
        report.case("skopeo", "pulls what the peer had stored, without a login", || {
            let pulled = pull(&ring, &container.host, "ring/old:one", "pulled-old")?;
            same("the digest", &pulled.as_str(), &old.digest())
        });
        report.case("docker", "finds it healthy", || container.becomes_healthy());
        report.case("docker", "stops it without a kill", || container.stop());
    }

    report.about("with htpasswd");
    let auth = ring.make_dir("auth")?;
    let made = report.case("htpasswd", "makes a password file", || {
        let line = Run::new("htpasswd").args(["-n", "-B", "-C", "5", "-b", USER, PASSWORD]).ok()?;
        Ok(std::fs::write(auth.join("htpasswd"), line)?)
    });
    let environment = [
        "REGISTRY_AUTH=htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm",
        "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd",
    ];
    let auth_volume = format!("{}:/auth", auth.display());
    if let Some(container) =
        made.then(|| run(&mut report, &engine, &environment, &[&volume, &auth_volume])).flatten()
    {
        report.case("skopeo", "logs in, pushes and pulls", || {
            let skopeo = |command: &str| home(&ring, Run::new("skopeo").arg(command));
            skopeo("login")
                .args(["--tls-verify=false", "--username", USER, "--password-stdin", &container.host])
                .stdin(PASSWORD)
                .ok()?;
            let push = skopeo("copy").args(["--preserve-digests", "--dest-tls-verify=false"]);
            push.arg(format!("oci:{}:new", layout.display()))
                .arg(format!("docker://{}/ring/new:new", container.host))
                .ok()?;
            same(
                "the digest",
                &pull(&ring, &container.host, "ring/new:new", "pulled-new")?.as_str(),
                &new.digest(),
            )
        });
        report.case("docker", "stops it without a kill", || container.stop());
    }
    report.about("with a mounted config.yml");
    let config = ring.make_dir("config")?;
    std::fs::write(config.join("config.yml"), MOUNTED_CONFIG)?;
    let config_volume = format!("{}:/etc/docker/registry", config.display());
    if let Some(container) = run(&mut report, &engine, &[], &[&volume, &auth_volume, &config_volume]) {
        // The image's own configuration would let everybody pull.
        report.case("http", "asks for the password that the file demands", || {
            let answer = Http { address: container.host.clone() }.get("/v2/", &[])?;
            same("the status", &answer.status, &401)
        });
        report.case("docker", "stops it without a kill", || container.stop());
    }
    report.about("");
    report.case("peer", "serves the volume again", || {
        let server = Plan::open(Program::DockerRegistry, &data).start(&ring, "peer-again")?;
        let registry = Registry::new(server.http());
        registry.walk("ring/old", "one", &mut Walked::default())?;
        registry.walk("ring/new", "new", &mut Walked::default())?;
        server.daemon.stop()
    });
    engine.stop(&mut report);
    Ok(report)
}

/// As people mount it into registry:2's image.
const MOUNTED_CONFIG: &str = "version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: :5000}
auth: {htpasswd: {realm: Registry Realm, path: /auth/htpasswd}}
";

fn docker(engine: &Engine) -> Run {
    Run::new("docker").args(["--host", &engine.url])
}

fn home(ring: &Ring, run: Run) -> Run {
    run.env("HOME", &ring.dir).env("REGISTRY_AUTH_FILE", ring.dir.join("auth.json"))
}

fn looks_like_registry_2(engine: &Engine) -> Result {
    let inspected = docker(engine).args(["image", "inspect", "--format", "{{json .Config}}", IMAGE]).ok()?;
    let config: serde_json::Value = serde_json::from_str(&inspected)?;
    for pointer in [
        "/ExposedPorts/5000~1tcp",
        "/Volumes/~1var~1lib~1registry",
        "/Entrypoint/0",
        "/Cmd/0",
        "/Healthcheck/Test/1",
    ] {
        config.pointer(pointer).context(format!("{pointer} of {config}"))?;
    }
    Ok(())
}

/// The version is the one answer that every form has without a server.
fn takes_the_forms_of_registry_2(engine: &Engine) -> Result {
    let plain: &[&str] = &[];
    for (entrypoint, arguments) in [
        (None, ["--version"].as_slice()),
        (None, &["-v"]),
        (None, &["registry", "--version"]),
        (None, &["/bin/registry", "--version"]),
        (None, &["/entrypoint.sh", "registry", "-v"]),
        (Some("registry"), &["--version"]),
        (Some("/bin/registry"), &["-v"]),
        (Some("larder"), &["--version"]),
        (Some("/entrypoint.sh"), &["registry", "--version"]),
    ] {
        let entrypoint = entrypoint.map(|name| ["--entrypoint", name]);
        let run = docker(engine).args(["run", "--rm", "--network", "none"]);
        let run = run.args(entrypoint.as_ref().map_or(plain, |option| option.as_slice()));
        let said = run.arg(IMAGE).args(arguments).ok()?;
        if !said.starts_with("larder ") {
            fail!("{entrypoint:?} {arguments:?} said {said:?}");
        }
    }
    Ok(())
}

/// The network is the host's: the ring's dockerd has no bridge, and needs none to show that the image works.
fn run<'a>(
    report: &mut Report,
    engine: &'a Engine,
    environment: &[&str],
    volumes: &[&str],
) -> Option<Container<'a>> {
    report.step("docker", "runs it", || {
        let host = format!("127.0.0.1:{}", free_port("127.0.0.1")?);
        let mut run =
            docker(engine).args(["run", "--detach", "--network", "host", "--health-interval", "1s"]);
        run = run.args(["--env", &format!("REGISTRY_HTTP_ADDR={host}")]);
        for variable in environment {
            run = run.args(["--env", variable]);
        }
        for volume in volumes {
            run = run.args(["--volume", volume]);
        }
        let id = run.arg(IMAGE).ok()?.trim().to_owned();
        let container = Container { engine, id, host };
        let http = Http { address: container.host.clone() };
        container
            .wait("it answers", || Ok(http.get("/readyz", &[]).is_ok_and(|answer| answer.status == 200)))?;
        Ok(container)
    })
}

impl Container<'_> {
    fn inspect(&self, format: &str) -> Result<String> {
        let inspected = docker(self.engine).args(["inspect", "--format", format, &self.id]).ok()?;
        Ok(inspected.trim().to_owned())
    }

    fn wait(&self, what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result {
        let start = Instant::now();
        while !ready()? {
            if self.inspect("{{.State.Running}}")? != "true" || start.elapsed() > START_LIMIT {
                let logs = docker(self.engine).args(["logs", &self.id]).output()?.all();
                fail!("the container did not come so far that {what}; its log:\n{logs}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn becomes_healthy(&self) -> Result {
        self.wait("its health check passes", || Ok(self.inspect("{{.State.Health.Status}}")? == "healthy"))
    }

    fn stop(&self) -> Result {
        docker(self.engine).args(["stop", "--time", "15", &self.id]).ok()?;
        same("the exit code", &self.inspect("{{.State.ExitCode}}")?.as_str(), &"0")
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = docker(self.engine).args(["rm", "--force", &self.id]).output();
    }
}

fn pull(ring: &Ring, host: &str, name: &str, out: &str) -> Result<String> {
    let out: &Path = &ring.dir.join(out);
    let copy = home(
        ring,
        Run::new("skopeo").args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false"]),
    );
    copy.arg(format!("docker://{host}/{name}")).arg(format!("oci:{}:pulled", out.display())).ok()?;
    check_layout(out)
}
