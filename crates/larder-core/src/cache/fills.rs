//! Which blobs are on their way, and how an asker joins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_oci::{Digest, RepoName};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::fill::{Fill, Filling, Stage};
use super::growing::{Growing, Way};
use crate::error::RegistryError;
use crate::pull::{Blob, BlobContent};
use crate::registry::{Inner, Registry};
use crate::upstream::UpstreamFailure;
use crate::upstreams::UpstreamRepository;

/// Blobs that are fetched at once, read by somebody or not; further ones wait for their turn. Each holds a connection and
/// up to 2 MiB.
const FILLS_AT_ONCE: usize = 64;

/// How often an asker looks again when what he joined ended just before he came.
const LOOKS: usize = 3;

/// The blobs on their way, one fill per digest however many ask and wherever.
pub(crate) struct Fills {
    running: Mutex<HashMap<Digest, Arc<Fill>>>,
    turns: Semaphore,
}

impl Default for Fills {
    fn default() -> Fills {
        Fills { running: Mutex::default(), turns: Semaphore::new(FILLS_AT_ONCE) }
    }
}

impl Fills {
    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.running().len()
    }

    /// Whether this blob is on its way.
    pub(crate) fn is_running(&self, digest: &Digest) -> bool {
        self.running().contains_key(digest)
    }

    /// The blobs of which all bytes are here, and which aren't in their place yet, with their lengths.
    pub(super) fn being_placed(&self) -> Vec<(Digest, u64)> {
        let running = self.running();
        let whole = running.iter().filter_map(|(digest, fill)| match &*fill.stages.borrow() {
            Stage::Whole { size, .. } => Some((*digest, *size)),
            _ => None,
        });
        whole.collect()
    }

    fn of(&self, digest: &Digest) -> Option<Arc<Fill>> {
        self.running().get(digest).cloned()
    }
}

/// Takes a fill off the list when its task ends, however it ends.
struct Listed {
    registry: Registry,
    digest: Digest,
    fill: Arc<Fill>,
    /// What is told in the end; nothing if all who read have what they need.
    last: Option<Stage>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        // Off the list before it is told: who comes after the end looks at the store.
        self.registry.inner.cache.fills.running().remove(&self.digest);
        if let Some(last) = self.last.take() {
            self.fill.stages.send_replace(last);
        }
    }
}

