//! One request over one connection.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{DialTrouble, Endpoint, Payload, Scheme, TlsTrouble, Trust, connect, handshake, resolve};

/// Longest that an answer may take unless a check says otherwise: what containerd waits.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Of a body, as much as an explanation or a manifest may have.
const MOST_BODY: usize = 4 << 20;

/// A request.
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// With query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// From the connection to the answer's head.
    pub(crate) limit: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As much of it as came, 4 MiB at most.
    pub(crate) body: Bytes,
    /// Why the body isn't whole, if it isn't.
    pub(crate) body_trouble: Option<String>,
    /// From the request's first byte to the answer's head.
    pub(crate) after: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Dial(DialTrouble),
    Tls(TlsTrouble),
    /// The connection was ended without an answer.
    Cut {
        after: Duration,
        sent: u64,
        why: String,
    },
    /// No answer within the limit.
    Silent {
        after: Duration,
        sent: u64,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Dial(trouble) => trouble.fmt(formatter),
            Trouble::Tls(trouble) => trouble.fmt(formatter),
            Trouble::Cut { after, sent, why } => {
                write!(
                    formatter,
                    "the connection was cut after {:.1} s and {sent} bytes ({why})",
                    after.as_secs_f64()
                )
            }
            Trouble::Silent { after, .. } => write!(formatter, "no answer within {} s", after.as_secs()),
        }
    }
}

impl Ask {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Ask {
        Ask {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            payload: Payload::none(),
            limit: ANSWER_LIMIT,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Ask {
        Ask::new(Method::GET, path)
    }

    /// Adds a header; a value that can't stand in one is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Ask {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name == http::header::AUTHORIZATION);
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Ask {
        self.payload = payload;
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Ask {
        self.limit = limit;
        self
    }
}

impl Answer {
    /// A header's value as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A way to one endpoint, by one address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) trust: Arc<Trust>,
}

impl Client {
    /// A way to an endpoint, by the first of its addresses that takes a connection.
    pub(crate) async fn to(endpoint: Endpoint, trust: Arc<Trust>) -> Result<Client, DialTrouble> {
        let mut last = DialTrouble::Refused;
        for address in resolve(&endpoint.host, endpoint.port).await? {
            match connect(address).await {
                Ok(_) => return Ok(Client { endpoint, address, trust }),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// Asks, and reads the answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Trouble> {
        let stream = connect(self.address).await.map_err(Trouble::Dial)?;
        match self.endpoint.scheme {
            Scheme::Http => self.over(stream, ask).await,
            Scheme::Https => {
                let shaken = handshake(stream, &self.endpoint.host, &self.trust).await;
                let (stream, _) = shaken.map_err(Trouble::Tls)?;
                self.over(stream, ask).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        ask: Ask,
    ) -> Result<Answer, Trouble> {
        let begun = Instant::now();
        let progress = Arc::clone(&ask.payload.progress);
        let cut = |why: String| Trouble::Cut { after: begun.elapsed(), sent: progress.sent(), why };
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = made.map_err(|error| cut(words(&error)))?;
        // Dropped with this call, and with it the connection: a request that was given up is not finished in secret.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let limit = ask.limit;
        let request = self.request(ask).map_err(|error| cut(error.to_string()))?;
        let response = match tokio::time::timeout(limit, sender.send_request(request)).await {
            Err(_) => return Err(Trouble::Silent { after: begun.elapsed(), sent: progress.sent() }),
            Ok(Err(error)) => return Err(cut(words(&error))),
            Ok(Ok(response)) => response,
        };
        let after = begun.elapsed();
        let (parts, body) = response.into_parts();
        let (body, body_trouble) = read(body).await;
        Ok(Answer { status: parts.status, headers: parts.headers, body, body_trouble, after })
    }

    fn request(&self, ask: Ask) -> Result<Request<Payload>, http::Error> {
        let has_no_body = ask.payload.is_end_stream();
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, concat!("larder-doctor/", env!("CARGO_PKG_VERSION")))
            .body(ask.payload)?;
        if has_no_body && !matches!(ask.method, Method::GET | Method::HEAD) {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request.headers_mut().extend(ask.headers);
        Ok(request)
    }
}

/// Reads a body as far as it comes.
async fn read(mut body: Incoming) -> (Bytes, Option<String>) {
    let mut bytes = BytesMut::new();
    let until = Instant::now() + ANSWER_LIMIT;
    while bytes.len() < MOST_BODY {
        match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return (bytes.freeze(), Some(format!("it stopped for {} s", ANSWER_LIMIT.as_secs()))),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    bytes.extend_from_slice(data);
                }
            }
            Ok(Some(Err(error))) => return (bytes.freeze(), Some(words(&error))),
        }
    }
    (bytes.freeze(), None)
}

/// An error with its causes, in one line.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
