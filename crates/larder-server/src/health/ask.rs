//! The little of an HTTP client that a health check needs: one `HEAD` over a connection of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whom a check asks. May hold a password or a token, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckUrl {
    uri: Uri,
    host: String,
    port: u16,
    is_https: bool,
}

/// Text that is no URL of a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a URL such as http://service:8080/health, without user and password")]
pub struct CheckUrlError;

impl FromStr for CheckUrl {
    type Err = CheckUrlError;

    fn from_str(text: &str) -> Result<CheckUrl, CheckUrlError> {
        let uri: Uri = text.parse().map_err(|_| CheckUrlError)?;
        let is_https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(CheckUrlError),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.ok_or(CheckUrlError)?.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(CheckUrlError);
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(CheckUrl { uri, host, port, is_https })
    }
}

impl fmt::Debug for CheckUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CheckUrl").field("host", &self.host).finish_non_exhaustive()
    }
}

impl CheckUrl {
    /// The status of the answer, or why there is none.
    pub(super) async fn head(&self, headers: &HeaderMap) -> Result<u16, String> {
        let failed = |error: &dyn fmt::Display| format!("could not connect to {}: {error}", self.host);
        let stream =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| failed(&error))?;
        if !self.is_https {
            return self.head_over(stream, headers).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(Arc::new(client_config()?));
        let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
        self.head_over(stream, headers).await
    }

    async fn head_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        headers: &HeaderMap,
    ) -> Result<u16, String> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(Method::HEAD)
            .uri(path)
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(authority) {
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().extend(headers.clone());
        // The connection is driven by whoever waits for the answer, and ends with it.
        tokio::select! {
            answer = sender.send_request(request) => {
                answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
            }
            ended = connection => Err(match ended {
                Ok(()) => "the connection was closed without an answer".to_owned(),
                Err(error) => error.to_string(),
            }),
        }
    }
}

/// Believes in whom the machine believes.
fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine has no certificate authorities: set SSL_CERT_FILE".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
