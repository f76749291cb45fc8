//! Which engines of this machine are told of the registry as a mirror, and in what form.

mod buildkit;
mod kubernetes;

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml_edit::Item;

use super::{Machine, Spoken, containerd, json, podman};

/// An engine that can be made to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
    Containerd,
    /// containerd as the kubelet asks it, whose running configuration counts.
    Kubernetes,
    K3s,
    Rke2,
    Podman,
    BuildKit,
    /// A builder of docker buildx: a BuildKit in a container.
    Buildx,
}

/// A mirror as an engine is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) engine: Engine,
    /// Which one of its kind is asked, where there may be several: an address, or a builder's name.
    pub(crate) daemon: String,
    /// Whose mirror it is, as it stands in front of images' names.
    pub(crate) upstream: String,
    /// The file or the program that says so.
    pub(crate) told_by: String,
    /// As it is written there.
    pub(crate) written: String,
    /// What the engine asks for comes behind this path.
    pub(crate) door: String,
    /// Whether the engine says beside it whose mirror it means (`?ns=`).
    pub(crate) says_upstream: bool,
    /// Whether it is the registry to the port; else only its host.
    pub(crate) is_exact: bool,
}

impl Engine {
    /// The program that pulls.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Engine::Docker | Engine::Buildx => "docker",
            Engine::Containerd => "ctr",
            Engine::Kubernetes | Engine::Rke2 => "crictl",
            Engine::K3s => "k3s",
            Engine::Podman => "podman",
            Engine::BuildKit => "buildctl",
        }
    }

    /// As `larder client` calls it, who prints its files.
    pub(crate) fn client(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Containerd | Engine::Kubernetes => "containerd",
            Engine::K3s | Engine::Rke2 => "k3s",
            Engine::Podman => "podman",
            Engine::BuildKit | Engine::Buildx => "buildkit",
        }
    }
}

impl Mirror {
    /// Host and port as they are written.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.written.split_once("://").map_or(self.written.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Whose it is, as people call it.
    pub(crate) fn teller(&self) -> String {
        match self.engine {
            Engine::Docker => "docker".to_owned(),
            Engine::Containerd => "containerd".to_owned(),
            Engine::Kubernetes => "Kubernetes".to_owned(),
            Engine::K3s => "k3s".to_owned(),
            Engine::Rke2 => "RKE2".to_owned(),
            Engine::Podman => "podman".to_owned(),
            Engine::BuildKit => "BuildKit".to_owned(),
            Engine::Buildx => format!("docker buildx's builder {}", self.daemon),
        }
    }
}

/// Those that a mirror for all registries may be proven with, the likeliest first.
const UPSTREAMS: [&str; 4] = ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"];

/// An upstream that a mirror for all others than the named ones is asked for.
fn any_but(named: &[&str]) -> Option<&'static str> {
    UPSTREAMS.into_iter().find(|upstream| !named.contains(upstream))
}

/// What stands behind the host of a URL, without slashes at either end.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path).trim_matches('/')
}

/// A door before `/v2/`, where docker and containerd put a path.
fn before(path: &str) -> String {
    if path.is_empty() { "/v2/".to_owned() } else { format!("/{path}/v2/") }
}

/// A door behind `/v2/`, where podman and BuildKit put a path.
fn behind(path: &str) -> String {
    if path.is_empty() { "/v2/".to_owned() } else { format!("/v2/{path}/") }
}

/// The registry itself (`true`), or at least its host.
fn is_near(spoken: &Spoken, url: &str) -> Option<bool> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    match spoken.is_meant(url) {
        true => Some(true),
        false => host.eq_ignore_ascii_case(spoken.host()).then_some(false),
    }
}

