//! One question to one URL: connection, redirects, time.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder_core::{UpstreamError, UpstreamFailure};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, Url};

use crate::base_url::host_and_port;
use crate::proxies::{NoProxyUrl, Proxies, refusal, wants_login};
use crate::reach::{Forbidden, PublicOnly, Reach, WrittenDown};
use crate::settings::Settings;

/// How often one question is redirected.
const MOST_REDIRECTS: usize = 5;

/// Connections to a host that are kept for later questions.
const IDLE_CONNECTIONS: usize = 16;

const LARDER: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// Why the client of an upstream can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The file of authorities can't be read.
    #[error("the upstream {upstream}: the certificate authorities in {path} can't be read")]
    Authorities {
        /// The upstream.
        upstream: String,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The proxy's URL is none. It isn't repeated: it may hold a password.
    #[error("the upstream {upstream}: its proxy must be a URL such as http://proxy.lab:3128")]
    Proxy {
        /// The upstream.
        upstream: String,
    },
    /// The environment's proxy is none. It isn't repeated either.
    #[error(
        "the upstream {upstream}: the variable {variable} must be a proxy's URL such as http://proxy.lab:3128 (https, socks5 and \
         socks5h will do, too); put it right, or exempt everything with NO_PROXY=*, or give the upstream a proxy of its own"
    )]
    EnvironmentProxy {
        /// The upstream.
        upstream: String,
        /// The variable.
        variable: &'static str,
    },
    /// No client can be made at all.
    #[error("the upstream {upstream} can't be asked")]
    Client {
        /// The upstream.
        upstream: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

/// Two clients: one for the hosts that the operator wrote down, one that only dials public addresses.
pub(crate) struct Transport {
    anywhere: Client,
    public: Client,
    pub(crate) written_down: WrittenDown,
    proxies: Proxies,
    answer_timeout: Duration,
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Goes to the URL's own origin and nowhere else.
    pub(crate) authorization: Option<HeaderValue>,
    /// A form, for token servers.
    pub(crate) form: Option<String>,
}

/// Why there was no answer.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) failure: UpstreamFailure,
    /// Who was asked.
    pub(crate) host: String,
    /// Such as `can't be reached`, to follow the host's name.
    pub(crate) words: String,
    pub(crate) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Question {
    pub(crate) fn new(method: Method, url: Url) -> Question {
        Question { method, url, headers: HeaderMap::new(), authorization: None, form: None }
    }
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Transport, TransportError> {
        let urls = || settings.urls.iter().map(|base| base.url());
        let written_down = WrittenDown::new(urls(), &settings.hosts);
        let proxies = Proxies::of_settings(settings).map_err(|NoProxyUrl(variable)| {
            let upstream = settings.name.clone();
            match variable {
                Some(variable) => TransportError::EnvironmentProxy { upstream, variable },
                None => TransportError::Proxy { upstream },
            }
        })?;
        let anywhere = client(settings, &proxies, |builder| builder)?;
        let public = client(settings, &proxies, |builder| {
            builder.dns_resolver(Arc::new(PublicOnly { except: proxies.hosts() }))
        })?;
        Ok(Transport { anywhere, public, written_down, proxies, answer_timeout: settings.answer_timeout })
    }

    /// Asks, and follows redirects, within the time for an answer.
    pub(crate) async fn ask(&self, question: &Question, reach: Reach) -> Result<Response, Failed> {
        match tokio::time::timeout(self.answer_timeout, self.follow(question, reach)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed {
                failure: UpstreamFailure::TimedOut,
                host: host_and_port(&question.url),
                words: format!("gave no answer in {} s", self.answer_timeout.as_secs_f64()),
                cause: None,
            }),
        }
    }

    async fn follow(&self, question: &Question, reach: Reach) -> Result<Response, Failed> {
        let (mut url, mut reach) = (question.url.clone(), reach);
        let mut authorization = question.authorization.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send(question, &url, reach, authorization.clone()).await?;
            let Some(location) = redirect(&answer) else { return Ok(answer) };
            let to = url.join(location).map_err(|error| {
                Failed::garbled(&url, "redirects to what is no URL", Some(Arc::new(error)))
            })?;
            reach = self
                .written_down
                .admit(&to, url.scheme())
                .map_err(|forbidden| Failed::astray(&url, forbidden))?;
            if to.origin() != url.origin() {
                // S3 and its like refuse a request that has both a signature and an Authorization, and a
                // CDN has no business with either.
                authorization = None;
                if question.form.is_some() {
                    return Err(Failed::garbled(&url, "sends a password on to another server", None));
                }
            }
            url = to;
        }
        Err(Failed::garbled(&url, "redirects in a circle", None))
    }

    async fn send(
        &self,
        question: &Question,
        url: &Url,
        reach: Reach,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Failed> {
        let client = match reach {
            Reach::Anywhere => &self.anywhere,
            Reach::Public => &self.public,
        };
        let mut request = client
            .request(question.method.clone(), url.clone())
            .headers(question.headers.clone())
            // Some compress blobs and manifests unasked otherwise, which changes what is hashed.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(form) = &question.form {
            request = request
                .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone());
        }
        let proxy = self.proxies.of(url);
        let answer = request.send().await.map_err(|error| Failed::through(proxy, url, error))?;
        match proxy {
            Some(proxy) if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(Failed::of_proxy(proxy, wants_login(proxy, &host_and_port(url)), None))
            }
            _ => Ok(answer),
        }
    }

    /// Of an answer that a proxy may have given: which one, in words to follow others.
    pub(crate) fn perhaps_by_proxy(&self, answered: &Url) -> String {
        // Into a tunnel no proxy can speak.
        let proxy = self.proxies.named(answered).filter(|_| answered.scheme() == "http");
        proxy.map(|proxy| format!(" (it or the proxy on the way, {proxy})")).unwrap_or_default()
    }
}

