use std::fmt;
use std::str::FromStr;

use crate::digest::shorten;
use crate::range::parse_number;

/// The name of an upload session: a UUID, because registry:2 purges only sessions whose directory
/// is named by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(uuid::Uuid);

/// The text is not an upload session's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an upload session: sessions are named by a UUID, in lower case with dashes")]
pub struct UploadIdError(String);

impl UploadId {
    /// A session name from 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> UploadId {
        UploadId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    /// Only the canonical spelling parses, so that one session has one directory.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().to_string() == text => Ok(UploadId(uuid)),
            _ => Err(UploadIdError(shorten(text))),
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The `Content-Range` of an uploaded chunk: `<first>-<last>`, both inclusive
/// (OCI Distribution Specification, "Pushing a blob in chunks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Offset of the chunk's first byte.
    pub first: u64,
    /// Offset of its last byte; `last >= first`.
    pub last: u64,
}

/// The header is not a chunk's range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Range `{0}` can't be read: write <first byte>-<last byte>, as in 0-1023")]
pub struct ChunkRangeError(String);

impl ChunkRange {
    /// Bytes in the chunk: at least one.
    pub fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl FromStr for ChunkRange {
    type Err = ChunkRangeError;

    /// Besides the specification's form, HTTP's own `bytes 0-99/*` is read: some clients send it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ChunkRangeError(shorten(text));
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix("bytes").map_or(trimmed, |rest| rest.trim_start_matches([' ', '=']));
        let bare = bare.split('/').next().unwrap_or_default();
        let (first, last) = bare.split_once('-').ok_or_else(refused)?;
        match (parse_number(first), parse_number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(ChunkRange { first, last }),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests;
