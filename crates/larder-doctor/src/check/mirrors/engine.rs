//! This machine's engines, made to pull.

mod buildkit;
mod cri;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::image::Image;
use crate::machine::{Engine, Machine, Mirror};
use cri::Cri;

/// Longer than an engine tries an upstream that doesn't answer: dockerd waits half a minute for a connection.
const LIMIT: Duration = Duration::from_secs(120);

/// Of what an engine says, as much as a line holds.
const SHOWN: usize = 300;

/// containerd keeps what is pulled here apart from what anybody uses.
const NAMESPACE: &str = "larder-doctor";

/// The mirrors that the running docker has, as it prints them in JSON.
pub(super) async fn docker_mirrors(docker: &Path) -> Result<String, String> {
    run(docker, &["info", "--format", "{{json .RegistryConfig.Mirrors}}"]).await
}

/// An engine that answers.
pub(super) enum Puller {
    /// docker or podman, which are asked alike.
    Docker(PathBuf),
    /// `ctr`, and the directory of `hosts.toml` files.
    Ctr(PathBuf, PathBuf),
    Cri(Cri),
    /// `buildctl`, and where its BuildKit listens.
    BuildKit(PathBuf, String),
    /// docker, and the builder's name.
    Buildx(PathBuf, String),
}

impl Puller {
    /// The one that a mirror is for; why it can't be asked otherwise.
    pub(super) async fn reach(machine: &Machine, mirror: &Mirror) -> Result<Puller, String> {
        let Some(program) = machine.puller(mirror.engine) else {
            return Err(format!("{} isn't installed", mirror.engine.program()));
        };
        match mirror.engine {
            Engine::Docker | Engine::Podman => Ok(Puller::Docker(program)),
            Engine::Containerd => Ok(Puller::Ctr(program, machine.hosts_dir())),
            Engine::Kubernetes => Cri::at(program, &mirror.daemon).await.map(Puller::Cri),
            Engine::K3s => Cri::of_k3s(program).await.map(Puller::Cri),
            Engine::Rke2 => Cri::of_rke2(program, machine.rke2_crictl_config()).await.map(Puller::Cri),
            Engine::BuildKit => {
                buildkit::reach(&program, &mirror.daemon).await?;
                Ok(Puller::BuildKit(program, mirror.daemon.clone()))
            }
            Engine::Buildx => {
                buildkit::reach_builder(&program, &mirror.daemon).await?;
                Ok(Puller::Buildx(program, mirror.daemon.clone()))
            }
        }
    }

    /// Pulls an image and forgets it again; what the engine says when it can't.
    pub(super) async fn pull(&self, reference: &str, image: &Image) -> Result<(), String> {
        match self {
            Puller::Docker(program) => {
                run(program, &["pull", "--quiet", reference]).await?;
                // It came through; that it stays here would be no finding.
                let _ = run(program, &["rmi", reference]).await;
                Ok(())
            }
            Puller::Ctr(program, hosts_dir) => {
                let hosts_dir = hosts_dir.display().to_string();
                let fetch = ["-n", NAMESPACE, "content", "fetch", "--hosts-dir", &hosts_dir, reference];
                run(program, &fetch).await?;
                let _ = run(program, &["-n", NAMESPACE, "images", "rm", reference]).await;
                Ok(())
            }
            Puller::Cri(cri) => cri.pull(reference).await,
            Puller::BuildKit(program, address) => buildkit::build(program, address, reference, image).await,
            Puller::Buildx(docker, builder) => buildkit::build_by(docker, builder, reference, image).await,
        }
    }

    /// Where the runtime that runs looks for `hosts.toml` files, if it says so; empty for nowhere.
    pub(super) fn config_path(&self) -> Option<&str> {
        match self {
            Puller::Cri(cri) => cri.config_path.as_deref(),
            _ => None,
        }
    }
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = finish(Command::new(program).args(arguments), None).await?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Runs a command to its end: its output, or what it says when it fails.
async fn finish(command: &mut Command, input: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let program = Path::new(command.as_std().get_program()).display().to_string();
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let running = async {
        let mut child = command.spawn()?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // A program that ends without reading is judged by how it ends.
            let _ = pipe.write_all(input).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(LIMIT, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{program}: {error}")),
        Err(_) => return Err(format!("{program} had not ended after {} s", LIMIT.as_secs())),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Err(format!("{} {}", text(&output.stderr), text(&output.stdout)).trim().to_owned())
}

/// Words of a registry that lacks the image, or isn't reached: from Docker Hub they come without its name.
const OF_A_REGISTRY: [&str; 6] =
    ["denied", "unauthorized", "not found", "unknown", "toomanyrequests", "no such host"];

/// Whom an engine names that couldn't pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Another one than the mirror.
    Other(String),
    /// The mirror: engines of containerd's kind go on behind it, and then show the first error.
    Mirror,
}

/// Whom an engine asked, by its words; `None` when it failed before it asked anybody.
pub(super) fn asked(said: &str, registry: &str, mirror: &Mirror) -> Option<Asked> {
    // BuildKit's name of what it is to get begins like a URL.
    let said = &said.replace("docker-image://", "");
    let upstream = mirror.upstream.as_str();
    let host = if upstream == "docker.io" { "registry-1.docker.io" } else { upstream };
    // Its name also stands in front of the image's.
    let is_named = |mark: &str| said.contains(&format!("{mark}{host}"));
    if ["://", "host=", "lookup ", "host=\""].into_iter().any(is_named) {
        return Some(Asked::Other(host.to_owned()));
    }
    let urls = said.match_indices("://").map(|(at, mark)| said.get(at + mark.len()..).unwrap_or_default());
    let hosts = urls.filter_map(|rest| {
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ".-:[]".contains(letter)))?;
        rest.get(..end).filter(|host| !host.is_empty())
    });
    let (ours, others): (Vec<&str>, Vec<&str>) =
        hosts.partition(|host| *host == registry || *host == mirror.authority());
    if let Some(other) = others.last() {
        return Some(Asked::Other((*other).to_owned()));
    }
    // gRPC's own word for an error of no kind.
    let words = said.to_ascii_lowercase().replace("code = unknown", "");
    let is_answer = OF_A_REGISTRY.iter().any(|answer| words.contains(answer));
    match ours.is_empty() {
        false => Some(Asked::Mirror),
        true => is_answer.then(|| Asked::Other(host.to_owned())),
    }
}

/// What an engine says, on one line: its end, where the reason stands.
pub(super) fn shortened(said: &str) -> String {
    let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = line.chars().count().saturating_sub(SHOWN);
    let end: String = line.chars().skip(skipped).collect();
    if skipped > 0 { format!("…{end}") } else { end }
}

#[cfg(test)]
mod tests;
