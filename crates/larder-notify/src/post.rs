//! One request to one endpoint.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Response, Url};

use crate::settings::{EndpointSettings, Generation};

/// How often one request is redirected on its endpoint's own host.
const MOST_REDIRECTS: usize = 10;

/// Bytes of an answer that are read so that its connection can be used again; nobody looks at them.
const ANSWER_READ: usize = 64 << 10;

const LARDER: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// What an endpoint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has taken the event.
    Taken(StatusCode),
    /// It won't take this event (4xx): sending it again is of no use, unless somebody changes the endpoint.
    Refused(StatusCode),
    /// It can't at the moment, or it is elsewhere.
    Failed(StatusCode, String),
    /// There was no answer.
    None(String),
}

/// Posts to one endpoint.
pub(crate) struct Poster {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Poster {
    /// Fails with what is wrong with the URL, which is not repeated: it may hold a password.
    pub(crate) fn new(settings: &EndpointSettings, generation: Generation) -> Result<Poster, String> {
        let url: Url = settings.url.parse().map_err(|error| format!("its URL can't be read: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("its URL must begin with http:// or https:// and a host".to_owned());
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(generation.content_type()));
        headers.insert(USER_AGENT, HeaderValue::from_static(LARDER));
        let mut replaced: Vec<HeaderName> = Vec::new();
        for (name, value) in &settings.headers {
            // Headers are added, as in distribution; but nobody can have two names, or two kinds of content.
            if (name == USER_AGENT || name == CONTENT_TYPE) && !replaced.contains(name) {
                headers.remove(name);
                replaced.push(name.clone());
            }
            headers.append(name.clone(), value.clone());
        }
        Ok(Poster { client: client(&settings.name, settings.timeout, &url)?, url, headers })
    }

    /// Posts a body and waits for the answer.
    ///
    /// A redirect on the same host is followed, with the body. One that leads elsewhere is a failure: neither the
    /// event nor the headers, which may hold a password, go where the operator didn't send them.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Answer {
        let body = Bytes::from(body);
        let mut url = self.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let request = self.client.post(url.clone()).headers(self.headers.clone()).body(body.clone());
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Answer::None(reason(error)),
            };
            let status = response.status();
            let answer = match redirect(&response) {
                None => of_status(status),
                Some(location) => match url.join(location) {
                    Ok(to) if to.origin() == url.origin() => {
                        drain(response).await;
                        url = to;
                        continue;
                    }
                    _ => Answer::Failed(
                        status,
                        "it redirects to another host, which is not followed: configure the URL that it redirects to"
                            .to_owned(),
                    ),
                },
            };
            drain(response).await;
            return answer;
        }
        Answer::Failed(StatusCode::LOOP_DETECTED, "it redirects in a circle".to_owned())
    }
}

/// One client an endpoint: its timeout, its connection.
fn client(name: &str, timeout: Duration, url: &Url) -> Result<Client, String> {
    let build = |with_roots: bool| {
        // Redirects are followed by hand.
        let mut builder = Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        if is_this_machine(url) {
            // Go never takes a proxy to the machine it runs on.
            builder = builder.no_proxy();
        }
        if !with_roots {
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    };
    build(true).or_else(|error| {
        // An image without a bundle of authorities; plain HTTP works all the same.
        if url.scheme() == "https" {
            tracing::error!(
                endpoint = name, reason = reason(error),
                "certificates of the notification endpoint can't be checked, so nothing is delivered to it: \
                 install a bundle of certificate authorities (ca-certificates), or name one with SSL_CERT_FILE"
            );
        }
        build(false).map_err(reason)
    })
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where to post again. 303 and what has no Location say that the event was taken.
fn redirect(response: &Response) -> Option<&str> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    response.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

fn of_status(status: StatusCode) -> Answer {
    match status.as_u16() {
        200..=399 => Answer::Taken(status),
        408 | 429 => Answer::Failed(status, "it asks to be left alone for a while".to_owned()),
        400..=499 => Answer::Refused(status),
        _ => Answer::Failed(status, "it has failed".to_owned()),
    }
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        read += piece.len();
        if read > ANSWER_READ {
            return;
        }
    }
}

/// An error with its causes on one line, without the URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
