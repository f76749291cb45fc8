use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_oci::{Algorithm, Digest, RepoName, Tag};
use larder_storage::{Blobs, Disk, StorageError, Verified};

use crate::changes::{Changes, FilesState};
use crate::error::MetaError;
use crate::everything::{HeldElsewhere, Knowledge};
use crate::index::reserve::RESERVED;
use crate::index::{Index, IndexSnapshot};
use crate::layout;
use crate::locks::{NamesWalked, Repositories, Repository, Unreadable};
use crate::quotas::Quotas;
use crate::release::Removal;

/// With less room than this the index is not opened on the disk. It could not keep room for itself, and would not be
/// writable when that is needed to make room; and SQLite maps a file of it into memory, where to touch a page for which the
/// disk has no room ends the process.
const ROOM_OF_AN_INDEX: u64 = 2 * RESERVED;

/// The repositories below a data directory.
pub struct MetaStore {
    pub(crate) disk: Arc<Disk>,
    pub(crate) blobs: Blobs,
    pub(crate) index: Index,
    pub(crate) repositories: Repositories,
    pub(crate) names_walked: NamesWalked,
    pub(crate) unreadable: Unreadable,
    pub(crate) held_elsewhere: HeldElsewhere,
    pub(crate) knowledge: Knowledge,
    pub(crate) quotas: Quotas,
    changes: Changes,
}

impl MetaStore {
    /// Opens the index, or makes a new one if it can't be used. Reads no repository yet.
    pub fn open(disk: Arc<Disk>, blobs: Blobs) -> Result<MetaStore, MetaError> {
        let free = disk.free()?;
        let has_room = free >= ROOM_OF_AN_INDEX;
        if !has_room {
            tracing::warn!(
                free, directory = %disk.root().display(),
                "the disk is nearly full: the index is kept in memory until the next start"
            );
        }
        let index = Index::open(&disk.root().join(layout::INDEX), has_room)?;
        let (repositories, names_walked) = (Repositories::default(), NamesWalked::default());
        let (unreadable, changes) = (Unreadable::default(), Changes::default());
        let (held_elsewhere, knowledge) = (HeldElsewhere::default(), Knowledge::default());
        Ok(MetaStore {
            disk,
            blobs,
            index,
            repositories,
            names_walked,
            unreadable,
            held_elsewhere,
            knowledge,
            quotas: Quotas::default(),
            changes,
        })
    }

    /// Keeps room for the index, so that it can be written on a full disk, too; unless there is little left already.
    pub fn reserve_room(&self) -> Result<(), MetaError> {
        if self.disk.free()? < ROOM_OF_AN_INDEX { Ok(()) } else { self.index.reserve() }
    }

    // Pulling: answered from the files alone.

    /// What a tag points at, or `None` if there is no such tag.
    pub fn tag(&self, repository: &RepoName, tag: &Tag) -> Result<Option<Digest>, MetaError> {
        Ok(self.resolve_tag(repository, tag)?.map(|target| match target {
            TagTarget::Linked(digest) | TagTarget::Healed(digest) => digest,
        }))
    }

    /// As [`tag`](MetaStore::tag), telling whose word it is.
    pub(crate) fn resolve_tag(
        &self,
        repository: &RepoName,
        tag: &Tag,
    ) -> Result<Option<TagTarget>, MetaError> {
        let path = layout::tag_current(repository, tag);
        match self.read_link(&path)? {
            Link::Absent => Ok(None),
            Link::To(digest) => Ok(Some(TagTarget::Linked(digest))),
            // registry:2 truncates the file before it writes it, so a crash can leave it empty. The
            // history link is written before, so the newest one is where the tag was going.
            Link::Damaged(held) => match self.newest_in_history(repository, tag)? {
                Some(digest) => {
                    tracing::warn!(
                        %repository, %tag, %digest, path = %path.display(),
                        "a tag's link is damaged; serving the newest entry of its history"
                    );
                    Ok(Some(TagTarget::Healed(digest)))
                }
                None => Err(MetaError::DamagedLink { path, held }),
            },
        }
    }