/// Where to ask instead.
fn redirect(answer: &Response) -> Option<&str> {
    let is_redirect = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    answer.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

fn client(
    settings: &Settings,
    proxies: &Proxies,
    with: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Client, TransportError> {
    let upstream = || settings.name.clone();
    let authorities = match &settings.ca_file {
        Some(path) => authorities(path).map_err(|source| TransportError::Authorities {
            upstream: upstream(),
            path: path.display().to_string(),
            source,
        })?,
        None => Vec::new(),
    };
    let build = |with_roots: bool| {
        let builder = with(Client::builder())
            // Redirects are followed by hand.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(LARDER)
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            // None but those that are meant.
            .no_proxy()
            .proxy({
                let proxies = proxies.clone();
                Proxy::custom(move |url| proxies.of(url).cloned())
            });
        let builder = if with_roots {
            builder.tls_certs_merge(authorities.iter().cloned())
        } else {
            builder.tls_certs_only(authorities.iter().cloned())
        };
        builder.build()
    };
    build(true).or_else(|error| {
        // An image without a bundle of authorities; plain HTTP and the operator's own authorities work all the same.
        if settings.urls.iter().any(|base| base.url().scheme() == "https") && authorities.is_empty() {
            tracing::error!(
                upstream = settings.name, reason = %chain(&error),
                "certificates of the upstream can't be checked, so nothing is pulled through from it: \
                 install a bundle of certificate authorities (ca-certificates), or name one with SSL_CERT_FILE"
            );
        }
        build(false).map_err(|source| TransportError::Client { upstream: upstream(), source })
    })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Box<dyn Error + Send + Sync>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
    if found.is_empty() {
        return Err("it holds no certificate in PEM form".into());
    }
    Ok(found)
}

impl Failed {
    pub(crate) fn garbled(url: &Url, words: &str, cause: Option<Arc<dyn Error + Send + Sync>>) -> Failed {
        let (failure, words) = (UpstreamFailure::Garbled, words.to_owned());
        Failed { failure, host: host_and_port(url), words, cause }
    }

    /// A body stays silent.
    pub(crate) fn stalled(host: &str, silence: Duration) -> Failed {
        let words = format!("has sent nothing for {} s", silence.as_secs_f64());
        Failed { failure: UpstreamFailure::Cut, host: host.to_owned(), words, cause: None }
    }

    /// The same as core is told it.
    pub(crate) fn of_upstream(self, upstream: &Arc<str>) -> UpstreamError {
        let detail = format!("{} {}", self.host, self.words).into();
        let (upstream, host) = (Arc::clone(upstream), self.host.into());
        UpstreamError { upstream, host, failure: self.failure, detail, cause: self.cause }
    }

    fn astray(url: &Url, forbidden: Forbidden) -> Failed {
        Failed::garbled(url, &format!("redirects where Larder doesn't follow: {forbidden}"), None)
    }

    /// A proxy stood in the way.
    fn of_proxy(
        proxy: &Url,
        (failure, words): (UpstreamFailure, String),
        cause: Option<Arc<dyn Error + Send + Sync>>,
    ) -> Failed {
        Failed { failure, host: host_and_port(proxy), words, cause }
    }

    /// As [`of`](Failed::of), where a proxy may be to blame.
    fn through(proxy: Option<&Url>, url: &Url, error: reqwest::Error) -> Failed {
        let Some(proxy) = proxy else { return Failed::of(url, error) };
        let host = host_and_port(url);
        let refusal = causes(&error).find_map(|cause| refusal(proxy, &host, &cause.to_string()));
        if let Some(refusal) = refusal {
            return Failed::of_proxy(proxy, refusal, Some(Arc::new(error.without_url())));
        }
        let is_tls = tls_error(&error).is_some();
        let mut failed = Failed::of(url, error);
        if !is_tls && matches!(failed.failure, UpstreamFailure::Unreachable | UpstreamFailure::TimedOut) {
            failed.words = format!("{}, through the proxy {}", failed.words, host_and_port(proxy));
        }
        failed
    }

    pub(crate) fn of(url: &Url, error: reqwest::Error) -> Failed {
        let error = error.without_url();
        let (failure, words) = if let Some(tls) = tls_error(&error) {
            (UpstreamFailure::Tls, tls)
        } else if error.is_timeout() {
            let words =
                if error.is_connect() { "can't be reached in time" } else { "gave no answer in time" };
            (UpstreamFailure::TimedOut, words.to_owned())
        } else if error.is_connect() {
            (UpstreamFailure::Unreachable, format!("can't be reached: {}", root(&error)))
        } else {
            (UpstreamFailure::Cut, format!("broke the connection off: {}", root(&error)))
        };
        Failed { failure, host: host_and_port(url), words, cause: Some(Arc::new(error)) }
    }
}

/// The same in an operator's words, if TLS has failed.
fn tls_error(error: &reqwest::Error) -> Option<String> {
    let error = causes(error).find_map(rustls_error)?;
    let words = match &error {
        rustls::Error::InvalidCertificate(reason) => {
            let reason = format!("{reason:?}");
            if reason.contains("UnknownIssuer") {
                "shows a certificate of an authority that isn't trusted; name that authority's file as the \
                 upstream's ca"
                    .to_owned()
            } else if reason.contains("CaUsedAsEndEntity") {
                "shows a certificate that is an authority's own (CA:TRUE), which no server may use; make one \
                 without it, and name its authority as the upstream's ca"
                    .to_owned()
            } else {
                format!("shows a certificate that isn't accepted: {reason}")
            }
        }
        other => format!("doesn't agree on TLS: {other}"),
    };
    Some(words)
}

/// An I/O error holds what caused it where `source` doesn't show it, and may hold another one.
fn rustls_error(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => rustls_error(error.get_ref()?),
        None => error.downcast_ref().cloned(),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        // The cause lives as long as the error does, not only as long as this reference to it.
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    })
}

/// The innermost cause: what the system or the resolver said.
fn root(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
