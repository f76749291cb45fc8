use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// The hash functions that a digest may name (OCI Image Specification, descriptor.md, "Registered algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: 32 bytes, the algorithm of nearly every digest in the world.
    Sha256,
    /// SHA-512: 64 bytes.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order in which directories are walked.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Bytes in a hash of this algorithm.
    pub fn length(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(DigestError::UnsupportedAlgorithm(shorten(text))),
        }
    }
}

/// A content digest, `<algorithm>:<lower-case hex>`. Two equal digests name the same bytes.
///
/// Only the canonical spelling parses: upper-case hex and other lengths are refused, so that one
/// digest has one path on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash; bytes past the algorithm's length are zero.
    hash: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon between algorithm and hash.
    #[error("`{0}` is not a digest: it has no `:` between algorithm and hash")]
    NoColon(String),
    /// An algorithm that Larder does not store.
    #[error("unsupported digest algorithm `{0}`; use sha256 or sha512")]
    UnsupportedAlgorithm(String),
    /// The hash has the wrong length for its algorithm.
    #[error("a {algorithm} digest has {expected} hex digits, this one has {found}")]
    Length {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Hex digits wanted.
        expected: usize,
        /// Hex digits found.
        found: usize,
    },
    /// The hash holds something other than `0-9a-f`.
    #[error("a digest is written in lower-case hexadecimal digits only")]
    NotLowerHex,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The SHA-256 digest of these bytes.
    pub fn sha256(bytes: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, bytes)
    }

    /// A digest from its raw hash, or `None` when the length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Digest> {
        if hash.len() != algorithm.length() {
            return None;
        }
        let mut padded = [0; 64];
        padded.get_mut(..hash.len())?.copy_from_slice(hash);
        Some(Digest { algorithm, hash: padded })
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash: 32 or 64 bytes.
    pub fn hash(&self) -> &[u8] {
        self.hash.get(..self.algorithm.length()).unwrap_or(&self.hash)
    }

    /// The hash in lower-case hex, without the algorithm: a directory name in distribution's layout.
    pub fn hex(&self) -> String {
        hex::encode(self.hash())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 128];
        let hash = self.hash();
        let digits = hex.get_mut(..2 * hash.len()).unwrap_or_default();
        hex::encode_to_slice(hash, digits).map_err(|_| fmt::Error)?;
        f.write_str(self.algorithm.as_str())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hash) = text.split_once(':').ok_or_else(|| DigestError::NoColon(shorten(text)))?;
        let algorithm = Algorithm::from_str(algorithm)?;
        let expected = algorithm.length() * 2;
        if hash.len() != expected {
            return Err(DigestError::Length { algorithm, expected, found: hash.chars().count() });
        }
        if !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::NotLowerHex);
        }
        let bytes = hex::decode(hash).map_err(|_| DigestError::NotLowerHex)?;
        Digest::from_hash(algorithm, &bytes).ok_or(DigestError::NotLowerHex)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Hashes bytes as they pass. A clone continues on its own.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// The algorithm of the digest that [`finish`](Hasher::finish) gives.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(state) => state.update(bytes),
            Hasher::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything that was taken in.
    pub fn finish(self) -> Digest {
        let mut hash = [0; 64];
        let algorithm = self.algorithm();
        match self {
            Hasher::Sha256(state) => {
                if let Some(head) = hash.first_chunk_mut::<32>() {
                    *head = state.finalize().into();
                }
            }
            Hasher::Sha512(state) => hash = state.finalize().into(),
        }
        Digest { algorithm, hash }
    }
}

/// Cuts text from outside to a length that may be repeated in an error.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST_ECHO: usize = 80;
    if text.chars().count() <= LONGEST_ECHO {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST_ECHO).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
