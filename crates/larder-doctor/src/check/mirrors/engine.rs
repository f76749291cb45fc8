//! This machine's engines, made to pull.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::machine::Engine;

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

/// Pulls an image and forgets it again; what the engine says when it can't.
pub(super) async fn pull(
    engine: Engine,
    program: &Path,
    hosts_dir: &Path,
    reference: &str,
) -> Result<(), String> {
    let hosts_dir = hosts_dir.display().to_string();
    match engine {
        Engine::Docker | Engine::Podman => {
            run(program, &["pull", "--quiet", reference]).await?;
            // It came through; that it stays here would be no finding.
            let _ = run(program, &["rmi", reference]).await;
        }
        Engine::Containerd => {
            let fetch = ["-n", NAMESPACE, "content", "fetch", "--hosts-dir", &hosts_dir, reference];
            run(program, &fetch).await?;
            let _ = run(program, &["-n", NAMESPACE, "images", "rm", reference]).await;
        }
    }
    Ok(())
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let running = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(LIMIT, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{}: {error}", program.display())),
        Err(_) => return Err(format!("{} had not ended after {} s", program.display(), LIMIT.as_secs())),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{} {}", text(&output.stderr), text(&output.stdout)).trim().to_owned())
}

/// Words of a registry that lacks the image, or isn't reached: from Docker Hub they come without its name.
const OF_A_REGISTRY: [&str; 6] =
    ["denied", "unauthorized", "not found", "unknown", "toomanyrequests", "no such host"];

/// Whom an engine asked that couldn't pull, by its words; `None` when it failed before it asked anybody.
pub(super) fn host_asked(said: &str, registry: &str, upstream: &str) -> Option<String> {
    let host = if upstream == "docker.io" { "registry-1.docker.io" } else { upstream };
    // Its name also stands in front of the image's.
    let is_named = |mark: &str| said.contains(&format!("{mark}{host}"));
    if ["://", "host=", "lookup ", "host=\""].into_iter().any(is_named) {
        return Some(host.to_owned());
    }
    let urls = said.match_indices("://").map(|(at, mark)| said.get(at + mark.len()..).unwrap_or_default());
    let hosts = urls.filter_map(|rest| {
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ".-:[]".contains(letter)))?;
        rest.get(..end).filter(|host| !host.is_empty() && *host != registry)
    });
    let is_answer = || OF_A_REGISTRY.iter().any(|words| said.to_ascii_lowercase().contains(words));
    hosts.last().map(str::to_owned).or_else(|| is_answer().then(|| host.to_owned()))
}

/// What an engine says, on one line: its end, where the reason stands.
pub(super) fn shortened(said: &str) -> String {
    let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = line.chars().count().saturating_sub(SHOWN);
    let end: String = line.chars().skip(skipped).collect();
    if skipped > 0 { format!("…{end}") } else { end }
}
