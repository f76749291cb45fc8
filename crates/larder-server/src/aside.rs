//! Listeners beside the registry's own: few connections, short answers, no bodies.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::Listener;
use crate::server::pause_after;

/// What clients may cost there.
pub(crate) struct Bounds {
    /// The most connections at once; further ones are closed.
    pub(crate) connections: usize,
    /// How long a connection may stay without the head of a request.
    pub(crate) idle: Duration,
}

/// Answers until `stop` is cancelled; then cuts what is left.
pub(crate) async fn serve<Answering>(
    listener: Listener,
    bounds: Bounds,
    answer: impl Fn(Request<Incoming>) -> Answering + Clone + Send + 'static,
    stop: CancellationToken,
) where
    Answering: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(bounds.connections));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(accepted) => accepted.stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        // Closed at once when there are too many.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (answer, stop) = (answer.clone(), stop.clone());
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let answering = answer(request);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(bounds.idle)
                .title_case_headers(true)
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                tracing::debug!(%error, "a connection to a listener beside the registry's ended early");
            }
            drop(place);
        });
    }
    tasks.close();
    tasks.wait().await;
}
