//! What would this free? What repositories and tags take, and what of it nothing else needs.
//!
//! The index keeps the sums (`larder-meta/src/index/holdings.rs`). They are of all repositories, so none is told before
//! every repository has been compared with its files, as for a collection.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use larder_meta::{PrefixUsage, RepositoryUsage, TagUsage, TagUsageExplained, TotalUsage};
use larder_oci::{AdminAccess, RepoName, Tag};
use serde_json::{Value, json};

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// Repositories, tags, or reasons that are listed at most.
pub const MOST_LISTED_USAGES: usize = 10_000;

/// Whose bytes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageOf {
    /// All repositories.
    Everything,
    /// The repositories at and below a name; written `team/` or `team/**`.
    Below(RepoName),
    /// The repository of this name, or where there is none those below it.
    Named(RepoName),
    /// A tag; written `team/app:v1`.
    Tag(RepoName, Tag),
}

/// What something takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// All repositories.
    Everything(TotalUsage),
    /// Those at and below a name.
    Below(RepoName, PrefixUsage),
    /// One repository.
    Repository {
        /// The repository.
        repository: RepositoryUsage,
        /// Its tags, most first.
        tags: Vec<TagUsage>,
        /// Bytes of what no tag leads to.
        untagged: u64,
    },
    /// A tag.
    Tag(RepoName, TagUsageExplained),
}

impl FromStr for UsageOf {
    type Err = String;

    fn from_str(text: &str) -> Result<UsageOf, String> {
        let name = |text: &str| text.parse::<RepoName>().map_err(|error| error.to_string());
        if text.is_empty() || text == "**" {
            return Ok(UsageOf::Everything);
        }
        if let Some(prefix) = text.strip_suffix("/**").or_else(|| text.strip_suffix('/')) {
            return Ok(UsageOf::Below(name(prefix)?));
        }
        match text.rsplit_once(':') {
            Some((repository, tag)) => {
                Ok(UsageOf::Tag(name(repository)?, tag.parse().map_err(|error| format!("{error}"))?))
            }
            None => Ok(UsageOf::Named(name(text)?)),
        }
    }
}

impl fmt::Display for UsageOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageOf::Everything => f.write_str("**"),
            UsageOf::Below(name) => write!(f, "{name}/"),
            UsageOf::Named(name) => write!(f, "{name}"),
            UsageOf::Tag(name, tag) => write!(f, "{name}:{tag}"),
        }
    }
}

impl Registry {
    /// What something takes, and what of it only it needs; of everything, the `limit` largest repositories. `None` if
    /// there is no such repository or tag.
    pub async fn usage(
        &self,
        _: &AdminAccess,
        of: UsageOf,
        limit: usize,
    ) -> Result<Option<Usage>, RegistryError> {
        let limit = limit.min(MOST_LISTED_USAGES);
        self.asking_the_index(move |inner| inner.usage(of, limit)).await
    }
}

impl Inner {
    fn usage(&self, of: UsageOf, limit: usize) -> Result<Option<Usage>, RegistryError> {
        self.meta.know_every_reference(&AtomicBool::new(false))?;
        Ok(match of {
            UsageOf::Everything => Some(Usage::Everything(self.meta.total_usage(limit)?)),
            UsageOf::Below(prefix) => self.usage_below(prefix)?,
            UsageOf::Named(name) => match self.meta.repository_usage(&name)? {
                Some(repository) => {
                    let (tags, untagged) = self.meta.tag_usages(&name)?;
                    Some(Usage::Repository { repository, tags, untagged })
                }
                None => self.usage_below(name)?,
            },
            UsageOf::Tag(name, tag) => self.meta.tag_usage(&name, &tag)?.map(|usage| Usage::Tag(name, usage)),
        })
    }

    fn usage_below(&self, prefix: RepoName) -> Result<Option<Usage>, RegistryError> {
        let usage = self.meta.prefix_usage(&prefix)?;
        Ok((!usage.repositories.is_empty()).then_some(Usage::Below(prefix, usage)))
    }
}

impl Usage {
    /// As JSON, for the API and the commands; of each list `limit` at most.
    pub fn described(&self, limit: usize) -> Value {
        let limit = limit.min(MOST_LISTED_USAGES);
        match self {
            Usage::Everything(usage) => json!({
                "of": "everything",
                "bytes": usage.bytes,
                "repositories": usage.repositories.items.iter().map(repository).collect::<Vec<_>>(),
                "more": usage.repositories.more,
            }),
            Usage::Below(name, usage) => json!({
                "of": "prefix",
                "prefix": name,
                "bytes": usage.bytes,
                "unique": usage.unique,
                "shared": usage.bytes.saturating_sub(usage.unique),
                "repositories": usage.repositories.iter().take(limit).map(repository).collect::<Vec<_>>(),
                "more": usage.repositories.len() > limit,
            }),
            Usage::Repository { repository: usage, tags, untagged } => {
                let mut described = repository(usage);
                if let Some(described) = described.as_object_mut() {
                    described.insert("of".to_owned(), json!("repository"));
                    described.insert("untagged".to_owned(), json!(untagged));
                    described.insert("listed".to_owned(), tags.iter().take(limit).map(tag).collect());
                    described.insert("more".to_owned(), json!(tags.len() > limit));
                }
                described
            }
            Usage::Tag(name, usage) => {
                let mut described = tag(&usage.usage);
                let needed_by = usage.needed_by.iter().take(limit);
                let needed_by = needed_by.map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
                if let Some(described) = described.as_object_mut() {
                    described.insert("of".to_owned(), json!("tag"));
                    described.insert("repository".to_owned(), json!(name));
                    described.insert("needed_by".to_owned(), needed_by.collect());
                    described.insert("more".to_owned(), json!(usage.needed_by.len() > limit));
                }
                described
            }
        }
    }
}

fn repository(usage: &RepositoryUsage) -> Value {
    json!({
        "repository": usage.repository,
        "bytes": usage.bytes,
        "unique": usage.unique,
        "shared": usage.bytes.saturating_sub(usage.unique),
        "tags": usage.tags,
    })
}

fn tag(usage: &TagUsage) -> Value {
    json!({
        "tag": usage.tag,
        "digest": usage.digest,
        "bytes": usage.bytes,
        "unique": usage.unique,
        "shared": usage.bytes.saturating_sub(usage.unique),
    })
}
