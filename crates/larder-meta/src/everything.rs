//! Whether the index knows every reference that there is: only then may content go that it knows no reference to.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use larder_oci::{Algorithm, Digest, RepoName};

use crate::error::MetaError;
use crate::layout;
use crate::listing::{Listing, Page};
use crate::store::MetaStore;

/// Content that is linked below directories which look like repositories but have names that are none. Nobody can pull
/// it from here, and still it is somebody's.
#[derive(Default)]
pub(crate) struct HeldElsewhere {
    digests: Mutex<HashSet<Digest>>,
    /// Where repositories may lie that nobody can see at present.
    lost: Mutex<Vec<PathBuf>>,
}

impl HeldElsewhere {
    pub(crate) fn replace(&self, digests: HashSet<Digest>, lost: Vec<PathBuf>) {
        *self.digests.lock().unwrap_or_else(PoisonError::into_inner) = digests;
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    fn first_lost(&self) -> Option<PathBuf> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }
}

/// Since when every repository has been compared with its files and nobody has had a doubt.
#[derive(Default)]
pub(crate) struct Knowledge {
    doubts: AtomicU64,
    /// One more than the doubts there were when all was compared; 0 before that.
    complete_at: AtomicU64,
}

impl Knowledge {
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }
}

impl MetaStore {
    /// Makes the rows of every repository equal to its files, unless nothing can have changed since that was done.
    /// `false` when `stop` was set before it was through.
    ///
    /// # Errors
    /// A repository that can't be read, or may lie where nobody can look: what it refers to isn't known then.
    pub fn know_every_reference(&self, stop: &AtomicBool) -> Result<bool, MetaError> {
        let doubts = self.knowledge.doubts.load(Ordering::SeqCst);
        if self.knowledge.complete_at.load(Ordering::SeqCst) == doubts + 1 {
            return Ok(true);
        }
        self.walk_names()?;
        if let Err(out_of_sight) = self.see_all_places() {
            // To be looked for again, and not only after a start.
            self.names_walked.forget();
            return Err(out_of_sight);
        }
        for name in self.index.all_names()? {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.reconcile(&name)?;
        }
        self.knowledge.complete_at.store(doubts + 1, Ordering::SeqCst);
        Ok(true)
    }

    /// An error if repositories may be where nobody can look at present: on a disk that isn't mounted. What they refer to
    /// would otherwise pass for garbage.
    fn see_all_places(&self) -> Result<(), MetaError> {
        self.disk.confirm()?;
        let has = |path: &str| Ok::<_, MetaError>(self.disk.stat(Path::new(path))?.is_some());
        if has(layout::BLOBS)? && !has(layout::REPOSITORIES)? {
            let (path, problem) = (layout::REPOSITORIES.into(), "is not there, although there are blobs");
            return Err(MetaError::OutOfSight {
                path,
                problem,
                remedy: "make an empty directory of this name",
            });
        }
        match self.held_elsewhere.first_lost() {
            Some(path) => {
                let problem = "is a symbolic link that leads nowhere";
                Err(MetaError::OutOfSight { path, problem, remedy: "remove the link" })
            }
            None => Ok(()),
        }
    }

    /// Takes no row for granted any more, as after a start: another program may have worked on the files.
    pub fn doubt_everything(&self) {
        self.names_walked.forget();
        self.repositories.doubt_all();
        self.knowledge.doubt();
    }

    /// Every repository that the index knows.
    pub fn known_repositories(&self) -> Result<Vec<RepoName>, MetaError> {
        self.index.all_names()
    }

    /// A page of a repository's blobs; beside each whether no manifest of the repository is made of it.
    pub fn blobs_and_use(
        &self,
        repository: &RepoName,
        page: &Page<Digest>,
    ) -> Result<Listing<(Digest, bool)>, MetaError> {
        self.reconcile(repository)?;
        self.index.blobs_and_use(repository, page)
    }

    /// When a blob was last linked into a repository, in nanoseconds since 1970.
    pub fn blob_linked_at(&self, repository: &RepoName, digest: &Digest) -> Result<Option<i64>, MetaError> {
        let stat = self.disk.stat(&layout::layer_link(repository, digest))?;
        Ok(stat.map(|stat| stat.modified_nanoseconds))
    }

    /// Whether content is kept by what no index row tells of: a manifest that can't be read, a directory without a name.
    pub fn is_kept_unread(&self, digest: &Digest) -> bool {
        self.held_elsewhere.contains(digest) || self.unreadable.is_noted(digest)
    }

    /// Whether anything refers to this content, in whatever repository; `None` while that can't be told, because not
    /// every repository has been compared with its files.
    pub fn is_referred_to(&self, digest: &Digest) -> Result<Option<bool>, MetaError> {
        let doubts = self.knowledge.doubts.load(Ordering::SeqCst);
        if self.knowledge.complete_at.load(Ordering::SeqCst) != doubts + 1 {
            return Ok(None);
        }
        let referred = self.index.is_referred_to(digest)? || self.is_kept_unread(digest);
        // A row that could not be written while this looked is a doubt.
        Ok((self.knowledge.doubts.load(Ordering::SeqCst) == doubts).then_some(referred))
    }

    /// How much refers to this content by the index, in all repositories; counted no further than `limit`.
    pub fn references_to(&self, digest: &Digest, limit: u64) -> Result<u64, MetaError> {
        self.index.references_to(digest, limit)
    }

    /// Every digest that a link below these directories is named by or holds.
    pub(crate) fn digests_below(&self, directories: &[PathBuf]) -> Result<HashSet<Digest>, MetaError> {
        let mut found = HashSet::new();
        for directory in directories {
            for part in ["_layers", "_manifests/revisions"] {
                for algorithm in Algorithm::ALL {
                    let place = directory.join(part).join(algorithm.as_str());
                    for entry in self.disk.list(&place)?.unwrap_or_default() {
                        found.extend(layout::digest_of_directory(algorithm, &entry.name));
                        if let crate::store::Link::To(target) =
                            self.read_link(&place.join(Path::new(&entry.name)).join("link"))?
                        {
                            found.insert(target);
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}
