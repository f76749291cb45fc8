//! The value of an `Authorization` header (RFC 9110 section 11.6.2, RFC 7617, RFC 6750).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::secret::{BearerToken, Password};

/// The longest value that is looked at. The largest honest one is a token for
/// [`MOST_SCOPES`](crate::token_endpoint::MOST_SCOPES) repositories with the longest names.
const LONGEST_VALUE_BYTES: usize = 32 << 10;

/// What a client showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// User and password. Some clients send an empty user, or `<token>`, with a token as the password.
    Basic {
        /// Up to the first `:`.
        user: String,
        /// All after it, further `:` included.
        password: Password,
    },
    /// A token.
    Bearer(BearerToken),
    /// A scheme that isn't spoken here.
    OtherScheme,
    /// One of ours whose rest can't be read.
    Garbled,
}

impl Credentials {
    /// Reads the header's value. The scheme's case doesn't count.
    pub fn parse(value: &str) -> Credentials {
        let value = value.trim();
        if value.len() > LONGEST_VALUE_BYTES {
            return Credentials::Garbled;
        }
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest).unwrap_or(Credentials::Garbled);
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return bearer(rest);
        }
        Credentials::OtherScheme
    }
}

fn basic(encoded: &str) -> Option<Credentials> {
    let mut user = STANDARD.decode(encoded).ok()?;
    let colon = user.iter().position(|&byte| byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    // No name in the table is anything but UTF-8, so another one can't be meant.
    Some(Credentials::Basic { user: String::from_utf8(user).ok()?, password: password.into() })
}

/// Whether it is a token of ours is for the one who checks it, who can say what is wrong with it.
fn bearer(token: &str) -> Credentials {
    if token.is_empty() { Credentials::Garbled } else { Credentials::Bearer(token.to_owned().into()) }
}

/// Padding is left to the client: hand-written scripts like to strip it.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests;
