//! How old things in a repository are: what retention decides by.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use larder_oci::{Digest, RepoName, Tag};

use crate::error::MetaError;
use crate::layout;
use crate::origin::Origin;
use crate::store::MetaStore;

/// How old what a repository holds is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// Its tags.
    pub tags: Vec<TagAge>,
    /// Its manifests.
    pub manifests: Vec<ManifestAge>,
    /// The manifests that its manifests are made of: parent, child.
    pub children: Vec<(Digest, Digest)>,
    /// When manifests were last pulled, as far as that is known.
    pub pulls: HashMap<Digest, SystemTime>,
    /// A manifest that can't be read, if there is one: then what the repository needs isn't known.
    pub damaged: Option<Digest>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagAge {
    /// Its name.
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
    /// Its link file's time, in nanoseconds since 1970: when it was last pushed, be it to the same manifest. 0 where the
    /// link is damaged.
    pub modified_nanoseconds: i64,
    /// Whether it was fetched from an upstream.
    pub is_copy: bool,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestAge {
    /// Its digest.
    pub digest: Digest,
    /// What it is about.
    pub subject: Option<Digest>,
    /// Only for those that nothing needs: no tag, and no manifest that is made of them. Its link file's time.
    pub linked: Option<SystemTime>,
    /// Only for the same: when a tag last ceased to point at it.
    pub lost_a_tag: Option<SystemTime>,
    /// Whether it was fetched from an upstream.
    pub is_copy: bool,
}

impl MetaStore {
    /// How old what a repository holds is. Costs its size, and a look at the files of what nothing needs.
    pub fn ages(&self, name: &RepoName) -> Result<Ages, MetaError> {
        self.reconcile(name)?;
        let has_copies = self.has_copies(name)?;
        let is_copy = |origin: Option<Origin>| matches!(origin, Some(Origin::Cached { .. }));
        let mut tags = Vec::new();
        for row in self.index.tag_rows(name)? {
            let is_copy = has_copies && is_copy(self.tag_origin(name, &row.tag)?);
            let modified_nanoseconds = row.modified;
            tags.push(TagAge { tag: row.tag, digest: row.digest, modified_nanoseconds, is_copy });
        }
        let children = self.index.manifests_in_manifests(name)?;
        let mut needed: HashSet<Digest> = tags.iter().map(|tag| tag.digest).collect();
        needed.extend(children.iter().map(|(_, child)| *child));
        let mut manifests = Vec::new();
        let mut lost: Option<HashMap<Digest, SystemTime>> = None;
        for (digest, subject) in self.index.manifests_and_subjects(name)? {
            let is_copy = has_copies && is_copy(self.manifest_origin(name, &digest)?);
            let mut age = ManifestAge { digest, subject, linked: None, lost_a_tag: None, is_copy };
            if !needed.contains(&digest) {
                let stat = self.disk.stat(&layout::revision_link(name, &digest))?;
                age.linked = stat.and_then(|stat| at(stat.modified_nanoseconds));
                let lost = match &mut lost {
                    Some(lost) => lost,
                    None => lost.insert(self.when_tags_were_lost(name, &tags)?),
                };
                age.lost_a_tag = lost.get(&digest).copied();
            }
            manifests.push(age);
        }
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let accesses = self.index.accesses(name)?.into_iter();
        let pulls = accesses.map(|(digest, at)| (digest, SystemTime::UNIX_EPOCH + seconds(at))).collect();
        Ok(Ages { tags, manifests, children, pulls, damaged: self.unreadable.damaged_in(name) })
    }

    /// Since when it is known what was pulled: since this index was made. `now` where that is now.
    pub fn pulls_known_since(&self, now: SystemTime) -> Result<SystemTime, MetaError> {
        self.index.pulls_known_since(now)
    }

    /// When a tag's link was written, in nanoseconds since 1970, or `None` if there is none. It answers while the
    /// repository's lock is held.
    pub fn tag_linked_at(&self, name: &RepoName, tag: &Tag) -> Result<Option<i64>, MetaError> {
        let stat = self.disk.stat(&layout::tag_current(name, tag))?;
        Ok(stat.map(|stat| stat.modified_nanoseconds))
    }

    /// Whether a manifest is part of none, and about none, of its repository. It answers while the repository's lock is
    /// held; whoever asks without it has to reconcile first.
    pub fn hangs_on_nothing(&self, name: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        Ok(self.index.some_parents(name, digest, 1)?.is_empty()
            && self.index.subject_there(name, digest)?.is_none())
    }

    /// When each manifest that a tag has pointed at ceased to be what it points at: the next one was pushed then.
    fn when_tags_were_lost(
        &self,
        name: &RepoName,
        tags: &[TagAge],
    ) -> Result<HashMap<Digest, SystemTime>, MetaError> {
        let mut lost: HashMap<Digest, SystemTime> = HashMap::new();
        for tag in tags {
            let entries = self.history_entries(name, &tag.tag)?;
            for (newer, older) in entries.iter().zip(entries.iter().skip(1)) {
                let Some(moved) = at(newer.1) else { continue };
                let known = lost.entry(older.0).or_insert(moved);
                *known = moved.max(*known);
            }
        }
        Ok(lost)
    }
}

/// A link file's time; 0 is of no file.
fn at(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}
