//! Which hosts may be reached. A name that a client asks for never chooses one: the operator's URLs do, and from
//! there redirects and token servers' addresses lead on, to the open Internet alone. Into private ranges, where
//! a router, a metadata service or another registry may stand, leads only what the operator wrote down.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The hosts that the operator wrote down: those of the URLs, and further ones.
#[derive(Clone, Debug)]
pub(crate) struct WrittenDown {
    hosts: Vec<String>,
}

/// What may be dialled for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Whatever address the host has: the operator means it.
    Anywhere,
    /// Public addresses.
    Public,
}

/// Why a URL that an upstream sent us to isn't asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("{0} is neither http nor https")]
    Scheme(String),
    #[error("it leads from https to plain http, at {0}")]
    Plain(String),
    #[error(
        "it leads to {0}, which is in a private range and not among the operator's own hosts; \
         if that is meant, add it to the upstream's hosts"
    )]
    Private(String),
    #[error("it names no host")]
    NoHost,
}

impl WrittenDown {
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a Url>, hosts: &[String]) -> WrittenDown {
        let of_urls = urls.into_iter().filter_map(|url| url.host_str().map(str::to_owned));
        let further = hosts.iter().map(|host| host.to_ascii_lowercase());
        WrittenDown { hosts: of_urls.chain(further).collect() }
    }

    /// How far a URL reaches that an upstream sent us to while it was asked over this scheme.
    pub(crate) fn admit(&self, url: &Url, from_scheme: &str) -> Result<Reach, Forbidden> {
        let host = url.host_str().ok_or(Forbidden::NoHost)?;
        match url.scheme() {
            "https" => {}
            "http" if from_scheme == "http" => {}
            "http" => return Err(Forbidden::Plain(host.to_owned())),
            other => return Err(Forbidden::Scheme(other.to_owned())),
        }
        if self.holds(host) {
            return Ok(Reach::Anywhere);
        }
        // An address needs no resolver, and is judged here.
        match literal(host) {
            Some(address) if !is_public(address) => Err(Forbidden::Private(host.to_owned())),
            _ => Ok(Reach::Public),
        }
    }

    /// Whether a token server may be told a password of this upstream: it is written down, or on the same site.
    pub(crate) fn may_learn_passwords(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.holds(host) || self.hosts.iter().any(|own| site(own).is_some() && site(own) == site(host))
    }

    fn holds(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

/// Whether two URLs are on the same host or on the same site.
pub(crate) fn is_same_site(a: &Url, b: &Url) -> bool {
    let (Some(a), Some(b)) = (a.host_str(), b.host_str()) else { return false };
    a.eq_ignore_ascii_case(b) || (site(a).is_some() && site(a) == site(b))
}

/// The last two labels of a name, as distribution compares them; `None` for an address or a bare name.
fn site(host: &str) -> Option<String> {
    if literal(host).is_some() {
        return None;
    }
    let mut labels = host.trim_end_matches('.').rsplit('.');
    let (last, before) = (labels.next()?, labels.next()?);
    Some(format!("{before}.{last}").to_ascii_lowercase())
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Resolves names to their public addresses. Asked again for every connection, so that a name can't change its mind
/// between a check and the dialling.
pub(crate) struct PublicOnly {
    /// Resolved whatever their addresses are: the proxies through which everything goes, which look up the rest.
    pub(crate) except: Vec<String>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_excepted = self.except.iter().any(|host| host.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> =
                found.filter(|address| is_excepted || is_public(address.ip())).collect();
            if public.is_empty() {
                let refusal = Forbidden::Private(name.as_str().to_owned());
                let error: Box<dyn Error + Send + Sync> = Box::new(io::Error::other(refusal));
                return Err(error);
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is on the open Internet (IANA's special-purpose registries, those that routers honour).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || first == 0
        || first >= 240
        // Shared address space of carriers (RFC 6598), protocol assignments, benchmarking (RFC 2544).
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 198 && matches!(second, 18 | 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [first, second, .., seventh, eighth] = address.segments();
    let inner = Ipv4Addr::from((u32::from(seventh) << 16) | u32::from(eighth));
    // NAT64 (RFC 6052) leads to an IPv4 address, which may be private.
    if first == 0x64 && second == 0xff9b {
        return is_public_v4(inner);
    }
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        // Unique local, link-local, site-local, documentation, 6to4, the old IPv4-compatible ones.
        || (first & 0xfe00) == 0xfc00
        || (first & 0xffc0) == 0xfe80
        || (first & 0xffc0) == 0xfec0
        || (first == 0x2001 && second == 0x0db8)
        || first == 0x2002
        || first == 0)
}

#[cfg(test)]
mod tests;
