//! Upload sessions.
//!
//! A session's truth is its file: its length is how far the client has come, also after a broken
//! connection or a restart. Beside it, in memory only, goes the hash of what the file holds, so that
//! finishing an upload reads nothing again; when that is lost, the file is read once.
//!
//! One request at a time writes a session. A newer one takes it over: a client whose connection died
//! silently comes back on another one, and the old request must not hold the session until some
//! timeout finds out.

mod sessions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_meta::{Exceeded, Limited};
use larder_oci::{Access, Algorithm, ChunkRange, Digest, Push, RepoName, UploadId};
use larder_storage::Staged;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub(crate) use sessions::Sessions;
use sessions::{Held, LaterTurns, Turn};

use crate::collect::Thing;
use crate::error::RegistryError;
use crate::events::{Event, Reporting};
use crate::pause::Change;
use crate::quota::exceeded_in;
use crate::registry::{Inner, Registry};

/// Bytes that are gathered before they go to the disk in one piece: enough that a system call and a
/// thread's wake-up cost nothing beside the hashing, little enough per upload in progress.
const BATCH: usize = 512 << 10;

/// How long a question about a session waits for its writer: long enough for the last batch of a
/// broken connection to reach the disk, not for the end of an upload in progress.
const FLUSH: Duration = Duration::from_secs(2);

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadProgress {
    /// The session.
    pub id: UploadId,
    /// Bytes that it holds.
    pub length: u64,
}

impl Registry {
    /// Starts a session. `algorithm` is the one that the client will name the blob by, if it says so.
    pub async fn start_upload(
        &self,
        access: &Access<Push>,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadProgress, RegistryError> {
        let repository = access.repository().clone();
        let id = UploadId::from_random((self.inner.environment.random)());
        let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
        self.blocking(move |inner| {
            let _change = inner.require_writable()?;
            let now = (inner.environment.now)();
            let staged = inner.meta.create_upload(&repository, id, algorithm, now)?;
            inner.sessions.insert(repository, id, staged, now);
            Ok(UploadProgress { id, length: 0 })
        })
        .await
    }

    /// How far a session has come. While a request writes it, this may be behind; what a request that
    /// broke off had received is counted.
    pub async fn upload_progress(
        &self,
        access: &Access<Push>,
        id: UploadId,
    ) -> Result<UploadProgress, RegistryError> {
        let repository = access.repository().clone();
        self.inner.sessions.wait_until_idle(&repository, id, FLUSH).await;
        self.blocking(move |inner| match inner.meta.upload_length(&repository, id)? {
            Some(length) => Ok(UploadProgress { id, length }),
            None => Err(RegistryError::UploadUnknown { repository, id }),
        })
        .await
    }

    /// Ends a session and forgets its bytes.
    pub async fn cancel_upload(&self, access: &Access<Push>, id: UploadId) -> Result<(), RegistryError> {
        let repository = access.repository().clone();
        // Whoever writes the session is stopped first.
        let turn = self.inner.sessions.take_over(&repository, id).await;
        self.blocking(move |inner| {
            let _change = inner.require_writable()?;
            let removed = inner.meta.remove_upload(&repository, id)?;
            inner.sessions.forget(&repository, id);
            drop(turn);
            if removed { Ok(()) } else { Err(RegistryError::UploadUnknown { repository, id }) }
        })
        .await
    }

    /// Takes over a session to write the next bytes, which must begin where it ends if the client says
    /// where they begin.
    pub async fn write_upload(
        &self,
        access: &Access<Push>,
        id: UploadId,
        chunk: Option<ChunkRange>,
    ) -> Result<UploadWriter, RegistryError> {
        let repository = access.repository().clone();
        let turn = self.inner.sessions.take_over(&repository, id).await;
        let (held, change) = self
            .blocking({
                let repository = repository.clone();
                move |inner| {
                    let change = inner.require_writable()?;
                    Ok((inner.resume(&repository, id, turn)?, Arc::new(change)))
                }
            })
            .await?;
        let length = held.staged().map_or(0, Staged::length);
        if let Some(chunk) = chunk
            && chunk.first != length
        {
            return Err(RegistryError::ChunkOutOfOrder { id, first: chunk.first, length });
        }
        Ok(UploadWriter {
            reporting: self.reporting(access),
            registry: self.clone(),
            before: length,
            largest: self.inner.meta.largest_blob(&repository),
            session: Session { inner: Arc::clone(&self.inner), repository, id, _change: change },
            chunk,
            received: 0,
            batch: Batch::default(),
            later_turns: held.later_turns(),
            state: State::Idle(held),
        })
    }
}

impl Inner {
    /// What the session holds, from memory or by reading its file once.
    fn resume(&self, repository: &RepoName, id: UploadId, mut turn: Turn) -> Result<Held, RegistryError> {
        self.collector.fence.note_activity(repository);
        let known = self.meta.upload_length(repository, id)?;
        let (Some(length), staged) = (known, turn.take_staged()) else {
            self.sessions.forget(repository, id);
            return Err(RegistryError::UploadUnknown { repository: repository.clone(), id });
        };
        // Another program may have written the file since: then what was remembered is worth nothing.
        let unchanged = match &staged {
            Some(staged) => staged.length() == length && staged.is_untouched()?,
            None => false,
        };
        let staged = match staged.filter(|_| unchanged) {
            Some(staged) => staged,
            None => self
                .meta
                .reopen_upload(repository, id, Algorithm::Sha256)?
                .ok_or_else(|| RegistryError::UploadUnknown { repository: repository.clone(), id })?,
        };
        Ok(Held::new(turn, staged, (self.environment.now)()))
    }
}

/// The right to write a session, held by one request.
///
/// Dropped in the middle, because the client left, it still writes what it had received: the client
/// may come back and go on from there.
pub struct UploadWriter {
    registry: Registry,
    reporting: Reporting,
    session: Session,
    chunk: Option<ChunkRange>,
    received: u64,
    /// What the session held before, and the quota that is too small for more than so many bytes.
    before: u64,
    largest: Option<(u64, Arc<str>)>,
    batch: Batch,
    later_turns: LaterTurns,
    state: State,
}

/// Which session is written.
#[derive(Clone)]
struct Session {
    inner: Arc<Inner>,
    repository: RepoName,
    id: UploadId,
    /// Maintenance waits for who writes a session.
    _change: Arc<Change>,
}

#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    length: usize,
}

