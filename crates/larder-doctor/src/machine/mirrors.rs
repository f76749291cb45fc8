//! Which engines of this machine are told of the registry as a mirror, and in what form.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml_edit::Item;

use super::{Machine, Spoken, containerd, json, podman};

/// An engine that can be made to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
    Containerd,
    Podman,
}

/// A mirror as an engine is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) engine: Engine,
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
            Engine::Docker => "docker",
            Engine::Containerd => "ctr",
            Engine::Podman => "podman",
        }
    }

    /// As people call it, and `larder client`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Containerd => "containerd",
            Engine::Podman => "podman",
        }
    }
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

    /// Those of `hosts.toml` files. One for all registries is looked at as Docker Hub's.
    pub(crate) fn containerd_mirrors(&self, spoken: &Spoken) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for (name, file) in containerd::hosts_files(self) {
            let upstream = if name == "_default" { "docker.io" } else { &name };
            let Ok(Some(document)) = super::toml(&file) else { continue };
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
                    upstream: upstream.to_owned(),
                    told_by: file.display().to_string(),
                    door: if overrides { format!("/{path}/") } else { before(path) },
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
                upstream: upstream.to_owned(),
                told_by: file.display().to_string(),
                written: location.to_owned(),
                door: if path.is_empty() { "/v2/".to_owned() } else { format!("/v2/{path}/") },
                says_upstream: false,
                is_exact,
            });
        }
    }
    mirrors
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::net::{Endpoint, Scheme};

    fn spoken() -> Spoken {
        Spoken {
            authority: "reg.lan:5000".to_owned(),
            endpoint: Endpoint { scheme: Scheme::Https, host: "reg.lan".to_owned(), port: 5000 },
            vouching: Vec::new(),
            by_system: false,
        }
    }

    fn doors(mirrors: &[Mirror]) -> Vec<(&str, &str, bool, bool)> {
        let each = |mirror: &'_ Mirror| (mirror.says_upstream, mirror.is_exact);
        mirrors
            .iter()
            .map(|mirror| (mirror.upstream.as_str(), mirror.door.as_str(), each(mirror).0, each(mirror).1))
            .collect()
    }

    #[test]
    fn dockers_mirrors_are_those_at_the_registry_or_at_its_host() {
        let told = r#"["https://reg.lan:5000/docker.io/","http://reg.lan:5001/","https://mirror.example/"]"#;
        let mirrors = Machine::docker_mirrors(&spoken(), told);
        assert_eq!(
            doors(&mirrors),
            [("docker.io", "/docker.io/v2/", false, true), ("docker.io", "/v2/", false, false)]
        );
        assert_eq!(Machine::docker_mirrors(&spoken(), "null"), []);
    }

    #[test]
    fn files_of_containerd_and_podman_say_whose_mirror_it_is_and_at_which_path() {
        let root = tempfile::tempdir().unwrap();
        let machine =
            Machine { root: root.path().to_owned(), home: None, programs: Vec::new(), docker_config: None };
        let write = |path: &str, text: &str| {
            let path = machine.etc(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        write("containerd/certs.d/_default/hosts.toml", "[host.\"https://reg.lan:5000\"]\n");
        write(
            "containerd/certs.d/ghcr.io/hosts.toml",
            "[host.\"https://reg.lan:5000/v2/ghcr.io\"]\noverride_path = true\n[host.\"https://other.lan\"]\n",
        );
        for own in ["reg.lan:5000", "reg.lan_5000_"] {
            write(&format!("containerd/certs.d/{own}/hosts.toml"), "[host.\"https://reg.lan:5000\"]\n");
        }
        assert_eq!(
            doors(&machine.containerd_mirrors(&spoken())),
            [("docker.io", "/v2/", true, true), ("ghcr.io", "/v2/ghcr.io/", true, true)]
        );
        write(
            "containers/registries.conf.d/50-larder.conf",
            "[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\n[[registry.mirror]]\nlocation = \"reg.lan:5000/quay.io\"\n\
             [[registry]]\nlocation = \"reg.lan:5000\"\n",
        );
        assert_eq!(doors(&machine.podman_mirrors(&spoken())), [("quay.io", "/v2/quay.io/", false, true)]);
        write("docker/daemon.json", r#"{"registry-mirrors": ["https://reg.lan:5000/docker.io"]}"#);
        let (_, url) = machine.written_docker_mirror(&spoken()).unwrap();
        assert_eq!(url, "https://reg.lan:5000/docker.io");
    }
}
