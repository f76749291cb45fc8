//! The value of a `WWW-Authenticate` header (RFC 9110 section 11.6.1), byte for byte as registry:2 writes
//! it: quoted like Go's `%q`, no space after the commas.

use larder_oci::Scope;

/// What was wrong with the token that came (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// It is expired, forged or unreadable: fetch a new one.
    InvalidToken,
    /// It doesn't cover what was asked: fetch one that does.
    InsufficientScope,
}

impl ChallengeError {
    /// As it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            ChallengeError::InvalidToken => "invalid_token",
            ChallengeError::InsufficientScope => "insufficient_scope",
        }
    }
}

pub(crate) fn basic(realm: &str) -> String {
    format!("Basic realm={}", quoted(realm))
}

pub(crate) fn bearer<'a>(
    realm_url: &str,
    service: &str,
    needed: impl IntoIterator<Item = &'a Scope>,
    error: Option<ChallengeError>,
) -> String {
    let mut challenge = format!("Bearer realm={},service={}", quoted(realm_url), quoted(service));
    let scopes: Vec<String> = needed.into_iter().map(Scope::to_string).collect();
    if !scopes.is_empty() {
        challenge.push_str(&format!(",scope={}", quoted(&scopes.join(" "))));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error={}", quoted(error.as_str())));
    }
    challenge
}

/// Go's `strconv.Quote`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' '..='~' => quoted.push(character),
            '\0'..='\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(character))),
            // Rust's notion of printable is Go's but for a few new letters.
            _ if character.escape_debug().count() == 1 => quoted.push(character),
            '\u{80}'..='\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