enum State {
    /// Nothing is being written.
    Idle(Held),
    /// A batch is on its way to the disk.
    Writing(JoinHandle<(Held, Result<(), RegistryError>)>),
    /// A write has failed, or the writer was used up.
    Ended,
}

impl UploadWriter {
    /// Says how many bytes this request is about to bring, before the first; the disk can then lay them out well.
    pub fn announce(&mut self, bytes: u64) {
        if let State::Idle(held) = &mut self.state
            && let Some(staged) = held.staged_mut()
        {
            staged.announce(bytes);
        }
    }

    /// Bytes that the session held before this request.
    pub fn held(&self) -> u64 {
        self.before
    }

    /// Takes in the next bytes. They may reach the disk later; an error of an earlier piece comes here.
    ///
    /// # Cancel safety
    ///
    /// The bytes are taken in also if the future is dropped before it is ready.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        self.received += bytes.len() as u64;
        if let Some(chunk) = self.chunk
            && self.received > chunk.length()
        {
            let (received, claimed) = (self.received, chunk.length());
            return Err(RegistryError::ChunkLength { received, claimed });
        }
        self.check_quota(self.before + self.received).await?;
        self.batch.length += bytes.len();
        self.batch.pieces.push(bytes);
        if self.batch.length >= BATCH {
            let held = self.settle().await?;
            let (session, batch) = (self.session.clone(), std::mem::take(&mut self.batch));
            let write = move || session.append(held, &batch);
            self.state = State::Writing(tokio::task::spawn_blocking(write));
        }
        Ok(())
    }

    /// Completes when a newer request has taken over the session: then stop reading from the client.
    pub async fn taken_over(&self) -> RegistryError {
        self.later_turns.came().await;
        RegistryError::UploadTakenOver { id: self.session.id }
    }

    /// Ends this request's part; the session goes on. All bytes are in the file when this returns.
    pub async fn pause(mut self) -> Result<UploadProgress, RegistryError> {
        self.check_length()?;
        let held = self.settle().await?;
        let (session, batch) = (self.session.clone(), std::mem::take(&mut self.batch));
        let (held, outcome) = tokio::task::spawn_blocking(move || session.append(held, &batch))
            .await
            .map_err(RegistryError::Internal)?;
        outcome?;
        let length = held.staged().map_or(0, Staged::length);
        Ok(UploadProgress { id: self.session.id, length })
    }

    /// Ends the session: what it holds becomes the blob `digest` of the repository; durable when this
    /// returns. If the content hashes otherwise, the session stays, so that the client may go on.
    pub async fn finish(mut self, digest: &Digest) -> Result<(), RegistryError> {
        self.check_length()?;
        let held = self.settle().await?;
        let batch = std::mem::take(&mut self.batch);
        let (session, digest) = (self.session.clone(), *digest);
        let reporting = self.reporting.clone();
        self.registry
            .blocking(move |inner| {
                let (mut held, outcome) = session.append(held, &batch);
                outcome?;
                let Session { repository, id, .. } = session.clone();
                let Some(staged) = held.take_staged() else {
                    return Err(RegistryError::UploadUnknown { repository, id });
                };
                inner
                    .room_for_blob(&repository, &digest, staged.length())
                    .inspect_err(|error| session.failed(error))?;
                // Published and not yet linked, it looks like garbage.
                let hold = inner.collector.fence.hold(vec![Thing::Content(digest)]);
                inner.collector.fence.promise(&repository, &digest);
                let content = inner.blobs.publish(staged, &digest);
                let content = content.map_err(RegistryError::from).inspect_err(|error| session.failed(error))?;
                if let Err(error) = inner.meta.link_blob(&repository, &content) {
                    drop(hold);
                    let error = RegistryError::from(error);
                    if error.shortage().is_some() {
                        inner.take_back(&digest);
                        session.failed(&error);
                    }
                    return Err(error);
                }
                // The upload is done; what can't be tidied up now is purged later.
                if let Err(error) = inner.meta.remove_upload(&repository, id) {
                    tracing::warn!(%repository, upload = %id, %error, "a finished upload's directory stays behind");
                }
                // Only now may another request look: it finds nothing.
                inner.sessions.forget(&repository, id);
                drop(held);
                let size = content.size();
                reporting.changed(&repository, || vec![Event::BlobPushed { digest, size }])
            })
            .await
    }

    /// A blob that is larger than a whole quota will never find room, whatever its digest; then the session ends.
    async fn check_quota(&mut self, length: u64) -> Result<(), RegistryError> {
        let Some((limit, place)) = self.largest.clone().filter(|(limit, _)| length > *limit) else {
            return Ok(());
        };
        let quotas = self.registry.quotas().await.unwrap_or_default();
        let used = quotas.iter().find(|quota| quota.rule.place == place).map_or(0, |quota| quota.bytes);
        let limited = Limited::Bytes;
        let exceeded = Exceeded { place, limited, used, wanted: length, limit };
        let error = exceeded_in(&self.session.repository, exceeded);
        let held = self.settle().await?;
        self.batch = Batch::default();
        self.session.failed(&error);
        drop(held);
        Err(error)
    }

    fn check_length(&self) -> Result<(), RegistryError> {
        match self.chunk {
            Some(chunk) if chunk.length() != self.received => {
                Err(RegistryError::ChunkLength { received: self.received, claimed: chunk.length() })
            }
            _ => Ok(()),
        }
    }

    /// Waits for the batch that is on its way.
    async fn settle(&mut self) -> Result<Held, RegistryError> {
        // Awaited in its place: if this future is dropped, the task is still known, and what was
        // received after it is written after it.
        if let State::Writing(task) = &mut self.state {
            let ended = task.await;
            self.state = State::Ended;
            let (held, outcome) = ended.map_err(RegistryError::Internal)?;
            return outcome.map(|()| held);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(held) => Ok(held),
            State::Writing(_) | State::Ended => {
                let Session { repository, id, .. } = self.session.clone();
                Err(RegistryError::UploadUnknown { repository, id })
            }
        }
    }
}

