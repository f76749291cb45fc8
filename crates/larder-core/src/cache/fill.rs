//! One blob on its way from an upstream.
//!
//! A fill is a task of its own. It appends to a file beside the store, hashing as it goes; whoever asked reads that
//! file while it grows, each at his own pace. Nobody who leaves stops it, and nobody slow holds it up.
//!
//! A connection that breaks is asked for again from where the file ends. What has arrived stays when the fill fails or
//! the process ends, and the next fill goes on from there; only the hash of the whole says whether it was any good.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use larder_oci::{Digest, RepoName};
use larder_storage::{Arriving, Staged};
use tokio::sync::watch;

use super::counters::Counters;
use crate::collect::Thing;
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::upstream::{BlobChunks, BlobStream, UpstreamError, UpstreamFailure};
use crate::upstreams::UpstreamRepository;

/// Bytes that wait to be written while others are. Larger than what one system call costs, small enough to be held
/// by every fill at once.
const MOST_WAITING: usize = 1 << 20;

/// How often in a row a broken connection is asked for again without a single byte coming of it.
const FRUITLESS_TRIES: u32 = 4;

/// How long after the first broken connection it is asked for again; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How far a fill has come.
#[derive(Clone)]
pub(super) enum Stage {
    /// The upstream hasn't answered yet.
    Asking,
    /// Bytes are coming.
    Arriving { size: Option<u64>, arrived: u64, file: Arc<File> },
    /// All bytes are there and hash to the digest; they are being put in their place.
    Whole { size: u64, file: Arc<File> },
    /// The repositories hold it.
    Here,
    /// The upstream has no such blob.
    Missing,
    /// It came to nothing.
    Failed(Arc<RegistryError>),
}

/// A blob on its way.
pub(crate) struct Fill {
    pub(super) stages: watch::Sender<Stage>,
    pub(super) counters: Arc<Counters>,
    wanted_in: Mutex<Wanted>,
}

/// The repositories that are to hold a blob.
pub(super) struct Wanted {
    pub(super) repositories: Vec<RepoName>,
    /// It is too late to become one of them.
    pub(super) is_closed: bool,
}

/// What came of one connection.
enum Ended {
    Complete,
    Missing,
    /// It may go on from where the file ends.
    Broken(UpstreamError),
    Failed(RegistryError),
}

impl Fill {
    pub(super) fn new(first: RepoName, counters: Arc<Counters>) -> Fill {
        let (stages, _) = watch::channel(Stage::Asking);
        let wanted = Wanted { repositories: vec![first], is_closed: false };
        Fill { stages, counters, wanted_in: Mutex::new(wanted) }
    }

    /// Whether this repository's upstream is known to hold the blob.
    pub(super) fn is_for(&self, repository: &RepoName) -> bool {
        self.wanted().repositories.contains(repository)
    }

    /// Another repository whose upstream holds the blob is to hold it here too. `false` if that is too late.
    pub(super) fn want(&self, repository: &RepoName) -> bool {
        let mut wanted = self.wanted();
        if wanted.repositories.contains(repository) {
            return true;
        }
        if !wanted.is_closed {
            wanted.repositories.push(repository.clone());
        }
        !wanted.is_closed
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, stage: Stage) {
        self.stages.send_replace(stage);
    }
}

/// Everything that a fill works with.
pub(super) struct Filling {
    pub(super) registry: Registry,
    pub(super) fill: Arc<Fill>,
    pub(super) repository: RepoName,
    pub(super) source: UpstreamRepository,
    pub(super) digest: Digest,
}

impl Filling {
    /// Runs to the end and gives the stage that it ends in; `None` if those who read have all that they need.
    pub(super) async fn run(&self) -> Option<Stage> {
        match self.fetch().await {
            Ok(stage) => Some(stage),
            Err(error) => {
                let is_whole = matches!(&*self.fill.stages.borrow(), Stage::Whole { .. });
                tracing::warn!(
                    repository = %self.repository, digest = %self.digest, upstream = self.source.upstream.name(),
                    %error, cause = ?std::error::Error::source(&error), kept = !is_whole,
                    "a blob could not be fetched"
                );
                (!is_whole).then(|| Stage::Failed(Arc::new(error)))
            }
        }
    }

