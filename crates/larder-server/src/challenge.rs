//! The listener where a certificate authority looks for the proof of a name by HTTP-01 (`http.tls.letsencrypt.addr`). It answers that alone.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use larder_certificates::Challenges;
use tokio_util::sync::CancellationToken;

use crate::aside;
use crate::listener::Listener;
use crate::server::ServeError;

/// The whole internet may come; an authority comes from a handful of places.
const MOST_CONNECTIONS: usize = 256;

/// An authority asks at once.
const IDLE: Duration = Duration::from_secs(10);

/// Where the protocol wants it (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

const NOTHING_ELSE: &str = "This port answers nothing but a certificate authority's questions. The registry speaks TLS at its own port: https://\n";

/// A listener that has its port but doesn't answer yet.
pub struct ChallengeServer {
    listener: Listener,
}

impl ChallengeServer {
    /// Takes the port.
    pub async fn bind(host: &str, port: u16) -> Result<ChallengeServer, ServeError> {
        let taken = |address, source| ServeError::BindChallenges { address, source };
        Ok(ChallengeServer { listener: Listener::of_port(host, port, taken).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.listener.address()
    }

    /// Answers until `stop` is cancelled.
    pub async fn serve(self, challenges: Challenges, stop: CancellationToken) {
        let answer = move |request: Request<Incoming>| {
            let answer = answer(&request, &challenges);
            async move { answer }
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

fn answer<B>(request: &Request<B>, challenges: &Challenges) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let token = request.uri().path().strip_prefix(PATH).filter(|_| is_read);
    let (status, text) = match token.and_then(|token| challenges.of_token(token)) {
        Some(answer) => (StatusCode::OK, answer),
        None => (StatusCode::NOT_FOUND, NOTHING_ELSE.to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
