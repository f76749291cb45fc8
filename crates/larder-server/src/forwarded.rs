//! What reverse proxies in front tell of the client: believed only if the connection comes from one that
//! the operator trusts (`http.trustedproxies`). Everybody else could claim to be anybody.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HOST, HeaderName};
use http::request::Parts;

use crate::network::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Whose request it is: the connection's other end or, behind trusted proxies, the last hop that isn't
/// one of them.
///
/// Proxies append the address that they see to what they were sent, so the list is read from its end;
/// what stands before the first untrusted hop is that hop's claim. `X-Forwarded-For` counts before
/// `Forwarded`: the proxies that don't know the latter pass on what the client made of it.
pub(crate) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let name = [X_FORWARDED_FOR, FORWARDED].into_iter().find(|name| headers.contains_key(name));
    let (Some(name), true) = (name, is_trusted(peer, trusted)) else { return peer };
    let lines = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let hop = if name == FORWARDED { forwarded_field(hop, "for") } else { Some(hop.trim().to_owned()) };
        let Some(address) = hop.and_then(|hop| hop_address(&hop)) else { break };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    client
}

/// Scheme and host by which the client reached us, as far as trusted proxies in front tell. `Forwarded`
/// counts before the `X-Forwarded-` headers, and of a list the first element, as in registry:2.
pub(crate) fn reached_by(parts: &Parts, is_tls: bool, believes_proxies: bool) -> String {
    let headers = &parts.headers;
    let (proto, host) = match first_item(headers, &FORWARDED) {
        _ if !believes_proxies => (None, None),
        Some(element) => (forwarded_field(&element, "proto"), forwarded_field(&element, "host")),
        None => (first_item(headers, &X_FORWARDED_PROTO), first_item(headers, &X_FORWARDED_HOST)),
    };
    let scheme = match proto.as_deref() {
        Some("https") => "https",
        Some("http") => "http",
        _ if is_tls => "https",
        _ => "http",
    };
    let host = [host, first_item(headers, &HOST), parts.uri.authority().map(|host| host.to_string())]
        .into_iter()
        .flatten()
        .find(|host| is_host(host))
        .unwrap_or_else(|| "localhost".to_owned());
    format!("{scheme}://{host}")
}

/// Scheme and host for a token server that is told to be at the registry's own (`auth.token.autoredirect`), as
/// registry:3 makes them up: https, unless some proxy says otherwise. Whoever lies here sends himself elsewhere.
pub(crate) fn redirect_base(parts: &Parts) -> String {
    let scheme = match first_item(&parts.headers, &X_FORWARDED_PROTO).as_deref() {
        Some("http") => "http",
        _ => "https",
    };
    let host = [first_item(&parts.headers, &HOST), parts.uri.authority().map(ToString::to_string)];
    let host = host.into_iter().flatten().find(|host| is_host(host));
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// An address, with or without brackets and a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        bare.and_then(|bare| bare.parse().ok())
    });
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

fn first_item(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    text.split(',').next().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty())
}

fn forwarded_field(element: &str, name: &str) -> Option<String> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Letters, digits and what hosts, ports and IPv6 addresses need besides: nothing that could end a
/// quoted string in the challenge.
fn is_host(text: &str) -> bool {
    const LONGEST_HOST: usize = 262;
    (1..=LONGEST_HOST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests;
