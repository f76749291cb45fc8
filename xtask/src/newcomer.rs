//! `cargo xtask newcomer`: from nothing to a registry with TLS that docker, podman, skopeo and containerd use, by what `larder init` and
//! `/setup` say and nothing else. In a network of its own, as docker asks no certificate of 127.0.0.0/8.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::certificates::{ADDRESS, HOST, Network};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::image::{Image, native_architecture};
use crate::places::Ring;
use crate::process::{Daemon, Run};
use crate::report::Report;

const PORT: &str = "5443";
const START_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("newcomer");
    let ring = Ring::fresh("newcomer")?;
    let network = Network::make("newcomer")?;
    report.case("init", "asks on a terminal, and writes what was answered", || interactive(&ring));
    let Some(house) =
        report.step("init", "writes a house with an authority of its own", || House::write(&ring))
    else {
        return Ok(report);
    };
    report.case("init", "its configuration has no mistakes", || {
        Run::new(dist::release()?).args(["config", "check"]).arg(house.etc.join("config.yml")).ok().map(drop)
    });
    // Taken away again at the end.
    let _installed = house.install()?;
    report.case("init", "systemd finds nothing wrong with the unit", || {
        let output =
            Run::new("systemd-analyze").arg("verify").arg(house.etc.join("larder.service")).output()?;
        same("what systemd-analyze says", &(output.code, output.all()), &(Some(0), String::new()))
    });
    report.case("init", "the compose file's command serves", || {
        let words = house.compose_command()?;
        let larder = house.serve(&ring, &network, "compose", &dist::release()?, &words)?;
        larder.stop()
    });
    let Some(larder) = report.step("larder", "starts as the unit says", || {
        let (program, words) = house.unit_command()?;
        house.serve(&ring, &network, "larder", Path::new(&program), &words)
    }) else {
        return Ok(report);
    };
    let page = network.run("curl").args(["-fsSk", &format!("https://{HOST}/setup")]).ok()?;
    let walk = Walk { ring: &ring, network: &network, house: &house, page: &page };
    walk.clients(&mut report);
    report.case("status", "shows what was pushed", || walk.status());
    report.case("doctor", "finds nothing", || walk.doctor());
    report.case("larder", "ends", || larder.stop());
    Ok(report)
}

/// Answers typed at a terminal; `script` has one.
fn interactive(ring: &Ring) -> Result {
    let (etc, data) = (ring.dir.join("asked/etc"), ring.dir.join("asked/data"));
    let answers = format!("home\n{}\n{}\nno port\n5001\nalice\nauto\n", etc.display(), data.display());
    let command = format!("{} init", dist::release()?.display());
    let said = Run::new("script").args(["-qec", &command, "/dev/null"]).stdin(answers).ok()?;
    for part in [
        "Whom is it for?",
        "\"no port\" can't be that.",
        "TLS?",
        "made the user alice",
        "curl -k https://THIS-MACHINE:5001/setup",
    ] {
        if !said.contains(part) {
            fail!("{part:?} was not said: {said}");
        }
    }
    let config = fs::read_to_string(etc.join("config.yml"))?;
    for part in ["addr: :5001", "auto: true", &format!("rootdirectory: {:?}", data.display().to_string())] {
        if !config.contains(part) {
            fail!("{part:?} is not in the configuration: {config}");
        }
    }
    Run::new(dist::release()?).args(["config", "check"]).arg(etc.join("config.yml")).ok().map(drop)
}

/// What `larder init` has written.
struct House {
    etc: PathBuf,
    password: String,
    /// Where the program is to be copied to, as no service may look where it is.
    installed_at: Option<PathBuf>,
}

