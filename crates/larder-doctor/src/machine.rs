//! This machine's own programs: what their files say about a registry, and what in it is wrong.
//!
//! Files are read below a root that is passed in, so that tests have machines of their own. Of secrets only the
//! presence is looked at, but for the one login that belongs to the registry.

mod credentials;
mod docker;
mod containerd;
mod podman;
mod buildkit;
mod k3s;
mod mirrors;
mod yaml;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use toml_edit::{DocumentMut, Item};

use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::net::{Certificate, Endpoint, Scheme};
use crate::secret::Login;

pub(crate) use mirrors::{Engine, Mirror};

/// Where programs and their files are.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// What `/etc` lies below: `/`.
    pub root: PathBuf,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// The directories with programs (`PATH`).
    pub programs: Vec<PathBuf>,
    /// docker's directory of client settings, if it isn't `~/.docker` (`DOCKER_CONFIG`).
    pub docker_config: Option<PathBuf>,
    /// buildx's directory of builders, if it isn't below docker's (`BUILDX_CONFIG`).
    pub buildx_config: Option<PathBuf>,
    /// Where BuildKit listens, if it isn't at its usual sockets (`BUILDKIT_HOST`).
    pub buildkit_host: Option<String>,
    /// The user's directory of sockets (`XDG_RUNTIME_DIR`).
    pub runtime_dir: Option<PathBuf>,
    /// Where Kubernetes' runtime listens, if crictl's file doesn't say so (`CONTAINER_RUNTIME_ENDPOINT`).
    pub runtime_endpoint: Option<String>,
}

/// What was found out about the registry before its clients' files are read.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// As it stands in image names.
    pub(crate) authority: String,
    pub(crate) endpoint: Endpoint,
    /// Which files' authorities vouch for the certificate; empty when the system's do, or nobody does.
    pub(crate) vouching: Vec<String>,
    /// Whether the system's own authorities vouch for it.
    pub(crate) by_system: bool,
}

/// Something wrong in a file.
pub(crate) type Trouble = (Row, Told);

impl Machine {
    /// The machine that this runs on, for the user that runs it.
    pub fn here() -> Machine {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        Machine {
            root: PathBuf::from("/"),
            home: variable("HOME").map(PathBuf::from),
            programs: variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
            docker_config: variable("DOCKER_CONFIG").map(PathBuf::from),
            buildx_config: variable("BUILDX_CONFIG").map(PathBuf::from),
            buildkit_host: text("BUILDKIT_HOST"),
            runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            runtime_endpoint: text("CONTAINER_RUNTIME_ENDPOINT"),
        }
    }

    /// Whether a program of this name can be run.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        self.programs.iter().map(|dir| dir.join(program)).find(|path| path.is_file())
    }

    pub(crate) fn etc(&self, path: &str) -> PathBuf {
        self.root.join("etc").join(path)
    }

    /// docker's directory of client settings.
    pub(crate) fn docker_dir(&self) -> Option<PathBuf> {
        self.docker_config.clone().or_else(|| self.home(".docker"))
    }

    pub(crate) fn home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    /// The authorities that single programs have been given for a registry: (the file, its certificates).
    pub(crate) fn authorities(&self, authority: &str) -> Vec<(String, Vec<CertificateDer<'static>>)> {
        let mut files = docker::authority_files(self, authority);
        files.extend(podman::authority_files(self, authority));
        files.extend(containerd::authority_files(self, authority));
        let mut found: Vec<(String, Vec<CertificateDer<'static>>)> = Vec::new();
        for path in files {
            let certificates = certificates(&path);
            let name = path.display().to_string();
            if !certificates.is_empty() && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, certificates));
            }
        }
        found
    }

    /// Everything that is wrong in the files of the programs that are installed or have files.
    pub(crate) fn examine(&self, spoken: &Spoken) -> Vec<Trouble> {
        let mut troubles = credentials::examine(self, spoken);
        troubles.extend(docker::examine(self, spoken));
        troubles.extend(containerd::examine(self, spoken));
        troubles.extend(k3s::examine(self, spoken));
        troubles.extend(podman::examine(self, spoken));
        troubles.extend(buildkit::examine(self, spoken));
        troubles
    }

    /// The login that docker or podman would send to the registry, if they have one and it is in a file.
    pub fn login(&self, authority: &str) -> Option<Login> {
        credentials::login(self, authority)
    }
}

