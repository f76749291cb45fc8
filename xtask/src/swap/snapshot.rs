//! All that a registry answers about a world, for comparison with what another one answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::{Result, fail};
use crate::image::sha256;
use crate::registry::{ACCEPT, Registry};
use crate::swap::content::World;

/// How many differences are worth reading.
const SHOWN: usize = 8;

/// Path → what was answered.
#[derive(PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    pub(super) fn take(registry: &Registry, world: &World) -> Result<Self> {
        let mut answers = BTreeMap::new();
        let catalog = registry.repositories()?;
        answers.insert("/v2/_catalog".to_owned(), catalog.join(" "));
        // A repository that the catalog leaves out is asked all the same.
        let repositories: BTreeSet<&str> =
            catalog.iter().map(String::as_str).chain(world.repositories()).collect();
        for repository in repositories {
            let tags = registry.tags(repository)?;
            answers.insert(format!("/v2/{repository}/tags/list"), format!("{tags:?}"));
            for tag in tags.unwrap_or_default() {
                answer(registry, &mut answers, format!("/v2/{repository}/manifests/{tag}"))?;
            }
            for digest in world.manifests_of(repository) {
                answer(registry, &mut answers, format!("/v2/{repository}/manifests/{digest}"))?;
            }
            for digest in world.blobs_of(repository) {
                answer(registry, &mut answers, format!("/v2/{repository}/blobs/{digest}"))?;
            }
        }
        Ok(Self(answers))
    }

    /// Fails unless the registry answers the same now.
    pub(super) fn equals(&self, registry: &Registry, world: &World) -> Result {
        let now = Self::take(registry, world)?;
        let paths = self.0.keys().chain(now.0.keys().filter(|path| !self.0.contains_key(*path)));
        let differences: Vec<String> = paths
            .filter(|path| self.0.get(*path) != now.0.get(*path))
            .map(|path| {
                let (was, is) = (self.0.get(path), now.0.get(path));
                format!(
                    "{path}\n  was {}\n  is  {}",
                    was.map_or("absent", |text| text),
                    is.map_or("absent", |text| text)
                )
            })
            .collect();
        if !differences.is_empty() {
            let shown: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
            fail!("{} answers of {} differ:\n{}", differences.len(), self.0.len(), shown.join("\n"));
        }
        Ok(())
    }
}

/// Status, and for a 200 the type, digest, length and the body's hash. What an error says in words is free.
fn answer(registry: &Registry, answers: &mut BTreeMap<String, String>, path: String) -> Result {
    let answer = registry.http.get(&path, &[("Accept", ACCEPT)])?;
    let mut text = answer.status.to_string();
    if answer.status == 200 {
        text.push_str(&format!(" {}", answer.header("content-type").unwrap_or("-")));
        text.push_str(&format!(" {}", answer.header("content-length").unwrap_or("-")));
        // Asked for a blob by sha512 the peer answers with the sha256 digest; that need not be copied.
        if !path.contains("/blobs/sha512:") {
            text.push_str(&format!(" {}", answer.header("docker-content-digest").unwrap_or("-")));
        }
        text.push_str(&format!(" {}", sha256(&answer.body)));
    }
    answers.insert(path, text);
    Ok(())
}
