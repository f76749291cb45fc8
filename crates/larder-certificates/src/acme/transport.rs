//! The way to the authority: one client for all of an order's questions.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use reqwest::{Certificate, Client};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);
/// A chain is some KiB; nothing of the protocol is longer.
const LONGEST_ANSWER: usize = 1 << 20;
/// Authorities ask for a name that they can write to when something goes wrong on their side.
const LARDER: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("the authorities in {path} can't be used")]
    Authorities { path: String, source: Box<dyn StdError + Send + Sync> },
    #[error("certificates of servers can't be checked")]
    Client(#[source] reqwest::Error),
}

/// Somebody who should have answered and didn't.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Unanswered {
    pub(super) words: String,
    /// Whether the other side's certificate was not believed.
    pub(super) is_trust: bool,
}

#[derive(Clone)]
pub(super) struct Transport {
    client: Client,
    /// When the authority wanted to be asked again, as it said with its last refusal.
    told: Arc<Mutex<Option<SystemTime>>>,
}

impl Transport {
    /// One that believes the system's authorities, and those in a PEM file beside them. Blocks on the disk.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Transport, TransportError> {
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        let own = match authorities {
            None => Vec::new(),
            Some(path) => read(path)
                .map_err(|source| TransportError::Authorities { path: path.display().to_string(), source })?,
        };
        builder = builder.tls_certs_merge(own.iter().cloned());
        let client = match builder.build() {
            Ok(client) => client,
            // An image without a bundle of authorities: the operator's own ones are enough for his own directory.
            Err(_) if !own.is_empty() => Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .tls_certs_only(own)
                .build()
                .map_err(TransportError::Client)?,
            Err(error) => return Err(TransportError::Client(error)),
        };
        Ok(Transport { client, told: Arc::default() })
    }

    /// What the authority's last refusal said about when to come again.
    pub(super) fn told(&self) -> Option<SystemTime> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self, request: Request<Bytes>) -> Result<BytesResponse, Error> {
        // What is answered to a signed request is read by whoever has sent it; the directory is taken for one whatever its status is.
        let is_plain = *request.method() != Method::POST;
        let request = reqwest::Request::try_from(request).map_err(|error| unanswered(&error))?;
        let mut response = self.client.execute(request).await.map_err(|error| unanswered(&error))?;
        if response.status().is_client_error() || response.status().is_server_error() {
            let told = response.headers().get(RETRY_AFTER).and_then(moment);
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(Error::Str("an answer of less than a megabyte"));
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status();
        if is_plain && (status.is_client_error() || status.is_server_error()) {
            return Err(match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) if problem.r#type.is_some() => Error::Api(problem),
                _ => Error::Other(Box::new(Unanswered {
                    words: format!("it answers {status}"),
                    is_trust: false,
                })),
            });
        }
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let (parts, ()) = answer.into_parts();
        Ok(BytesResponse { parts, body: Box::new(body.freeze()) })
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.insert(USER_AGENT, HeaderValue::from_static(LARDER));
            let Ok(body) = body.collect().await;
            this.ask(Request::from_parts(parts, body.to_bytes())).await
        })
    }
}

fn read(path: &Path) -> Result<Vec<Certificate>, Box<dyn StdError + Send + Sync>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
    if found.is_empty() {
        return Err("it holds no certificate in PEM form".into());
    }
    Ok(found)
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn moment(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

fn unanswered(error: &reqwest::Error) -> Error {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let root = causes.last().cloned().unwrap_or_default();
    let is_trust = causes.iter().any(|cause| cause.contains("certificate"));
    let words = match () {
        () if is_trust => format!("its certificate is not believed: {root}"),
        () if error.is_timeout() => "it gave no answer in time".to_owned(),
        () if error.is_connect() => format!("it can't be reached: {root}"),
        () => format!("the connection broke: {root}"),
    };
    Error::Other(Box::new(Unanswered { words, is_trust }))
}
