//! A request's body on its way in, and what becomes of the rest of one that an answer doesn't wait for.
//!
//! An answer may be given before a body's end, and an HTTP/1 connection then ends, because what is left of the body would be
//! taken for a request. Proxies keep their connections for whoever comes next. One that isn't told that a connection ends
//! sends a stranger's request on it, finds it closed, and answers 502: so the answer has to say it (RFC 9112, 9.6). But
//! who sends fast is heard out first, and keeps his connection.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};

/// How long the rest of a body is taken in before an answer that doesn't need it.
///
/// containerd 1.6 hangs for ever when it is told that the connection ends while it still sends; registry:2 takes in up to
/// 256 KiB for that (Go's `net/http`).
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the rest may keep silent: a client that waits for its answer is given it.
const SILENCE: Duration = Duration::from_millis(250);

/// A request's body.
pub(crate) struct Received {
    /// Gone only while it is dropped.
    incoming: Option<Incoming>,
    rest: Rest,
}

/// What becomes of a body: known also when the body itself is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_at_end: bool,
    is_begun: bool,
    /// What nobody wanted of it.
    left: Option<Incoming>,
}

impl Received {
    pub(crate) fn new(incoming: Incoming) -> Received {
        let rest = Rest::default();
        rest.lock().is_at_end = incoming.is_end_stream();
        Received { incoming: Some(incoming), rest }
    }

    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.rest.lock().left = self.incoming.take();
    }
}

impl Rest {
    /// Takes in what is still to come, once the body isn't needed any more, for a moment. Gives whether the body has come
    /// to its end.
    ///
    /// `is_asked_for`: the client waits until it is told to send (`Expect: 100-continue`), and isn't told so for nothing.
    pub(crate) async fn is_taken_in(&self, is_asked_for: bool) -> bool {
        let left = {
            let mut state = self.lock();
            if state.is_at_end || is_asked_for && !state.is_begun {
                return state.is_at_end;
            }
            state.left.take()
        };
        let Some(mut left) = left else { return false };
        let taking = async {
            loop {
                match tokio::time::timeout(SILENCE, left.frame()).await {
                    Ok(None) => return true,
                    Ok(Some(Ok(_))) if left.is_end_stream() => return true,
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_))) | Err(_) => return false,
                }
            }
        };
        tokio::time::timeout(PATIENCE, taking).await.unwrap_or(false)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(context);
        let is_at_end = matches!(polled, Poll::Ready(None)) || incoming.is_end_stream();
        let mut state = self.rest.lock();
        state.is_begun = true;
        state.is_at_end |= is_at_end;
        drop(state);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}
