//! The images that are fetched ahead: those of the operator's list, from time to time, and those that somebody asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use larder_oci::{AdminAccess, Reference, RepositoryPattern};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::evict::{Keep, KeptImages};
use super::flights::{Flight, Flights};
use super::warm::{WarmError, WarmImage, WarmProgress};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};
use crate::upstreams::TagPattern;

/// Images that are fetched ahead at once; others wait.
const AT_ONCE: usize = 2;

/// Images that may wait. A list of a thousand is a mirror.
const MOST_WAITING: usize = 1000;

/// Images that are remembered after they have come, or have not.
const REMEMBERED: usize = 200;

/// How long after a start the list is looked at: clients that waited for the start go first.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// When what could not be had is tried again, unless it is due before.
const TRIED_AGAIN: Duration = Duration::from_secs(600);

/// An image of the operator's list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WarmEntry {
    /// The image, by its name here or as people shorten it: `nginx` is Docker Hub's `library/nginx`.
    pub image: WarmImage,
    /// How often it is fetched anew; `None`: once for each start.
    pub every: Option<Duration>,
    /// Whether it is never evicted, as long as the tag is its.
    pub is_pinned: bool,
}

/// An image that is fetched ahead, or was.
#[derive(Clone, Debug)]
pub struct WarmJob {
    /// Its number.
    pub id: u64,
    /// The image.
    pub image: WarmImage,
    /// How it stands.
    pub state: WarmState,
    /// How far it is.
    pub progress: WarmProgress,
    /// When it was asked for.
    pub asked: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmState {
    /// Others go first.
    Waiting,
    /// It is being fetched.
    Running,
    /// All of it is here.
    Done,
    /// Not all of it is here, for this reason.
    Failed(Arc<str>),
}

impl WarmState {
    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        matches!(self, WarmState::Done | WarmState::Failed(_))
    }
}

/// Whether all of an image came.
type Outcome = Result<(), Arc<str>>;

