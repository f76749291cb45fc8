//! When what is posted: one task an endpoint, strictly in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use larder_core::Environment;
use larder_storage::{Disk, StorageError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, EndpointSnapshot};
use crate::event::{Action, Queued};
use crate::post::{Answer, Poster};
use crate::queue::{Entry, Head, Kind, Line, Queue};
use crate::refused;
use crate::settings::{EndpointSettings, Generation};

/// The longest pause between two attempts, unless `backoff` is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// How long an event that its endpoint refuses stands at the head of the queue: a day, in which somebody may
/// mend the endpoint, or its password.
pub(crate) const REFUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// And how often it has been refused at least, for instance if it is older than that when it is first sent.
pub(crate) const REFUSED_TIMES: u32 = 3;

/// How long a stop waits for the request under way.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// How long to wait before the queue's file is read again after that failed.
const DISK_PAUSE: Duration = Duration::from_secs(10);

pub(crate) struct Endpoint {
    pub(crate) settings: EndpointSettings,
    pub(crate) generation: Generation,
    pub(crate) environment: Environment,
    pub(crate) disk: Arc<Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) queue: Queue,
    pub(crate) poster: Poster,
    pub(crate) counters: Counters,
    pub(crate) arrived: Notify,
    /// Whether the log says already that the queue is full.
    pub(crate) told_of_full: AtomicBool,
}

/// Why the queue could not be worked on.
#[derive(Debug, thiserror::Error)]
enum OnDiskError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("an internal task failed")]
    Task(#[from] tokio::task::JoinError),
}

/// How delivery goes at the moment.
#[derive(Default)]
struct Course {
    /// Attempts since the last success.
    failures: u32,
    /// How often the event at the head was refused.
    refusals: u32,
}

impl Endpoint {
    pub(crate) fn wants(&self, event: &Queued) -> bool {
        self.wants_action(event.action)
            && !self.settings.ignored_media_types.iter().any(|ignored| ignored == event.media_type())
    }

    pub(crate) fn wants_action(&self, action: Action) -> bool {
        !self.settings.ignored_actions.contains(&action)
    }

