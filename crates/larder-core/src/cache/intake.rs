//! What one connection brings of a blob: received, written and hashed, each while the others go on.
//!
//! Hashing is the slowest of the three, so that it has a thread of its own and those who read the file aren't kept
//! waiting for it: they may have what is written, all but the end.

use std::future::{Future, pending};
use std::pin::Pin;

use bytes::Bytes;
use larder_storage::{Staged, Unhashed};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::fill::{Ended, Filling, Stage};
use super::pace::LOOK_FOR_READERS;
use crate::error::RegistryError;
use crate::upstream::{BlobChunks, BlobStream, UpstreamError};

/// Bytes that were received and aren't hashed yet, at most; one chunk more may be. Enough to keep all three busy,
/// little enough to be held by every fill at once.
const MOST_HELD: usize = 2 << 20;

/// A connection's bytes on their way into the file.
pub(super) struct Intake<'a> {
    filling: &'a Filling,
    /// The whole blob's length, if the upstream says so.
    size: Option<u64>,
    /// What is still to come of bytes that the file has already.
    skip: u64,
    /// How long the file will be with all that was received.
    accepted: u64,
    held: usize,
    /// Received.
    waiting: Vec<Bytes>,
    /// The file, while nobody writes.
    idle: Option<Staged>,
    writing: Option<JoinHandle<Written>>,
    /// Written.
    unhashed: Vec<Unhashed<Bytes>>,
    hashing: Option<JoinHandle<()>>,
    being_hashed: usize,
    /// Nothing is received before, as nobody reads.
    not_before: Option<Instant>,
    /// How the connection ended.
    ended: Option<Ended>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        filling: &'a Filling,
        mut staged: Staged,
        stream: &BlobStream,
        size: Option<u64>,
    ) -> Intake<'a> {
        let accepted = staged.length();
        if let Some(size) = size {
            staged.announce(size - accepted);
        }
        Intake {
            filling,
            size,
            skip: accepted - stream.from,
            accepted,
            held: 0,
            waiting: Vec::new(),
            idle: Some(staged),
            writing: None,
            unhashed: Vec::new(),
            hashing: None,
            being_hashed: 0,
            not_before: None,
            ended: None,
        }
    }

    /// Takes in all that comes. The staged file is given back, hashed to its end, unless it must be looked at afresh.
    pub(super) async fn run(mut self, chunks: Chunks) -> (Option<Staged>, Ended) {
        let stop = &self.filling.registry.inner.cache.stop;
        let mut next = Some(next_chunk(chunks));
        loop {
            self.start_what_is_free();
            if let Some(over) = self.over() {
                return over;
            }
            let takes_more = self.ended.is_none() && self.held < MOST_HELD && !self.is_paused();
            tokio::select! {
                (chunks, chunk) = ready(&mut next), if takes_more => {
                    next = None;
                    if self.accept(chunk) {
                        next = Some(next_chunk(chunks));
                    }
                }
                written = ready(&mut self.writing), if self.writing.is_some() => {
                    self.writing = None;
                    if let Err(error) = self.written(written) {
                        return (None, Ended::Failed(error));
                    }
                }
                hashed = ready(&mut self.hashing), if self.hashing.is_some() => {
                    self.hashing = None;
                    self.held -= std::mem::take(&mut self.being_hashed);
                    if let Err(error) = hashed {
                        return (None, Ended::Failed(RegistryError::Internal(error)));
                    }
                }
                () = until(self.not_before), if self.not_before.is_some() => self.look_for_readers(),
                () = stop.cancelled(), if self.ended.is_none() => {
                    self.ended = Some(Ended::Failed(self.filling.stopped().into()));
                }
            }
        }
    }

    fn start_what_is_free(&mut self) {
        if !self.waiting.is_empty()
            && let Some(mut staged) = self.idle.take()
        {
            let pieces = std::mem::take(&mut self.waiting);
            self.writing = Some(spawn_blocking(move || {
                let written = staged.write(pieces).map_err(RegistryError::from);
                (staged, written)
            }));
        }
        if self.hashing.is_none() && !self.unhashed.is_empty() {
            let unhashed = std::mem::take(&mut self.unhashed);
            self.being_hashed = unhashed.iter().map(Unhashed::length).sum();
            self.hashing = Some(spawn_blocking(move || unhashed.into_iter().for_each(Unhashed::hash)));
        }
    }

    /// What came of it, once the connection has ended and all that it brought is written and hashed.
    fn over(&mut self) -> Option<(Option<Staged>, Ended)> {
        if self.ended.is_none() || self.held > 0 {
            return None;
        }
        let ended = self.ended.take()?;
        Some((self.idle.take(), ended))
    }

    /// Takes a chunk; `false` if it is the last that is wanted.
    fn accept(&mut self, chunk: Result<Option<Bytes>, UpstreamError>) -> bool {
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                let is_all = self.size.is_none_or(|size| self.accepted == size);
                let cut = || Ended::Broken(self.filling.cut(self.accepted));
                self.ended = Some(if is_all { Ended::Complete } else { cut() });
                return false;
            }
            Err(error) => {
                self.ended = Some(Ended::Broken(error));
                return false;
            }
        };
        let passed = self.skip.min(chunk.len() as u64);
        self.skip -= passed;
        let chunk_length = chunk.len();
        let chunk = chunk.slice(usize::try_from(passed).unwrap_or_default()..);
        self.accepted += chunk.len() as u64;
        self.filling.fill.counters.fetched(chunk.len() as u64);
        if self.size.is_some_and(|size| self.accepted > size) {
            self.ended = Some(Ended::Failed(self.filling.garbled("it sent more than it said").into()));
            return false;
        }
        self.held += chunk.len();
        if !chunk.is_empty() {
            self.waiting.push(chunk);
        }
        if !self.filling.fill.is_read() {
            let background = &self.filling.registry.inner.cache.background;
            self.not_before = background.reserve(chunk_length as u64, Instant::now());
        }
        true
    }

    fn written(&mut self, written: Result<Written, JoinError>) -> Result<(), RegistryError> {
        let (staged, unhashed) = written.map_err(RegistryError::Internal)?;
        self.unhashed.push(unhashed?);
        let length = staged.length();
        self.filling.fill.stages.send_modify(|stage| {
            if let Stage::Arriving { arrived, .. } = stage {
                *arrived = length;
            }
        });
        self.idle = Some(staged);
        Ok(())
    }

    fn is_paused(&self) -> bool {
        self.not_before.is_some()
    }

    /// Ends a pause that is over, or has nothing to be for any more.
    fn look_for_readers(&mut self) {
        if self.filling.fill.is_read() || self.not_before.is_none_or(|time| time <= Instant::now()) {
            self.not_before = None;
        }
    }
}

/// The file, and what of it is to be hashed now.
type Written = (Staged, Result<Unhashed<Bytes>, RegistryError>);

type Chunks = Box<dyn BlobChunks>;
type NextChunk = Pin<Box<dyn Future<Output = (Chunks, Result<Option<Bytes>, UpstreamError>)> + Send>>;

/// The next chunk, and what brings the one after it: kept across other events, so that none is lost.
fn next_chunk(mut chunks: Chunks) -> NextChunk {
    Box::pin(async move {
        let chunk = chunks.next().await;
        (chunks, chunk)
    })
}

/// Waits for what is under way, if anything is.
async fn ready<Working: Future + Unpin>(working: &mut Option<Working>) -> Working::Output {
    match working {
        Some(working) => working.await,
        None => pending().await,
    }
}

/// Waits for this time, or for the next look whether anybody reads.
async fn until(time: Option<Instant>) {
    let look = Instant::now() + LOOK_FOR_READERS;
    sleep_until(time.map_or(look, |time| time.min(look))).await;
}