impl Registry {
    /// A blob that this repository lacks, from its upstream: as it arrives. What can't be kept is passed on.
    pub(crate) async fn fetch_blob(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Blob>, RegistryError> {
        let deadline = Instant::now() + source.settings.miss_budget;
        for _ in 0..LOOKS {
            let (fill, first_word) = match self.join_fill(source, repository, digest, deadline).await {
                Ok(Some(fill)) => {
                    let first_word = self.first_word(source, &fill, digest, deadline).await;
                    (Some(fill), first_word)
                }
                Ok(None) => return Ok(None),
                Err(error) => (None, Err(error)),
            };
            let first_word = match first_word {
                Err(why) if why.keeps_from_writing() => {
                    let answer = fill.and_then(|fill| fill.take_unkept());
                    return self.pass_on(source, repository, digest, why, answer, deadline).await;
                }
                first_word => first_word?,
            };
            match first_word {
                FirstWord::Growing(growing) => {
                    return Ok(Some(Blob { digest: *digest, content: BlobContent::Growing(growing) }));
                }
                FirstWord::Missing => return Ok(None),
                FirstWord::Here => {}
            }
            if let Some(blob) = self.stored_blob(repository, digest).await? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Has the blob fetched for this repository, if its upstream holds it, and waits until it is here. `false` if it
    /// can't be had.
    pub(crate) async fn fetch_blob_whole(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        for _ in 0..LOOKS {
            let deadline = Instant::now() + source.settings.miss_budget;
            let Some(fill) = self.join_fill(source, repository, digest, deadline).await? else {
                return Ok(false);
            };
            let mut stages = fill.stages.subscribe();
            drop(fill);
            let is_over = |stage: &Stage| matches!(stage, Stage::Here | Stage::Missing | Stage::Failed(_));
            match stages.wait_for(is_over).await.as_deref() {
                Ok(Stage::Failed(error)) => return Err(RegistryError::Shared(Arc::clone(error))),
                Ok(Stage::Missing) => return Ok(false),
                Ok(_) | Err(_) => {}
            }
            if self.stored_blob(repository, digest).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The blob's fill, begun if need be. `None` if this repository's upstream doesn't hold the blob.
    pub(super) async fn join_fill(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<Option<Arc<Fill>>, RegistryError> {
        loop {
            let fill = self.begin_or_join(source, repository, digest)?;
            if fill.is_for(repository) {
                return Ok(Some(fill));
            }
            // It is on its way for another repository. What is this one's only its own upstream can tell.
            if self.size_upstream(source, repository, digest, deadline).await?.is_none() {
                return Ok(None);
            }
            if fill.want(repository) {
                return Ok(Some(fill));
            }
            // Too late: when it has ended, the next one finds the content here.
            let mut stages = fill.stages.subscribe();
            drop(fill);
            let is_over = |stage: &Stage| matches!(stage, Stage::Here | Stage::Missing | Stage::Failed(_));
            let _ = stages.wait_for(is_over).await;
        }
    }

    fn begin_or_join(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Arc<Fill>, RegistryError> {
        let cache = &self.inner.cache;
        let mut running = cache.fills.running();
        if let Some(fill) = running.get(digest) {
            return Ok(Arc::clone(fill));
        }
        let change = match self.inner.pause.begin() {
            Err(RegistryError::Maintenance { reason, .. }) => {
                return Err(RegistryError::Maintenance { reason, pulling: true });
            }
            change => change?,
        };
        let fill = Arc::new(Fill::new(repository.clone(), Arc::clone(&cache.counters)));
        running.insert(*digest, Arc::clone(&fill));
        drop(running);
        let registry = self.unreported();
        let given_up = RegistryError::from(source.error(UpstreamFailure::Cut, "the fill was given up"));
        let mut listed = Listed {
            registry: registry.clone(),
            digest: *digest,
            fill: Arc::clone(&fill),
            last: Some(Stage::Failed(Arc::new(given_up))),
        };
        let filling = Filling {
            registry,
            fill: Arc::clone(&fill),
            repository: repository.clone(),
            source: source.clone(),
            digest: *digest,
        };
        cache.tasks.spawn(async move {
            // Never closed: it goes with the registry.
            let turn = filling.registry.inner.cache.fills.turns.acquire().await;
            listed.last = filling.run().await;
            drop((listed, turn, change));
        });
        Ok(fill)
    }

    async fn first_word(
        &self,
        source: &UpstreamRepository,
        fill: &Arc<Fill>,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<FirstWord, RegistryError> {
        let mut stages = fill.stages.subscribe();
        let is_answered = |stage: &Stage| !matches!(stage, Stage::Asking);
        match timeout_at(deadline, stages.wait_for(is_answered)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ok(FirstWord::Here),
            Err(_) => return Err(source.still_silent().into()),
        }
        // A blob of which nobody says how long it is can't be announced before all of it is here.
        let has_length = |stage: &Stage| !matches!(stage, Stage::Arriving { size: None, .. });
        if stages.wait_for(has_length).await.is_err() {
            return Ok(FirstWord::Here);
        }
        let stage = stages.borrow_and_update().clone();
        let grows = |file, size| self.grows(source, fill, digest, stages.clone(), file, size);
        match stage {
            Stage::Arriving { size: Some(size), file, .. } | Stage::Whole { size, file } => {
                Ok(FirstWord::Growing(grows(file, size)))
            }
            Stage::Missing => Ok(FirstWord::Missing),
            Stage::Failed(error) => Err(RegistryError::Shared(error)),
            Stage::Here | Stage::Asking | Stage::Arriving { size: None, .. } => Ok(FirstWord::Here),
        }
    }

    fn grows(
        &self,
        source: &UpstreamRepository,
        fill: &Arc<Fill>,
        digest: &Digest,
        stages: watch::Receiver<Stage>,
        file: Arc<std::fs::File>,
        size: u64,
    ) -> Arc<Growing> {
        let (fill, source, digest) = (Arc::clone(fill), source.clone(), *digest);
        Arc::new(Growing { way: Way::Kept { file, stages, fill }, size, source, digest })
    }

    /// A missing blob's length, without fetching it. `Some(None)`: the upstream holds it and doesn't say how long it is.
    pub(crate) async fn size_upstream(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<Option<Option<u64>>, RegistryError> {
        let cache = &self.inner.cache;
        if let Some(fill) = cache.fills.of(digest)
            && fill.is_for(repository)
            && let Stage::Arriving { size: Some(size), .. } | Stage::Whole { size, .. } =
                &*fill.stages.borrow()
        {
            return Ok(Some(Some(*size)));
        }
        let flight = cache.sizes.join(&(repository.clone(), *digest), &cache.tasks, || {
            let (source, digest) = (source.clone(), *digest);
            async move {
                source
                    .upstream
                    .blob_size(&source.repository, &digest)
                    .await
                    .map_err(|error| Arc::new(RegistryError::from(error)))
            }
        });
        match timeout_at(deadline, flight.answer()).await {
            Ok(Some(answer)) => answer.map_err(RegistryError::Shared),
            Ok(None) => Err(source.error(UpstreamFailure::Cut, "the question was given up").into()),
            Err(_) => Err(source.still_silent().into()),
        }
    }
}

enum FirstWord {
    Growing(Arc<Growing>),
    /// Look in the store.
    Here,
    Missing,
}

impl Inner {
    /// Whether the store has this content; small content is read and hashed.
    pub(crate) fn has_sound_content(&self, digest: &Digest) -> Result<bool, RegistryError> {
        use larder_storage::StorageError;
        let Some(content) = self.blobs.find(digest)? else { return Ok(false) };
        if content.size() > crate::recent::LONGEST_KEPT {
            return Ok(true);
        }
        match self.blobs.read(digest, crate::recent::LONGEST_KEPT) {
            Ok(bytes) => Ok(bytes.is_some()),
            Err(StorageError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
