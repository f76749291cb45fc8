//! The collector: what nothing refers to any more is taken away, while the registry is open.
//!
//! A deletion takes a name away at once. What hung on the name stays for a grace time, in which the deletion can be
//! undone (`removals.rs`); then the collector looks at it again and takes away what nothing needs: links from a
//! repository under that repository's lock, content once no repository refers to it. What a push or a client relies on
//! is fenced off (`fence.rs`). The cost of a deletion so depends on what is deleted and not on what there is.
//!
//! What no deletion tells of, such as a blob whose push was given up before its manifest, or content whose link
//! a crash has kept from being written, is found by a slow sweep (`sweep.rs`).
//!
//! Nothing goes because something could not be read. Content goes only while every repository has been compared with
//! its files ([`MetaStore::know_every_reference`](larder_meta::MetaStore::know_every_reference)); a repository with a
//! manifest that can't be read lets go of nothing.

mod fence;
mod leftovers;
mod plan;
mod removals;
mod rewind;
mod sweep;
mod taken_back;
mod undo;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use larder_meta::{MetaError, Removal};
use larder_oci::{Access, Actor, AdminAccess, Digest, Operation, Pull, Push, RepoName, Tag};
use larder_storage::Disk;
use tokio_util::sync::CancellationToken;

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

pub(crate) use fence::{Fence, Thing};
pub use plan::{Plan, Planning};
pub(crate) use removals::Removals;
pub use removals::Removed;
pub use rewind::{Rewinding, Rewound};
pub use undo::Undone;
pub use work::Collected;

/// When what nothing refers to is taken away (`storage.maintenance.gc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Whether it is, without being asked. Otherwise deletions can't be undone either.
    pub enabled: bool,
    /// How long after a deletion: so long it can be undone, and so long what a client was told of stays.
    pub grace: Duration,
    /// How old a blob must be that no manifest has ever named.
    pub unreferenced: Duration,
}

/// How the collector is run by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// As if every grace time were over: deletions become final, and a client that was told of a blob and hasn't
    /// pushed its manifest yet may have to push it again.
    pub now: bool,
    /// Also look for what no deletion tells of: a walk over everything.
    pub sweep: bool,
}

/// What a tag has pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The manifest.
    pub digest: Digest,
    /// When the tag last began to point at it.
    pub since: SystemTime,
    /// Whether it can still be pulled.
    pub is_there: bool,
    /// Whether the tag points at it now.
    pub is_current: bool,
}

/// What the collector knows.
pub(crate) struct Collector {
    pub(crate) fence: Fence,
    pub(crate) removals: Removals,
    leftovers: leftovers::Leftovers,
    /// One run at a time.
    running: Arc<tokio::sync::Mutex<()>>,
    so_far: Mutex<Collected>,
    freed: Mutex<Freed>,
}

/// What runs have taken away since the start.
#[derive(Default)]
struct Freed {
    last: Option<LastCollection>,
    bytes: u64,
}

/// A run of the collector that took something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCollection {
    /// When it ended.
    pub at: SystemTime,
    /// What it took.
    pub collected: Collected,
}

/// How often the collector looks for deletions whose grace time is over, at least.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// And at most, however short the grace time.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// How often everything is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long after a start the first sweep begins.
const FIRST_SWEEP: Duration = Duration::from_secs(3600);

impl Collector {
    pub(crate) fn open(disk: Arc<Disk>, settings: &Collection) -> Result<Collector, RegistryError> {
        Ok(Collector {
            fence: Fence::new(settings.grace),
            removals: Removals::open(disk)?,
            leftovers: leftovers::Leftovers::default(),
            running: Arc::default(),
            so_far: Mutex::default(),
            freed: Mutex::default(),
        })
    }
}

impl Collector {
    fn begin(&self) {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner) = Collected::default();
    }

    /// A run has ended.
    fn end(&self, at: SystemTime) {
        let collected = *self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        self.note_freed(at, collected);
    }

    /// Notes what a run took away, if it took something.
    pub(crate) fn note_freed(&self, at: SystemTime, collected: Collected) {
        if collected.manifests + collected.links + collected.contents == 0 {
            return;
        }
        let mut freed = self.freed.lock().unwrap_or_else(PoisonError::into_inner);
        freed.last = Some(LastCollection { at, collected });
        freed.bytes = freed.bytes.saturating_add(collected.bytes);
    }

    /// The last run that took something away, and how many bytes all have freed since the start.
    pub(crate) fn freed(&self) -> (Option<LastCollection>, u64) {
        let freed = self.freed.lock().unwrap_or_else(PoisonError::into_inner);
        (freed.last, freed.bytes)
    }

    /// Counts what was just taken away, for whoever watches.
    fn went(&self, done: Collected) {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner) += done;
    }
}

impl Inner {
    /// Notes a deletion before it happens.
    pub(crate) fn note_removal(
        &self,
        repository: &RepoName,
        actor: &Actor,
        what: &Removal,
    ) -> Result<(), MetaError> {
        if !self.settings.collection.enabled {
            return Ok(());
        }
        let now = (self.environment.now)();
        Ok(self.collector.removals.note(repository, actor.to_string(), now, what)?)
    }
}

