use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use larder_meta::{Ages, ManifestAge, TagAge};
use larder_oci::{Digest, RepoName, Tag};

/// What retention has to know of a repository.
#[derive(Clone, Debug)]
pub struct RepositoryFacts {
    /// Its name.
    pub repository: RepoName,
    /// The time.
    pub now: SystemTime,
    /// Its tags.
    pub tags: Vec<TagFacts>,
    /// Its manifests.
    pub manifests: HashMap<Digest, ManifestFacts>,
    /// Since when pulls are counted: what was pulled before isn't known, so everything may have been pulled then.
    pub pulls_known_since: SystemTime,
    /// A manifest that can't be read, if there is one: what the repository needs isn't known then.
    pub damaged: Option<Digest>,
}

/// A tag.
#[derive(Clone, Debug)]
pub struct TagFacts {
    /// Its name.
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
    /// When it was last pushed, be it to the same manifest: its link file's time. `None` if that can't be told.
    pub pushed: Option<SystemTime>,
    /// The same in nanoseconds since 1970: tells whether the tag is still as it was.
    pub linked_at: i64,
    /// Whether it was fetched from an upstream. Such go by the rules of the cache.
    pub is_copy: bool,
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct ManifestFacts {
    /// When it was pushed, or lost a tag, whichever is later. `None` if that can't be told.
    pub since: Option<SystemTime>,
    /// When it was last pulled, if that is known.
    pub pulled: Option<SystemTime>,
    /// What it is about.
    pub subject: Option<Digest>,
    /// The manifests among what it is made of.
    pub children: Vec<Digest>,
    /// Whether it was fetched from an upstream.
    pub is_copy: bool,
}

impl RepositoryFacts {
    /// From what the files and the index say.
    pub(super) fn new(
        repository: RepoName,
        ages: Ages,
        now: SystemTime,
        pulls_known_since: SystemTime,
    ) -> RepositoryFacts {
        let mut children: HashMap<Digest, Vec<Digest>> = HashMap::new();
        for (parent, child) in ages.children {
            children.entry(parent).or_default().push(child);
        }
        let manifest = |age: ManifestAge| {
            let facts = ManifestFacts {
                since: age.linked.max(age.lost_a_tag),
                pulled: ages.pulls.get(&age.digest).copied(),
                subject: age.subject,
                children: children.remove(&age.digest).unwrap_or_default(),
                is_copy: age.is_copy,
            };
            (age.digest, facts)
        };
        let tag = |age: TagAge| TagFacts {
            pushed: time_of_link(age.modified_nanoseconds),
            linked_at: age.modified_nanoseconds,
            tag: age.tag,
            digest: age.digest,
            is_copy: age.is_copy,
        };
        RepositoryFacts {
            repository,
            now,
            tags: ages.tags.into_iter().map(tag).collect(),
            manifests: ages.manifests.into_iter().map(manifest).collect(),
            pulls_known_since,
            damaged: ages.damaged,
        }
    }
}

/// A link whose time is 0 is damaged.
fn time_of_link(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}
