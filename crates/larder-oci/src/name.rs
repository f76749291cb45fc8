use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::shorten;

/// The longest repository name, in bytes: the limit of distribution and of most clients
/// (OCI Distribution Specification, "Pulling manifests", implementers note).
const LONGEST_NAME: usize = 255;

/// A repository's name, such as `library/nginx`: lower-case components between slashes
/// (OCI Distribution Specification, "Pulling manifests"). Cheap to clone.
///
/// No component can be `.`, `..`, or begin with `_`, so a name is always a safe relative path and
/// never meets the layout's own `_layers`, `_manifests` and `_uploads`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName(Arc<str>);

/// Why a text is not a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the repository name is empty")]
    Empty,
    /// Longer than 255 bytes.
    #[error("the repository name has {0} bytes; at most {LONGEST_NAME} are allowed")]
    TooLong(usize),
    /// Upper-case letters.
    #[error("repository names are lower case: use `{suggestion}` instead of `{name}`")]
    UpperCase {
        /// The name as it came.
        name: String,
        /// The same in lower case.
        suggestion: String,
    },
    /// A component that the grammar doesn't allow.
    #[error(
        "`{component}` can't be part of a repository name: each part between slashes is made of a-z and 0-9, \
         separated by single `.`, `_`, `__` or by dashes, and begins and ends with a letter or digit"
    )]
    Component {
        /// The first offending component.
        component: String,
    },
}

impl RepoName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between slashes, in order.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for RepoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        let Some(bad) = text.split('/').find(|component| !is_component(component)) else {
            return Ok(RepoName(text.into()));
        };
        let suggestion = text.to_ascii_lowercase();
        if suggestion.split('/').all(is_component) {
            return Err(NameError::UpperCase { name: shorten(text), suggestion: shorten(&suggestion) });
        }
        Err(NameError::Component { component: shorten(bad) })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub(crate) fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    bytes.split(|byte| alphanumeric(byte)).filter(|separator| !separator.is_empty()).all(|separator| {
        matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
    })
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepoName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(name: RepoName) -> String {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests;