/// The certificates of a PEM file; none when it can't be read or holds none.
fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let Ok(pem) = std::fs::read(path) else { return Vec::new() };
    CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect()
}

/// Whether a file's first certificate may vouch for others.
fn is_authority(path: &Path) -> bool {
    certificates(path)
        .first()
        .and_then(Certificate::read)
        .is_some_and(|certificate| certificate.is_authority || certificate.is_self_issued)
}

/// A file's text; `None` when it isn't there, a trouble when it can't be read.
fn text(path: &Path) -> Result<Option<String>, Trouble> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Other users' files are theirs: root's are read by root's programs.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

fn unreadable(path: &Path, why: &str) -> Trouble {
    (
        Row::FileUnreadable,
        Told::failure(
            Hop::Client,
            format!("{} can't be read: {why}", path.display()),
            "the program that reads it starts without what it says, or doesn't start",
            format!("mend {}", path.display()),
        ),
    )
}

/// A file as TOML; `None` when it isn't there.
fn toml(path: &Path) -> Result<Option<DocumentMut>, Trouble> {
    let Some(text) = text(path)? else { return Ok(None) };
    match text.parse::<DocumentMut>() {
        Ok(document) => Ok(Some(document)),
        Err(error) => Err(unreadable(path, error.to_string().lines().next().unwrap_or("it is no TOML"))),
    }
}

/// A file as JSON; `None` when it isn't there.
fn json(path: &Path) -> Result<Option<serde_json::Value>, Trouble> {
    let Some(text) = text(path)? else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| unreadable(path, &error.to_string()))
}

/// The names in a directory, sorted; none when it can't be read.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The texts of a TOML list.
fn texts(item: Option<&Item>) -> Vec<String> {
    let Some(list) = item.and_then(Item::as_array) else { return Vec::new() };
    list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

impl Spoken {
    /// The host without its port.
    fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Whether an `authority` or a URL, with or without scheme and path, is this registry.
    fn is_meant(&self, url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let named = rest.split('/').next().unwrap_or_default();
        named.eq_ignore_ascii_case(&self.authority) || named.eq_ignore_ascii_case(&self.endpoint.authority())
    }

    /// Whether it is on this machine, where docker and podman take plain HTTP.
    fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.host().parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// A mirror's URL whose scheme isn't the registry's.
    fn wrong_scheme(&self, file: &Path, url: &str) -> Option<Trouble> {
        let written = match url.split_once("://")?.0 {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        if !self.is_meant(url) || written == self.endpoint.scheme {
            return None;
        }
        let right = url.replacen(written.as_str(), self.endpoint.scheme.as_str(), 1);
        Some((
            Row::MirrorScheme,
            Told::failure(
                Hop::Client,
                format!("{} says {url}, and the registry speaks {}", file.display(), self.endpoint.scheme),
                "the mirror fails at every request, and its program goes on to the upstream without a word",
                format!("in {}: {right}", file.display()),
            ),
        ))
    }

    /// A program that isn't told the authority, though another one is. That nobody is told was said before.
    fn authority_missing(&self, program: &str, file: &str) -> Option<Trouble> {
        let told = self.vouching.iter().any(|vouching| vouching.ends_with(file));
        if self.endpoint.scheme == Scheme::Http || self.by_system || self.vouching.is_empty() || told {
            return None;
        }
        let from = self.vouching.first()?;
        Some((
            Row::AuthorityMissing,
            Told::warning(
                Hop::Client,
                format!("{program} is installed and isn't told the registry's authority, which {from} has"),
                "each program looks in a place of its own: `certificate signed by unknown authority`",
                format!("sudo install -D -m 644 {from} {file}"),
            ),
        ))
    }
}

fn mirror_url(file: &Path, seen: String, cause: &str, fix: String) -> Trouble {
    (Row::MirrorUrl, Told::failure(Hop::Client, format!("{}: {seen}", file.display()), cause, fix))
}

#[cfg(test)]
mod tests;