/// What is fetched ahead.
pub(super) struct Ahead {
    list: Mutex<Vec<WarmEntry>>,
    has_changed: Notify,
    jobs: Mutex<VecDeque<WarmJob>>,
    running: Flights<WarmImage, Outcome>,
    turns: Arc<Semaphore>,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead {
            list: Mutex::default(),
            has_changed: Notify::default(),
            jobs: Mutex::default(),
            running: Flights::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Registry {
    /// Fetches this list ahead from here on, from time to time.
    pub fn set_warm_list(&self, list: Vec<WarmEntry>) {
        let ahead = &self.inner.cache.ahead;
        let mut in_force = lock(&ahead.list);
        if *in_force != list {
            *in_force = list;
            ahead.has_changed.notify_one();
        }
    }

    /// The list in force, with the names that the images have here.
    pub fn warm_list(&self) -> Vec<WarmEntry> {
        let upstreams = self.inner.upstreams();
        let mut list = lock(&self.inner.cache.ahead.list).clone();
        for entry in &mut list {
            if let Some(name) = upstreams.name_here(&entry.image.repository) {
                entry.image.repository = name;
            }
        }
        list
    }

    /// Begins to fetch an image ahead, unless that is under way; gives the number of the job. `None` if too many wait.
    pub fn begin_warming(&self, _access: &AdminAccess, image: WarmImage) -> Result<Option<u64>, WarmError> {
        let Some(repository) = self.inner.upstreams().name_here(&image.repository) else {
            return Err(WarmError::NoUpstream(image.repository));
        };
        let image = WarmImage { repository, ..image };
        if self.inner.cache.ahead.waiting() >= MOST_WAITING {
            return Ok(None);
        }
        drop(self.fetch_ahead(&image));
        let jobs = lock(&self.inner.cache.ahead.jobs);
        Ok(jobs.iter().rev().find(|job| job.image == image).map(|job| job.id))
    }

    /// What is fetched ahead and what was lately, newest first.
    pub fn warming(&self, _access: &AdminAccess) -> Vec<WarmJob> {
        lock(&self.inner.cache.ahead.jobs).iter().rev().cloned().collect()
    }

    /// Fetches what is on the list when it is due; returns when `stop` is cancelled.
    pub(crate) async fn warm_regularly(&self, stop: &CancellationToken) {
        let ahead = &self.inner.cache.ahead;
        // When each is due; `None`: not again.
        let mut due: HashMap<WarmEntry, Option<Instant>> = HashMap::new();
        if stop.run_until_cancelled(tokio::time::sleep(FIRST_LOOK)).await.is_none() {
            return;
        }
        loop {
            let list = self.warm_list();
            due.retain(|entry, _| list.contains(entry));
            for entry in list {
                let is_due = due.get(&entry).is_none_or(|at| at.is_some_and(|at| at <= Instant::now()));
                if !is_due {
                    continue;
                }
                let outcome = tokio::select! {
                    () = stop.cancelled() => return,
                    outcome = self.fetch_ahead(&entry.image).answer() => outcome,
                };
                let again = match outcome {
                    Some(Ok(())) => entry.every,
                    Some(Err(_)) | None => Some(entry.every.unwrap_or(TRIED_AGAIN).min(TRIED_AGAIN)),
                };
                due.insert(entry, again.map(|again| Instant::now() + again));
            }
            let next = due.values().flatten().min().copied();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = ahead.has_changed.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// The image on its way, joined or begun. It comes also if nobody waits.
    fn fetch_ahead(&self, image: &WarmImage) -> Flight<Outcome> {
        let cache = &self.inner.cache;
        cache.ahead.running.join(image, &cache.tasks, || {
            let id = cache.ahead.add(image, (self.inner.environment.now)());
            let registry = self.for_nobody();
            let image = image.clone();
            async move { registry.run_ahead(id, &image).await }
        })
    }

    async fn run_ahead(&self, id: u64, image: &WarmImage) -> Outcome {
        let cache = &self.inner.cache;
        let update = |change: &dyn Fn(&mut WarmJob)| cache.ahead.update(id, change);
        let fetched = async {
            // Never closed.
            let _turn = Arc::clone(&cache.ahead.turns).acquire_owned().await.ok();
            update(&|job| job.state = WarmState::Running);
            self.warm(image, &|far| update(&|job| job.progress = far.clone())).await
        };
        let outcome = tokio::select! {
            fetched = fetched => fetched.map_err(|error| words(&error)),
            () = cache.stop.cancelled() => Err("Larder is stopping".into()),
        };
        let ended = (self.inner.environment.now)();
        match &outcome {
            Ok(far) => tracing::info!(
                %image, bytes = far.bytes_fetched, blobs = far.blobs, manifests = far.manifests,
                stale = far.stale.as_deref(), "an image was fetched ahead"
            ),
            Err(reason) => tracing::warn!(%image, %reason, "an image could not be fetched ahead"),
        }
        update(&|job| {
            job.ended = Some(ended);
            match &outcome {
                Ok(far) => (job.progress, job.state) = (far.clone(), WarmState::Done),
                Err(reason) => job.state = WarmState::Failed(Arc::clone(reason)),
            }
        });
        outcome.map(drop)
    }
}

impl Inner {
    /// What of the list is never evicted.
    pub(super) fn pinned(&self) -> Vec<Keep> {
        let registry = lock(&self.cache.ahead.list).clone();
        let upstreams = self.upstreams();
        let pinned = registry.into_iter().filter(|entry| entry.is_pinned);
        pinned
            .filter_map(|WarmEntry { image, .. }| {
                let name = upstreams.name_here(&image.repository)?;
                let repositories: RepositoryPattern = name.as_str().parse().ok()?;
                let images = match image.reference {
                    Reference::Tag(tag) => KeptImages::Tagged(TagPattern::Like(tag.as_str().to_owned())),
                    Reference::Digest(digest) => KeptImages::Digest(digest),
                };
                Some(Keep { repositories, images })
            })
            .collect()
    }
}

impl Ahead {
    fn waiting(&self) -> usize {
        lock(&self.jobs).iter().filter(|job| !job.state.is_over()).count()
    }

    fn add(&self, image: &WarmImage, asked: SystemTime) -> u64 {
        let mut jobs = lock(&self.jobs);
        let id = jobs.back().map_or(1, |job| job.id + 1);
        let ended = jobs.iter().filter(|job| job.state.is_over()).count();
        if ended >= REMEMBERED
            && let Some(oldest) = jobs.iter().position(|job| job.state.is_over())
        {
            jobs.remove(oldest);
        }
        let (state, progress) = (WarmState::Waiting, WarmProgress::default());
        jobs.push_back(WarmJob { id, image: image.clone(), state, progress, asked, ended: None });
        id
    }

    fn update(&self, id: u64, change: &dyn Fn(&mut WarmJob)) {
        if let Some(job) = lock(&self.jobs).iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }
}

/// The reason, without an upstream's cause: the log has that.
fn words(error: &WarmError) -> Arc<str> {
    match error {
        WarmError::Registry(RegistryError::Shared(shared)) => shared.to_string().into(),
        other => other.to_string().into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
