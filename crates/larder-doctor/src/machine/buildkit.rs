//! BuildKit: `buildkitd.toml`, and the builders of docker buildx, which keep a copy of theirs.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use toml_edit::{DocumentMut, Item};

use super::{Machine, Spoken, Trouble, json, names, text, texts, toml, unreadable};
use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::net::Scheme;

/// What a builder is made with; in the container that it runs in, it lies in `/etc/buildkit`.
const CONFIG: &str = "buildkitd.toml";

/// A builder of docker buildx that was made with a configuration.
pub(super) struct Builder {
    pub(super) name: String,
    /// Where buildx keeps what it was made with.
    pub(super) file: PathBuf,
    pub(super) config: DocumentMut,
}

/// root's file, and that of a BuildKit without root; with each whether it is the latter.
pub(super) fn files(machine: &Machine) -> Vec<(PathBuf, bool)> {
    let own = machine.home(".config/buildkit").map(|dir| (dir.join(CONFIG), true));
    [(machine.etc("buildkit").join(CONFIG), false)].into_iter().chain(own).collect()
}

/// Where buildx keeps its builders.
fn buildx(machine: &Machine) -> Option<PathBuf> {
    machine.buildx_config.clone().or_else(|| Some(machine.docker_dir()?.join("buildx")))
}

/// The builders, and what is wrong with the files about them.
pub(super) fn builders(machine: &Machine) -> (Vec<Builder>, Vec<Trouble>) {
    let (mut builders, mut troubles) = (Vec::new(), Vec::new());
    let Some(dir) = buildx(machine).map(|dir| dir.join("instances")) else { return (builders, troubles) };
    for name in names(&dir) {
        let file = dir.join(&name);
        let described = match json(&file) {
            Ok(described) => described.unwrap_or_default(),
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        let nodes = described.get("Nodes").and_then(Value::as_array).into_iter().flatten();
        // The nodes of a builder are made alike, but each may have a file of its own.
        for config in nodes.filter_map(config_of) {
            match config.and_then(|text| text.parse::<DocumentMut>().ok()) {
                Some(config) => builders.push(Builder { name: name.clone(), file: file.clone(), config }),
                None => troubles.push(unreadable(&file, &format!("its {CONFIG} is no TOML"))),
            }
        }
    }
    (builders, troubles)
}

/// What a node was made with, if it was made with a configuration; `None` in it when that can't be read.
fn config_of(node: &Value) -> Option<Option<String>> {
    if let Some(kept) = node.get("Files").and_then(|files| files.get(CONFIG)?.as_str()) {
        return Some(STANDARD.decode(kept).ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    }
    // Releases before 0.7 keep only where the file is, and read it when the builder starts.
    let file = node.get("ConfigFile")?.as_str().filter(|file| !file.is_empty())?;
    text(Path::new(file)).ok().flatten().map(Some)
}

/// The mirrors in a configuration: (whose, as it is written).
pub(super) fn mirrors(config: &DocumentMut) -> Vec<(String, String)> {
    let registries = config.get("registry").and_then(Item::as_table_like);
    registries
        .into_iter()
        .flat_map(|registries| registries.iter())
        .flat_map(|(name, registry)| {
            texts(registry.get("mirrors")).into_iter().map(move |mirror| (name.to_owned(), mirror))
        })
        .collect()
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (file, _) in files(machine) {
        match toml(&file) {
            Ok(Some(config)) => {
                troubles.extend(examine_one(&config, &file.display().to_string(), "", spoken))
            }
            Ok(None) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    let (builders, unreadable) = builders(machine);
    troubles.extend(unreadable);
    for builder in builders {
        let name = &builder.name;
        let source = format!("the {CONFIG} of docker buildx's builder {name} ({})", builder.file.display());
        let again = format!(
            "; what a builder was made with stays: docker buildx rm {name}, and create it again with --buildkitd-config"
        );
        troubles.extend(examine_one(&builder.config, &source, &again, spoken));
    }
    troubles
}

/// `source` names the configuration, and `then` what is to be done besides changing it.
fn examine_one(config: &DocumentMut, source: &str, then: &str, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let Some(registries) = config.get("registry").and_then(Item::as_table_like) else { return troubles };
    let (mut is_mirror, mut says_http) = (false, false);
    for (name, mirror) in mirrors(config).iter().filter(|(_, mirror)| spoken.is_meant(mirror)) {
        is_mirror = true;
        if let Some((_, bare)) = mirror.split_once("://") {
            troubles.push((
                Row::MirrorUrl,
                Told::failure(
                    Hop::Client,
                    format!("{source}: mirrors of {name} has {mirror}"),
                    "mirrors are hosts there; one with a scheme is never reached, and the upstream is asked instead",
                    format!("{bare}{then}"),
                ),
            ));
        }
    }
    for (_, registry) in registries.iter().filter(|(name, _)| spoken.is_meant(name)) {
        is_mirror = true;
        says_http = registry.get("http").and_then(Item::as_bool) == Some(true);
    }
    let is_http = spoken.endpoint.scheme == Scheme::Http;
    if is_mirror && is_http != says_http && !(is_http && spoken.is_loopback()) {
        let (row, right) = if is_http {
            (Row::InsecureMissing, "http = true")
        } else {
            (Row::MirrorScheme, "no http = true")
        };
        troubles.push((
            row,
            Told::failure(
                Hop::Client,
                format!(
                    "{source} names the registry as one of another scheme than {}",
                    spoken.endpoint.scheme
                ),
                "BuildKit fails at the mirror, and goes on to the upstream without a word",
                format!("[registry.\"{}\"] {right}{then}", spoken.authority),
            ),
        ));
    }
    troubles
}
