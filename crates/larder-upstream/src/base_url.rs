use std::fmt;
use std::str::FromStr;

use larder_oci::RepoName;
use reqwest::Url;

/// Where an upstream answers, as its operator wrote it: `https://registry-1.docker.io`, or with a path in front of
/// `/v2/` (`https://mirror.lab/docker`), or with one behind it, which every repository's name then begins with
/// (`https://harbor.lab/v2/hub-proxy`).
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
    /// What stands before `/v2/`: empty, or without a slash at its end.
    path: String,
    /// What names begin with upstream: empty, or with a slash at its end.
    names_begin_with: String,
}

/// Why a text is no URL of an upstream. The text is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// No URL at all.
    #[error("can't be read as a URL: {0}")]
    Unreadable(String),
    /// Another scheme, or no host.
    #[error("must begin with https:// or http:// and a host")]
    NotWeb,
    /// It would be logged, sent on and shown.
    #[error("must not hold a user or a password: write them as username and password beside it")]
    HoldsCredentials,
    /// No part of an address.
    #[error("must not hold `?` or `#`")]
    HoldsQuery,
    /// What follows `/v2/` begins every repository's name.
    #[error("names after /v2/ what can't begin a repository's name")]
    NotAName,
}

impl BaseUrl {
    /// The host that is asked, with its port if that isn't the scheme's own.
    pub fn host_and_port(&self) -> String {
        host_and_port(&self.url)
    }

    /// The URL of something in a repository: `rest` is such as `manifests/latest`.
    pub(crate) fn of(&self, repository: &RepoName, rest: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/v2/{}{repository}/{rest}", self.path, self.names_begin_with));
        url
    }

    /// Its `/v2/`.
    pub(crate) fn base(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/v2/", self.path));
        url
    }

    /// The repository's whole name there, which is what a token must cover.
    pub(crate) fn name_there(&self, repository: &RepoName) -> String {
        format!("{}{repository}", self.names_begin_with)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

/// A URL's host, with its port if that isn't the scheme's own.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| BaseUrlError::Unreadable(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BaseUrlError::NotWeb);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::HoldsCredentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::HoldsQuery);
        }
        let whole = url.path().trim_end_matches('/');
        let (path, behind) = match whole.find("/v2") {
            Some(at) if matches!(whole.as_bytes().get(at + 3), None | Some(b'/')) => {
                (whole.get(..at), whole.get(at + 3..).unwrap_or_default())
            }
            _ => (Some(whole), ""),
        };
        let behind = behind.trim_matches('/');
        if !behind.is_empty() && behind.parse::<RepoName>().is_err() {
            return Err(BaseUrlError::NotAName);
        }
        let names_begin_with = if behind.is_empty() { String::new() } else { format!("{behind}/") };
        Ok(BaseUrl { path: path.unwrap_or_default().to_owned(), names_begin_with, url })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_before_or_behind_the_version() {
        for (base, expected) in [
            ("https://registry-1.docker.io", "https://registry-1.docker.io/v2/a/b/manifests/1"),
            ("https://m.lab:5000/", "https://m.lab:5000/v2/a/b/manifests/1"),
            ("http://m.lab/docker/", "http://m.lab/docker/v2/a/b/manifests/1"),
            ("https://m.lab/v2", "https://m.lab/v2/a/b/manifests/1"),
            ("https://m.lab/v2/ghcr.io", "https://m.lab/v2/ghcr.io/a/b/manifests/1"),
            ("https://m.lab/x/v2/hub/y/", "https://m.lab/x/v2/hub/y/a/b/manifests/1"),
            ("https://m.lab/v22", "https://m.lab/v22/v2/a/b/manifests/1"),
        ] {
            let url: BaseUrl = base.parse().unwrap();
            assert_eq!(url.of(&"a/b".parse().unwrap(), "manifests/1").as_str(), expected);
        }
        let url: BaseUrl = "https://m.lab/v2/hub".parse().unwrap();
        assert_eq!(url.name_there(&"a/b".parse().unwrap()), "hub/a/b");
        assert_eq!(url.base().as_str(), "https://m.lab/v2/");
    }

    #[test]
    fn what_is_no_address_of_a_registry_is_refused_without_being_repeated() {
        for (text, error) in [
            ("ftp://x", BaseUrlError::NotWeb),
            ("https://me:secret@x", BaseUrlError::HoldsCredentials),
            ("https://me@x", BaseUrlError::HoldsCredentials),
            ("https://x/?y", BaseUrlError::HoldsQuery),
            ("https://x/v2/_y", BaseUrlError::NotAName),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap_err(), error, "{text}");
        }
        let error = "registry.lab".parse::<BaseUrl>().unwrap_err();
        assert!(matches!(error, BaseUrlError::Unreadable(_)), "{error:?}");
    }
}