impl Drop for UploadWriter {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.pieces.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let session = self.session.clone();
        // Bounded by one batch; the runtime waits for it when it shuts down.
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(held) => drop(runtime.spawn_blocking(move || session.append(held, &batch))),
            State::Writing(task) => drop(runtime.spawn(async move {
                if let Ok((held, Ok(()))) = task.await {
                    let _ = tokio::task::spawn_blocking(move || session.append(held, &batch)).await;
                }
            })),
            State::Ended => {}
        }
    }
}

impl Session {
    /// Writes a batch to the session's file. After an error the file is looked at afresh next time.
    fn append(&self, mut held: Held, batch: &Batch) -> (Held, Result<(), RegistryError>) {
        let outcome = match held.staged_mut() {
            Some(staged) => batch.pieces.iter().try_for_each(|piece| staged.append(piece)),
            None => Ok(()),
        };
        let outcome = outcome.map_err(RegistryError::from);
        if let Err(error) = &outcome {
            drop(held.take_staged());
            self.failed(error);
        }
        (held, outcome)
    }

    /// On a full disk the session goes, whose turn the caller holds: what it has taken in is the very room that is
    /// missing, and would else be held until abandoned uploads are purged. The same where a quota has no room for it. No
    /// client goes on after such an answer; all begin anew.
    fn failed(&self, error: &RegistryError) {
        if !matches!(error, RegistryError::NoSpace(_) | RegistryError::QuotaExceeded { .. }) {
            return;
        }
        match self.inner.meta.remove_upload(&self.repository, self.id) {
            Ok(_) => self.inner.sessions.forget(&self.repository, self.id),
            Err(error) => tracing::warn!(
                repository = %self.repository, upload = %self.id, %error,
                "an upload for which there was no room keeps what it has until it is purged"
            ),
        }
    }
}