    async fn fetch(&self) -> Result<Stage, RegistryError> {
        let (repository, digest) = (self.repository.clone(), self.digest);
        let (is_linked, is_here) = self
            .registry
            .blocking(move |inner| {
                Ok((inner.blob(&repository, &digest)?.is_some(), inner.has_sound_content(&digest)?))
            })
            .await?;
        if is_linked {
            return Ok(Stage::Here);
        }
        // Another repository holds it. That this one's upstream does too, only that upstream can tell.
        if is_here {
            return self.link_if_upstream_has_it().await;
        }
        self.download().await
    }

    async fn link_if_upstream_has_it(&self) -> Result<Stage, RegistryError> {
        let UpstreamRepository { upstream, repository, .. } = &self.source;
        if upstream.blob_size(repository, &self.digest).await?.is_none() {
            return Ok(Stage::Missing);
        }
        let (digest, fill) = (self.digest, Arc::clone(&self.fill));
        let linked = self
            .registry
            .blocking(move |inner| {
                // Held: nothing refers to it for this repository yet.
                let _hold = inner.collector.fence.hold(vec![Thing::Content(digest)]);
                let Some(content) = inner.blobs.find(&digest)? else { return Ok(false) };
                inner.link_wanted(&fill, &content)?;
                Ok(true)
            })
            .await?;
        // Collected in this very moment.
        if linked { Ok(Stage::Here) } else { self.download().await }
    }

    async fn download(&self) -> Result<Stage, RegistryError> {
        let digest = self.digest;
        let Arriving { mut staged, reader } =
            self.registry.blocking(move |inner| Ok(inner.blobs.arrive(&digest)?)).await?;
        let mut size = None;
        // What an earlier fill left may be all, or may be rubbish of any length.
        let is_left_over = staged.length() > 0;
        if is_left_over && staged.hashes_to(&digest) {
            return self.finish_left_over(staged, reader).await;
        }
        let mut fruitless = 0;
        loop {
            let length = staged.length();
            let (kept, ended) = self.receive(staged, &reader, &mut size).await;
            let error = match ended {
                Ended::Complete => match kept {
                    Some(whole) => return self.finish(whole, reader).await,
                    None => return Err(self.garbled("the file of an arriving blob was lost").into()),
                },
                Ended::Missing => {
                    self.forget().await?;
                    return Ok(Stage::Missing);
                }
                Ended::Failed(error) => {
                    if error.shortage().is_some() {
                        // What has come of it is the very room that is missing.
                        drop(kept);
                        self.forget().await?;
                    }
                    return Err(error);
                }
                Ended::Broken(error) => error,
            };
            let Some(kept) = kept else { return Err(error.into()) };
            if is_left_over && size.is_none() && kept.length() == length && !is_worth_another_try(&error) {
                // It may be the range that it refuses.
                drop(kept);
                self.forget().await?;
                let arriving = self.registry.blocking(move |inner| Ok(inner.blobs.arrive(&digest)?)).await?;
                return self.download_afresh(arriving).await;
            }
            if !is_worth_another_try(&error) {
                return Err(error.into());
            }
            fruitless = if kept.length() > length { 0 } else { fruitless + 1 };
            if fruitless >= FRUITLESS_TRIES {
                return Err(error.into());
            }
            tracing::debug!(
                %digest, upstream = self.source.upstream.name(), %error, arrived = kept.length(),
                "a blob's connection broke; it is asked for again"
            );
            staged = kept;
            self.pause(FIRST_WAIT * 2_u32.saturating_pow(fruitless)).await?;
        }
    }

