//! BuildKit: `buildkitd.toml`.

use std::path::PathBuf;

use toml_edit::Item;

use super::{Machine, Spoken, Trouble, mirror_url, texts, toml};
use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::net::Scheme;

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let files: Vec<PathBuf> = [machine.etc("buildkit/buildkitd.toml")]
        .into_iter()
        .chain(machine.home(".config/buildkit/buildkitd.toml"))
        .collect();
    let mut troubles = Vec::new();
    for file in files {
        let document = match toml(&file) {
            Ok(Some(document)) => document,
            Ok(None) => continue,
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        let Some(registries) = document.get("registry").and_then(Item::as_table_like) else { continue };
        let (mut is_mirror, mut says_http) = (false, false);
        for (name, registry) in registries.iter() {
            for mirror in texts(registry.get("mirrors")).iter().filter(|mirror| spoken.is_meant(mirror)) {
                is_mirror = true;
                if mirror.contains("://") {
                    let bare = mirror.split_once("://").map_or(mirror.as_str(), |(_, rest)| rest);
                    troubles.push(mirror_url(
                        &file,
                        format!("mirrors of {name} has {mirror}"),
                        "mirrors are hosts there; one with a scheme is never reached, and the upstream is asked instead",
                        bare.to_owned(),
                    ));
                }
            }
            if spoken.is_meant(name) {
                is_mirror = true;
                says_http = registry.get("http").and_then(Item::as_bool) == Some(true);
            }
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
                        "{} names the registry as one of another scheme than {}",
                        file.display(),
                        spoken.endpoint.scheme
                    ),
                    "BuildKit fails at the mirror, and goes on to the upstream without a word",
                    format!("[registry.\"{}\"] {right}", spoken.authority),
                ),
            ));
        }
    }
    troubles
}
