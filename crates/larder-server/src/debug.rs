//! The second listener (`http.debug.addr`): health and metrics, for whoever reaches it, without
//! credentials. registry:2 also offers Go's profiler and variables there, among them secrets; Larder doesn't.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio_util::sync::CancellationToken;

use crate::aside;
use crate::health::Health;
use crate::listener::Listener;
use crate::metrics::{self, Metrics};
use crate::server::ServeError;

/// Monitoring needs two or three; it is not for the public.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection may stay without a request: longer than the pause between two scrapes.
const IDLE: Duration = Duration::from_secs(120);

/// What the debug listener tells of.
#[derive(Clone)]
pub struct Debug {
    /// How well the registry is.
    pub health: Arc<Health>,
    /// What is counted, and the path where it is shown.
    pub metrics: Option<(String, Arc<Metrics>)>,
}

/// A debug server that has its port but doesn't answer yet.
pub struct DebugServer {
    listener: Listener,
}

impl DebugServer {
    /// Takes the port.
    pub async fn bind(host: &str, port: u16) -> Result<DebugServer, ServeError> {
        let taken = |address, source| ServeError::BindDebug { address, source };
        Ok(DebugServer { listener: Listener::of_port(host, port, taken).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.listener.address()
    }

    /// Answers until `stop` is cancelled; then cuts what is left.
    pub async fn serve(self, debug: Debug, stop: CancellationToken) {
        let answer = move |request| {
            let debug = debug.clone();
            async move { debug.answer(request).await }
        };
        aside::serve(
            self.listener,
            aside::Bounds { connections: MOST_CONNECTIONS, idle: IDLE },
            answer,
            stop,
        )
        .await;
    }
}

impl Debug {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_get = *request.method() == Method::GET;
        match &self.metrics {
            // As in registry:2, which has one handler for all methods here, and none but GET there.
            Some((at, metrics)) if at == path => show(metrics).await,
            _ if path == "/debug/health" && is_get => {
                let status =
                    if self.health.is_failing() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                with(status, "application/json; charset=utf-8", self.health.report().to_string())
            }
            _ => with(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned()),
        }
    }
}

async fn show(metrics: &Arc<Metrics>) -> Response<Full<Bytes>> {
    let metrics = Arc::clone(metrics);
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(text)) => with(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Ok(Err(_)) | Err(_) => {
            tracing::error!("the metrics could not be written out");
            let words = "the metrics could not be written out\n".to_owned();
            with(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", words)
        }
    }
}

fn with(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
