//! containerd with its `ctr`: the resolver that Kubernetes, nerdctl and new dockerds use.

use std::path::PathBuf;
use std::time::Duration;

use crate::clients::{Account, Attempt, Client, Layout, Session, attempt};
use crate::failure::{Context, Result, fail};
use crate::places::Ring;
use crate::process::{Daemon, Output, Run};
use crate::report::Report;

pub(super) struct Ctr;

const START_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
    daemon: Daemon,
}

impl Engine {
    pub(super) fn start(ring: &Ring) -> Result<Self> {
        Self::start_named(ring, "containerd")
    }

    pub(crate) fn start_named(ring: &Ring, name: &str) -> Result<Self> {
        let socket = ring.sockets.join(format!("{name}-ctr.sock"));
        // No CRI plugin: it wants a CNI configuration and a stream port, and nothing here uses it.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = {socket:?}\n",
            ring.dir.join(format!("{name}-containerd")),
            ring.sockets.join(format!("{name}-state")),
        );
        let config = ring.write(&format!("{name}.toml"), config)?;
        let mut daemon =
            Run::new("containerd").arg("--config").arg(config).daemon(ring, &format!("{name}-containerd"))?;
        daemon.wait_until("ctr reaches it", START_LIMIT, || {
            let version = Run::new("ctr").arg("--address").arg(&socket).arg("version").output();
            version.is_ok_and(|output| output.code == Some(0))
        })?;
        Ok(Self { socket, daemon })
    }

    pub(crate) fn stop(self, report: &mut Report) {
        report.case("containerd", "ends", || self.daemon.stop());
    }
}

fn ctr(session: &Session<'_>, command: &[&str]) -> Run {
    let run = session.run("ctr").arg("--address").arg(&session.engines.containerd.socket);
    run.args(["--namespace", "ring", "images"]).args(command)
}

/// The arguments of push and pull that say how to reach the registry.
fn transport(session: &Session<'_>) -> Result<Vec<String>> {
    let mut arguments = match &session.server.ca {
        None => vec!["--plain-http".to_owned()],
        Some(ca) => {
            // The authority stands twice: containerd 1.6 insists on a host, and asks the server when that says 404.
            let hosts = session.path("containerd-hosts");
            let dir = hosts.join(&session.server.host);
            std::fs::create_dir_all(&dir)?;
            let url = format!("https://{}", session.server.host);
            let toml = format!("server = {url:?}\nca = {ca:?}\n[host.{url:?}]\n  ca = {ca:?}\n");
            std::fs::write(dir.join("hosts.toml"), toml)?;
            vec!["--hosts-dir".to_owned(), hosts.display().to_string()]
        }
    };
    if let Some(Account { user, password }) = &session.account {
        arguments.extend(["--user".to_owned(), format!("{user}:{password}")]);
    }
    Ok(arguments)
}

impl Client for Ctr {
    const NAME: &'static str = "ctr";
    const KEEPS_DIGEST: bool = true;
    const WRONG_PASSWORD: &'static str = "401 Unauthorized|unauthorized|authorization failed";
    const UNKNOWN_TAG: &'static str = "not found";
    const BAD_NAME: &'static str = "404|400|name unknown|invalid";
    // What is refused after its blobs were found there ends in a race between the answer and ctr's own pipe.
    const NO_LOGIN: &'static str = "401 Unauthorized|authorization failed|no basic auth credentials|denied|403|read/write on closed pipe";
    const DENIED: &'static str = "401 Unauthorized|403|denied|insufficient_scope|authorization failed";

    /// ctr has no login: each command takes the password.
    fn login(&self, session: &Session<'_>, _account: &Account) -> Result<Output> {
        session.run("true").output()
    }

    fn push(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        let archive = session.path("archive.tar");
        Run::new("tar").arg("-C").arg(&layout.dir).arg("-cf").arg(&archive).arg(".").ok()?;
        let (repository, tag) = reference.rsplit_once(':').context("a tag")?;
        ctr(session, &["import", "--no-unpack", "--all-platforms", "--base-name", repository])
            .arg(&archive)
            .ok()?;
        let imported = format!("{repository}:{}", layout.tag);
        let push = ctr(session, &["push"]).args(transport(session)?).args([reference, &imported]);
        let pushed = attempt(push, |_| digest_of(session, &imported))?;
        ctr(session, &["rm", "--sync", &imported]).ok()?;
        let _ = tag;
        Ok(pushed)
    }

    fn pull(&self, session: &Session<'_>, layout: &Layout<'_>, reference: &str) -> Result<Attempt> {
        // Content that no image names any more is collected at once, so that the pull is a real one.
        ctr(session, &["rm", "--sync", reference]).output()?;
        let mut pull = ctr(session, &["pull", "--snapshotter", "native"]).args(transport(session)?);
        if !layout.image.children.is_empty() {
            pull = pull.arg("--all-platforms");
        }
        attempt(pull.arg(reference), |_| digest_of(session, reference))
    }
}

/// The digest that the local image name stands for, after containerd has found its content whole.
fn digest_of(session: &Session<'_>, name: &str) -> Result<String> {
    let check = ctr(session, &["check", &format!("name=={name}")]).ok()?;
    if !check.contains("complete") || check.contains("incomplete") {
        fail!("containerd finds {name} not whole: {check}");
    }
    let listed = ctr(session, &["list", &format!("name=={name}")]).ok()?;
    let row = listed.lines().nth(1).context(format!("{name} in {listed}"))?;
    Ok(row.split_whitespace().nth(2).context(format!("the digest in {row}"))?.to_owned())
}