impl Machine {
    /// Mirrors in what the running docker says that it has: the JSON of its list.
    pub(crate) fn docker_mirrors(spoken: &Spoken, told: &str) -> Vec<Mirror> {
        let list: Value = serde_json::from_str(told).unwrap_or_default();
        let urls = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mirror = |url: &str| {
            Some(Mirror {
                engine: Engine::Docker,
                daemon: String::new(),
                upstream: "docker.io".to_owned(),
                told_by: "docker info".to_owned(),
                written: url.to_owned(),
                door: before(path_of(url)),
                says_upstream: false,
                is_exact: is_near(spoken, url)?,
            })
        };
        urls.filter_map(mirror).collect()
    }

    /// What docker's file says of the registry, which counts from docker's next start on.
    pub(crate) fn written_docker_mirror(&self, spoken: &Spoken) -> Option<(PathBuf, String)> {
        let file = self.etc("docker/daemon.json");
        let config = json(&file).ok().flatten()?;
        let list = config.get("registry-mirrors")?.as_array()?;
        let url = list.iter().filter_map(Value::as_str).find(|url| spoken.is_meant(url))?;
        Some((file, url.to_owned()))
    }

    /// Those of `hosts.toml` files. One for all registries is looked at as that of one without a file of its own.
    pub(crate) fn containerd_mirrors(&self, spoken: &Spoken) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        let files = containerd::hosts_files(self);
        let named: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        for (name, file) in &files {
            let upstream = if name == "_default" { any_but(&named) } else { Some(name.as_str()) };
            let Some(upstream) = upstream else { continue };
            let Ok(Some(document)) = super::toml(file) else { continue };
            // The registry's own file: containerd writes a port so where a colon can't stand.
            if spoken.is_meant(upstream) || spoken.is_meant(upstream.replace('_', ":").trim_end_matches(':'))
            {
                continue;
            }
            for (url, host) in containerd::hosts(&document) {
                let Some(is_exact) = is_near(spoken, &url) else { continue };
                let overrides = host.get("override_path").and_then(Item::as_bool) == Some(true);
                let path = path_of(&url);
                mirrors.push(Mirror {
                    engine: Engine::Containerd,
                    daemon: String::new(),
                    upstream: upstream.to_owned(),
                    told_by: file.display().to_string(),
                    // Where /v2 stands at the end already, containerd adds none.
                    door: if overrides || path == "v2" || path.ends_with("/v2") {
                        format!("/{path}/")
                    } else {
                        before(path)
                    },
                    written: url,
                    says_upstream: true,
                    is_exact,
                });
            }
        }
        mirrors
    }

    /// Where containerd looks for them.
    pub(crate) fn hosts_dir(&self) -> PathBuf {
        containerd::hosts_dir(self)
    }

    /// Those of `registries.conf` files.
    pub(crate) fn podman_mirrors(&self, spoken: &Spoken) -> Vec<Mirror> {
        let files = podman::files(self);
        files.iter().flat_map(|file| podman_mirrors_of(file, spoken)).collect()
    }
}

fn podman_mirrors_of(file: &Path, spoken: &Spoken) -> Vec<Mirror> {
    let Ok(Some(document)) = super::toml(file) else { return Vec::new() };
    let mut mirrors = Vec::new();
    let registries = document.get("registry").and_then(Item::as_array_of_tables);
    for registry in registries.into_iter().flatten() {
        let text = |name: &str| registry.get(name).and_then(Item::as_str);
        let Some(upstream) = text("prefix").or_else(|| text("location")) else { continue };
        let own = registry.get("mirror").and_then(Item::as_array_of_tables);
        let locations = own.into_iter().flatten().filter_map(|mirror| mirror.get("location")?.as_str());
        for location in locations.filter(|_| !spoken.is_meant(upstream)) {
            let Some(is_exact) = is_near(spoken, location) else { continue };
            let path = path_of(location);
            mirrors.push(Mirror {
                engine: Engine::Podman,
                daemon: String::new(),
                upstream: upstream.to_owned(),
                told_by: file.display().to_string(),
                written: location.to_owned(),
                door: behind(path),
                says_upstream: false,
                is_exact,
            });
        }
    }
    mirrors
}

#[cfg(test)]
mod tests;
