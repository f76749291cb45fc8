//! The ways in to an upstream's images.
//!
//! Here they are called `ghcr.io/owner/app`, and everything that is decided about them (rights, lists, events) is
//! decided about this name. Clients that take Larder for a mirror call them `owner/app` and say in another way which registry
//! they mean:
//!
//! - by containerd's `?ns=ghcr.io`;
//! - by a path in front of `/v2/` (dockerd's `registry-mirrors` with a path);
//! - by the name under which they reach this registry, or by a port: what is there is one upstream's alone.
//!
//! A name that begins with an upstream's prefix already is meant as it stands, whatever a client says beside it (containerd
//! sends `?ns=` with `override_path`, too). All this only chooses among the doors that the operator has made.

use http::HeaderMap;
use http::header::HOST;
use http::uri::Uri;
use larder_oci::RepoName;

use crate::route::{Route, RouteError};

/// One upstream's ways in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// What its images' names begin with here. `None`: nothing, it has the names that no other has.
    pub prefix: Option<RepoName>,
    /// Whether below the prefix a name of one part means `library/<name>`: the same image must have one name here.
    pub has_library: bool,
    /// What clients call it by `?ns=`.
    pub namespaces: Vec<String>,
    /// The names of this registry that are its own, in lower case and without ports.
    pub host_names: Vec<String>,
}

/// What a request says of the door beside its path.
pub(crate) struct Knock<'a> {
    /// The door whose port it came to.
    pub(crate) port: Option<&'a Door>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) uri: &'a Uri,
    /// The value of `?ns=`.
    pub(crate) namespace: Option<String>,
}

/// What a path without the registry's own prefix means, for whoever comes in this way.
pub(crate) fn enter(doors: &[Door], knock: &Knock<'_>, path: &str) -> Result<Route, RouteError> {
    let by_path = doors.iter().find_map(|door| {
        let rest = path.strip_prefix('/')?.strip_prefix(door.prefix.as_ref()?.as_str())?;
        (rest.starts_with("/v2/") || rest == "/v2").then_some((door, rest))
    });
    let (own, path) = match by_path {
        Some((door, rest)) => (Some(door), rest),
        None => (knock.port.or_else(|| by_host(doors, knock)), path),
    };
    if is_base_of_a_prefix(doors, path) {
        return Ok(Route::Base);
    }
    let route = Route::parse(path)?;
    let Some(name) = route.repository() else { return Ok(route) };
    let meant = match own {
        Some(door) if door.below(name).is_some() => door.name(name)?,
        Some(door) => door.put_in_front(name)?,
        None => of_namespace(doors, knock, name)?,
    };
    Ok(route.about(meant))
}

/// `/v2/ghcr.io/`: what k3s asks first of a mirror that is written down as `https://REGISTRY/v2/ghcr.io`.
fn is_base_of_a_prefix(doors: &[Door], path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v2/") else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    doors.iter().filter_map(|door| door.prefix.as_ref()).any(|prefix| prefix.as_str() == rest)
}

fn by_host<'a>(doors: &'a [Door], knock: &Knock<'_>) -> Option<&'a Door> {
    let header = knock.headers.get(HOST).and_then(|value| value.to_str().ok());
    let authority = header.or_else(|| knock.uri.authority().map(|authority| authority.as_str()))?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    doors.iter().find(|door| door.host_names.iter().any(|name| name.eq_ignore_ascii_case(host)))
}

fn of_namespace(doors: &[Door], knock: &Knock<'_>, name: &RepoName) -> Result<RepoName, RouteError> {
    if let Some(door) = doors.iter().find(|door| door.prefix.is_some() && door.below(name).is_some()) {
        return door.name(name);
    }
    // A registry without upstreams passes it over, as registry:2 does.
    let Some(namespace) = knock.namespace.as_deref().filter(|_| !doors.is_empty()) else {
        return Ok(name.clone());
    };
    let door = doors.iter().find(|door| door.namespaces.iter().any(|each| each == namespace));
    door.ok_or_else(|| RouteError::Namespace(namespace.to_owned()))?.put_in_front(name)
}

impl Door {
    /// What stands behind the prefix.
    fn below<'a>(&self, name: &'a RepoName) -> Option<&'a str> {
        match &self.prefix {
            Some(prefix) => name.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/'),
            None => Some(name.as_str()),
        }
    }

    /// A name that the door has already, in the one form that it has here.
    fn name(&self, name: &RepoName) -> Result<RepoName, RouteError> {
        match (&self.prefix, self.below(name)) {
            (Some(prefix), Some(below)) if self.has_library && !below.contains('/') => {
                Ok(format!("{prefix}/library/{below}").parse()?)
            }
            _ => Ok(name.clone()),
        }
    }

    /// A name as the upstream has it.
    fn put_in_front(&self, name: &RepoName) -> Result<RepoName, RouteError> {
        match &self.prefix {
            Some(prefix) => self.name(&format!("{prefix}/{name}").parse()?),
            None => Ok(name.clone()),
        }
    }

    /// The scope of a token in the names that hold here: clients ask for it in theirs.
    pub(crate) fn scope(doors: &[Door], knock: &Knock<'_>, scope: &str) -> String {
        let mut parts = scope.splitn(3, ':');
        let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next())
        else {
            return scope.to_owned();
        };
        let own = knock.port.or_else(|| by_host(doors, knock));
        let Ok(name) = name.parse::<RepoName>() else { return scope.to_owned() };
        let meant = match own {
            Some(door) if door.below(&name).is_some() => door.name(&name),
            Some(door) => door.put_in_front(&name),
            None => of_namespace(doors, knock, &name),
        };
        meant.map_or_else(|_| scope.to_owned(), |name| format!("repository:{name}:{actions}"))
    }
}

#[cfg(test)]
mod tests;
