//! A request's body on its way in, and whether it has come to its end.
//!
//! An answer may be given before that, and an HTTP/1 connection then ends, because what is left of the body would be taken
//! for a request. Proxies keep their connections for whoever comes next. One that isn't told that a connection ends sends
//! a stranger's request on it, finds it closed, and answers 502: so the answer has to say it (RFC 9112, 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};

/// A request's body.
pub(crate) struct Received {
    incoming: Incoming,
    end: End,
}

/// Whether the body has come to its end: known also when the body itself is gone.
#[derive(Clone, Debug)]
pub(crate) struct End(Arc<AtomicBool>);

impl Received {
    pub(crate) fn new(incoming: Incoming) -> Received {
        let end = End(Arc::new(AtomicBool::new(incoming.is_end_stream())));
        Received { incoming, end }
    }

    pub(crate) fn end(&self) -> End {
        self.end.clone()
    }
}

impl End {
    pub(crate) fn is_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream() {
            self.end.0.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
