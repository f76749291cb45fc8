//! Blobs that are passed on from an upstream without being kept, as there is no room for them or nothing may be written.
//!
//! Nobody shares such a blob: every reader has a connection of his own to the upstream, at his own pace. The upstream is
//! asked once for each: what the fill was answered before it found no room is the first reader's.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use larder_oci::{ByteRange, Digest, Hasher, RepoName};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::counters::Counters;
use super::growing::{Growing, Way};
use super::patience::Patience;
use crate::error::RegistryError;
use crate::pull::{Blob, BlobContent};
use crate::registry::Registry;
use crate::upstream::{BlobChunks, BlobStream, UpstreamError, UpstreamFailure};
use crate::upstreams::UpstreamRepository;

/// One reader's connection.
pub(super) struct Passing {
    connection: Mutex<Connection>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Connection {
    chunks: Option<Box<dyn BlobChunks>>,
    /// Where the next chunk begins.
    at: u64,
    /// Of all that came before, if it began at the blob's start.
    hasher: Option<Hasher>,
    /// What came since the connection was last made.
    brought: u64,
    patience: Patience,
}

impl Registry {
    /// A blob that can't be kept because of `why`, straight from its upstream: by this answer of it, or by one that is
    /// asked for.
    ///
    /// # Errors
    /// Those of the upstream; `why`, if the upstream doesn't say how long the blob is: then it can't be announced.
    pub(super) async fn pass_on(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
        why: RegistryError,
        answer: Option<BlobStream>,
        deadline: Instant,
    ) -> Result<Option<Blob>, RegistryError> {
        let answer = match answer {
            Some(answer) => Some(answer),
            None => {
                let asked = source.upstream.blob(&source.repository, digest, 0);
                timeout_at(deadline, asked).await.map_err(|_| source.still_silent())??
            }
        };
        let Some(BlobStream { size, from, chunks }) = answer else { return Ok(None) };
        let Some(size) = size else { return Err(why) };
        // Of no bytes nobody would ever see that they are wrong.
        if from != 0 || (size == 0 && *digest != Digest::of(digest.algorithm(), b"")) {
            return Err(source
                .error(UpstreamFailure::Garbled, "it answered with other than the blob")
                .into());
        }
        tracing::warn!(%repository, %digest, %why, "a blob is passed on from its upstream and not kept");
        let connection = Connection {
            chunks: Some(chunks),
            hasher: Some(Hasher::new(digest.algorithm())),
            ..Connection::default()
        };
        let counters = Arc::clone(&self.inner.cache.counters);
        let way = Way::Passed(Box::new(Passing { connection: Mutex::new(connection), counters }));
        let growing = Growing { way, size, source: source.clone(), digest: *digest };
        Ok(Some(Blob { digest: *digest, content: BlobContent::Growing(Arc::new(growing)) }))
    }
}

impl Passing {
    /// The next bytes of this stretch, from its start on. Those that the blob ends with are given out only if all of it
    /// hashes to the digest; where a reader begins in the middle nothing can tell.
    pub(super) async fn next(&self, blob: &Growing, range: ByteRange) -> io::Result<Bytes> {
        let mut connection = self.connection.lock().await;
        loop {
            let ended = match connection.next(blob, range.start).await {
                Ok(Some(mut chunk)) => {
                    self.counters.fetched(chunk.len() as u64);
                    connection.check(blob, &chunk)?;
                    let wanted = usize::try_from(range.length()).unwrap_or(usize::MAX);
                    if chunk.len() > wanted {
                        // The next stretch, if there is one, begins with a connection of its own.
                        chunk.truncate(wanted);
                        connection.chunks = None;
                    }
                    return Ok(chunk);
                }
                Ok(None) => blob.source.error(
                    UpstreamFailure::Cut,
                    &format!("the blob {} ended after {} bytes, too early", blob.digest, connection.at),
                ),
                Err(error) => error,
            };
            connection.chunks = None;
            let (brought, left) =
                (std::mem::take(&mut connection.brought), blob.size.saturating_sub(connection.at));
            let wait = connection.patience.after(brought, Some(left + brought));
            let Some(wait) = wait.filter(|_| super::fill::is_worth_another_try(&ended)) else {
                return Err(io::Error::other(ended));
            };
            sleep(wait).await;
        }
    }
}

impl Connection {
    /// The next chunk that isn't empty, of a connection that is made if need be.
    async fn next(&mut self, blob: &Growing, from: u64) -> Result<Option<Bytes>, UpstreamError> {
        if self.at != from {
            (self.chunks, self.at, self.hasher) = (None, from, None);
        }
        let UpstreamRepository { upstream, repository, .. } = &blob.source;
        let mut skip = 0;
        let chunks = match &mut self.chunks {
            Some(chunks) => chunks,
            none => {
                let garbled = |what: &str| blob.source.error(UpstreamFailure::Garbled, what);
                let stream = upstream.blob(repository, &blob.digest, from).await?;
                let stream = stream.ok_or_else(|| garbled("it no longer has the blob"))?;
                if stream.from > from || stream.size.is_some_and(|size| size != blob.size) {
                    return Err(garbled("it answered with another part, or a blob of another length"));
                }
                skip = from - stream.from;
                none.insert(stream.chunks)
            }
        };
        loop {
            let Some(mut chunk) = chunks.next().await? else { return Ok(None) };
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            let chunk = chunk.split_off(usize::try_from(passed).unwrap_or_default());
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    /// Counts and hashes a chunk.
    fn check(&mut self, blob: &Growing, chunk: &Bytes) -> io::Result<()> {
        let Growing { source, digest, size, .. } = blob;
        let garbled = |what: String| io::Error::other(source.error(UpstreamFailure::Garbled, &what));
        self.at += chunk.len() as u64;
        self.brought += chunk.len() as u64;
        if self.at > *size {
            return Err(garbled(format!("it sent more of {digest} than it said")));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(chunk);
        }
        if self.at == *size
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != *digest {
                return Err(garbled(format!("what it sent hashes to {found}, not to {digest}")));
            }
        }
        Ok(())
    }
}
