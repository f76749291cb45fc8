//! Who speaks: an answer is the registry's own, or that of something in front of it.

use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION, SERVER, VIA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};

use crate::finding::Hop;
use crate::net::Answer;

/// The header by which registries are known since docker 1.6 (distribution's "API version check").
pub(crate) const API_VERSION: &str = "docker-distribution-api-version";

/// A program that stands in front of registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Nginx,
    Caddy,
    Haproxy,
    Traefik,
    Apache,
    Cloudflare,
    /// By the name that it gives itself, or by what can be said about it.
    Other(String),
}

impl Front {
    pub(crate) fn name(&self) -> &str {
        match self {
            Front::Nginx => "nginx",
            Front::Caddy => "Caddy",
            Front::Haproxy => "HAProxy",
            Front::Traefik => "Traefik",
            Front::Apache => "Apache",
            Front::Cloudflare => "Cloudflare",
            Front::Other(name) => name,
        }
    }

    pub(crate) fn hop(&self) -> Hop {
        Hop::Proxy(self.name().to_owned())
    }
}

/// Whether the answer was made by a registry: in its format, whatever stands in front.
pub(crate) fn is_registrys(answer: &Answer) -> bool {
    if answer.headers.contains_key(API_VERSION) {
        return true;
    }
    let is_json = answer.header(CONTENT_TYPE).is_some_and(|kind| kind.contains("json"));
    is_json && serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| body.is_object())
}

/// What stands in front of the registry, by an answer's headers and body; `None` when nothing shows.
pub(crate) fn front(answer: &Answer) -> Option<Front> {
    if answer.headers.contains_key("cf-ray") {
        return Some(Front::Cloudflare);
    }
    let text = answer.text();
    let server = answer.header(SERVER).unwrap_or_default();
    let via = answer.header(VIA).unwrap_or_default();
    let known = [
        ("cloudflare", Front::Cloudflare),
        ("nginx", Front::Nginx),
        ("openresty", Front::Nginx),
        ("caddy", Front::Caddy),
        ("traefik", Front::Traefik),
        ("apache", Front::Apache),
        ("haproxy", Front::Haproxy),
    ];
    let says = |text: &str| {
        let text = text.to_ascii_lowercase();
        known.iter().find(|(word, _)| text.contains(word)).map(|(_, front)| front.clone())
    };
    if let Some(front) = says(server).or_else(|| says(via)) {
        return Some(front);
    }
    if is_registrys(answer) {
        // What its bodies and other headers say is the registry's own.
        return (!via.is_empty()).then(|| Front::Other(via.to_owned()));
    }
    if !server.is_empty() {
        return Some(Front::Other(server.to_owned()));
    }
    // What Traefik's basicAuth calls its realm unless it is told another.
    if answer.header(WWW_AUTHENTICATE).is_some_and(|challenge| challenge.contains(r#"realm="traefik""#)) {
        return Some(Front::Traefik);
    }
    // HAProxy's own pages have no Server header, and this shape.
    if text.starts_with("<html><body><h1>") {
        return Some(Front::Haproxy);
    }
    says(&text)
}

/// Whether it is what programs written in Go answer where they have no route, from one that doesn't name itself.
pub(crate) fn is_nameless_404(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && !answer.headers.contains_key(SERVER)
        && !answer.headers.contains_key(VIA)
        && answer.header(X_CONTENT_TYPE_OPTIONS) == Some("nosniff")
        && answer.text() == "404 page not found\n"
}

/// Whose answer it is.
pub(crate) fn hop(answer: &Answer, known: Option<&Front>) -> Hop {
    if is_registrys(answer) {
        return Hop::Registry;
    }
    match front(answer).as_ref().or(known) {
        Some(front) => front.hop(),
        None => Hop::Proxy("in front of the registry".to_owned()),
    }
}

/// An answer's own words, shortened to a line: a registry's message and detail, a page's title, or the body's beginning.
pub(crate) fn words(answer: &Answer) -> String {
    let status = named(answer.status);
    if let Some(words) = registry_words(answer) {
        return format!("{status}: {words}");
    }
    if let Some(location) = answer.header(LOCATION) {
        return format!("{status} to {location}");
    }
    let text = answer.text();
    let text = title(&text).unwrap_or_else(|| text.trim().to_owned());
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect();
    // Titles of proxies' own pages only repeat the status, and so do Traefik's whole answers.
    let is_reason = answer.status.canonical_reason() == Some(&line) || line == "Request Entity Too Large";
    if line.is_empty() || line.starts_with(answer.status.as_str()) || is_reason {
        status
    } else {
        format!("{status}: {line}")
    }
}

/// A status with its reason, if it has one: Traefik's 499 has none.
fn named(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

fn registry_words(answer: &Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let first = body.get("errors")?.get(0)?;
    let part = |name: &str| first.get(name).and_then(serde_json::Value::as_str);
    let detail = first.get("detail").and_then(|detail| match detail {
        serde_json::Value::String(text) => Some(text.as_str()),
        other => other.get("reason").and_then(serde_json::Value::as_str),
    });
    let message = part("message").or_else(|| part("code"))?;
    Some(detail.map_or_else(|| message.to_owned(), |detail| format!("{message} ({detail})")))
}

/// The title of a web page.
pub(crate) fn title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let end = start + lower.get(start..)?.find("</title>")?;
    Some(text.get(start..end)?.trim().to_owned())
}

/// Whether it is a web page.
pub(crate) fn is_html(answer: &Answer) -> bool {
    answer.header(CONTENT_TYPE).is_some_and(|kind| kind.contains("html"))
        || answer.text().trim_start().starts_with('<')
}
