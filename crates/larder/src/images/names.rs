//! What an image is called here, by what it is called where it comes from.

use std::fmt;

use larder_oci::{Digest, Reference, RepoName};

use super::ImagesError;

/// What an image is called where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// In a registry of ours, such as `ghcr.io/team/app:1`: it stays as it is.
    Ours(String),
    /// On some machine, such as `docker.io/library/alpine:3` or `latest`.
    Theirs(String),
}

/// A place in this registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Here {
    pub(crate) repository: RepoName,
    pub(crate) reference: Reference,
}

/// How names are changed on their way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renaming<'a> {
    /// What is put in front of each repository.
    pub(crate) prefix: Option<&'a str>,
    /// The repository instead of the name's own, and perhaps the tag.
    pub(crate) name: Option<&'a str>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Ours(name) | Name::Theirs(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Reference::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Reference::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl Name {
    /// Whether it says more than a tag.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Name::Ours(_) => true,
            Name::Theirs(name) => name.contains(['/', ':']),
        }
    }
}

/// A name in its parts: the repository, the tag and the digest.
type Parts<'n> = (Option<&'n str>, Option<&'n str>, Option<Digest>);

/// A word alone is a tag: so layouts have it.
fn parts(name: &str) -> Result<Parts<'_>, ImagesError> {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => {
            let problem = |error: larder_oci::DigestError| wrong(name, error.to_string());
            (name, Some(digest.parse::<Digest>().map_err(problem)?))
        }
        None => (name, None),
    };
    Ok(match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (Some(path), Some(tag), digest),
        _ if digest.is_none() && !name.contains('/') => (None, Some(name), None),
        _ => (Some(name), None, digest),
    })
}

fn wrong(name: &str, problem: String) -> ImagesError {
    ImagesError::Name { name: name.to_owned(), problem }
}

/// Without its registry's host, and docker's `library/`.
fn bare(path: &str) -> &str {
    match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            let is_docker = ["docker.io", "index.docker.io"].contains(&host);
            rest.strip_prefix("library/").filter(|_| is_docker).unwrap_or(rest)
        }
        _ => path,
    }
}

/// The place for a name.
///
/// # Errors
/// It is only a tag, as layouts have it, or can't be a name here.
pub(crate) fn here(name: &Name, renaming: Renaming<'_>) -> Result<Here, ImagesError> {
    let (text, path, tag, digest) = match name {
        Name::Ours(text) => {
            let (path, tag, digest) = parts(text)?;
            (text, path, tag, digest)
        }
        Name::Theirs(text) => {
            let (path, tag, digest) = parts(text)?;
            (text, path.map(bare), tag, digest)
        }
    };
    if let Some(name) = renaming.name {
        return named(name, tag, digest);
    }
    let Some(path) = path else {
        return Err(wrong(text, "it is a tag alone; say where it belongs with --as REPOSITORY".to_owned()));
    };
    let path = match renaming.prefix.map(|prefix| prefix.trim_matches('/')) {
        Some(prefix) if !prefix.is_empty() => format!("{prefix}/{path}"),
        _ => path.to_owned(),
    };
    place(text, &path, tag, digest)
}

/// The place that `--as` says, with the tag that the image has if none is said.
pub(crate) fn named(name: &str, tag: Option<&str>, digest: Option<Digest>) -> Result<Here, ImagesError> {
    match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => place(name, path, Some(tag), None),
        _ => place(name, name, tag, digest),
    }
}

fn place(name: &str, path: &str, tag: Option<&str>, digest: Option<Digest>) -> Result<Here, ImagesError> {
    let reference = match (tag, digest) {
        (None, Some(digest)) => Reference::Digest(digest),
        (tag, _) => {
            let problem = |error: larder_oci::TagError| wrong(name, error.to_string());
            Reference::Tag(tag.unwrap_or("latest").parse().map_err(problem)?)
        }
    };
    let problem = |error: larder_oci::NameError| wrong(name, error.to_string());
    Ok(Here { repository: path.parse().map_err(problem)?, reference })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs(name: &str, prefix: Option<&str>) -> Result<Here, ImagesError> {
        here(&Name::Theirs(name.to_owned()), Renaming { prefix, name: None })
    }

    #[test]
    fn hosts_and_dockers_library_are_left_out() {
        for (name, prefix, expected) in [
            ("docker.io/library/alpine:3", None, "alpine:3"),
            ("alpine:3", None, "alpine:3"),
            ("localhost:5000/team/app:1", None, "team/app:1"),
            ("ghcr.io/owner/app:v1", Some("mirror/"), "mirror/owner/app:v1"),
            ("library/alpine:3", None, "library/alpine:3"),
            ("quay.io/app/web", None, "app/web:latest"),
        ] {
            assert_eq!(theirs(name, prefix).unwrap().to_string(), expected, "{name}");
        }
        let digest = Digest::sha256(b"");
        let by_digest = theirs(&format!("team/app@{digest}"), None).unwrap();
        assert_eq!(by_digest.reference, Reference::Digest(digest));
        for name in ["latest", "UPPER/case:1", "", "team/app@sha256:12"] {
            assert!(theirs(name, None).is_err(), "{name}");
        }
    }

    #[test]
    fn names_of_a_registry_of_ours_stay_as_they_are() {
        for name in ["ghcr.io/owner/app:1", "library/alpine:3", "docker.io/library/alpine:3"] {
            let here = here(&Name::Ours(name.to_owned()), Renaming::default()).unwrap();
            assert_eq!(here.to_string(), name);
        }
    }

    #[test]
    fn a_repository_of_its_own_keeps_the_tags() {
        for (name, called, expected) in [
            ("v1", "team/app", "team/app:v1"),
            ("quay.io/a/b:v1", "team/app", "team/app:v1"),
            ("quay.io/a/b:v1", "team/app:v2", "team/app:v2"),
            ("v1", "app", "app:v1"),
        ] {
            let renaming = Renaming { name: Some(called), prefix: None };
            assert_eq!(here(&Name::Theirs(name.to_owned()), renaming).unwrap().to_string(), expected);
        }
    }
}
