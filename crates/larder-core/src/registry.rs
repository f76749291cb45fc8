use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use larder_meta::MetaStore;
use larder_storage::{Blobs, Disk};
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::collect::{Collection, Collector};
use crate::error::RegistryError;
use crate::events::EventSink;
use crate::maintenance::UploadPurging;
use crate::pause::{Change, Pause};
use crate::recent::Recent;
use crate::retention::Retention;
use crate::status::Counting;
use crate::upload::Sessions;
use crate::upstreams::Upstreams;
use crate::verify::Verification;

/// The registry. Cheap to clone: all clones are one, told apart only by whom they report to.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
    /// Who is told of what is changed through this handle.
    pub(crate) sink: Option<Arc<dyn EventSink>>,
    /// Whether nobody asks through this handle: what is fetched ahead is neither hit nor miss.
    pub(crate) is_ahead: bool,
}

pub(crate) struct Inner {
    pub(crate) disk: Arc<Disk>,
    pub(crate) blobs: Blobs,
    pub(crate) meta: MetaStore,
    pub(crate) sessions: Sessions,
    pub(crate) recent: Recent,
    pub(crate) collector: Collector,
    pub(crate) verification: Verification,
    /// Questions to the index that may run at once; see [`Registry::asking_the_index`].
    index_questions: Arc<Semaphore>,
    /// Manifests that may be read from the disk at once.
    pub(crate) manifest_reads: Arc<Semaphore>,
    pub(crate) settings: Settings,
    /// As in the settings, until [`Registry::switch`] says otherwise.
    deletes: AtomicBool,
    read_only: AtomicBool,
    pub(crate) pause: Pause,
    upstreams: RwLock<Upstreams>,
    pub(crate) cache: Cache,
    pub(crate) retention: Retention,
    pub(crate) counting: Counting,
    pub(crate) environment: Environment,
}

/// A question to the index may wait for a repository to be read. So many threads at most wait with
/// it; the others of the runtime stay free for pulls and pushes.
const INDEX_QUESTIONS_AT_ONCE: usize = 32;

/// A manifest is read whole before it is served: 64 of 4 MiB are 256 MiB. Further ones wait for the disk, as they would
/// anyway.
const MANIFEST_READS_AT_ONCE: usize = 64;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether manifests, tags and blobs may be deleted.
    pub deletes: bool,
    /// Whether nothing may be changed at all.
    pub read_only: bool,
    /// When abandoned upload sessions are removed.
    pub upload_purging: UploadPurging,
    /// When what nothing refers to is taken away.
    pub collection: Collection,
}

/// Time and chance, passed in so that tests decide them.
#[derive(Clone, Copy)]
pub struct Environment {
    /// The time.
    pub now: fn() -> SystemTime,
    /// Sixteen random bytes.
    pub random: fn() -> [u8; 16],
}

impl Environment {
    /// The machine's own.
    pub fn system() -> Environment {
        Environment { now: SystemTime::now, random: rand::random }
    }
}

impl Registry {
    /// Opens the data directory. Reads no repository: a large one is served at once.
    pub fn open(
        root: &Path,
        settings: Settings,
        environment: Environment,
    ) -> Result<Registry, RegistryError> {
        Registry::on(Arc::new(Disk::open(root)?), settings, environment)
    }

    /// A registry on an opened disk.
    pub fn on(
        disk: Arc<Disk>,
        settings: Settings,
        environment: Environment,
    ) -> Result<Registry, RegistryError> {
        let blobs = Blobs::new(Arc::clone(&disk));
        let meta = MetaStore::open(Arc::clone(&disk), blobs.clone())?;
        let (sessions, recent) = (Sessions::default(), Recent::new());
        let index_questions = Arc::new(Semaphore::new(INDEX_QUESTIONS_AT_ONCE));
        let manifest_reads = Arc::new(Semaphore::new(MANIFEST_READS_AT_ONCE));
        let collector = Collector::open(Arc::clone(&disk), &settings.collection)?;
        let inner = Inner {
            disk,
            blobs,
            meta,
            sessions,
            recent,
            collector,
            verification: Verification::default(),
            index_questions,
            manifest_reads,
            deletes: settings.deletes.into(),
            read_only: settings.read_only.into(),
            pause: Pause::default(),
            settings,
            upstreams: RwLock::default(),
            cache: Cache::default(),
            retention: Retention::default(),
            counting: Counting::default(),
            environment,
        };
        Ok(Registry { inner: Arc::new(inner), sink: None, is_ahead: false })
    }

    /// Allows or forbids deleting, and changing anything at all, from here on. What is under way ends
    /// as it was begun.
    pub fn switch(&self, deletes: bool, read_only: bool) {
        self.inner.deletes.store(deletes, Ordering::Relaxed);
        self.inner.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Whom to ask for what isn't here, from here on. Without this, nobody.
    pub fn set_upstreams(&self, upstreams: Upstreams) {
        *self.inner.upstreams.write().unwrap_or_else(PoisonError::into_inner) = upstreams;
    }

    /// Who is asked for what isn't here.
    pub fn upstreams(&self) -> Upstreams {
        self.inner.upstreams()
    }

    /// Whether the data directory is there and holds what was made in it at the start. Writes nothing: for
    /// a look every few seconds, which must not wake a sleeping disk.
    pub async fn is_there(&self) -> Result<bool, RegistryError> {
        self.blocking(|inner| Ok(inner.disk.stat(Path::new("larder"))?.is_some())).await
    }

    /// Whether the data directory can be written right now.
    pub async fn probe(&self) -> Result<(), RegistryError> {
        self.blocking(|inner| Ok(inner.disk.probe()?)).await
    }

    /// Bytes that are free where the data directory is. A system call that may wait for the disk.
    pub fn disk_free(&self) -> Result<u64, RegistryError> {
        Ok(self.inner.disk.free()?)
    }

    /// The same registry, for work that no request waits for: nobody is told of its changes.
    pub(crate) fn unreported(&self) -> Registry {
        Registry { sink: None, ..self.clone() }
    }

    /// The same for what nobody has asked for: what is at hand then is no hit, and what isn't no miss.
    pub(crate) fn for_nobody(&self) -> Registry {
        Registry { sink: None, is_ahead: true, ..self.clone() }
    }

    /// The metadata, for tests that compare the index with its rebuild.
    pub fn meta(&self) -> &MetaStore {
        &self.inner.meta
    }

    /// Runs a closure to its end on a blocking thread, also if the caller stops waiting for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(RegistryError::Internal)?
    }

    /// As [`blocking`](Registry::blocking), for what may have to read a whole repository first.
    pub(crate) async fn asking_the_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        // Never closed: it goes with the registry. Held by the work and not by who waits for it: a client
        // that leaves gives its thread back no sooner.
        let turn = Arc::clone(&self.inner.index_questions).acquire_owned().await.ok();
        self.blocking(move |inner| {
            let outcome = work(inner);
            drop(turn);
            outcome
        })
        .await
    }
}

impl Inner {
    pub(crate) fn upstreams(&self) -> Upstreams {
        self.upstreams.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// The right to change files on a client's behalf, to be held until that is done.
    pub(crate) fn require_writable(&self) -> Result<Change, RegistryError> {
        if self.is_read_only() { Err(RegistryError::ReadOnly) } else { self.pause.begin() }
    }

    pub(crate) fn require_deletes(&self) -> Result<Change, RegistryError> {
        let change = self.require_writable()?;
        if self.deletes.load(Ordering::Relaxed) { Ok(change) } else { Err(RegistryError::DeletesDisabled) }
    }
}