impl Registry {
    /// Promises whoever is about to be told that the repository holds this blob or manifest that it stays, if it is
    /// there: for the grace time, or as long as he goes on pushing. Call it before looking.
    pub async fn promise<Op: Operation>(
        &self,
        access: &Access<Op>,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        if self.inner.collector.fence.try_promise(access.repository(), digest) {
            return Ok(());
        }
        let (repository, digest) = (access.repository().clone(), *digest);
        self.blocking(move |inner| {
            inner.collector.fence.promise(&repository, &digest);
            Ok(())
        })
        .await
    }

    /// Deletions that can still be undone, newest first.
    pub fn removed(&self, _: &AdminAccess) -> Vec<Arc<Removed>> {
        self.inner.collector.removals.list()
    }

    /// Whether the collector is at work, and what it has taken away in this run, or took in the last one.
    pub fn collector_state(&self, _: &AdminAccess) -> (bool, Collected) {
        let collector = &self.inner.collector;
        let so_far = *collector.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        (collector.running.try_lock().is_err(), so_far)
    }

    /// The same of one repository.
    pub fn removed_in(&self, access: &Access<Push>) -> Vec<Arc<Removed>> {
        let mut removed = self.inner.collector.removals.list();
        removed.retain(|each| each.repository == *access.repository());
        removed
    }

    /// Runs the collector once; returns when it is through.
    pub async fn collect(&self, _: &AdminAccess, run: Run) -> Result<Collected, RegistryError> {
        drop(self.inner.pause.begin()?);
        self.collect_until(run, &CancellationToken::new()).await
    }

    /// What a tag has pointed at, newest first.
    pub async fn tag_history(
        &self,
        access: &Access<Pull>,
        tag: &Tag,
    ) -> Result<Vec<HistoryEntry>, RegistryError> {
        let (repository, tag) = (access.repository().clone(), tag.clone());
        self.blocking(move |inner| {
            let current = inner.meta.tag(&repository, &tag)?;
            let entries = inner.meta.history_entries(&repository, &tag)?.into_iter();
            entries
                .map(|(digest, since)| {
                    let is_there = inner.meta.manifest(&repository, &digest)?.is_some()
                        && inner.blobs.find(&digest)?.is_some();
                    let since = Duration::from_nanos(u64::try_from(since).unwrap_or_default());
                    let since = SystemTime::UNIX_EPOCH + since;
                    Ok(HistoryEntry { digest, since, is_there, is_current: current == Some(digest) })
                })
                .collect()
        })
        .await
    }

    async fn collect_until(&self, run: Run, stop: &CancellationToken) -> Result<Collected, RegistryError> {
        let turn = Arc::clone(&self.inner.collector.running).lock_owned().await;
        self.inner.collector.begin();
        let mut collected = self.collect_due(run, stop).await?;
        if run.sweep {
            collected += self.sweep(run, stop, None).await?;
        }
        self.inner.collector.end((self.inner.environment.now)());
        drop(turn);
        Ok(collected)
    }

    /// The collector's own work; returns when `stop` is cancelled and the work at hand is done.
    pub(crate) async fn collect_regularly(&self, stop: &CancellationToken) {
        let settings = self.inner.settings.collection.clone();
        if !settings.enabled {
            return self.forget_gone_regularly(stop).await;
        }
        let wait = LONGEST_WAIT.min(settings.grace / 4).max(SHORTEST_WAIT);
        let mut next_sweep = tokio::time::Instant::now() + FIRST_SWEEP;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.inner.collector.fence.tidy();
            let turn = Arc::clone(&self.inner.collector.running).lock_owned().await;
            self.inner.collector.begin();
            let outcome = self.collect_due(Run::default(), stop).await;
            report("the collector could not look at what was deleted; it tries again", outcome);
            if tokio::time::Instant::now() >= next_sweep {
                let outcome = self.sweep(Run::default(), stop, Some(sweep::SHARE)).await;
                report("the sweep for what nothing refers to could not be finished", outcome);
                next_sweep = tokio::time::Instant::now() + SWEEP_EVERY;
            }
            self.inner.collector.end((self.inner.environment.now)());
            drop(turn);
        }
    }

    async fn collect_due(&self, run: Run, stop: &CancellationToken) -> Result<Collected, RegistryError> {
        self.stoppable(stop, move |inner, stop| inner.collect_due(run, stop)).await
    }

    /// Runs blocking work that looks at a flag; the flag is raised when `stop` is cancelled.
    pub(crate) async fn stoppable<T: Send + 'static>(
        &self,
        stop: &CancellationToken,
        work: impl FnOnce(&Inner, &AtomicBool) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let raised = Arc::new(AtomicBool::new(stop.is_cancelled()));
        let flag = Arc::clone(&raised);
        let pass = self.blocking(move |inner| work(inner, &flag));
        tokio::pin!(pass);
        tokio::select! {
            outcome = &mut pass => outcome,
            () = stop.cancelled() => {
                raised.store(true, Ordering::Relaxed);
                pass.await
            }
        }
    }
}

fn report(trouble: &str, outcome: Result<Collected, RegistryError>) {
    match outcome {
        Ok(collected) if collected.is_nothing() => {}
        Ok(collected) => tracing::info!(
            bytes = collected.bytes,
            blobs = collected.contents,
            manifests = collected.manifests,
            links = collected.links,
            repositories = collected.repositories,
            "took away what nothing refers to"
        ),
        Err(error) => {
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "{trouble}");
        }
    }
}

/// The moment before which deletions are final.
pub(crate) fn final_before(now: SystemTime, run: Run, grace: Duration) -> SystemTime {
    if run.now { now } else { now.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH) }
}
