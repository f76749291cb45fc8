//! What things take, and what would be free without them.
//!
//! *Unique* is what deleting just this thing gives back, once grace times are over and the collector came by; *shared* is
//! what it takes beside that, and something else needs. For repositories and everything the index keeps these sums; for
//! tags they follow from what is in their repository (`graph.rs`), by the very rules that a deletion and the collector
//! go by.

mod graph;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use larder_oci::{Digest, RepoName, Tag};

use crate::error::MetaError;
use crate::index::{RepositoryUsage, Weight};
use crate::listing::Listing;
use crate::store::MetaStore;
use graph::{Deletion, Graph};

/// Repositories that are named as needing the same content.
const MOST_HOLDERS: usize = 100;

/// What all repositories take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalUsage {
    /// Bytes of the content that some repository holds, each once.
    pub bytes: u64,
    /// The repositories that would free most, most first.
    pub repositories: Listing<RepositoryUsage>,
}

/// What the repositories at and below a name take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixUsage {
    /// Bytes of the content that they hold, each once.
    pub bytes: u64,
    /// Those that no repository elsewhere holds.
    pub unique: u64,
    /// Each of them, as that would be freed alone; most first.
    pub repositories: Vec<RepositoryUsage>,
}

/// What a tag takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagUsage {
    /// The tag.
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
    /// Bytes of what its image is made of and of what is about it, each once.
    pub bytes: u64,
    /// Those that deleting the tag gives back.
    pub unique: u64,
}

/// A tag with the reasons why not all of it would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagUsageExplained {
    /// What it takes.
    pub usage: TagUsage,
    /// What needs the rest: `repository:tag`, `repository@digest`, or another repository; with the bytes that it needs.
    /// Most first. The same bytes may be needed by several.
    pub needed_by: Vec<(String, u64)>,
}

impl MetaStore {
    /// What all repositories take, and the `limit` largest of them. As right as
    /// [`know_every_reference`](MetaStore::know_every_reference) has made it.
    pub fn total_usage(&self, limit: usize) -> Result<TotalUsage, MetaError> {
        Ok(TotalUsage {
            bytes: self.index.bytes_held()?,
            repositories: self.index.largest_repositories(limit)?,
        })
    }

    /// What one repository takes; `None` if there is none of this name.
    pub fn repository_usage(&self, name: &RepoName) -> Result<Option<RepositoryUsage>, MetaError> {
        self.index.usage_of(name)
    }

    /// What the repositories at and below this name take. Costs what is in them.
    pub fn prefix_usage(&self, prefix: &RepoName) -> Result<PrefixUsage, MetaError> {
        let (bytes, unique) = self.index.bytes_below(prefix)?;
        let mut repositories = self.index.usage_below(prefix)?;
        repositories.sort_by(|left, right| {
            (right.unique, right.bytes)
                .cmp(&(left.unique, left.bytes))
                .then_with(|| left.repository.cmp(&right.repository))
        });
        Ok(PrefixUsage { bytes, unique, repositories })
    }

    /// What each tag of a repository takes, most first, and the bytes of what no tag leads to. Costs what is in the
    /// repository.
    pub fn tag_usages(&self, name: &RepoName) -> Result<(Vec<TagUsage>, u64), MetaError> {
        let graph = self.graph(name)?;
        let mut tagged = BTreeSet::new();
        let mut usages = Vec::new();
        for (tag, digest) in graph.tags() {
            let deletion = graph.deletion(digest);
            tagged.extend(deletion.all().copied());
            usages.push(usage_of(&graph, &deletion, tag, digest));
        }
        let untagged = graph.bytes_beside(&tagged);
        usages.sort_by(|left, right| {
            (right.unique, right.bytes).cmp(&(left.unique, left.bytes)).then_with(|| left.tag.cmp(&right.tag))
        });
        Ok((usages, untagged))
    }

    /// What a tag takes, and what needs the part that would stay. `None` if there is no such tag.
    pub fn tag_usage(&self, name: &RepoName, tag: &Tag) -> Result<Option<TagUsageExplained>, MetaError> {
        let graph = self.graph(name)?;
        let Some(digest) = graph.target(tag) else { return Ok(None) };
        let deletion = graph.deletion(digest);
        let usage = usage_of(&graph, &deletion, tag, digest);
        let mut needed_by: BTreeMap<String, u64> = BTreeMap::new();
        for (content, weight) in deletion.stays(&graph).filter(|(_, weight)| weight.size > 0) {
            for holder in graph.needed_by(tag, &deletion, &content) {
                *needed_by.entry(format!("{name}{holder}")).or_default() += weight.size;
            }
            if weight.holders > 1 {
                for other in self.index.other_holders(name, &content, MOST_HOLDERS)? {
                    *needed_by.entry(other.to_string()).or_default() += weight.size;
                }
            }
        }
        let mut needed_by: Vec<(String, u64)> = needed_by.into_iter().collect();
        needed_by.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        Ok(Some(TagUsageExplained { usage, needed_by }))
    }

    fn graph(&self, name: &RepoName) -> Result<Graph, MetaError> {
        let contents = self.contents(name)?;
        let tags = self.index.tag_rows(name)?.into_iter().map(|row| (row.tag, row.digest)).collect();
        let weights: HashMap<Digest, Weight> = self.index.weights(name)?;
        Ok(Graph::new(contents, tags, weights))
    }

    /// Content is there, of this length: what is known of it otherwise is put right.
    pub(crate) fn note_size(&self, digest: &Digest, size: u64) {
        if let Err(error) = self.index.note_size(digest, size) {
            // Of no repository's files; what a start compares says it again.
            tracing::debug!(%digest, %error, "the length of content could not be noted");
        }
    }
}

fn usage_of(graph: &Graph, deletion: &Deletion, tag: &Tag, digest: &Digest) -> TagUsage {
    TagUsage {
        tag: tag.clone(),
        digest: *digest,
        bytes: graph.bytes(deletion.all()),
        unique: graph.bytes(deletion.goes()),
    }
}
