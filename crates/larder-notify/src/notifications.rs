use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use larder_core::{Environment, Event, EventSink};
use larder_oci::{Actor, RepoName};
use larder_storage::{Disk, StorageError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, EndpointSnapshot};
use crate::delivery::Endpoint;
use crate::event::{Action, Circumstances, Queued, Request, Source};
use crate::post::Poster;
use crate::queue::{Entry, Kind, Limits, Queue};
use crate::settings::{EndpointSettings, Settings};

/// Where the queues lie, below the data directory.
const DIRECTORY: &str = "larder/notifications";

/// How long pulls are gathered before they are written together.
const GATHERED_FOR: Duration = Duration::from_millis(50);

/// The most pulls that are gathered, about 10 MB; further ones are lost and counted, so that the disk can't hold up
/// a pull.
const MOST_GATHERED: usize = 10_000;

/// What may stand in a directory's name as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Notifications for all endpoints.
pub struct Notifications {
    endpoints: Vec<Arc<Endpoint>>,
    include_references: bool,
    source: Source,
    environment: Environment,
    /// Pulls that aren't queued yet.
    gathered: Mutex<Vec<Queued>>,
    gathering: Notify,
    /// Held while events are put into the queues, so that all queues have them in one order.
    order: Mutex<()>,
}

/// Why notifications can't begin.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// An endpoint can't be posted to.
    #[error("notifications can't be sent to the endpoint {name:?}: {reason}")]
    Endpoint {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The queues can't be read.
    #[error("the queue of notifications could not be opened")]
    Queue(#[from] StorageError),
}

/// Reports one request's changes.
struct Sink {
    notifications: Arc<Notifications>,
    request: Request,
}

impl EventSink for Sink {
    fn changed(
        &self,
        actor: &Actor,
        repository: &RepoName,
        events: &[Event<'_>],
    ) -> Result<(), StorageError> {
        self.notifications.changed(&self.request, actor, repository, events)
    }
}

impl Notifications {
    /// Opens the queues, with what an earlier process has left in them.
    pub fn open(
        disk: &Arc<Disk>,
        settings: Settings,
        environment: Environment,
    ) -> Result<Notifications, NotifyError> {
        let limits = Limits { events: settings.queue_events, bytes: settings.queue_bytes };
        let mut endpoints = Vec::new();
        for endpoint in settings.endpoints {
            endpoints.push(Arc::new(open_endpoint(
                disk,
                endpoint,
                settings.generation,
                limits,
                environment,
            )?));
        }
        warn_of_others(disk, &endpoints)?;
        let instance = uuid::Builder::from_random_bytes((environment.random)()).into_uuid();
        Ok(Notifications {
            endpoints,
            include_references: settings.include_references,
            source: Source { addr: settings.source, instance_id: instance.to_string() },
            environment,
            gathered: Mutex::default(),
            gathering: Notify::new(),
            order: Mutex::default(),
        })
    }

    /// A sink for what one request changes.
    pub fn sink(self: &Arc<Self>, request: Request) -> Arc<dyn EventSink> {
        Arc::new(Sink { notifications: Arc::clone(self), request })
    }

    /// Takes note of a pull, without waiting for anything. The request is described only if somebody wants to know.
    pub fn pulled(
        &self,
        request: impl FnOnce() -> Request,
        actor: &Actor,
        repository: &RepoName,
        event: &Event<'_>,
    ) {
        if !self.endpoints.iter().any(|endpoint| endpoint.wants_action(Action::Pull)) {
            return;
        }
        let queued = self.queued(&request(), actor, repository, event);
        let lost = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            let full = gathered.len() >= MOST_GATHERED;
            if !full {
                gathered.push(queued);
            }
            full
        };
        if lost {
            self.endpoints.iter().for_each(|endpoint| endpoint.dropped(1));
        }
        self.gathering.notify_one();
    }

    /// Delivers until `stop` is cancelled. Whoever reports events must have ended before: what is reported later
    /// stays queued if it is a change, and is lost if it is a pull.
    pub async fn deliver(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for endpoint in &self.endpoints {
            tasks.spawn(Arc::clone(endpoint).deliver(stop.clone()));
        }
        tasks.spawn({
            let (notifications, stop) = (Arc::clone(&self), stop.clone());
            async move { notifications.queue_pulls(stop).await }
        });
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task that delivers notifications has failed");
            }
        }
        let closed = tokio::task::spawn_blocking(move || {
            self.flush_pulls();
            self.endpoints.iter().try_for_each(|endpoint| endpoint.queue.sync())
        });
        if let Ok(Err(error)) = closed.await {
            tracing::warn!(%error, "the queue of notifications could not be synced");
        }
    }

    /// The endpoints' numbers.
    pub fn snapshot(&self) -> Vec<EndpointSnapshot> {
        self.endpoints.iter().map(|endpoint| endpoint.snapshot()).collect()
    }

    fn changed(
        &self,
        request: &Request,
        actor: &Actor,
        repository: &RepoName,
        events: &[Event<'_>],
    ) -> Result<(), StorageError> {
        let queued: Vec<Queued> =
            events.iter().map(|event| self.queued(request, actor, repository, event)).collect();
        let mut durable = Vec::new();
        {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            // What was pulled before is told before.
            self.queue_gathered();
            for endpoint in &self.endpoints {
                durable.extend(endpoint.queue(Kind::Change, &self.entries(endpoint, &queued))?);
            }
        }
        // Without the lock: changes that come at once share their syncs.
        durable.iter().try_for_each(larder_storage::AppendedSync::sync)
    }

    fn queued(&self, request: &Request, actor: &Actor, repository: &RepoName, event: &Event<'_>) -> Queued {
        let around = Circumstances {
            request,
            actor,
            repository,
            source: &self.source,
            now: (self.environment.now)(),
            random: (self.environment.random)(),
            include_references: self.include_references,
        };
        Queued::new(event, &around)
    }

    async fn queue_pulls(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.gathering.notified() => {}
            }
            tokio::time::sleep(GATHERED_FOR).await;
            let notifications = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || notifications.flush_pulls()).await {
                tracing::error!(%error, "pulls could not be queued as notifications");
            }
        }
    }

    fn flush_pulls(&self) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue_gathered();
    }

    /// Under the lock of the order.
    fn queue_gathered(&self) {
        let gathered = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        if gathered.is_empty() {
            return;
        }
        for endpoint in &self.endpoints {
            let entries = self.entries(endpoint, &gathered);
            if let Err(error) = endpoint.queue(Kind::Pull, &entries) {
                endpoint.counters.count(|counted| counted.dropped += entries.len() as u64);
                tracing::warn!(
                    endpoint = %endpoint.settings.name, %error, lost = entries.len(),
                    "pulls could not be queued as notifications"
                );
            }
        }
    }

    fn entries(&self, endpoint: &Endpoint, events: &[Queued]) -> Vec<Entry> {
        let now = (self.environment.now)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wanted = events.iter().filter(|event| endpoint.wants(event));
        // What we have made of strings and numbers can be written as JSON.
        let bodies = wanted.filter_map(|event| serde_json::to_vec(event).ok());
        bodies.map(|body| Entry { seconds: now.as_secs(), body }).collect()
    }
}