/// A copied program; removed when it is dropped.
struct Installed(PathBuf);

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl House {
    fn write(ring: &Ring) -> Result<House> {
        let (etc, data) = (ring.dir.join("etc"), ring.dir.join("data"));
        let run = Run::new(dist::release()?)
            .args(["init", "--shape", "home", "--tls", "auto", "--yes", "--port", PORT]);
        let told = run.args(["--name", ADDRESS, "--into"]).arg(&etc).arg("--data").arg(&data).ok()?;
        let (_, password) = told.split_once("which is kept nowhere: ").context("a password")?;
        let password = password.lines().next().context("a password")?.to_owned();
        let install = told.split_once("sudo install ").and_then(|(_, rest)| rest.split_once(" && "));
        let installed_at = install.and_then(|(words, _)| words.split_once(' ')).map(|(_, to)| to.into());
        Ok(House { etc, password, installed_at })
    }

    /// Does what `larder init` says before the service is enabled, if it says so.
    fn install(&self) -> Result<Option<Installed>> {
        let Some(to) = &self.installed_at else { return Ok(None) };
        if to.try_exists()? {
            fail!("{} is there already, and the ring won't overwrite it", to.display());
        }
        Run::new("install").arg(dist::release()?).arg(to).ok()?;
        Ok(Some(Installed(to.clone())))
    }

    /// The line of a written file that begins with this.
    fn line(&self, file: &str, beginning: &str) -> Result<String> {
        let text = fs::read_to_string(self.etc.join(file))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(beginning));
        Ok(line.context(format!("{beginning} in {file}"))?.to_owned())
    }

    fn unit_command(&self) -> Result<(String, Vec<String>)> {
        let line = self.line("larder.service", "ExecStart=")?;
        let mut words = line.split(' ').map(str::to_owned);
        Ok((words.next().context("a program")?, words.collect()))
    }

    fn compose_command(&self) -> Result<Vec<String>> {
        let line = self.line("compose.yml", "command: [")?;
        Ok(line.trim_end_matches(']').split(", ").map(str::to_owned).collect())
    }

    fn serve(
        &self,
        ring: &Ring,
        network: &Network,
        name: &str,
        program: &Path,
        words: &[String],
    ) -> Result<Daemon> {
        let mut larder = network.run(program).args(words).daemon(ring, name)?;
        let ready = || network.run("curl").args(["-fsSk", &format!("https://{HOST}/readyz")]).output();
        larder
            .wait_until("it is ready", START_LIMIT, || ready().is_ok_and(|answer| answer.code == Some(0)))?;
        Ok(larder)
    }
}

/// What somebody does who has the page, the name and the password.
struct Walk<'a> {
    ring: &'a Ring,
    network: &'a Network,
    house: &'a House,
    page: &'a str,
}

