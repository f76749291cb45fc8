//! Taking out of a repository what nothing in it refers to any more.
//!
//! Whoever deletes dooms what hung on it alone: an index its platforms, an image its signatures. Later the collector
//! comes back and lets go what is still doomed. Both happen under the repository's exclusive lock, and each link is
//! looked at again at that moment: what was pushed again meanwhile has another link file.

use std::collections::{BTreeSet, HashSet};

use larder_oci::{Digest, RepoName, Tag};
use larder_storage::Stat;
use serde::{Deserialize, Serialize};

use crate::error::MetaError;
use crate::layout;
use crate::locks::Repository;
use crate::store::MetaStore;

/// The most manifests that one deletion dooms. An index may have thousands of platforms, a subject of referrers; what is
/// beyond this stays, untagged.
const MOST_DOOMED: usize = 10_000;

/// The newest entries of a tag's history that are remembered when it is deleted.
const HISTORY_REMEMBERED: usize = 1000;

/// A link file, so that another one of the same name can be told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    inode: u64,
    modified: i64,
}

/// A manifest that lost what it hung on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// Its digest.
    pub digest: Digest,
    /// Its link in the repository at that time. Another one now: it was pushed again.
    pub stamp: Stamp,
}

/// A tag that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedTag {
    /// Its name.
    pub tag: Tag,
    /// What it pointed at; `None` if its link was damaged.
    pub digest: Option<Digest>,
    /// What it has pointed at, and when it began to, in nanoseconds since 1970; newest first.
    pub history: Vec<(Digest, i64)>,
}

/// What a deletion takes out of a repository, said before it happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The manifest, if one is deleted by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The blob, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Digest>,
    /// The tags that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<RemovedTag>,
    /// What the deleted manifest is made of, as far as the repository holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Digest>,
    /// The manifests that hung on it, parents first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doomed: Vec<Doomed>,
}

/// What is to be let go from one repository, if nothing refers to it.
pub struct Release<'a> {
    /// The repository.
    pub repository: &'a RepoName,
    /// Manifests, parents before children. What they are made of goes with them.
    pub manifests: &'a [Doomed],
    /// Further blobs that may have lost their last manifest.
    pub blobs: &'a [Digest],
    /// Asked last before something goes: whether nobody was promised that it is there.
    pub may_go: &'a dyn Fn(&Digest) -> bool,
}

/// What came of a [`Release`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Manifests that the repository no longer holds, parents first.
    pub manifests: Vec<Digest>,
    /// Blobs that it no longer holds.
    pub blobs: Vec<Digest>,
    /// What these manifests are made of and it had no link to, such as a blob that was deleted before them. Nothing of
    /// the repository needs it any more.
    pub unlinked: Vec<Digest>,
    /// What stays, and why.
    pub kept: Vec<(Digest, Kept)>,
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A tag, an index, an image or its subject still needs it.
    Used,
    /// It was pushed again since.
    PushedAgain,
    /// Somebody was told lately that it is there.
    Promised,
    /// This manifest of the repository can't be read, so what it needs isn't known.
    Unknown {
        /// The manifest that can't be read.
        damaged: Digest,
    },
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp { inode: stat.inode, modified: stat.modified_nanoseconds }
    }
}

impl MetaStore {
    /// Lets go what nothing in the repository refers to; gone for good when this returns.
    pub fn release(&self, release: &Release<'_>) -> Result<Released, MetaError> {
        let name = release.repository;
        let state = self.repositories.get(name);
        let _excluded = state.exclude();
        self.reconcile_excluded(name, &state)?;
        let mut released = Released::default();
        if let Some(damaged) = self.unreadable.damaged_in(name) {
            let all =
                release.manifests.iter().map(|doomed| doomed.digest).chain(release.blobs.iter().copied());
            released.kept = all.map(|digest| (digest, Kept::Unknown { damaged })).collect();
            return Ok(released);
        }
        let mut going: HashSet<Digest> = HashSet::new();
        let mut candidates: BTreeSet<Digest> = release.blobs.iter().copied().collect();
        let mut open: Vec<&Doomed> = release.manifests.iter().collect();
        loop {
            let (before, mut still_used) = (going.len(), Vec::new());
            for doomed in open {
                match self.manifest_may_go(name, doomed, &going, release.may_go)? {
                    None => {}
                    Some(Some(Kept::Used)) => still_used.push(doomed),
                    Some(Some(kept)) => released.kept.push((doomed.digest, kept)),
                    Some(None) => {
                        candidates.extend(self.index.parts(name, &doomed.digest)?);
                        going.insert(doomed.digest);
                        released.manifests.push(doomed.digest);
                    }
                }
            }
            // What is used by something that was found to go after it is looked at again.
            open = still_used;
            if going.len() == before {
                break;
            }
        }
        released.kept.extend(open.iter().map(|doomed| (doomed.digest, Kept::Used)));
        for digest in candidates {
            match self.blob_may_go(name, &digest, &going, release.may_go)? {
                None if self.is_needed_beside(name, &digest, &going)? => {}
                None => released.unlinked.push(digest),
                Some(Some(kept)) => released.kept.push((digest, kept)),
                Some(None) => released.blobs.push(digest),
            }
        }
        self.take_out(name, &state, &released)?;
        Ok(released)
    }