fn open_endpoint(
    disk: &Arc<Disk>,
    settings: EndpointSettings,
    generation: crate::Generation,
    limits: Limits,
    environment: Environment,
) -> Result<Endpoint, NotifyError> {
    let poster = Poster::new(&settings, generation)
        .map_err(|reason| NotifyError::Endpoint { name: settings.name.clone(), reason })?;
    let directory = directory_of(&settings.name);
    let (queue, dropped) = Queue::open(disk, &directory, limits)?;
    let endpoint = Endpoint {
        settings,
        generation,
        environment,
        disk: Arc::clone(disk),
        directory,
        queue,
        poster,
        counters: Counters::default(),
        arrived: Notify::new(),
        told_of_full: AtomicBool::new(false),
    };
    endpoint.dropped(dropped);
    let pending = endpoint.queue.pending();
    if pending > 0 {
        tracing::info!(endpoint = %endpoint.settings.name, pending, "notifications of before are still to be delivered");
    }
    Ok(endpoint)
}

fn directory_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(utf8_percent_encode(name, PLAIN).to_string())
}

/// Whoever renames an endpoint should know that its queue isn't renamed with it.
fn warn_of_others(disk: &Disk, endpoints: &[Arc<Endpoint>]) -> Result<(), StorageError> {
    let known: HashSet<PathBuf> = endpoints.iter().map(|endpoint| endpoint.directory.clone()).collect();
    for entry in disk.list(Path::new(DIRECTORY))?.unwrap_or_default() {
        let directory = Path::new(DIRECTORY).join(&entry.name);
        if !known.contains(&directory) {
            tracing::warn!(
                directory = %disk.root().join(&directory).display(),
                "notifications were queued here for an endpoint that is not configured, and are not delivered; \
                 remove the directory if they aren't wanted"
            );
        }
    }
    Ok(())
}