impl Walk<'_> {
    /// At home on another machine than docker's: podman doesn't log in where docker's file holds the token that docker got.
    fn run(&self, program: &str) -> Result<Run> {
        let home = self.ring.make_dir("home-podman")?;
        let auth = home.join("auth.json");
        if !auth.try_exists()? {
            // podman refuses to pull when the file that the environment names is not there.
            fs::write(&auth, "{}")?;
        }
        let run = self.network.run(program).env("HOME", &home).env("DOCKER_CONFIG", home.join("docker"));
        Ok(run.env("REGISTRY_AUTH_FILE", auth))
    }

    fn clients(&self, report: &mut Report) {
        let image = Image::single(3, native_architecture(), &[60_000]);
        for (client, title) in [
            ("docker", "docker"),
            ("podman, skopeo", "podman"),
            ("containerd", "containerd"),
            ("curl", "curl"),
        ] {
            report.case(client, "is told whom to trust by a line of the page", || {
                self.network.follow(self.ring, self.page, title)
            });
        }
        report.case("docker", "logs in, builds and pushes", || self.docker_pushes());
        report.case("podman", "pulls that, logs in, and pushes it under another name", || self.podman());
        report.case("skopeo", "pushes with podman's login, and reads back the same digest", || {
            self.skopeo(&image)
        });
        report.case("containerd", "pulls what docker, podman and skopeo have pushed", || self.containerd());
        report.case("docker", "pulls what skopeo has pushed", || {
            let engine = self.engine("docker-again")?;
            let pulled = self.docker(&engine, &["pull", "-q", &format!("{HOST}/house/skopeo:1")]).ok()?;
            same("what was pulled", &pulled.trim(), &format!("{HOST}/house/skopeo:1").as_str())?;
            engine.daemon.stop()
        });
        report.case("anybody", "may not push", || {
            let target = format!("docker://{HOST}/house/nobody:1");
            let layout = format!("oci:{}:1", self.ring.dir.join("layout").display());
            self.network
                .run("skopeo")
                .args(["copy", "--dest-no-creds", &layout, &target])
                .refused("unauthorized|denied")
        });
    }

    fn engine(&self, name: &str) -> Result<Engine> {
        let home = self.ring.make_short_dir()?;
        let url = format!("unix://{}", home.join("k.sock").display());
        let run = self
            .run("dockerd")?
            .arg("--data-root")
            .arg(home.join("r"))
            .arg("--exec-root")
            .arg(home.join("s"));
        let run = run.arg("-p").arg(home.join("pid")).args(["-H", &url, "--bridge=none"]);
        let mut daemon = run.args(["--iptables=false", "--ip6tables=false"]).daemon(self.ring, name)?;
        daemon.wait_until("it answers", START_LIMIT, || {
            Run::new("docker").args(["-H", &url, "info"]).output().is_ok_and(|output| output.code == Some(0))
        })?;
        Ok(Engine { url, daemon })
    }

    fn docker(&self, engine: &Engine, words: &[&str]) -> Run {
        let run = self.network.run("docker").args(["-H", &engine.url]).args(words);
        let home = self.ring.dir.join("home");
        run.env("HOME", &home).env("DOCKER_CONFIG", home.join("docker")).env("DOCKER_BUILDKIT", "0")
    }

    fn docker_pushes(&self) -> Result {
        let engine = self.engine("docker")?;
        let context = self.ring.make_dir("context")?;
        fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n")?;
        let name = format!("{HOST}/house/docker:1");
        self.docker(&engine, &["build", "-q", "-t", &name, &context.display().to_string()]).ok()?;
        // Before the login: refused, and told so.
        self.docker(&engine, &["push", "-q", &name]).refused("denied|unauthorized|no basic auth")?;
        let login = self.docker(&engine, &["login", "-u", "admin", "--password-stdin", HOST]);
        login.stdin(self.house.password.clone()).ok()?;
        self.docker(&engine, &["push", "-q", &name]).ok()?;
        engine.daemon.stop()
    }

    fn podman(&self) -> Result {
        let home = self.ring.make_short_dir()?;
        let podman = |words: &[&str]| -> Result<Run> {
            let run =
                self.run("podman")?.arg("--root").arg(home.join("r")).arg("--runroot").arg(home.join("s"));
            Ok(run.args(["--storage-driver", "vfs"]).args(words))
        };
        let (from, to) = (format!("{HOST}/house/docker:1"), format!("{HOST}/house/podman:1"));
        podman(&["pull", "-q", &from])?.ok()?;
        podman(&["login", "-u", "admin", "--password-stdin", HOST])?
            .stdin(self.house.password.clone())
            .ok()?;
        podman(&["tag", &from, &to])?.ok()?;
        podman(&["push", "-q", &to])?.ok().map(drop)
    }

    fn skopeo(&self, image: &Image) -> Result {
        let layout = self.ring.make_dir("layout")?;
        image.write_layout(&layout, "1")?;
        let name = format!("docker://{HOST}/house/skopeo:1");
        let from = format!("oci:{}:1", layout.display());
        self.run("skopeo")?.args(["copy", "--preserve-digests", &from, &name]).ok()?;
        let digest =
            self.run("skopeo")?.args(["inspect", "--no-creds", "--format", "{{.Digest}}", &name]).ok()?;
        same("the digest", &digest.trim(), &image.digest())
    }

    fn containerd(&self) -> Result {
        let home = self.ring.make_short_dir()?;
        let socket = home.join("c.sock");
        let run =
            self.run("containerd")?.arg("--root").arg(home.join("r")).arg("--state").arg(home.join("s"));
        let mut daemon = run.arg("-a").arg(&socket).daemon(self.ring, "containerd")?;
        daemon.wait_until("its socket is there", START_LIMIT, || socket.try_exists().unwrap_or(false))?;
        for who in ["docker", "podman", "skopeo"] {
            let run =
                self.run("ctr")?.arg("-a").arg(&socket).args(["images", "pull", "--snapshotter", "native"]);
            run.args(["--hosts-dir", "/etc/containerd/certs.d", &format!("{HOST}/house/{who}:1")]).ok()?;
        }
        daemon.stop()
    }

    fn doctor(&self) -> Result {
        // Kubernetes' part of the page: containerd is to look where the files are. The machine's own file stays as it is.
        let config = self.ring.write(
            "containerd.toml",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
        )?;
        let there = Path::new("/etc/containerd/config.toml").try_exists()?;
        let cover = format!("mount --bind {} /etc/containerd/config.toml && ", config.display());
        let script = format!("{}exec \"$0\" \"$@\"", if there { cover.as_str() } else { "" });
        let run = self.run("unshare")?.args(["-m", "bash", "-c", &script]).arg(dist::release()?);
        let run = run
            .args(["doctor", HOST, "--write", "--json", "--slow", "2", "--user", "admin"])
            .arg("--password-stdin");
        let output = run.stdin(self.house.password.clone()).output()?;
        let told: Value = serde_json::from_str(&output.stdout).context(output.all())?;
        let entries = told.get("entries").and_then(Value::as_array).context("entries")?;
        let found: Vec<&Value> = entries.iter().filter(|entry| entry.get("row").is_some()).collect();
        if !found.is_empty() || output.code != Some(0) || entries.len() < 10 {
            fail!("the doctor ended with {:?} and found {found:#?} of {}", output.code, entries.len());
        }
        Ok(())
    }

    fn status(&self) -> Result {
        let screen = Run::new(dist::release()?)
            .args(["status", "--config"])
            .arg(self.house.etc.join("config.yml"))
            .ok()?;
        self.ring.write("status.txt", &screen)?;
        for part in [
            "repositories  3, 3 tags",
            "certificate   ends in 89 d",
            "upstreams     docker.io: not asked yet",
            "problems      2\n",
        ] {
            if !screen.contains(part) {
                fail!("{part:?} is not in\n{screen}");
            }
        }
        Ok(())
    }
}

struct Engine {
    url: String,
    daemon: Daemon,
}
