use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use larder_oci::{Digest, RepoName};

use crate::changes::FilesState;

/// How long an answer about files counts that another program may have changed.
const TRUSTED: Duration = Duration::from_secs(1);

/// What this process knows of each repository that it has touched.
#[derive(Default)]
pub(crate) struct Repositories {
    known: Mutex<HashMap<RepoName, Arc<Repository>>>,
}

/// Manifests whose bytes were gone or damaged when their repository was read, and these repositories.
#[derive(Default)]
pub(crate) struct Unreadable {
    noted: Mutex<HashMap<Digest, HashSet<RepoName>>>,
    damaged: Mutex<HashSet<(RepoName, Digest)>>,
}

impl Unreadable {
    pub(crate) fn note(&self, digest: &Digest, name: &RepoName) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.entry(*digest).or_default().insert(name.clone());
    }

    /// The repositories that lacked this content, and do no longer.
    pub(crate) fn take(&self, digest: &Digest) -> HashSet<RepoName> {
        let names =
            self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(digest).unwrap_or_default();
        names.iter().for_each(|name| self.note_damage(name, digest, false));
        names
    }

    /// Whether some repository has a manifest of these bytes, which it could not read.
    pub(crate) fn is_noted(&self, digest: &Digest) -> bool {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest)
    }

    /// Notes whether this manifest's bytes are there and can't be read: what it is made of isn't known then.
    pub(crate) fn note_damage(&self, name: &RepoName, digest: &Digest, is_damaged: bool) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if is_damaged {
            damaged.insert((name.clone(), *digest));
        } else if !damaged.is_empty() {
            damaged.remove(&(name.clone(), *digest));
        }
    }

    /// A manifest of the repository of which isn't known what it is made of.
    pub(crate) fn damaged_in(&self, name: &RepoName) -> Option<Digest> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().find(|(repository, _)| repository == name).map(|(_, digest)| *digest)
    }
}

/// One repository's lock, and whether its index rows are believed.
///
/// Blob links are written under a shared lock, because they don't depend on each other; manifests
/// and tags are written, and files and index compared, under an exclusive one.
#[derive(Default)]
pub(crate) struct Repository {
    lock: RwLock<()>,
    reconciled: AtomicBool,
    doubts: AtomicU64,
    pushed: Mutex<Option<(FilesState, Instant, bool)>>,
}

/// Whether this process has walked the directory for repository names.
#[derive(Default)]
pub(crate) struct NamesWalked {
    done: AtomicBool,
    walking: Mutex<()>,
}

impl NamesWalked {
    /// Runs the walk unless it was done; whoever asks meanwhile waits for it.
    pub(crate) fn once<E>(&self, walk: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let _walking = self.walking.lock().unwrap_or_else(PoisonError::into_inner);
        // Set before the walk: a change that is forgotten during it makes the next one necessary.
        if self.done.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        walk().inspect_err(|_| self.forget())
    }

    /// Runs what takes a name away, between walks: one that has found the name would put it back.
    pub(crate) fn between_walks<T>(&self, work: impl FnOnce() -> T) -> T {
        let _walking = self.walking.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Takes no lock: who calls this holds a repository's, and the walk takes those.
    pub(crate) fn forget(&self) {
        self.done.store(false, Ordering::Release);
    }
}

impl Repositories {
    /// The repository's state; one value for all who ask. At most one per repository on disk.
    pub(crate) fn get(&self, name: &RepoName) -> Arc<Repository> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repository) = known.get(name) {
            return Arc::clone(repository);
        }
        Arc::clone(known.entry(name.clone()).or_default())
    }
}

impl Repositories {
    /// No repository's rows are believed from here on.
    pub(crate) fn doubt_all(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(|repository| repository.doubt());
    }
}

impl Repository {
    /// Whether somebody has pushed into it, as it was found in this state of its files.
    pub(crate) fn known_to_be_pushed(&self, state: FilesState) -> Option<bool> {
        let known = (*self.pushed.lock().unwrap_or_else(PoisonError::into_inner))?;
        let (of, found, pushed) = known;
        (of == state && found.elapsed() < TRUSTED).then_some(pushed)
    }

    pub(crate) fn note_pushed(&self, state: FilesState, pushed: bool) {
        *self.pushed.lock().unwrap_or_else(PoisonError::into_inner) = Some((state, Instant::now(), pushed));
    }

    pub(crate) fn share(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exclude(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_reconciled(&self) -> bool {
        self.reconciled.load(Ordering::Acquire)
    }

    /// The rows may lack something from here on: they are compared with the files before they are used.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
        self.reconciled.store(false, Ordering::SeqCst);
    }

    /// What to hand to [`believe`](Repository::believe) once rows and files have been compared.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    /// The rows equal the files, unless somebody has had a doubt since `doubts` was read. Only now may
    /// others use them: whoever comes during the comparison waits for the lock.
    pub(crate) fn believe(&self, doubts: u64) {
        self.reconciled.store(true, Ordering::SeqCst);
        if self.doubts() != doubts {
            self.reconciled.store(false, Ordering::SeqCst);
        }
    }
}
