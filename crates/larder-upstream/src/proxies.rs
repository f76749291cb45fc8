//! Which proxy stands between: the upstream's own, or what the environment says.
//!
//! The environment means the same as to registry:2, which leaves it to Go (`golang.org/x/net/http/httpproxy`): the same
//! variables take a host the same way in a container of either. Two things are added: `ALL_PROXY` counts where the variable
//! for the scheme is missing, as with curl; and a proxy that can't be understood stops the start instead of each pull.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use larder_core::UpstreamFailure;
use reqwest::Url;

use crate::base_url::host_and_port;
use crate::settings::{ProxyUrl, Settings};

/// What can be spoken to a proxy.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    https: Option<Variable>,
    http: Option<Variable>,
    no_proxy: String,
}

/// A variable that names a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: &'static str,
    proxy: ProxyUrl,
}

impl EnvironmentProxies {
    /// Those of the environment in which this process runs.
    pub fn of_this_process() -> EnvironmentProxies {
        EnvironmentProxies::read(|name| std::env::var(name).ok())
    }

    /// Those of the variables that `lookup` knows. An empty one is as good as none.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> EnvironmentProxies {
        let value = |name: &&'static str| lookup(name).filter(|value| !value.is_empty());
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some(Variable { name, proxy: ProxyUrl(value(name)?) }))
        };
        EnvironmentProxies {
            https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            http: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: ["NO_PROXY", "no_proxy"].iter().find_map(value).unwrap_or_default(),
        }
    }
}

/// What is wrong with a proxy, by where it is written: a variable's name, or nothing for the upstream's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoProxyUrl(pub(crate) Option<&'static str>);

/// Which proxy is asked for which URL.
#[derive(Clone)]
pub(crate) enum Proxies {
    /// For everything.
    One(Url),
    ByEnvironment {
        https: Option<Url>,
        http: Option<Url>,
        except: Vec<Except>,
    },
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Except {
    Everything,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// What is below this name, which begins with a dot; itself too, if so written.
    Name {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    pub(crate) fn of_settings(settings: &Settings) -> Result<Proxies, NoProxyUrl> {
        if let Some(ProxyUrl(text)) = &settings.proxy {
            return Ok(Proxies::One(proxy_url(text).ok_or(NoProxyUrl(None))?));
        }
        let EnvironmentProxies { https, http, no_proxy } = &settings.environment;
        let url = |variable: &Option<Variable>| match variable {
            Some(Variable { name, proxy }) => proxy_url(&proxy.0).map(Some).ok_or(NoProxyUrl(Some(name))),
            None => Ok(None),
        };
        let except = no_proxy.split(',').filter_map(Except::parse).collect();
        Ok(Proxies::ByEnvironment { https: url(https)?, http: url(http)?, except })
    }

    /// The proxy for this URL; `None`: it is asked without one.
    pub(crate) fn of(&self, url: &Url) -> Option<&Url> {
        let (https, http, except) = match self {
            Proxies::One(proxy) => return Some(proxy),
            Proxies::ByEnvironment { https, http, except } => (https, http, except),
        };
        let proxy = if url.scheme() == "https" { https } else { http }.as_ref()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let (address, port): (Option<IpAddr>, _) = (host.parse().ok(), url.port_or_known_default());
        let is_this_machine = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let is_excepted = except.iter().any(|except| except.matches(&host, address, port));
        (!is_this_machine && !is_excepted).then_some(proxy)
    }

    /// The same in words: host and port.
    pub(crate) fn named(&self, url: &Url) -> Option<String> {
        self.of(url).map(host_and_port)
    }

    /// The hosts of all of them.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = match self {
            Proxies::One(proxy) => [Some(proxy), None],
            Proxies::ByEnvironment { https, http, .. } => [https.as_ref(), http.as_ref()],
        };
        urls.into_iter().flatten().filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[masked]")
    }
}

impl Except {
    /// `None` for what says nothing.
    fn parse(text: &str) -> Option<Except> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Except::Everything);
        }
        if let Ok(network) = text.parse() {
            return Some(Except::Network(network));
        }
        let (host, port) = split_port(&text);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse() {
            return Some(Except::Address(address, port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let (below, itself) = match host.strip_prefix('.') {
            Some(below) => (below, false),
            None => (host, true),
        };
        // As names stand in URLs, also those that aren't ASCII.
        let url = Url::parse(&format!("http://{below}")).ok();
        let name = url.as_ref().and_then(Url::host_str).unwrap_or(below);
        Some(Except::Name { suffix: format!(".{name}"), itself, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        match self {
            Except::Everything => true,
            Except::Network(network) => {
                address.is_some_and(|address| network.contains(&address.to_canonical()))
            }
            Except::Address(own, on) => address == Some(*own) && (on.is_none() || *on == port),
            Except::Name { suffix, itself, port: on } => {
                let is_it = *itself && suffix.strip_prefix('.') == Some(host);
                address.is_none() && (is_it || host.ends_with(suffix)) && (on.is_none() || *on == port)
            }
        }
    }
}

/// `host:port`, and an IPv6 address with one in brackets.
fn split_port(text: &str) -> (&str, Option<u16>) {
    let split = text.rsplit_once(':').filter(|(host, _)| host.starts_with('[') || !host.contains(':'));
    match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// A proxy without a scheme is spoken to by plain HTTP.
fn proxy_url(text: &str) -> Option<Url> {
    let is_one = |url: &Url| SCHEMES.contains(&url.scheme()) && url.has_host();
    let whole = Url::parse(text).ok().filter(is_one);
    whole.or_else(|| {
        let bare = (!text.contains("://")).then(|| format!("http://{text}"))?;
        Url::parse(&bare).ok().filter(is_one)
    })
}

/// What a proxy has done instead of leading to `host`, to follow the proxy's own name. It is known by the words of the
/// client alone; `None` if these aren't about a proxy.
pub(crate) fn refusal(proxy: &Url, host: &str, cause: &str) -> Option<(UpstreamFailure, String)> {
    let way = format!("is the proxy on the way to {host} and");
    let said = cause.strip_prefix("tunnel error: ")?;
    let words = match said {
        "proxy authorization required" => return Some(wants_login(proxy, host)),
        // Nobody tells with which status; it may lead there a moment later.
        "unsuccessful" => format!("{way} refuses to lead there"),
        "unexpected end of file" => format!("{way} hung up instead of leading there"),
        "failed to create underlying connection" => format!("{way} can't be reached"),
        other => format!("{way} didn't lead there: {other}"),
    };
    Some((UpstreamFailure::Unreachable, words))
}

/// The same of a 407.
pub(crate) fn wants_login(proxy: &Url, host: &str) -> (UpstreamFailure, String) {
    let way = format!("is the proxy on the way to {host} and");
    let words = if proxy.username().is_empty() {
        format!("{way} wants a login (407): put user and password into its URL")
    } else {
        format!("{way} refuses the login in its URL (407)")
    };
    (UpstreamFailure::Failed { status: 407 }, words)
}

#[cfg(test)]
mod tests;