    /// Queues events; the caller waits for the syncs that it is given.
    pub(crate) fn queue(
        &self,
        kind: Kind,
        entries: &[Entry],
    ) -> Result<Vec<larder_storage::AppendedSync>, StorageError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.queue.append(kind, entries)?;
        self.counters.count(|counted| counted.events += entries.len() as u64);
        self.dropped(written.dropped);
        self.arrived.notify_one();
        Ok(written.durable)
    }

    /// Events were lost: the log says so when it begins, the counter how many.
    pub(crate) fn dropped(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.counters.count(|counted| counted.dropped += count);
        if !self.told_of_full.swap(true, Ordering::SeqCst) {
            tracing::error!(
                endpoint = %self.settings.name, lost = count,
                "the queue of notifications is full: the oldest are forgotten until its endpoint takes them again"
            );
        }
    }

    pub(crate) fn snapshot(&self) -> EndpointSnapshot {
        let mut snapshot = self.counters.snapshot();
        self.settings.name.clone_into(&mut snapshot.name);
        snapshot.pending = self.queue.pending() as u64;
        snapshot
    }

    /// Runs what blocks on a thread for it.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Endpoint) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, OnDiskError> {
        let endpoint = Arc::clone(self);
        Ok(tokio::task::spawn_blocking(move || work(&endpoint)).await??)
    }

    /// Delivers until `stop` is cancelled; what is left stays queued.
    pub(crate) async fn deliver(self: Arc<Self>, stop: CancellationToken) {
        let mut course = Course::default();
        while !stop.is_cancelled() {
            let line = match self.on_disk(|endpoint| endpoint.queue.head()).await {
                Ok(Some(Head::Event(line))) => line,
                Ok(Some(Head::Damaged(number))) => {
                    tracing::error!(
                        endpoint = %self.settings.name, number,
                        "a queued notification is damaged on the disk and is passed over"
                    );
                    self.finish(number).await;
                    continue;
                }
                Ok(None) => {
                    self.told_of_full.store(false, Ordering::SeqCst);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = self.arrived.notified() => {}
                    }
                    continue;
                }
                Err(error) => {
                    tracing::error!(
                        endpoint = %self.settings.name, %error, cause = ?std::error::Error::source(&error),
                        "queued notifications can't be read"
                    );
                    sleep(DISK_PAUSE, &stop).await;
                    continue;
                }
            };
            let Some(answer) = self.attempt(&line, &stop).await else { continue };
            let pause = self.weigh(&line, answer, &mut course).await;
            sleep(pause, &stop).await;
        }
    }

    /// One request. `None` when there is nothing to send, or no answer came until the stop had waited long enough.
    async fn attempt(self: &Arc<Self>, line: &Line, stop: &CancellationToken) -> Option<Answer> {
        let event = serde_json::from_slice::<Queued>(&line.body);
        let body = match event.and_then(|event| event.envelope(self.generation)) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(
                    endpoint = %self.settings.name, number = line.number, %error,
                    "a queued notification can't be understood and is passed over"
                );
                self.finish(line.number).await;
                return None;
            }
        };
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_REQUEST).await;
        };
        tokio::select! {
            answer = self.poster.post(body) => Some(answer),
            () = over => None,
        }
    }

    /// Draws the conclusions; gives how long to wait before the next attempt.
    async fn weigh(self: &Arc<Self>, line: &Line, answer: Answer, course: &mut Course) -> Duration {
        self.count(&answer);
        let name = &self.settings.name;
        let (status, why) = match answer {
            Answer::Taken(_) => {
                if course.failures >= self.settings.threshold {
                    tracing::info!(
                        endpoint = %name, pending = self.queue.pending(),
                        "notifications are delivered again"
                    );
                }
                *course = Course::default();
                self.finish(line.number).await;
                return Duration::ZERO;
            }
            Answer::Refused(status) => {
                course.refusals += 1;
                if course.refusals >= REFUSED_TIMES && self.age(line) >= REFUSED_FOR {
                    self.set_aside(line, status).await;
                    course.refusals = 0;
                    return Duration::ZERO;
                }
                (Some(status), "it refuses the event".to_owned())
            }
            Answer::Failed(status, why) => (Some(status), why),
            Answer::None(why) => (None, why),
        };
        course.failures = course.failures.saturating_add(1);
        if course.failures == self.settings.threshold {
            tracing::warn!(
                endpoint = %name, status = status.map(|status| status.as_u16()), reason = %why,
                "notifications can't be delivered; they wait in the queue, and are tried again less and less often"
            );
        }
        pause(course.failures, self.settings.threshold, self.settings.backoff)
    }

    fn count(&self, answer: &Answer) {
        self.counters.count(|counted| {
            let status = match answer {
                Answer::Taken(status) => {
                    counted.successes += 1;
                    status
                }
                Answer::Refused(status) | Answer::Failed(status, _) => {
                    counted.failures += 1;
                    status
                }
                Answer::None(_) => {
                    counted.errors += 1;
                    return;
                }
            };
            *counted.statuses.entry(status.as_u16()).or_default() += 1;
        });
    }

    fn age(&self, line: &Line) -> Duration {
        let happened = SystemTime::UNIX_EPOCH + Duration::from_secs(line.seconds);
        (self.environment.now)().duration_since(happened).unwrap_or_default()
    }

    async fn set_aside(self: &Arc<Self>, line: &Line, status: StatusCode) {
        tracing::error!(
            endpoint = %self.settings.name, status = status.as_u16(), file = %self.directory.join("refused").display(),
            "a notification was refused for a day and is set aside"
        );
        let body = line.body.clone();
        let set_aside = self.on_disk(move |endpoint| {
            refused::set_aside(&endpoint.disk, &endpoint.directory, status.as_u16(), &body)
        });
        if let Err(error) = set_aside.await {
            tracing::error!(endpoint = %self.settings.name, %error, "the refused notification could not be kept");
        }
        self.counters.count(|counted| counted.refused += 1);
        self.finish(line.number).await;
    }

    async fn finish(self: &Arc<Self>, number: u64) {
        if let Err(error) = self.on_disk(move |endpoint| endpoint.queue.finish(number)).await {
            tracing::warn!(
                endpoint = %self.settings.name, %error,
                "a delivered notification can't be noted as such; after a restart it would be sent again"
            );
        }
    }
}

/// The pause after so many failures in a row: none until `threshold`, then `backoff`, twice that, and so on.
pub(crate) fn pause(failures: u32, threshold: u32, backoff: Duration) -> Duration {
    let Some(beyond) = failures.checked_sub(threshold.max(1)) else { return Duration::ZERO };
    let grown = backoff.saturating_mul(2_u32.saturating_pow(beyond.min(31)));
    grown.min(LONGEST_PAUSE.max(backoff))
}

async fn sleep(pause: Duration, stop: &CancellationToken) {
    if pause.is_zero() {
        return;
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}

#[cfg(test)]
mod tests;
