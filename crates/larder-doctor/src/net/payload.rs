//! What a request carries, and how fast.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Sent at once, at most.
const PIECE: usize = 64 << 10;

/// How fast a body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it is taken.
    Full,
    /// In pieces of this many bytes, with a pause before each but the first.
    Steady {
        /// Bytes.
        piece: usize,
        /// Before the next piece.
        pause: Duration,
    },
    /// Once a pause, after this many bytes.
    Pause {
        /// Bytes.
        after: usize,
        /// Its length.
        pause: Duration,
    },
}

/// A body whose way out can be watched.
pub(crate) struct Payload {
    content: Bytes,
    /// The length that is announced: more than the content when the rest is never sent. `None` for a chunked body.
    announced: Option<u64>,
    pace: Pace,
    place: usize,
    waiting: Option<Pin<Box<Sleep>>>,
    has_paused: bool,
    pub(super) progress: Arc<Progress>,
}

/// How far a body has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: AtomicU64,
}

impl Progress {
    /// Bytes handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Payload {
    /// A body of known length.
    pub(crate) fn whole(content: impl Into<Bytes>) -> Payload {
        let content = content.into();
        let announced = Some(content.len() as u64);
        Payload::new(content, announced, Pace::Full)
    }

    /// No body.
    pub(crate) fn none() -> Payload {
        Payload::whole(Bytes::new())
    }

    /// A body without a length (`Transfer-Encoding: chunked`), as docker sends layers.
    pub(crate) fn chunked(content: impl Into<Bytes>, pace: Pace) -> Payload {
        Payload::new(content.into(), None, pace)
    }

    /// A body that announces more than it ever sends.
    pub(crate) fn announcing(length: u64, content: impl Into<Bytes>) -> Payload {
        Payload::new(content.into(), Some(length), Pace::Full)
    }

    fn new(content: Bytes, announced: Option<u64>, pace: Pace) -> Payload {
        Payload {
            content,
            announced,
            pace,
            place: 0,
            waiting: None,
            has_paused: false,
            progress: Arc::default(),
        }
    }

    fn promises_more(&self) -> bool {
        self.announced.is_some_and(|length| length > self.content.len() as u64)
    }

    /// The pause that is due before the next piece, once.
    fn pause_due(&mut self) -> Option<Duration> {
        match self.pace {
            Pace::Full => None,
            Pace::Steady { pause, .. } => {
                let due = self.place > 0 && !self.has_paused;
                due.then_some(pause)
            }
            Pace::Pause { after, pause } => (self.place >= after && !self.has_paused).then_some(pause),
        }
    }

    fn next_length(&self) -> usize {
        let rest = self.content.len() - self.place;
        let most = match self.pace {
            Pace::Steady { piece, .. } => piece,
            Pace::Pause { after, .. } if self.place < after => after - self.place,
            Pace::Full | Pace::Pause { .. } => PIECE,
        };
        rest.min(most.clamp(1, PIECE))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.place >= self.content.len() {
            // What was announced and doesn't come: the request stays open until whoever asked gives up.
            return if self.promises_more() { Poll::Pending } else { Poll::Ready(None) };
        }
        if let Some(pause) = self.pause_due() {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
            self.has_paused = true;
        }
        let length = self.next_length();
        let end = self.place + length;
        let piece = self.content.slice(self.place..end);
        self.place = end;
        if matches!(self.pace, Pace::Steady { .. }) {
            self.has_paused = false;
        }
        self.progress.sent.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.place >= self.content.len() && !self.promises_more()
    }

    fn size_hint(&self) -> SizeHint {
        match self.announced {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.place as u64)),
            None => SizeHint::new(),
        }
    }
}

/// Bytes that nothing can compress and that nobody else has: a canary's content, from a seed.
pub(crate) fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*: not for secrets, only for bytes that differ.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
