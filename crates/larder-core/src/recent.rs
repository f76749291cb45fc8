//! What was pulled a moment ago, in memory.
//!
//! A manifest that many machines pull at once, or a small blob (an image's config), is answered from here
//! without a system call and without a thread's wake-up; of a larger blob the open file is kept, for the
//! next range of it and the next machine. An answer is given again only
//!
//! - while this process has not changed the repository since the answer was read: exact, from before a
//!   push or a deletion is acknowledged ([`MetaStore::state`](larder_meta::MetaStore::state));
//! - and for at most [`TRUSTED`] after it was read: so what another program does to the files (a restored
//!   backup, `rm -r` of a repository) is seen as soon as that.
//!
//! Only what exists is remembered; that something is missing is looked up each time. A file is held open no
//! longer than its answer is trusted: the space of a removed blob comes back.

use std::fs::File;
use std::hash::{Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_meta::FilesState;
use larder_oci::{Digest, Reference, RepoName};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::pull::{BlobContent, StoredManifest};

/// How long an answer is given again. The files are then read again, by one more request in a second: under
/// load that costs nothing, and without load there is nothing to save.
const TRUSTED: Duration = Duration::from_secs(1);

/// What all answers may weigh together, in bytes.
const CAPACITY: u64 = 32 << 20;

/// The longest manifest or blob whose bytes are kept, in bytes. Larger ones cost more to send than to find.
pub(crate) const LONGEST_KEPT: u64 = 64 << 10;

/// What an answer weighs beside its content: key, entry and the cache's own. An estimate on the safe side.
const OVERHEAD: u64 = 512;

/// What an open file weighs, in bytes: so much that a few hundred at most are held, of the 1,024 that a process
/// may have open at the least.
const OPEN_FILE: u64 = 128 << 10;

/// What was asked of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked<'a> {
    Manifest(&'a Reference),
    Blob(&'a Digest),
}

/// What was answered. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    Manifest(Arc<StoredManifest>),
    Blob(Bytes),
    File { file: Arc<File>, size: u64 },
}

impl Answered {
    pub(crate) fn into_blob(self) -> Option<BlobContent> {
        match self {
            Answered::Manifest(_) => None,
            Answered::Blob(bytes) => Some(BlobContent::Memory(bytes)),
            Answered::File { file, size } => Some(BlobContent::File { file, size }),
        }
    }
}

/// Answers of the last moment, bounded in bytes.
pub(crate) struct Recent {
    answers: Arc<Answers>,
    /// Whether open files will be closed at the end of the moment.
    closing: Arc<AtomicBool>,
}

type Answers = Cache<Key, Entry, ByWeight, RandomState>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    repository: RepoName,
    asked: AskedOwned,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AskedOwned {
    Manifest(Reference),
    Blob(Digest),
}

/// A [`Key`] that owns nothing, to look one up with.
#[derive(Hash)]
struct KeyRef<'a> {
    repository: &'a RepoName,
    asked: Asked<'a>,
}

#[derive(Clone)]
struct Entry {
    answered: Answered,
    state: FilesState,
    read: Instant,
}

#[derive(Clone)]
struct ByWeight;

impl Key {
    fn borrowed(&self) -> KeyRef<'_> {
        let asked = match &self.asked {
            AskedOwned::Manifest(reference) => Asked::Manifest(reference),
            AskedOwned::Blob(digest) => Asked::Blob(digest),
        };
        KeyRef { repository: &self.repository, asked }
    }
}

impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.borrowed().hash(hasher);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let other = key.borrowed();
        self.asked == other.asked && self.repository == other.repository
    }
}

impl Weighter<Key, Entry> for ByWeight {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        let content = match &entry.answered {
            Answered::Manifest(manifest) => manifest.bytes.len() as u64,
            Answered::Blob(bytes) => bytes.len() as u64,
            Answered::File { .. } => OPEN_FILE,
        };
        content + OVERHEAD
    }
}

impl Recent {
    pub(crate) fn new() -> Recent {
        // The estimate only sizes the first table; it grows as it is filled.
        let first_table = 256;
        let hasher = RandomState::new();
        let answers = Cache::with(first_table, CAPACITY, ByWeight, hasher, DefaultLifecycle::default());
        Recent { answers: Arc::new(answers), closing: Arc::default() }
    }

    /// The answer, if it may be given again in this state of the repository's files.
    pub(crate) fn get(
        &self,
        repository: &RepoName,
        asked: Asked<'_>,
        state: Option<FilesState>,
    ) -> Option<Answered> {
        let state = state?;
        let entry = self.answers.get(&KeyRef { repository, asked })?;
        (entry.state == state && entry.read.elapsed() < TRUSTED).then_some(entry.answered)
    }

    /// Remembers an answer that was read from the files after they were in this state, at this time.
    pub(crate) fn put(
        &self,
        repository: &RepoName,
        asked: Asked<'_>,
        answered: Answered,
        read: Instant,
        state: Option<FilesState>,
    ) {
        let Some(state) = state else { return };
        if matches!(answered, Answered::File { .. }) && !self.will_close_files() {
            return;
        }
        let asked = match asked {
            Asked::Manifest(reference) => AskedOwned::Manifest(reference.clone()),
            Asked::Blob(digest) => AskedOwned::Blob(*digest),
        };
        self.answers.insert(Key { repository: repository.clone(), asked }, Entry { answered, state, read });
    }

    /// Sees to it that whatever file is remembered from here on is closed when it is no longer trusted. False where
    /// there is no runtime to do it.
    fn will_close_files(&self) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        if !self.closing.swap(true, Ordering::SeqCst) {
            runtime.spawn(close_files(Arc::downgrade(&self.answers), Arc::clone(&self.closing)));
        }
        true
    }
}

/// Waits until the files of now are old, and forgets all. One that is put while this runs calls the next.
async fn close_files(answers: Weak<Answers>, closing: Arc<AtomicBool>) {
    tokio::time::sleep(TRUSTED).await;
    closing.store(false, Ordering::SeqCst);
    if let Some(answers) = answers.upgrade() {
        answers.retain(|_, entry| !matches!(entry.answered, Answered::File { .. }));
    }
}
