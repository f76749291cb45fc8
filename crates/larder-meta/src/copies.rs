//! What of a repository is copies, when it was last used, and taking it away.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use larder_oci::{Algorithm, Digest, RepoName, Tag};

use crate::error::MetaError;
use crate::layout;
use crate::origin::Origin;
use crate::release::Doomed;
use crate::store::MetaStore;

/// Something of an upstream that comes and goes as a whole: an image with all its platforms and layers, or a blob that
/// no manifest here is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The manifest on top, or the blob.
    pub digest: Digest,
    /// Whether it is a manifest.
    pub is_manifest: bool,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// When it, or anything that it alone is made of, was last asked for; at least when it was fetched. A layer that
    /// others are made of too says nothing: a base that is in use would keep everything that was ever built on it.
    pub last_access: SystemTime,
    /// Everything that it is made of and itself, whether here or not.
    pub contents: BTreeSet<Digest>,
}

/// Something was asked for at this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTime {
    /// The repository.
    pub repository: RepoName,
    /// A manifest or blob.
    pub digest: Digest,
    /// When.
    pub at: SystemTime,
}

impl MetaStore {
    /// Every repository that this directory holds.
    pub fn repository_names(&self) -> Result<Vec<RepoName>, MetaError> {
        self.walk_names()?;
        self.index.all_names()
    }

    /// Takes note of when things were last asked for. In the index, so a loss of power may take the latest.
    pub fn note_accesses(&self, accesses: &[AccessTime]) -> Result<(), MetaError> {
        self.index.note_accesses(accesses)
    }

    /// What of a repository is copies. Reads the directories of its marks; what is on top of what, the index tells.
    pub fn copies(&self, name: &RepoName) -> Result<Vec<Copied>, MetaError> {
        let manifests = self.marked(|algorithm| layout::manifest_marks_of(name, algorithm))?;
        let blobs = self.marked(|algorithm| layout::blob_marks_of(name, algorithm))?;
        if manifests.is_empty() && blobs.is_empty() {
            return Ok(Vec::new());
        }
        self.reconcile(name)?;
        let accesses = self.index.accesses(name)?;
        let mut found = Vec::new();
        for digest in manifests {
            // What another manifest is made of, or what is about one that is here, goes with that one.
            if self.index.some_parents(name, &digest, 1)?.is_empty()
                && self.index.subject_there(name, &digest)?.is_none()
                && let Some(Origin::Cached { since }) = self.manifest_origin(name, &digest)?
            {
                let tags = self.index.tags_of(name, &digest)?;
                let Parts { own, shared } = self.parts_of(name, &digest)?;
                let last_access = latest(&accesses, &own, since);
                let contents = own.into_iter().chain(shared).collect();
                found.push(Copied { digest, is_manifest: true, tags, last_access, contents });
            }
        }
        for digest in blobs {
            if self.index.some_parents(name, &digest, 1)?.is_empty()
                && let Some(Origin::Cached { since }) = self.blob_origin(name, &digest)?
            {
                let contents = BTreeSet::from([digest]);
                let last_access = latest(&accesses, &contents, since);
                found.push(Copied { digest, is_manifest: false, tags: Vec::new(), last_access, contents });
            }
        }
        Ok(found)
    }

    /// Removes the tags that point at a copied manifest and are copies themselves. `false`, and nothing is removed, if
    /// somebody has pushed one of them, or the manifest.
    pub fn remove_copied_tags(&self, name: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        self.reconcile(name)?;
        let is_copy = |origin: Option<Origin>| matches!(origin, Some(Origin::Cached { .. }));
        let tags = self.index.tags_of(name, digest)?;
        if !is_copy(self.manifest_origin(name, digest)?) {
            return Ok(false);
        }
        for tag in &tags {
            if !is_copy(self.tag_origin(name, tag)?) {
                return Ok(false);
            }
        }
        for tag in &tags {
            if self.tag(name, tag)? == Some(*digest) {
                self.delete_tag(name, tag)?;
            }
        }
        Ok(true)
    }

    /// A copied manifest and those that hang on it and are copies, for [`release`](MetaStore::release).
    pub fn doomed_copies(&self, name: &RepoName, digest: &Digest) -> Result<Vec<Doomed>, MetaError> {
        let mut doomed = self.doom(name, digest)?;
        let mut pushed = HashSet::new();
        for each in &doomed {
            if self.manifest_origin(name, &each.digest)? == Some(Origin::Pushed) {
                pushed.insert(each.digest);
            }
        }
        doomed.retain(|each| !pushed.contains(&each.digest));
        Ok(doomed)
    }

    /// Forgets when these were last asked for: they are gone.
    pub fn forget_accesses(&self, name: &RepoName, digests: &[Digest]) -> Result<(), MetaError> {
        self.index.forget_accesses(name, digests)
    }

    /// Forgets when these were last asked for, as far as the repository holds them no longer; without a list, all such. The
    /// caller has reconciled the repository.
    pub fn forget_accesses_of_gone(
        &self,
        name: &RepoName,
        digests: Option<&[Digest]>,
    ) -> Result<(), MetaError> {
        match digests {
            Some(digests) => self.index.forget_gone(name, digests),
            None => self.index.forget_all_gone(name),
        }
    }

    /// How many accesses are remembered of things that are gone, for tests.
    pub fn accesses_of_gone(&self) -> Result<u64, MetaError> {
        self.index.count_gone()
    }

    fn parts_of(&self, name: &RepoName, digest: &Digest) -> Result<Parts, MetaError> {
        let mut manifests = BTreeSet::from([*digest]);
        manifests.extend(self.doom(name, digest)?.iter().map(|each| each.digest));
        let mut parts = Parts { own: manifests.clone(), shared: BTreeSet::new() };
        for manifest in &manifests {
            for part in self.index.parts(name, manifest)? {
                let parents = self.index.some_parents(name, &part, manifests.len() + 1)?;
                let is_own = parents.iter().all(|parent| manifests.contains(parent));
                if is_own {
                    parts.own.insert(part)
                } else {
                    parts.shared.insert(part)
                };
            }
        }
        Ok(parts)
    }

    pub(crate) fn marked(
        &self,
        directory: impl Fn(Algorithm) -> std::path::PathBuf,
    ) -> Result<Vec<Digest>, MetaError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for entry in self.disk.list(&directory(algorithm))?.unwrap_or_default() {
                found.extend(layout::digest_of_directory(algorithm, &entry.name));
            }
        }
        Ok(found)
    }
}

/// What an image is made of.
struct Parts {
    /// It alone, of its repository.
    own: BTreeSet<Digest>,
    /// Other images of the repository too.
    shared: BTreeSet<Digest>,
}

fn latest(accesses: &HashMap<Digest, i64>, contents: &BTreeSet<Digest>, since: SystemTime) -> SystemTime {
    let known = contents.iter().filter_map(|digest| accesses.get(digest)).max();
    let seconds = known.and_then(|seconds| u64::try_from(*seconds).ok()).unwrap_or_default();
    since.max(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