    /// Once more, with nothing to go on from.
    async fn download_afresh(&self, arriving: Arriving) -> Result<Stage, RegistryError> {
        let (kept, ended) = self.receive(arriving.staged, &arriving.reader, &mut None).await;
        match (ended, kept) {
            (Ended::Complete, Some(whole)) => self.finish(whole, arriving.reader).await,
            (Ended::Complete, None) => Err(self.garbled("the file of an arriving blob was lost").into()),
            (Ended::Missing, _) => Ok(Stage::Missing),
            (Ended::Failed(error), _) => Err(error),
            (Ended::Broken(error), _) => Err(error.into()),
        }
    }

    async fn pause(&self, time: Duration) -> Result<(), RegistryError> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.registry.inner.cache.stop.cancelled() => Err(self.stopped().into()),
        }
    }

    /// All of it had arrived before, in another life.
    async fn finish_left_over(&self, staged: Staged, file: Arc<File>) -> Result<Stage, RegistryError> {
        let UpstreamRepository { upstream, repository, .. } = &self.source;
        match upstream.blob_size(repository, &self.digest).await? {
            Some(_) => self.finish(staged, file).await,
            None => Ok(Stage::Missing),
        }
    }

    /// Takes in what one connection brings. The staged file is given back unless it must be looked at afresh.
    async fn receive(
        &self,
        staged: Staged,
        file: &Arc<File>,
        size: &mut Option<u64>,
    ) -> (Option<Staged>, Ended) {
        let length = staged.length();
        let UpstreamRepository { upstream, repository, .. } = &self.source;
        let asked = tokio::select! {
            asked = upstream.blob(repository, &self.digest, length) => asked,
            () = self.registry.inner.cache.stop.cancelled() => {
                return (Some(staged), Ended::Failed(self.stopped().into()));
            }
        };
        let stream = match asked {
            Ok(Some(stream)) => stream,
            Ok(None) => return (Some(staged), Ended::Missing),
            Err(error) => return (Some(staged), Ended::Broken(error)),
        };
        if stream.from > length || (size.is_some() && stream.size.is_some() && *size != stream.size) {
            let error = self.garbled("it answered with another part, or a blob of another length");
            return (Some(staged), Ended::Broken(error));
        }
        *size = size.or(stream.size);
        if size.is_some_and(|size| length > size) {
            return (Some(staged), Ended::Broken(self.garbled("the blob is shorter than what has arrived")));
        }
        let coming = size.map_or(0, |size| size.saturating_sub(length));
        let staged = match self.with_room(staged, coming).await {
            Ok(staged) => staged,
            Err(error) => return (None, Ended::Failed(error)),
        };
        self.fill.tell(Stage::Arriving { size: *size, arrived: length, file: Arc::clone(file) });
        self.take_in(staged, stream, *size).await
    }

    async fn take_in(
        &self,
        mut staged: Staged,
        stream: BlobStream,
        size: Option<u64>,
    ) -> (Option<Staged>, Ended) {
        let mut skip = staged.length() - stream.from;
        if let Some(size) = size {
            staged.announce(size - staged.length());
        }
        let mut accepted = staged.length();
        let mut waiting: Vec<Bytes> = Vec::new();
        let mut waiting_length = 0;
        let mut idle = Some(staged);
        let mut writing = None;
        let mut next = Some(next_chunk(stream.chunks));
        let mut ended = None;
        loop {
            if writing.is_none() {
                let Some(staged) = idle.take() else { break };
                if waiting.is_empty() {
                    if let Some(ended) = ended {
                        return (Some(staged), ended);
                    }
                    idle = Some(staged);
                } else {
                    let pieces = std::mem::take(&mut waiting);
                    waiting_length = 0;
                    writing = Some(tokio::task::spawn_blocking(move || append(staged, &pieces)));
                }
            }
            let takes_more = ended.is_none() && waiting_length < MOST_WAITING;
            tokio::select! {
                (chunks, chunk) = wait(&mut next), if takes_more => {
                    next = None;
                    match chunk {
                        Ok(Some(chunk)) => {
                            let passed = skip.min(chunk.len() as u64);
                            skip -= passed;
                            let chunk = chunk.slice(usize::try_from(passed).unwrap_or_default()..);
                            accepted += chunk.len() as u64;
                            self.fill.counters.fetched(chunk.len() as u64);
                            if size.is_some_and(|size| accepted > size) {
                                ended = Some(Ended::Failed(self.garbled("it sent more than it said").into()));
                            } else {
                                waiting_length += chunk.len();
                                if !chunk.is_empty() {
                                    waiting.push(chunk);
                                }
                                next = Some(next_chunk(chunks));
                            }
                        }
                        Ok(None) if size.is_none_or(|size| accepted == size) => ended = Some(Ended::Complete),
                        Ok(None) => ended = Some(Ended::Broken(self.cut(accepted))),
                        Err(error) => ended = Some(Ended::Broken(error)),
                    }
                }
                written = wait_for_write(&mut writing), if writing.is_some() => {
                    writing = None;
                    match written {
                        Ok((staged, Ok(()))) => {
                            let arrived = staged.length();
                            self.fill.stages.send_modify(|stage| {
                                if let Stage::Arriving { arrived: told, .. } = stage {
                                    *told = arrived;
                                }
                            });
                            idle = Some(staged);
                        }
                        Ok((_, Err(error))) => return (None, Ended::Failed(error)),
                        Err(error) => return (None, Ended::Failed(RegistryError::Internal(error))),
                    }
                }
                () = self.registry.inner.cache.stop.cancelled(), if ended.is_none() => {
                    ended = Some(Ended::Failed(self.stopped().into()));
                }
            }
        }
        (None, Ended::Failed(self.garbled("the file of an arriving blob was lost").into()))
    }

    pub(super) async fn forget(&self) -> Result<(), RegistryError> {
        let digest = self.digest;
        self.registry.blocking(move |inner| Ok(inner.blobs.forget_arriving(&digest)?)).await
    }

    pub(super) fn garbled(&self, what: &str) -> UpstreamError {
        self.source.error(UpstreamFailure::Garbled, what)
    }

    fn cut(&self, arrived: u64) -> UpstreamError {
        let what = format!("the blob {} ended after {arrived} bytes, too early", self.digest);
        self.source.error(UpstreamFailure::Cut, &what)
    }

    fn stopped(&self) -> UpstreamError {
        self.source.error(UpstreamFailure::Cut, "Larder is stopping; the blob goes on after its next start")
    }
}

