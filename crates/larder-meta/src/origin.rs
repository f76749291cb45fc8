//! What was pushed here, and what is a copy of another registry's.
//!
//! Whatever there is a link for was pushed, unless a *mark* says that it is a copy. Marks are files in a directory of
//! their own in each repository, `_larder/cached/`: registry:2 enters no directory whose name begins with `_` and that
//! it doesn't know.
//!
//! A mark holds the time of the link that it is about, and counts only while the link is still that one. It is made
//! before its link is. So whoever writes the link anew, be it registry:2 on the same directory, has pushed it, and a
//! mark that was left behind says nothing. Where in doubt (a copy of the directory that didn't keep its times), all
//! counts as pushed: nothing is overwritten or evicted that somebody may have meant to keep.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder_oci::{Algorithm, Digest, Manifest, RepoName, Tag};
use larder_storage::{Disk, Stat, Verified};

use crate::error::MetaError;
use crate::index::{ManifestRow, TagRow};
use crate::layout;
use crate::store::MetaStore;

/// The longest mark that is read: twenty digits.
const LONGEST_MARK: u64 = 64;

const SECOND: i64 = 1_000_000_000;

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client pushed it, or it was here before anybody kept count.
    Pushed,
    /// It is a copy of an upstream's.
    Cached {
        /// When it was made.
        since: SystemTime,
    },
}

/// A manifest that was fetched from an upstream. Its bytes are published already.
pub struct PutCachedManifest<'a> {
    /// The repository.
    pub repository: &'a RepoName,
    /// The manifest's bytes in the store.
    pub content: &'a Verified,
    /// What they say.
    pub manifest: &'a Manifest,
    /// The tag that the upstream says points at it.
    pub tag: Option<&'a Tag>,
}

/// What came of putting a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedOutcome {
    /// It is in place.
    Stored,
    /// Nothing was changed: somebody has pushed the tag here.
    TagIsPushed,
}

impl MetaStore {
    /// Where a tag comes from, or `None` if there is no such tag.
    pub fn tag_origin(&self, repository: &RepoName, tag: &Tag) -> Result<Option<Origin>, MetaError> {
        self.origin(&layout::tag_current(repository, tag), &layout::tag_mark(repository, tag))
    }

