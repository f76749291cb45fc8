//! A blob on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::{BlobChunks, UpstreamError, UpstreamFuture};
use reqwest::Response;
use tokio::sync::OwnedSemaphorePermit;

use crate::ask::Answer;
use crate::mirrors::Mirror;
use crate::remote::RemoteRegistry;
use crate::traffic::Traffic;
use crate::transport::Failed;

/// The bytes of one answer. What was measured of the transfer is kept when it ends, however it ends.
pub(crate) struct Chunks {
    upstream: Arc<str>,
    host: String,
    response: Response,
    mirror: Arc<Mirror>,
    traffic: Arc<Traffic>,
    stall_timeout: Duration,
    begun: Instant,
    /// Spent waiting for the upstream, not for whoever takes the bytes.
    waited: Duration,
    received: u64,
    /// Another blob may be fetched when this is gone.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Chunks {
    pub(crate) fn new(remote: &RemoteRegistry, answer: Answer, turn: Option<OwnedSemaphorePermit>) -> Chunks {
        Chunks {
            upstream: Arc::clone(&remote.name),
            host: answer.host,
            response: answer.response,
            mirror: answer.mirror,
            traffic: Arc::clone(&remote.traffic),
            stall_timeout: remote.settings.stall_timeout,
            begun: Instant::now(),
            waited: Duration::ZERO,
            received: 0,
            _turn: turn,
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let asked = Instant::now();
        let next = tokio::time::timeout(self.stall_timeout, self.response.chunk()).await;
        self.waited += asked.elapsed();
        let failed = match next {
            Ok(Ok(piece)) => {
                let length = piece.as_ref().map_or(0, Bytes::len);
                self.received += length as u64;
                self.traffic.received(length);
                return Ok(piece);
            }
            Ok(Err(error)) => Failed::of(self.response.url(), error),
            Err(_) => Failed::stalled(&self.host, self.stall_timeout),
        };
        // The next attempt begins at another URL, if there is one.
        self.mirror.failed(&failed.words, Instant::now());
        Err(failed.of_upstream(&self.upstream))
    }
}

impl BlobChunks for Chunks {
    fn next(&mut self) -> UpstreamFuture<'_, Option<Bytes>> {
        Box::pin(self.next_chunk())
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.mirror.delivered(self.received, self.waited.min(self.begun.elapsed()));
    }
}