    /// The content of a manifest that the repository holds under this digest, or `None`.
    pub fn manifest(&self, repository: &RepoName, digest: &Digest) -> Result<Option<Digest>, MetaError> {
        // The link says nothing that its name doesn't: a damaged or misdirected one can only have meant
        // the digest that it is named by.
        let stat = self.disk.stat(&layout::revision_link(repository, digest))?;
        Ok(stat.filter(|stat| !stat.is_directory).map(|_| *digest))
    }

    /// The content of a blob that the repository holds under this digest, or `None`. It may be named
    /// by another algorithm: registry:2 keeps a sha512 blob as an alias of its sha256.
    pub fn blob(&self, repository: &RepoName, digest: &Digest) -> Result<Option<Digest>, MetaError> {
        Ok(match self.read_link(&layout::layer_link(repository, digest))? {
            Link::Absent => None,
            Link::To(target) if target.algorithm() != digest.algorithm() => Some(target),
            // As with manifests: bytes of another hash must never be served under this one.
            Link::To(_) | Link::Damaged(_) => Some(*digest),
        })
    }

    /// Every digest that a tag has pointed at and whose manifest is still there, newest first.
    pub fn tag_history(&self, repository: &RepoName, tag: &Tag) -> Result<Vec<Digest>, MetaError> {
        let mut there = Vec::new();
        for (digest, _) in self.history_entries(repository, tag)? {
            if self.manifest(repository, &digest)?.is_some() {
                there.push(digest);
            }
        }
        Ok(there)
    }

