use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::{Digest, DigestError, shorten};

/// The longest tag, in bytes (OCI Distribution Specification, "Pulling manifests").
const LONGEST_TAG: usize = 128;

/// A tag: a name in a repository that points at one manifest and may be moved. Cheap to clone.
///
/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`: always a safe file name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

/// Why a text is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Nothing there.
    #[error("the tag is empty")]
    Empty,
    /// Longer than 128 bytes.
    #[error("the tag has {0} bytes; at most {LONGEST_TAG} are allowed")]
    TooLong(usize),
    /// A character that the grammar doesn't allow.
    #[error("`{0}` is not a tag: use letters, digits, `_`, `.` and `-`, and don't begin with `.` or `-`")]
    Character(String),
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which clients keep a referrers list on registries without the referrers API:
    /// `<algorithm>-<hash>`, cut to a tag's length (OCI Distribution Specification, "Referrers Tag Schema").
    pub fn referrers_fallback(subject: &Digest) -> Tag {
        // The specification cuts the algorithm to 32 and the hash to 64 characters.
        let hash: String = subject.hex().chars().take(64).collect();
        Tag(format!("{}-{hash}", subject.algorithm()).into())
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(TagError::Empty);
        }
        if text.len() > LONGEST_TAG {
            return Err(TagError::TooLong(text.len()));
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let well_formed =
            text.bytes().enumerate().all(|(at, byte)| word(byte) || (at > 0 && matches!(byte, b'.' | b'-')));
        if well_formed { Ok(Tag(text.into())) } else { Err(TagError::Character(shorten(text))) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.0.as_ref().to_owned()
    }
}

/// What stands after `/manifests/`: a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By a name that may move.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

/// Why a text is neither a tag nor a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has a colon, so it was meant as a digest.
    #[error(transparent)]
    Digest(DigestError),
    /// It has none, so it was meant as a tag.
    #[error(transparent)]
    Tag(TagError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// A tag can't hold a colon and a digest must, so the colon decides which was meant.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(':') {
            text.parse().map(Reference::Digest).map_err(ReferenceError::Digest)
        } else {
            text.parse().map(Reference::Tag).map_err(ReferenceError::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
