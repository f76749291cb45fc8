use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A password, in the bytes in which it came: clients don't agree on an encoding, and bcrypt doesn't ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

/// The token of a `Bearer` header, or of a token answer.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl Password {
    /// A new password out of 32 random bytes, spelled as registry:2 spells the one that it makes for its
    /// first user: base64url without padding, 43 characters.
    pub fn generated(random: [u8; 32]) -> Password {
        Password(URL_SAFE_NO_PAD.encode(random).into_bytes())
    }

    /// The bytes, for hashing and for showing a generated password once.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Password {
        Password(bytes)
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Password {
        Password(text.as_bytes().to_vec())
    }
}

impl BearerToken {
    /// The token as it goes over the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for BearerToken {
    fn from(text: String) -> BearerToken {
        BearerToken(text)
    }
}

/// What stands in a log in a secret's place.
const MASK: &str = "[masked]";

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