    fn take_out(&self, name: &RepoName, state: &Repository, released: &Released) -> Result<(), MetaError> {
        let manifests = released.manifests.iter().map(|digest| layout::revision_link(name, digest));
        let blobs = released.blobs.iter().map(|digest| layout::layer_link(name, digest));
        let links: Vec<_> = manifests.chain(blobs).collect();
        if links.is_empty() {
            return Ok(());
        }
        let marks = released.manifests.iter().map(|digest| layout::manifest_mark(name, digest));
        let marks = marks.chain(released.blobs.iter().map(|digest| layout::blob_mark(name, digest)));
        self.change_files(name, state, || {
            self.disk.remove_with_directories(&links)?;
            self.forget_marks(&marks.collect::<Vec<_>>())
        })?;
        self.note_in_index(name, state, |index| {
            index.remove_released(name, &released.manifests, &released.blobs)
        });
        Ok(())
    }

    /// `None` if it isn't there; else why it must stay, if it must.
    fn manifest_may_go(
        &self,
        name: &RepoName,
        doomed: &Doomed,
        going: &HashSet<Digest>,
        may_go: &dyn Fn(&Digest) -> bool,
    ) -> Result<Option<Option<Kept>>, MetaError> {
        let digest = &doomed.digest;
        let Some(stat) = self.disk.stat(&layout::revision_link(name, digest))? else { return Ok(None) };
        let kept = if Stamp::of(&stat) != doomed.stamp {
            Some(Kept::PushedAgain)
        } else if self.index.has_tag(name, digest)?
            || self.is_needed_beside(name, digest, going)?
            || self.subject_stays(name, digest, going)?
        {
            Some(Kept::Used)
        } else {
            (!may_go(digest)).then_some(Kept::Promised)
        };
        Ok(Some(kept))
    }

    fn blob_may_go(
        &self,
        name: &RepoName,
        digest: &Digest,
        going: &HashSet<Digest>,
        may_go: &dyn Fn(&Digest) -> bool,
    ) -> Result<Option<Option<Kept>>, MetaError> {
        if self.disk.stat(&layout::layer_link(name, digest))?.is_none() {
            return Ok(None);
        }
        Ok(Some(if self.is_needed_beside(name, digest, going)? {
            Some(Kept::Used)
        } else {
            (!may_go(digest)).then_some(Kept::Promised)
        }))
    }

    /// Whether a manifest that stays is made of this. One more parent is asked for than go: that is enough to know.
    fn is_needed_beside(
        &self,
        name: &RepoName,
        digest: &Digest,
        going: &HashSet<Digest>,
    ) -> Result<bool, MetaError> {
        let parents = self.index.some_parents(name, digest, going.len() + 1)?;
        Ok(parents.iter().any(|parent| !going.contains(parent)))
    }

    fn subject_stays(
        &self,
        name: &RepoName,
        digest: &Digest,
        going: &HashSet<Digest>,
    ) -> Result<bool, MetaError> {
        Ok(self.index.subject_there(name, digest)?.is_some_and(|subject| !going.contains(&subject)))
    }

    /// The manifests that hang on this one: itself if it is there, what it is made of, what is about it, and so on.
    ///
    /// The caller holds the repository's exclusive lock and has reconciled it.
    pub(crate) fn doom(&self, name: &RepoName, root: &Digest) -> Result<Vec<Doomed>, MetaError> {
        let mut doomed: Vec<Doomed> = Vec::new();
        let mut seen: HashSet<Digest> = HashSet::from([*root]);
        let mut open = vec![*root];
        while let Some(digest) = open.pop() {
            if let Some(stat) = self.disk.stat(&layout::revision_link(name, &digest))? {
                doomed.push(Doomed { digest, stamp: Stamp::of(&stat) });
            }
            let room = MOST_DOOMED.saturating_sub(seen.len());
            let mut below = self.index.parts_that_are_manifests(name, &digest, room)?;
            below.extend(self.index.attached_to(name, &digest, room)?);
            open.extend(below.into_iter().filter(|each| seen.insert(*each)));
        }
        Ok(doomed)
    }

    /// A manifest of the repository as it is now, for [`release`](MetaStore::release); `None` if it isn't there.
    pub fn as_doomed(&self, name: &RepoName, digest: &Digest) -> Result<Option<Doomed>, MetaError> {
        let stat = self.disk.stat(&layout::revision_link(name, digest))?;
        Ok(stat.map(|stat| Doomed { digest: *digest, stamp: Stamp::of(&stat) }))
    }

    /// What there is to know of a tag that is about to be removed.
    pub(crate) fn tag_to_remove(&self, name: &RepoName, tag: &Tag) -> Result<RemovedTag, MetaError> {
        let digest = match self.tag(name, tag) {
            Ok(digest) => digest,
            Err(MetaError::DamagedLink { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut history = self.history_entries(name, tag)?;
        history.truncate(HISTORY_REMEMBERED);
        Ok(RemovedTag { tag: tag.clone(), digest, history })
    }
}
