use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use larder_oci::{ByteRange, Digest};
use tokio::sync::watch;

use super::fill::{Fill, Stage};
use super::passing::Passing;
use crate::upstreams::UpstreamRepository;

/// A stretch that begins so far behind what has arrived is fetched on its own, if it is small: its reader looks at
/// the end of a large layer and mustn't wait for the whole of it. Nearer ones will be here sooner than asked for.
const FAR_AHEAD: u64 = 8 << 20;

/// The longest stretch that is fetched on its own, in bytes: it is held in memory.
const LONGEST_ASIDE: u64 = 1 << 20;

/// A blob that is still arriving from its upstream.
///
/// Its last byte is given out only after the whole was hashed: whoever has received as many bytes as the blob
/// has can rely on them as on any other blob's. What arrives wrong ends in an error instead, and the reader's
/// connection must be cut.
pub struct Growing {
    pub(super) way: Way,
    pub(super) size: u64,
    pub(super) source: UpstreamRepository,
    pub(super) digest: Digest,
}

/// How its bytes come.
pub(super) enum Way {
    /// By the file that a fill writes.
    Kept { file: Arc<File>, stages: watch::Receiver<Stage>, fill: Arc<Fill> },
    /// Straight from the upstream.
    Passed(Box<Passing>),
}

/// The next bytes of a stretch.
#[derive(Debug)]
pub enum Arrived {
    /// They can be read from the file, up to this offset.
    Until(u64),
    /// These are they.
    Bytes(Bytes),
}

/// What [`Growing::wait`] gives.
pub type ArrivedFuture = Pin<Box<dyn Future<Output = io::Result<Arrived>> + Send>>;

impl Growing {
    /// The whole blob's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file that grows and up to which offset it may be read now; `None` where there is none.
    pub fn at_hand(&self) -> io::Result<Option<(&Arc<File>, u64)>> {
        match &self.way {
            Way::Kept { file, stages, .. } => Ok(Some((file, readable(&stages.borrow(), self.size)?))),
            Way::Passed(_) => Ok(None),
        }
    }

    /// Waits until bytes of this stretch, from its start on, can be had.
    ///
    /// # Errors
    /// They never will: the upstream failed, or what it sent is wrong.
    pub fn wait(self: &Arc<Growing>, range: ByteRange) -> ArrivedFuture {
        let growing = Arc::clone(self);
        Box::pin(async move { growing.wait_for(range).await })
    }

    async fn wait_for(&self, range: ByteRange) -> io::Result<Arrived> {
        let (stages, fill) = match &self.way {
            Way::Kept { stages, fill, .. } => (stages, fill),
            Way::Passed(passing) => return passing.next(self, range).await.map(Arrived::Bytes),
        };
        let mut stages = stages.clone();
        let readable_now = readable(&stages.borrow_and_update(), self.size)?;
        if readable_now <= range.start
            && range.start - readable_now >= FAR_AHEAD
            && range.length() <= LONGEST_ASIDE
        {
            return self.fetch_aside(fill, range).await.map(Arrived::Bytes);
        }
        loop {
            let readable = readable(&stages.borrow_and_update(), self.size)?;
            if readable > range.start {
                return Ok(Arrived::Until(readable.min(range.end)));
            }
            stages.changed().await.map_err(|_| io::Error::other("the fill was given up"))?;
        }
    }

    /// Asks the upstream for this stretch alone. Nothing can tell whether its bytes are right, as with any part of a
    /// blob; they are not kept.
    async fn fetch_aside(&self, fill: &Fill, range: ByteRange) -> io::Result<Bytes> {
        let UpstreamRepository { upstream, repository, .. } = &self.source;
        let stream = upstream.blob(repository, &self.digest, range.start).await.map_err(io::Error::other)?;
        let Some(mut stream) = stream else {
            return Err(io::Error::other(format!("{} no longer has {}", upstream.name(), self.digest)));
        };
        if stream.from != range.start || stream.size.is_some_and(|size| size != self.size) {
            return Err(io::Error::other(format!("{} answered with another part", upstream.name())));
        }
        let wanted = usize::try_from(range.length()).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        while bytes.len() < wanted {
            match stream.chunks.next().await.map_err(io::Error::other)? {
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        bytes.truncate(wanted);
        fill.counters.fetched(bytes.len() as u64);
        Ok(bytes.freeze())
    }
}

/// Up to which offset a reader may go.
fn readable(stage: &Stage, size: u64) -> io::Result<u64> {
    match stage {
        Stage::Asking | Stage::Missing => Ok(0),
        Stage::Arriving { arrived, .. } => Ok((*arrived).min(size.saturating_sub(1))),
        Stage::Whole { .. } | Stage::Here => Ok(size),
        Stage::Failed(error) => Err(io::Error::other(Arc::clone(error))),
    }
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("digest", &self.digest).field("size", &self.size).finish()
    }
}
