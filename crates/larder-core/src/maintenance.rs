use std::time::{Duration, SystemTime};

use larder_meta::StaleUpload;
use tokio_util::sync::CancellationToken;

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// When abandoned upload sessions are removed (registry:2's `storage.maintenance.uploadpurging`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPurging {
    /// Whether they are at all.
    pub enabled: bool,
    /// How long nothing must have happened in a session.
    pub age: Duration,
    /// How often to look.
    pub interval: Duration,
    /// Only say what would be removed.
    pub dry_run: bool,
}

/// How long after the start the first purge runs, so that it doesn't compete with the first requests.
const FIRST_PURGE: Duration = Duration::from_secs(60);

/// How often to look for blobs that had begun to arrive and that nobody goes on with.
const BETWEEN_LOOKS_AT_FILLS: Duration = Duration::from_secs(3600);

impl Registry {
    /// The registry's background work; returns when `stop` is cancelled and the work at hand is done.
    pub async fn maintain(&self, stop: CancellationToken) {
        if let Err(error) = self.blocking(|inner| Ok(inner.meta.reserve_room()?)).await {
            log("no room could be kept for the index", &error);
        }
        self.begin_to_count_pulls().await;
        self.adopt_what_registry_2_fetched().await;
        self.read_all_into_index(&stop).await;
        tokio::join!(
            self.purge_uploads_regularly(&stop),
            self.collect_regularly(&stop),
            self.forget_abandoned_fills_regularly(&stop),
            self.evict_regularly(&stop),
            self.warm_regularly(&stop),
            self.retain_regularly(&stop)
        );
    }

    /// Retention asks it when it is first applied, which may be long after the first pull that was noted.
    async fn begin_to_count_pulls(&self) {
        let begun = self.blocking(|inner| Ok(inner.meta.pulls_known_since((inner.environment.now)())?)).await;
        if let Err(error) = begun {
            log(
                "it can't be noted since when pulls are counted; to retention they count from later on",
                &error,
            );
        }
    }

    /// Only where somebody owns the root: only such a registry:2 fetches, and only then it matters here.
    async fn adopt_what_registry_2_fetched(&self) {
        if self.upstreams().places().iter().all(|place| place.prefix.is_some()) {
            return;
        }
        if let Err(error) = self.adopt_copies().await {
            log(
                "what registry:2 had fetched could not be taken over; it counts as pushed until the next start",
                &error,
            );
        }
    }

    async fn read_all_into_index(&self, stop: &CancellationToken) {
        let outcome = self.stoppable(stop, |inner, stop| Ok(inner.meta.reconcile_all(stop)?)).await;
        if let Err(error) = outcome {
            log("the index could not be compared with the files", &error);
        }
    }

    async fn purge_uploads_regularly(&self, stop: &CancellationToken) {
        let purging = self.inner.settings.upload_purging.clone();
        if !purging.enabled {
            return stop.cancelled().await;
        }
        let mut wait = FIRST_PURGE.min(purging.interval);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if let Err(error) = self.purge_uploads().await {
                log("abandoned uploads could not be purged", &error);
            }
            wait = purging.interval.max(Duration::from_secs(1));
        }
    }

    async fn forget_abandoned_fills_regularly(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN_LOOKS_AT_FILLS) => {}
            }
            if let Err(error) = self.forget_abandoned_fills().await {
                log("what had begun to arrive from upstreams could not be forgotten", &error);
            }
        }
    }

    /// Removes the upload sessions in which nothing has happened for the configured time; gives how
    /// many. Works in read-only mode too, as in registry:2.
    pub async fn purge_uploads(&self) -> Result<usize, RegistryError> {
        self.blocking(Inner::purge_uploads).await
    }
}

impl Inner {
    fn purge_uploads(&self) -> Result<usize, RegistryError> {
        let purging = &self.settings.upload_purging;
        // A clock that stands before its own past purges nothing.
        let Some(before) = (self.environment.now)().checked_sub(purging.age) else { return Ok(0) };
        let mut purged = 0;
        for upload in self.meta.stale_uploads(before)? {
            match self.purge_upload(&upload, before) {
                Ok(removed) => purged += usize::from(removed),
                // The others are not kept for it; it is tried again the next time.
                Err(error) => tracing::warn!(
                    repository = %upload.repository, upload = %upload.id, %error,
                    cause = ?std::error::Error::source(&error), "an abandoned upload could not be removed"
                ),
            }
        }
        Ok(purged)
    }

    fn purge_upload(&self, upload: &StaleUpload, before: SystemTime) -> Result<bool, RegistryError> {
        let (repository, id, purging) = (&upload.repository, upload.id, &self.settings.upload_purging);
        // Whatever the clock says, a session that a request works on is not abandoned; and none may
        // begin to while this one holds the turn.
        let Some(_change) = self.begin_change() else { return Ok(false) };
        let Some(mut turn) = self.sessions.take_if_idle(repository, id) else { return Ok(false) };
        let last_used = self.meta.upload_last_used(repository, id)?;
        if last_used >= before {
            return Ok(false);
        }
        let idle = before.duration_since(last_used).unwrap_or_default() + purging.age;
        tracing::info!(
            %repository, upload = %id, idle_hours = idle.as_secs() / 3600, dry_run = purging.dry_run,
            "an abandoned upload is removed"
        );
        if purging.dry_run {
            return Ok(false);
        }
        drop(turn.take_staged());
        let removed = self.meta.remove_upload(repository, id)?;
        // Only what is gone may be forgotten: two turns at what is left would not know of each other.
        self.sessions.forget(repository, id);
        Ok(removed)
    }
}

fn log(message: &str, error: &RegistryError) {
    tracing::error!(error = %error, cause = ?std::error::Error::source(error), "{message}");
}
