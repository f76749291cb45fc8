//! podman, buildah, skopeo and CRI-O: `registries.conf` and its directory.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::{Machine, Spoken, Trouble, mirror_url, names, toml};
use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::net::Scheme;

/// The user's files count before the machine's.
fn roots(machine: &Machine) -> Vec<PathBuf> {
    machine.home(".config/containers").into_iter().chain([machine.etc("containers")]).collect()
}

/// Each `registries.conf`, and what may lie in the directory beside it.
pub(super) fn files(machine: &Machine) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for root in roots(machine) {
        let drop_ins = root.join("registries.conf.d");
        files.push(root.join("registries.conf"));
        let more = names(&drop_ins).into_iter().filter(|name| name.ends_with(".conf"));
        files.extend(more.map(|name| drop_ins.join(name)));
    }
    files
}

pub(super) fn authority_files(machine: &Machine, authority: &str) -> Vec<PathBuf> {
    let dirs = roots(machine).into_iter().map(|root| root.join("certs.d").join(authority));
    dirs.flat_map(|dir| {
        names(&dir).into_iter().filter(|name| name.ends_with(".crt")).map(move |name| dir.join(name))
    })
    .collect()
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut told_insecure = false;
    for file in files(machine) {
        match toml(&file) {
            Ok(Some(document)) => {
                let (found, insecure) = registries(&document, &file, spoken);
                troubles.extend(found);
                told_insecure |= insecure;
            }
            Ok(None) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    let is_used = machine.has("podman");
    if spoken.endpoint.scheme == Scheme::Http && is_used && !told_insecure && !spoken.is_loopback() {
        let file = machine.etc("containers/registries.conf.d/50-larder.conf");
        troubles.push((
            Row::InsecureMissing,
            Told::failure(
                Hop::Client,
                "the registry speaks plain HTTP, and no registries.conf of podman says so",
                "podman speaks TLS unless it is told otherwise: `server gave HTTP response to HTTPS client`",
                format!(
                    "printf '[[registry]]\\nlocation = \"{}\"\\ninsecure = true\\n' | sudo tee -a {}",
                    spoken.authority,
                    file.display()
                ),
            ),
        ));
    }
    if is_used && authority_files(machine, &spoken.authority).is_empty() {
        let file = format!("/etc/containers/certs.d/{}/ca.crt", spoken.authority);
        // podman reads docker's directory too.
        let by_docker = spoken.vouching.iter().any(|vouching| vouching.contains("/docker/certs.d/"));
        troubles.extend(spoken.authority_missing("podman", &file).filter(|_| !by_docker));
    }
    troubles
}

/// What is wrong in a file, and whether it says that the registry is plain.
fn registries(document: &DocumentMut, file: &Path, spoken: &Spoken) -> (Vec<Trouble>, bool) {
    let mut troubles = Vec::new();
    let mut insecure = false;
    let Some(registries) = document.get("registry").and_then(Item::as_array_of_tables) else {
        return (troubles, insecure);
    };
    for registry in registries {
        let mirrors = registry.get("mirror").and_then(Item::as_array_of_tables);
        let tables = std::iter::once(registry).chain(mirrors.into_iter().flatten());
        for table in tables {
            let location = table.get("location").and_then(Item::as_str);
            let Some(location) = location.or_else(|| table.get("prefix")?.as_str()) else { continue };
            if !spoken.is_meant(location) {
                continue;
            }
            if location.contains("://") {
                let bare = location.split_once("://").map_or(location, |(_, rest)| rest);
                troubles.push(mirror_url(
                    file,
                    format!("location = {location:?}"),
                    "locations have no scheme; podman refuses the whole file",
                    format!("location = {bare:?}"),
                ));
            }
            let is_insecure = table.get("insecure").and_then(Item::as_bool) == Some(true);
            insecure |= is_insecure;
            if spoken.endpoint.scheme == Scheme::Http && !is_insecure && table.get("prefix").is_none() {
                troubles.push((
                    Row::InsecureMissing,
                    Told::failure(
                        Hop::Client,
                        format!("{} has {location} without insecure = true", file.display()),
                        "the registry speaks plain HTTP, and podman speaks TLS to it unless it is told otherwise",
                        "insecure = true",
                    ),
                ));
                insecure = true;
            }
        }
    }
    (troubles, insecure)
}
