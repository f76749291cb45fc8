use std::path::{Path, PathBuf};

use larder_oci::{Digest, Manifest, RepoName, Tag};
use larder_storage::{Stat, StorageError, Verified};

use crate::error::MetaError;
use crate::index::{ManifestRow, TagRow};
use crate::layout;
use crate::locks::Repository;
use crate::quotas::Exceeded;
use crate::release::{Doomed, Removal};
use crate::store::{MetaStore, directory_of};

/// A manifest to be put into a repository. Its bytes are published already.
pub struct PutManifest<'a> {
    /// The repository.
    pub repository: &'a RepoName,
    /// The manifest's bytes in the store.
    pub content: &'a Verified,
    /// What they say.
    pub manifest: &'a Manifest,
    /// The tags that are to point at it; may be none.
    pub tags: &'a [Tag],
    /// What must hold of each tag for anything to happen.
    pub precondition: Precondition,
    /// Those of the tags that may be made and never moved.
    pub immutable: &'a [Tag],
}

/// A condition on a tag, checked in the same step as the tag is moved (RFC 9110 section 13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    Always,
    /// `If-None-Match: *`: the tag must not exist.
    Absent,
    /// `If-Match: *`: the tag must exist.
    Present,
    /// `If-Match: "<digest>", …`: the tag must point at one of these.
    PointsAtOneOf(Vec<Digest>),
    /// `If-None-Match: "<digest>", …`: the tag must point at none of these.
    PointsAtNoneOf(Vec<Digest>),
}

/// What came of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The manifest and its tags are in place and durable.
    Stored,
    /// Nothing was changed: this tag points elsewhere than the precondition allows.
    PreconditionFailed {
        /// The tag.
        tag: Tag,
        /// What it points at.
        current: Option<Digest>,
    },
    /// Nothing was changed: this tag must not be moved, and points at another manifest.
    Immutable {
        /// The tag.
        tag: Tag,
        /// What it points at.
        current: Digest,
    },
    /// Nothing was changed: there would be more than a quota allows.
    QuotaExceeded(Exceeded),
}

impl Precondition {
    fn holds(&self, current: Option<&Digest>) -> bool {
        match self {
            Precondition::Always => true,
            Precondition::Absent => current.is_none(),
            Precondition::Present => current.is_some(),
            Precondition::PointsAtOneOf(digests) => current.is_some_and(|digest| digests.contains(digest)),
            Precondition::PointsAtNoneOf(digests) => !current.is_some_and(|digest| digests.contains(digest)),
        }
    }
}

impl MetaStore {
    /// Puts a manifest into a repository and moves tags to it; durable when this returns.
    ///
    /// The revision and the tags' history are on disk before any tag moves: a tag that was
    /// acknowledged never points at something that a loss of power may take.
    pub fn put_manifest(&self, put: &PutManifest<'_>) -> Result<PutOutcome, MetaError> {
        self.content_is_there(put.content);
        let sizes = self.sizes_of_parts(put.manifest)?;
        let state = self.repositories.get(put.repository);
        let _excluded = state.exclude();
        if put.precondition != Precondition::Always {
            for tag in put.tags {
                let current = self.tag(put.repository, tag)?;
                if !put.precondition.holds(current.as_ref()) {
                    return Ok(PutOutcome::PreconditionFailed { tag: tag.clone(), current });
                }
            }
        }
        let digest = put.content.digest();
        for tag in put.immutable {
            if let Some(current) = self.tag(put.repository, tag)?.filter(|current| current != digest) {
                return Ok(PutOutcome::Immutable { tag: tag.clone(), current });
            }
        }
        let mut contents = sizes.clone();
        contents.push((*digest, put.content.size()));
        let reservation = match self.reserve(put.repository, &contents, put.tags) {
            Ok(Ok(reservation)) => Some(reservation),
            Ok(Err(exceeded)) => return Ok(PutOutcome::QuotaExceeded(exceeded)),
            Err(error @ MetaError::Index { .. }) => {
                tracing::warn!(
                    repository = %put.repository, %error,
                    "without an index it can't be told how full a quota is; the push is let through"
                );
                None
            }
            Err(error) => return Err(error),
        };
        let link = digest.to_string();
        let mut first = vec![layout::revision_link(put.repository, digest)];
        first.extend(put.tags.iter().map(|tag| layout::tag_history_link(put.repository, tag, digest)));
        let currents: Vec<PathBuf> =
            put.tags.iter().map(|tag| layout::tag_current(put.repository, tag)).collect();
        let stats = self.change_files(put.repository, &state, || {
            self.put_links(&first, &link)?;
            let stats = self.put_links(&currents, &link)?;
            let mut marks = vec![layout::manifest_mark(put.repository, digest)];
            marks.extend(put.tags.iter().map(|tag| layout::tag_mark(put.repository, tag)));
            self.forget_marks(&marks)?;
            Ok(stats)
        })?;
        let rows =
            put.tags.iter().zip(&stats).map(|(tag, stat)| TagRow::new(tag.clone(), *digest, stat, false));
        let rows: Vec<TagRow> = rows.collect();
        let row = ManifestRow::new(*digest, put.content.size(), Some(put.manifest));
        let note = || {
            self.note_in_index(put.repository, &state, |index| {
                index.put_manifest(put.repository, &row, &sizes, &rows)
            });
        };
        match reservation {
            Some(reservation) => reservation.settle(note),
            None => note(),
        }
        Ok(PutOutcome::Stored)
    }

    /// Removes a tag; the manifest stays. `false` if there was no such tag.
    pub fn delete_tag(&self, repository: &RepoName, tag: &Tag) -> Result<bool, MetaError> {
        self.delete_tag_noting(repository, tag, |_| Ok(()))
    }