    /// Where a manifest comes from, or `None` if the repository doesn't hold it.
    pub fn manifest_origin(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Origin>, MetaError> {
        let mark = layout::manifest_mark(repository, digest);
        self.origin(&layout::revision_link(repository, digest), &mark)
    }

    /// Where a blob comes from, or `None` if the repository doesn't hold it.
    pub fn blob_origin(&self, repository: &RepoName, digest: &Digest) -> Result<Option<Origin>, MetaError> {
        self.origin(&layout::layer_link(repository, digest), &layout::blob_mark(repository, digest))
    }

    /// Whether somebody has pushed a manifest into the repository. Where nothing but copies is, that takes a look at each:
    /// however often it is asked, they are looked at after a change of the repository, and once in a second for what
    /// other programs have pushed.
    pub fn has_pushed(&self, repository: &RepoName) -> Result<bool, MetaError> {
        let (known, state) = (self.repositories.get(repository), self.state(repository));
        if let Some(pushed) = state.and_then(|state| known.known_to_be_pushed(state)) {
            return Ok(pushed);
        }
        let pushed = self.find_pushed(repository)?;
        if let Some(state) = state {
            known.note_pushed(state, pushed);
        }
        Ok(pushed)
    }

    fn find_pushed(&self, repository: &RepoName) -> Result<bool, MetaError> {
        for algorithm in Algorithm::ALL {
            for name in self.names_in(&layout::revisions(repository, algorithm))? {
                let Some(digest) = layout::digest_of_directory(algorithm, &name) else { continue };
                if self.manifest_origin(repository, &digest)? == Some(Origin::Pushed) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the repository holds, or has held, copies of manifests.
    pub fn has_copies(&self, repository: &RepoName) -> Result<bool, MetaError> {
        Ok(self.disk.stat(&layout::manifest_marks(repository))?.is_some())
    }

    /// Makes content that an upstream holds in this repository a blob of it here; durable when this returns. One that
    /// is here already stays what it is.
    pub fn link_cached_blob(&self, repository: &RepoName, content: &Verified) -> Result<(), MetaError> {
        self.content_is_there(content);
        let state = self.repositories.get(repository);
        let _excluded = state.exclude();
        let digest = content.digest();
        let link = layout::layer_link(repository, digest);
        if self.disk.stat(&link)?.is_some() {
            return Ok(());
        }
        self.change_files(repository, &state, || {
            self.put_marked(&link, digest, &layout::blob_mark(repository, digest))
        })?;
        self.note_in_index(repository, &state, |index| index.add_blob(repository, digest, content.size()));
        Ok(())
    }

    /// Puts a copy of an upstream's manifest into a repository and moves its tag; durable when this returns.
    ///
    /// A manifest that is here already stays what it is; a tag that somebody has pushed here isn't moved.
    pub fn put_cached_manifest(&self, put: &PutCachedManifest<'_>) -> Result<CachedOutcome, MetaError> {
        self.content_is_there(put.content);
        let state = self.repositories.get(put.repository);
        let _excluded = state.exclude();
        let (repository, digest) = (put.repository, put.content.digest());
        let current = match put.tag {
            Some(tag) => self.copy_at(repository, tag)?,
            None => Current::Nothing,
        };
        if current == Current::Pushed {
            return Ok(CachedOutcome::TagIsPushed);
        }
        let origin = self.manifest_origin(repository, digest)?;
        let is_here = origin.is_some();
        let moved = put.tag.filter(|_| current != Current::Copy(*digest));
        if is_here && moved.is_none() {
            return Ok(CachedOutcome::Stored);
        }
        let row = self.change_files(repository, &state, || {
            if !is_here {
                let link = layout::revision_link(repository, digest);
                self.put_marked(&link, digest, &layout::manifest_mark(repository, digest))?;
            }
            let Some(tag) = moved else { return Ok(None) };
            self.disk
                .put(&layout::tag_history_link(repository, tag, digest), digest.to_string().as_bytes())?;
            let (link, mark) = (layout::tag_current(repository, tag), layout::tag_mark(repository, tag));
            let stat = self.put_marked(&link, digest, &mark)?;
            Ok(Some(TagRow::new(tag.clone(), *digest, &stat, true)))
        })?;
        let mut manifest = ManifestRow::new(*digest, put.content.size(), Some(put.manifest));
        manifest.copied = origin != Some(Origin::Pushed);
        let sizes = self.sizes_of_parts(put.manifest)?;
        self.note_in_index(repository, &state, |index| {
            index.put_manifest(repository, &manifest, &sizes, row.as_slice())
        });
        Ok(CachedOutcome::Stored)
    }

    /// Says of what lies here that it is a copy, unless a mark has said so of it before; for a directory in which
    /// registry:2 kept copies. What isn't here is passed over.
    pub fn adopt_copies(&self, repository: &RepoName, adopted: &Adopted) -> Result<usize, MetaError> {
        let state = self.repositories.get(repository);
        let _excluded = state.exclude();
        let mut marks = Vec::new();
        let mut note = |link: PathBuf, mark: PathBuf| -> Result<(), MetaError> {
            if let Some(stat) = self.disk.stat(&link)?
                && self.disk.stat(&mark)?.is_none()
            {
                marks.push((mark, mark_of(&stat)));
            }
            Ok(())
        };
        for digest in &adopted.blobs {
            note(layout::layer_link(repository, digest), layout::blob_mark(repository, digest))?;
        }
        for digest in &adopted.manifests {
            note(layout::revision_link(repository, digest), layout::manifest_mark(repository, digest))?;
        }
        for name in self.names_in(&layout::tags(repository))? {
            let Ok(tag) = name.parse::<Tag>() else { continue };
            if let Some(digest) = self.tag(repository, &tag)?
                && adopted.manifests.contains(&digest)
            {
                note(layout::tag_current(repository, &tag), layout::tag_mark(repository, &tag))?;
            }
        }
        let files: Vec<(&Path, &[u8])> =
            marks.iter().map(|(path, mark)| (path.as_path(), mark.as_bytes())).collect();
        // It changes what the files say of the tags' origin, as any change does.
        self.change_files(repository, &state, || Ok(self.disk.put_all(&files)?))?;
        if !marks.is_empty() {
            // The rows say of each thing whether it is a copy.
            self.doubt(&state);
        }
        Ok(marks.len())
    }

    /// Forgets that something is a copy: it was pushed, or it is gone. The mark wouldn't count any more; but a link that
    /// is written within the clock's tick looks like the one before it.
    pub(crate) fn forget_marks(&self, marks: &[PathBuf]) -> Result<(), MetaError> {
        for mark in marks {
            self.disk.remove_file(mark)?;
        }
        Ok(())
    }

    fn copy_at(&self, repository: &RepoName, tag: &Tag) -> Result<Current, MetaError> {
        let target = match self.tag(repository, tag) {
            Ok(Some(target)) => target,
            // A damaged link protects nothing.
            Ok(None) | Err(MetaError::DamagedLink { .. }) => return Ok(Current::Nothing),
            Err(error) => return Err(error),
        };
        Ok(match self.tag_origin(repository, tag)? {
            Some(Origin::Cached { .. }) => Current::Copy(target),
            // registry:2's cache removes manifests and leaves their tags: there is nothing to keep.
            Some(Origin::Pushed) if self.manifest(repository, &target)?.is_some() => Current::Pushed,
            Some(Origin::Pushed) | None => Current::Nothing,
        })
    }

    fn put_marked(&self, link: &Path, digest: &Digest, mark: &Path) -> Result<Stat, MetaError> {
        let text = digest.to_string();
        let put = self.disk.put_after(link, text.as_bytes(), |stat| {
            self.disk.put(mark, mark_of(stat).as_bytes()).map(|_| ())
        });
        Ok(put?)
    }

    fn origin(&self, link: &Path, mark: &Path) -> Result<Option<Origin>, MetaError> {
        let Some(stat) = self.disk.stat(link)? else { return Ok(None) };
        let marked = self.disk.read(mark, LONGEST_MARK)?;
        Ok(Some(marked.and_then(|mark| cached_since(&mark, &stat)).unwrap_or(Origin::Pushed)))
    }

    pub(crate) fn names_in(&self, directory: &Path) -> Result<HashSet<String>, MetaError> {
        let entries = self.disk.list(directory)?.unwrap_or_default();
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }
}

/// What of one repository registry:2 kept as copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The manifests; tags that point at them are copies too.
    pub manifests: HashSet<Digest>,
    /// The blobs.
    pub blobs: HashSet<Digest>,
}

/// What a tag points at, for whoever would move it on an upstream's word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    /// Nothing that is to be kept.
    Nothing,
    Copy(Digest),
    Pushed,
}

fn mark_of(link: &Stat) -> String {
    link.modified_nanoseconds.to_string()
}

/// Whether a link is a copy of an upstream's.
pub(crate) fn is_copy(disk: &Disk, link: &Path, mark: &Path) -> Result<bool, MetaError> {
    let Some(stat) = disk.stat(link)? else { return Ok(false) };
    let marked = disk.read(mark, LONGEST_MARK)?;
    Ok(marked.is_some_and(|mark| cached_since(&mark, &stat).is_some()))
}

/// The mark's word, if it is about this link. Archives often keep whole seconds only.
fn cached_since(mark: &[u8], link: &Stat) -> Option<Origin> {
    let marked: i64 = std::str::from_utf8(mark).ok()?.trim().parse().ok()?;
    let is_of = marked == link.modified_nanoseconds || marked - marked % SECOND == link.modified_nanoseconds;
    let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(marked).ok()?);
    is_of.then_some(Origin::Cached { since })
}

#[cfg(test)]
mod tests;
