//! The mirrors of k3s and RKE2, and where Kubernetes' runtimes are asked to pull.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Engine, Mirror, any_but, is_near, path_of};
use crate::machine::k3s::{self, Distribution};
use crate::machine::{Machine, Spoken, containerd, text, toml, yaml};

/// Where containerd listens.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// What a `registries.yaml` says of the registry.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    pub(crate) mirrors: Vec<Mirror>,
    /// Mirrors that the files lack that were made from it at the last start.
    pub(crate) unread: Vec<Mirror>,
    /// What can't be proven, and why.
    pub(crate) unproven: Vec<String>,
}

impl Machine {
    /// Those of the `registries.yaml` of k3s and RKE2.
    pub(crate) fn k3s_mirrors(&self, spoken: &Spoken) -> Registries {
        let mut found = Registries::default();
        for distribution in k3s::DISTRIBUTIONS {
            self.registries(distribution, spoken, &mut found);
        }
        found
    }

    fn registries(&self, distribution: Distribution, spoken: &Spoken, found: &mut Registries) -> Option<()> {
        let file = distribution.file(self);
        let tree = yaml::read(&text(&file).ok()??).ok()?;
        let mirrors = tree.get("mirrors")?.as_object()?;
        let named: Vec<&str> = mirrors.keys().map(String::as_str).collect();
        let engine = match distribution {
            Distribution::K3s => Engine::K3s,
            Distribution::Rke2 => Engine::Rke2,
        };
        for (name, mirror) in mirrors.iter().filter(|(name, _)| !spoken.is_meant(name)) {
            let upstream = if name == "*" { any_but(&named) } else { Some(name.as_str()) };
            let Some(upstream) = upstream else { continue };
            let endpoints = mirror.get("endpoint").and_then(Value::as_array).into_iter().flatten();
            for written in endpoints.filter_map(Value::as_str) {
                let Some(is_exact) = is_near(spoken, written) else { continue };
                let path = path_of(written);
                // k3s takes any path but none and /v2 for the whole of it.
                let door = if path.is_empty() { "/v2/".to_owned() } else { format!("/{path}/") };
                let told_by = file.display().to_string();
                let Some(door) = rewritten(&door, mirror.get("rewrite")) else {
                    found.unproven.push(format!(
                        "{told_by} rewrites what it asks {written} for, in a way that isn't followed here"
                    ));
                    continue;
                };
                let mirror = Mirror {
                    engine,
                    daemon: String::new(),
                    upstream: upstream.to_owned(),
                    told_by,
                    written: written.to_owned(),
                    door,
                    says_upstream: true,
                    is_exact,
                };
                let has = distribution.has_read(self, name, written);
                if has { found.mirrors.push(mirror) } else { found.unread.push(mirror) }
            }
        }
        Some(())
    }

    /// The program that asks an engine to pull.
    pub(crate) fn puller(&self, engine: Engine) -> Option<PathBuf> {
        let elsewhere = match engine {
            Engine::K3s => Some(self.root.join("usr/local/bin/k3s")),
            // The one of RKE2 lies with its data, and on nobody's PATH.
            Engine::Rke2 => {
                return Some(Distribution::Rke2.data(self).join("bin/crictl")).filter(|path| path.is_file());
            }
            _ => None,
        };
        self.find(engine.program()).or_else(|| elsewhere.filter(|path| path.is_file()))
    }

    /// The service that makes containerd's files from `registries.yaml` when it starts.
    pub(crate) fn k3s_service(&self, engine: Engine) -> &'static str {
        let wanted = self.etc("systemd/system/multi-user.target.wants");
        let has = |unit: &str| wanted.join(unit).symlink_metadata().is_ok();
        match engine {
            Engine::Rke2 if has("rke2-agent.service") => "rke2-agent",
            Engine::Rke2 => "rke2-server",
            _ if has("k3s-agent.service") => "k3s-agent",
            _ => "k3s",
        }
    }

    /// Where crictl finds the runtime of RKE2.
    pub(crate) fn rke2_crictl_config(&self) -> PathBuf {
        Distribution::Rke2.data(self).join("agent/etc/crictl.yaml")
    }

    /// Where the kubelet's runtime listens, as crictl is told; `None` where that is k3s', which has files of its own.
    pub(crate) fn runtime_endpoint(&self) -> Option<String> {
        let written = || {
            let tree = yaml::read(&text(&self.etc("crictl.yaml")).ok()??).ok()?;
            tree.get("runtime-endpoint")?.as_str().filter(|endpoint| !endpoint.is_empty()).map(str::to_owned)
        };
        let endpoint = self.runtime_endpoint.clone().or_else(written).unwrap_or_else(|| SOCKET.to_owned());
        (!endpoint.contains("/k3s/")).then_some(endpoint)
    }

    /// Whether containerd's file names the directory of `hosts.toml` files for Kubernetes.
    pub(crate) fn writes_config_path(&self) -> bool {
        containerd::config_path(self).is_some()
    }
}

/// The door behind a rewriting of names; `None` when it does more than put something in front.
fn rewritten(door: &str, rewrite: Option<&Value>) -> Option<String> {
    let rules: Vec<(&String, &Value)> =
        rewrite.and_then(Value::as_object).map(|rules| rules.iter().collect()).unwrap_or_default();
    match rules.as_slice() {
        [] => Some(door.to_owned()),
        [(pattern, by)] => {
            let is_all = ["(.*)", "(.+)"].contains(&pattern.trim_start_matches('^').trim_end_matches('$'));
            let by = by.as_str()?;
            let front = by.strip_suffix("$1").or_else(|| by.strip_suffix("${1}"))?;
            (is_all && !front.contains('$')).then(|| format!("{door}{front}"))
        }
        _ => None,
    }
}

impl Distribution {
    /// Whether the files that it made at its start for an upstream have this mirror; also when there are none to look at.
    fn has_read(self, machine: &Machine, upstream: &str, written: &str) -> bool {
        let made = self.data(machine).join("agent/etc/containerd");
        // Before its first start, and for others than root, there is none.
        let Ok(Some(config)) = text(&made.join("config.toml")) else { return true };
        let name = if upstream == "*" { "_default" } else { upstream };
        let hosts = made.join("certs.d").join(name).join("hosts.toml");
        // Its releases before hosts.toml wrote mirrors there.
        config.contains(&format!("\"{written}\"")) || has_host(&hosts, written)
    }
}

fn has_host(hosts: &Path, written: &str) -> bool {
    let Ok(Some(document)) = toml(hosts) else { return false };
    let place = |url: &str| {
        let path = match path_of(url) {
            "" => "v2",
            path => path,
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        format!("{scheme}://{}/{path}", rest.split('/').next().unwrap_or_default()).to_ascii_lowercase()
    };
    let is_it = |url: &str| place(url) == place(written);
    containerd::hosts(&document).iter().any(|(url, _)| is_it(url))
}
