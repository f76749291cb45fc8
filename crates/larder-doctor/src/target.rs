//! What is to be looked at: `[http[s]://]HOST[:PORT][/REPOSITORY[:TAG]]`, as it stands in an image's name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use larder_oci::{NameError, RepoName, Tag};

use crate::net::Scheme;

/// A registry, and perhaps a repository and a tag in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The scheme, if it was written down.
    pub(crate) scheme: Option<Scheme>,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port, if it was written down.
    pub(crate) port: Option<u16>,
    /// The repository whose rights are meant.
    pub(crate) repository: Option<RepoName>,
    /// The image that is meant.
    pub(crate) tag: Option<Tag>,
}

/// Why a text names no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The first part is no host: docker would look for the image at Docker Hub.
    #[error(
        "`{0}` names no registry: without a dot, a port or `localhost` in its first part, docker takes it for an image of \
         Docker Hub, and a push of it ends in \"denied: requested access to the resource is denied\". Put the registry \
         in front: registry.lan:5000/{0}"
    )]
    NoHost(String),
    /// A port that is none.
    #[error("`{0}` is not a port: write HOST:PORT with a number from 1 to 65535")]
    Port(String),
    /// A host with characters that no host has.
    #[error("`{0}` is not a host")]
    Host(String),
    /// A repository's name that clients refuse before they ask anybody.
    #[error("clients refuse this image name themselves: {0}")]
    Name(#[from] NameError),
    /// A tag that is none.
    #[error("`{0}` is not a tag: letters, digits, `_`, `.` and `-`, 128 at most")]
    Tag(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return Err(TargetError::Host(text.to_owned())),
            None => (None, text),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        let is_host = scheme.is_some() || port.is_some() || host.contains(['.', ':']) || host == "localhost";
        if !is_host && !path.is_empty() {
            return Err(TargetError::NoHost(text.to_owned()));
        }
        let path = path.trim_end_matches('/').trim_start_matches("v2/");
        let (name, tag) = match path.split_once('@').map_or(path, |(name, _)| name).rsplit_once(':') {
            Some((name, tag)) => {
                let tag = Tag::from_str(tag).map_err(|_| TargetError::Tag(tag.to_owned()))?;
                (name, Some(tag))
            }
            None => (path.split('@').next().unwrap_or_default(), None),
        };
        let repository = if name.is_empty() || name == "v2" { None } else { Some(name.parse()?) };
        Ok(Target { scheme, host, port, repository, tag })
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| TargetError::Host(authority.to_owned()))?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !(host.bytes().all(named) || host.parse::<IpAddr>().is_ok()) {
        return Err(TargetError::Host(authority.to_owned()));
    }
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(TargetError::Port(port.to_owned())),
    });
    Ok((host.to_ascii_lowercase(), port.transpose()?))
}

impl Target {
    /// The host as it stands in an image's name: with the port if it has one, and brackets where they are needed.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Whether it was written down as one that speaks plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.scheme == Some(Scheme::Http)
    }

    /// Whether the host is this machine: what docker and podman allow plain HTTP to.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.authority())?;
        if let Some(repository) = &self.repository {
            write!(formatter, "/{repository}")?;
        }
        match &self.tag {
            Some(tag) => write!(formatter, ":{tag}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
