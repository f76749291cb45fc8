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

use larder_oci::{Digest, RepoName};
use larder_storage::{Arriving, Staged};
use tokio::sync::watch;

use super::counters::Counters;
use super::intake::Intake;
use super::patience::Patience;
use crate::collect::Thing;
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::upstream::{BlobStream, UpstreamError, UpstreamFailure};
use crate::upstreams::UpstreamRepository;

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
    unkept: Mutex<Option<BlobStream>>,
}

/// The repositories that are to hold a blob.
pub(super) struct Wanted {
    pub(super) repositories: Vec<RepoName>,
    /// It is too late to become one of them.
    pub(super) is_closed: bool,
}

/// What came of one connection.
pub(super) enum Ended {
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
        Fill { stages, counters, wanted_in: Mutex::new(wanted), unkept: Mutex::default() }
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

    /// Whether anybody waits for it.
    pub(super) fn is_read(&self) -> bool {
        self.stages.receiver_count() > 0
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream's answer that there was no room for, from the blob's start on: for the one who asks first, so that
    /// he needn't ask the upstream again.
    pub(super) fn take_unkept(&self) -> Option<BlobStream> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn leave_unkept(&self, stream: BlobStream) {
        let was_told = !matches!(&*self.stages.borrow(), Stage::Asking);
        // Whoever was told that it comes waits for the file and will never ask for this; nor is a part of use to anybody.
        if !was_told && stream.from == 0 {
            *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        }
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
        let arrive = || self.registry.blocking(move |inner| Ok(inner.blobs.arrive(&digest)?));
        let Arriving { mut staged, mut reader } = arrive().await?;
        let mut size = None;
        // What an earlier fill left may be all, or may be rubbish of any length.
        let mut is_left_over = staged.length() > 0;
        if is_left_over && staged.hashes_to(&digest) {
            return self.finish_left_over(staged, reader).await;
        }
        let mut patience = Patience::default();
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
            let brought = kept.length().saturating_sub(length);
            if is_left_over && size.is_none() && brought == 0 && !is_worth_another_try(&error) {
                // It may be the range that it refuses: once more, with nothing to go on from.
                drop(kept);
                self.forget().await?;
                Arriving { staged, reader } = arrive().await?;
                is_left_over = false;
                continue;
            }
            let was_left = size.map(|size| size.saturating_sub(length));
            let wait = patience.after(brought, was_left).filter(|_| is_worth_another_try(&error));
            let Some(wait) = wait else { return Err(error.into()) };
            tracing::debug!(
                %digest, upstream = self.source.upstream.name(), %error, arrived = kept.length(),
                "a blob's connection broke; it is asked for again"
            );
            staged = kept;
            self.pause(wait).await?;
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
            Err(error) => {
                if error.keeps_from_writing() {
                    self.fill.leave_unkept(stream);
                }
                return (None, Ended::Failed(error));
            }
        };
        self.fill.tell(Stage::Arriving { size: *size, arrived: length, file: Arc::clone(file) });
        Intake::new(self, staged, &stream, *size).run(stream.chunks).await
    }

    pub(super) async fn forget(&self) -> Result<(), RegistryError> {
        let digest = self.digest;
        self.registry.blocking(move |inner| Ok(inner.blobs.forget_arriving(&digest)?)).await
    }

    pub(super) fn garbled(&self, what: &str) -> UpstreamError {
        self.source.error(UpstreamFailure::Garbled, what)
    }

    pub(super) fn cut(&self, arrived: u64) -> UpstreamError {
        let what = format!("the blob {} ended after {arrived} bytes, too early", self.digest);
        self.source.error(UpstreamFailure::Cut, &what)
    }

    pub(super) fn stopped(&self) -> UpstreamError {
        self.source.error(UpstreamFailure::Cut, "Larder is stopping; the blob goes on after its next start")
    }
}

/// Whether the same question may get an answer a moment later.
pub(super) fn is_worth_another_try(error: &UpstreamError) -> bool {
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