    /// Every digest that a tag has pointed at, and when it last began to, in nanoseconds since 1970; newest first.
    pub fn history_entries(&self, repository: &RepoName, tag: &Tag) -> Result<Vec<(Digest, i64)>, MetaError> {
        let mut entries = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = layout::tag_history(repository, tag, algorithm);
            for entry in self.disk.list(&directory)?.unwrap_or_default() {
                let Some(digest) = layout::digest_of_directory(algorithm, &entry.name) else { continue };
                let link = layout::tag_history_link(repository, tag, &digest);
                if let Some(stat) = self.disk.stat(&link)? {
                    entries.push((stat.modified_nanoseconds, digest));
                }
            }
        }
        entries.sort_by(|left, right| right.cmp(left));
        Ok(entries.into_iter().map(|(modified, digest)| (digest, modified)).collect())
    }

    /// The state that a repository's files are in, or `None` while it is being changed. What another
    /// program does to the files moves it on no more than it asks this process.
    pub fn state(&self, repository: &RepoName) -> Option<FilesState> {
        self.changes.state(repository)
    }

    // Blobs.

    /// Makes verified content a blob of the repository; durable when this returns.
    pub fn link_blob(&self, repository: &RepoName, content: &Verified) -> Result<(), MetaError> {
        self.content_is_there(content);
        let state = self.repositories.get(repository);
        let _shared = state.share();
        let digest = content.digest();
        self.change_files(repository, &state, || {
            self.disk.put(&layout::layer_link(repository, digest), digest.to_string().as_bytes())?;
            self.forget_marks(&[layout::blob_mark(repository, digest)])
        })?;
        self.note_in_index(repository, &state, |index| index.add_blob(repository, digest, content.size()));
        Ok(())
    }

    /// Takes a blob out of the repository; the content stays. `false` if it wasn't in it.
    pub fn unlink_blob(&self, repository: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        self.unlink_blob_noting(repository, digest, |_| Ok(()))
    }

    /// As [`unlink_blob`](MetaStore::unlink_blob); what will be removed is noted before it is. If that fails, nothing
    /// is removed.
    pub fn unlink_blob_noting<E: From<MetaError> + From<StorageError>>(
        &self,
        repository: &RepoName,
        digest: &Digest,
        note: impl FnOnce(&Removal) -> Result<(), E>,
    ) -> Result<bool, E> {
        let path = layout::layer_link(repository, digest);
        if self.disk.stat(&path)?.is_none() {
            return Ok(false);
        }
        let state = self.repositories.get(repository);
        // Excluding: the same blob could be linked at this moment, and file and row must agree.
        let _excluded = state.exclude();
        if self.disk.stat(&path)?.is_none() {
            return Ok(false);
        }
        note(&Removal { blob: Some(*digest), ..Removal::default() })?;
        let removed = self.change_files(repository, &state, || {
            let removed = self.disk.remove_file(&path)?;
            self.forget_marks(&[layout::blob_mark(repository, digest)])?;
            Ok(removed)
        })?;
        if !removed {
            return Ok(false);
        }
        self.disk.remove_directory_if_empty(&directory_of(&path));
        self.note_in_index(repository, &state, |index| index.remove_blob(repository, digest));
        Ok(true)
    }

    /// The index as sorted text, one line per row: equal for equal content.
    pub fn index_snapshot(&self) -> Result<IndexSnapshot, MetaError> {
        self.index.snapshot()
    }

    // Shared by the other files of this crate.

    /// Carries a change that is already on disk over to the index. If that fails, nothing is lost:
    /// the repository is reconciled again before its rows are used.
    pub(crate) fn note_in_index(
        &self,
        name: &RepoName,
        state: &Repository,
        change: impl FnOnce(&Index) -> Result<(), MetaError>,
    ) {
        if let Err(error) = change(&self.index) {
            self.doubt(state);
            tracing::warn!(
                repository = %name, error = %error, cause = ?std::error::Error::source(&error),
                "the index could not be written; the repository will be read again from its files"
            );
        }
    }

    /// Runs a change of a repository's files. One that fails may have happened in part, so the
    /// repository is reconciled again before its rows are used.
    pub(crate) fn change_files<T>(
        &self,
        name: &RepoName,
        state: &Repository,
        change: impl FnOnce() -> Result<T, MetaError>,
    ) -> Result<T, MetaError> {
        let _change = self.changes.begin(name);
        change().inspect_err(|_| self.doubt(state))
    }

    pub(crate) fn doubt(&self, state: &Repository) {
        state.doubt();
        self.knowledge.doubt();
        // The catalog may lack it altogether.
        self.names_walked.forget();
    }

    /// Content that some repository lacked when it was read may be there now: its rows lack a manifest.
    pub(crate) fn content_is_there(&self, content: &Verified) {
        self.note_size(content.digest(), content.size());
        for name in self.unreadable.take(content.digest()) {
            self.repositories.get(&name).doubt();
            self.knowledge.doubt();
        }
    }

    pub(crate) fn read_link(&self, path: &Path) -> Result<Link, MetaError> {
        let Some(bytes) = self.disk.read(path, layout::LONGEST_LINK)? else { return Ok(Link::Absent) };
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim().parse().map_or_else(|_| Link::Damaged(text.chars().take(40).collect()), Link::To))
    }

    fn newest_in_history(&self, repository: &RepoName, tag: &Tag) -> Result<Option<Digest>, MetaError> {
        Ok(self.tag_history(repository, tag)?.first().copied())
    }
}

/// Where a tag points.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TagTarget {
    /// Its link file says so.
    Linked(Digest),
    /// Its link file is damaged; the newest entry of its history says so.
    Healed(Digest),
}

/// What a link file says.
pub(crate) enum Link {
    /// There is no such file.
    Absent,
    /// It names this digest.
    To(Digest),
    /// It holds something else; this is its beginning.
    Damaged(String),
}

/// Directories whose emptiness nobody needs once their link is gone.
pub(crate) fn directory_of(link: &Path) -> PathBuf {
    link.parent().unwrap_or(Path::new("")).to_owned()
}

#[cfg(test)]
mod tests;
