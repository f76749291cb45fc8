//! The doctor's own way to a registry: one connection per request, every hop visible.

mod dial;
mod tls;
mod certificate;
mod payload;
mod exchange;

pub(crate) use certificate::Certificate;
pub(crate) use dial::{DialTrouble, connect, resolve};
pub(crate) use exchange::{Answer, Ask, Client, Trouble};
pub(crate) use payload::{Pace, Payload, pattern};
pub(crate) use tls::{Seen, TlsTrouble, Trust, Verdict, handshake};

use std::fmt;

use http::Uri;

use crate::target::authority;

/// How HTTP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where a URL leads: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// The endpoint of an absolute URL, and its path with query. `None` for anything else.
    pub(crate) fn of_url(url: &str) -> Option<(Endpoint, String)> {
        let uri: Uri = url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(scheme.default_port());
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some((Endpoint { scheme, host, port }, path))
    }

    /// As a `Host` header has it: without the port that the scheme implies.
    pub(crate) fn authority(&self) -> String {
        let port = (self.port != self.scheme.default_port()).then_some(self.port);
        authority(&self.host, port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.authority())
    }
}
