//! Logins, which are sent to one host and shown to nobody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A password. Its text forms mask it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// A user with a password, for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Password,
    /// Where it was found, for the report: `--user`, or a file's name.
    pub source: String,
}

impl Password {
    /// A password out of plain text.
    pub fn new(text: impl Into<String>) -> Password {
        Password(text.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Login {
    /// The value of the `Authorization` header: base64 of `user:password` (RFC 7617).
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password.0)))
    }
}