type Chunks = Box<dyn BlobChunks>;
type NextChunk =
    std::pin::Pin<Box<dyn Future<Output = (Chunks, Result<Option<Bytes>, UpstreamError>)> + Send>>;

/// The next chunk, and what brings the one after it: kept across other events, so that none is lost.
fn next_chunk(mut chunks: Chunks) -> NextChunk {
    Box::pin(async move {
        let chunk = chunks.next().await;
        (chunks, chunk)
    })
}

async fn wait(next: &mut Option<NextChunk>) -> (Chunks, Result<Option<Bytes>, UpstreamError>) {
    match next {
        Some(next) => next.await,
        None => std::future::pending().await,
    }
}

type Writing = tokio::task::JoinHandle<(Staged, Result<(), RegistryError>)>;

async fn wait_for_write(
    writing: &mut Option<Writing>,
) -> Result<(Staged, Result<(), RegistryError>), tokio::task::JoinError> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

fn append(mut staged: Staged, pieces: &[Bytes]) -> (Staged, Result<(), RegistryError>) {
    let outcome = pieces.iter().try_for_each(|piece| staged.append(piece));
    (staged, outcome.map_err(RegistryError::from))
}

/// Whether the same question may get an answer a moment later.
fn is_worth_another_try(error: &UpstreamError) -> bool {
    match error.failure {
        UpstreamFailure::Unreachable | UpstreamFailure::TimedOut | UpstreamFailure::Cut => true,
        UpstreamFailure::Failed { status } => status >= 500,
        UpstreamFailure::Tls
        | UpstreamFailure::Unauthorized
        | UpstreamFailure::Denied
        | UpstreamFailure::RateLimited { .. }
        | UpstreamFailure::Garbled
        | UpstreamFailure::Offline => false,
    }
}
