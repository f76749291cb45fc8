//! containerd: `/etc/containerd/config.toml` and its `hosts.toml` files.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::{Machine, Spoken, Trouble, names, toml};
use crate::check::Told;
use crate::finding::{Hop, Row};

/// Where the registry's settings are: containerd 2's name of the plugin, and containerd 1's.
const PLUGINS: [&str; 2] = ["io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"];

pub(super) fn hosts_dir(machine: &Machine) -> PathBuf {
    machine.etc("containerd/certs.d")
}

/// Each `hosts.toml` with the name of its directory.
pub(super) fn hosts_files(machine: &Machine) -> Vec<(String, PathBuf)> {
    let dir = hosts_dir(machine);
    names(&dir)
        .into_iter()
        .map(|name| {
            let file = dir.join(&name).join("hosts.toml");
            (name, file)
        })
        .filter(|(_, file)| file.is_file())
        .collect()
}

/// What `ca` names in the tables that are about the registry.
pub(super) fn authority_files(machine: &Machine, authority: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (name, file) in hosts_files(machine) {
        let Ok(Some(document)) = toml(&file) else { continue };
        let directory = file.parent().map(Path::to_owned).unwrap_or_default();
        let mut add = |item: Option<&Item>| {
            for path in super::texts(item).into_iter().chain(item.and_then(Item::as_str).map(str::to_owned)) {
                files.push(directory.join(path));
            }
        };
        if name == authority || name.replace('_', ":").trim_end_matches(':') == authority {
            add(document.get("ca"));
        }
        for (url, host) in hosts(&document) {
            if url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split('/').next()
                == Some(authority)
            {
                add(host.get("ca"));
            }
        }
    }
    files
}

/// The `[host."URL"]` tables.
pub(super) fn hosts(document: &DocumentMut) -> Vec<(String, &Item)> {
    let Some(table) = document.get("host").and_then(Item::as_table_like) else { return Vec::new() };
    table.iter().map(|(url, item)| (url.to_owned(), item)).collect()
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = config(machine);
    for (_, file) in hosts_files(machine) {
        match toml(&file) {
            Ok(Some(document)) => troubles.extend(hosts_file(&document, &file, spoken)),
            Ok(None) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    troubles
}

/// Where Kubernetes' pulls look for `hosts.toml` files, by containerd's own file.
pub(super) fn config_path(machine: &Machine) -> Option<String> {
    let document = toml(&machine.etc("containerd/config.toml")).ok()??;
    let path = registry(&document)?.1.get("config_path")?.as_str()?;
    (!path.is_empty()).then(|| path.to_owned())
}

/// The settings of the registry, and the plugin that they belong to.
fn registry(document: &DocumentMut) -> Option<(&'static str, &Item)> {
    PLUGINS.iter().find_map(|plugin| Some((*plugin, document.get("plugins")?.get(plugin)?.get("registry")?)))
}

fn config(machine: &Machine) -> Vec<Trouble> {
    let file = machine.etc("containerd/config.toml");
    let document = match toml(&file) {
        Ok(Some(document)) => document,
        Ok(None) => return Vec::new(),
        Err(trouble) => return vec![trouble],
    };
    let registry = registry(&document);
    let path = registry.and_then(|(_, registry)| registry.get("config_path")?.as_str()).unwrap_or_default();
    let mirrors = registry.and_then(|(_, registry)| registry.get("mirrors")?.as_table_like());
    if !path.is_empty() && mirrors.is_some_and(|mirrors| !mirrors.is_empty()) {
        return vec![(
            Row::MirrorsAndConfigPath,
            Told::failure(
                Hop::Client,
                format!("{} has both config_path and mirrors", file.display()),
                "containerd refuses both together, and its CRI doesn't start: `mirrors cannot be set when config_path is provided`",
                format!(
                    "remove the mirrors tables from {}, and write hosts.toml files instead",
                    file.display()
                ),
            ),
        )];
    }
    // Kubernetes' way alone asks for the setting; without a hosts.toml it changes nothing.
    if !path.is_empty() || hosts_files(machine).is_empty() || is_disabled(&document) {
        return Vec::new();
    }
    let version = document.get("version").and_then(Item::as_integer).unwrap_or(1);
    let plugin = if version >= 3 { "io.containerd.cri.v1.images" } else { "io.containerd.grpc.v1.cri" };
    let dir = hosts_dir(machine);
    vec![(
        Row::ConfigPathUnset,
        Told::failure(
            Hop::Client,
            format!("there are files in {}, and {} sets no config_path", dir.display(), file.display()),
            "Kubernetes' pulls look into that directory only if they are told to; until then they go past the mirror without a word",
            format!(
                "in {}: [plugins.\"{plugin}\".registry] config_path = \"/etc/containerd/certs.d\", then restart containerd",
                file.display()
            ),
        ),
    )]
}

fn is_disabled(document: &DocumentMut) -> bool {
    super::texts(document.get("disabled_plugins")).iter().any(|name| name.ends_with("cri"))
}

fn hosts_file(document: &DocumentMut, file: &Path, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (url, host) in hosts(document) {
        if !spoken.is_meant(&url) {
            continue;
        }
        troubles.extend(spoken.wrong_scheme(file, &url));
        troubles.extend(path(file, &url, host.get("override_path").and_then(Item::as_bool) == Some(true)));
        for ca in super::texts(host.get("ca"))
            .into_iter()
            .chain(host.get("ca").and_then(Item::as_str).map(str::to_owned))
        {
            let path = file.parent().unwrap_or(file).join(&ca);
            if super::certificates(&path).is_empty() {
                troubles.push((
                    Row::AuthorityMissing,
                    Told::failure(
                        Hop::Client,
                        format!("{} names the authority {ca}, and no certificate is there", file.display()),
                        "containerd then fails at this host, and goes on to the next without a word",
                        format!("sudo install -D -m 644 ca.crt {}", path.display()),
                    ),
                ));
            }
        }
    }
    troubles
}

/// A path in a host's URL is put before `/v2` unless `override_path` says that it is the whole of it.
pub(super) fn path(file: &Path, url: &str, overrides: bool) -> Option<Trouble> {
    let path = url.split_once("://")?.1.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    let has_v2 = path == "v2" || path.starts_with("v2/");
    let (seen, fix) = match (path.is_empty(), has_v2, overrides) {
        (false, true, false) if path != "v2" => {
            ("has a path with /v2/ and no override_path", "add override_path = true".to_owned())
        }
        (false, false, true) => (
            "has override_path and a path without /v2",
            format!(
                "{}/v2/{path}",
                url.split_once(path).map_or(url, |(begin, _)| begin).trim_end_matches('/')
            ),
        ),
        (true, _, true) => (
            "has override_path and no path",
            format!("{}/v2, or no override_path", url.trim_end_matches('/')),
        ),
        _ => return None,
    };
    Some((
        Row::OverridePath,
        Told::failure(
            Hop::Client,
            format!("in {}, {url} {seen}", file.display()),
            "the mirror is asked at another path than it has, answers 404 or a web page, and is gone past without a word",
            fix,
        ),
    ))
}