    /// As [`delete_tag`](MetaStore::delete_tag); what will be removed is noted before it is. If that fails, nothing
    /// is removed.
    pub fn delete_tag_noting<E: From<MetaError> + From<StorageError>>(
        &self,
        repository: &RepoName,
        tag: &Tag,
        note: impl FnOnce(&Removal) -> Result<(), E>,
    ) -> Result<bool, E> {
        let current = layout::tag_current(repository, tag);
        if self.disk.stat(&current)?.is_none() {
            return Ok(false);
        }
        let state = self.repositories.get(repository);
        let _excluded = state.exclude();
        if self.disk.stat(&current)?.is_none() {
            return Ok(false);
        }
        let removed = self.tag_to_remove(repository, tag)?;
        let doomed = match self.doomed_by_tag(repository, &state, removed.digest.as_ref()) {
            Ok(doomed) => doomed,
            // A tag can be deleted without an index; its manifest then stays, untagged.
            Err(error @ MetaError::Index { .. }) => {
                tracing::warn!(%repository, %tag, %error, "what hangs on a deleted tag can't be told; it stays");
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        note(&Removal { tags: vec![removed], doomed, ..Removal::default() })?;
        self.change_files(repository, &state, || {
            self.disk.remove_tree(&layout::tag(repository, tag))?;
            self.forget_marks(&[layout::tag_mark(repository, tag)])
        })?;
        self.note_in_index(repository, &state, |index| index.remove_tag(repository, tag));
        Ok(true)
    }

    fn doomed_by_tag(
        &self,
        repository: &RepoName,
        state: &Repository,
        target: Option<&Digest>,
    ) -> Result<Vec<Doomed>, MetaError> {
        self.reconcile_excluded(repository, state)?;
        match target {
            Some(digest) if self.hangs_on_the_tag_alone(repository, digest)? => self.doom(repository, digest),
            Some(_) | None => Ok(Vec::new()),
        }
    }

    /// Whether a manifest that one tag points at has no other tag, is no part of an index and about nothing that is there.
    fn hangs_on_the_tag_alone(&self, repository: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        Ok(self.index.some_tags_of(repository, digest, 2)?.len() < 2
            && self.index.some_parents(repository, digest, 1)?.is_empty()
            && self.index.subject_there(repository, digest)?.is_none())
    }

    /// Removes a manifest and every tag that points at it; the bytes stay. Gives the removed tags, or
    /// `None` if the repository has no such manifest.
    pub fn delete_manifest(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Tag>>, MetaError> {
        self.delete_manifest_noting(repository, digest, |_| Ok(()))
    }

    /// As [`delete_manifest`](MetaStore::delete_manifest); what will be removed is noted before it is. If that fails,
    /// nothing is removed.
    pub fn delete_manifest_noting<E: From<MetaError> + From<StorageError>>(
        &self,
        repository: &RepoName,
        digest: &Digest,
        note: impl FnOnce(&Removal) -> Result<(), E>,
    ) -> Result<Option<Vec<Tag>>, E> {
        if self.manifest(repository, digest)?.is_none() {
            return Ok(None);
        }
        let state = self.repositories.get(repository);
        let _excluded = state.exclude();
        // Under the lock that the tags are removed under: a tag that the index doesn't know would stay.
        self.reconcile_excluded(repository, &state)?;
        let mut going = Vec::new();
        for tag in self.index.tags_of(repository, digest)? {
            if self.tag(repository, &tag)? == Some(*digest) {
                going.push(self.tag_to_remove(repository, &tag)?);
            }
        }
        let link = layout::revision_link(repository, digest);
        if going.is_empty() && self.disk.stat(&link)?.is_none() {
            return Ok(None);
        }
        // Itself goes right now; what hangs on it later.
        let mut doomed = self.doom(repository, digest)?;
        doomed.retain(|each| each.digest != *digest);
        let mut parts = self.index.parts(repository, digest)?;
        let mut failed = Ok(());
        parts.retain(|part| self.has(repository, part).map_err(|error| failed = Err(error)).unwrap_or(true));
        failed?;
        let removal = Removal { manifest: Some(*digest), blob: None, parts, tags: going, doomed };
        note(&removal)?;
        let removed: Vec<Tag> = removal.tags.into_iter().map(|each| each.tag).collect();
        self.change_files(repository, &state, || {
            for tag in &removed {
                // Tags first: a tag without its manifest would be a lie, a manifest without tags is none.
                self.disk.remove_tree(&layout::tag(repository, tag))?;
            }
            let was_there = self.disk.remove_file(&link)?;
            let mut marks = vec![layout::manifest_mark(repository, digest)];
            marks.extend(removed.iter().map(|tag| layout::tag_mark(repository, tag)));
            self.forget_marks(&marks)?;
            Ok(was_there)
        })?;
        self.disk.remove_directory_if_empty(&directory_of(&link));
        self.note_in_index(repository, &state, |index| index.remove_manifest(repository, digest, &removed));
        Ok(Some(removed))
    }

    /// Whether the repository holds this, as a blob or as a manifest.
    pub(crate) fn has(&self, repository: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        Ok(self.blob(repository, digest)?.is_some() || self.manifest(repository, digest)?.is_some())
    }

    fn put_links(&self, paths: &[PathBuf], link: &str) -> Result<Vec<Stat>, MetaError> {
        let files: Vec<(&Path, &[u8])> = paths.iter().map(|path| (path.as_path(), link.as_bytes())).collect();
        Ok(self.disk.put_all(&files)?)
    }
}
