//! The one error of the driver: a sentence for the person who reads the ring's output.

use std::fmt;

/// Why a case, a command or a ring failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure(String);

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `Failure` is deliberately no `std::error::Error` itself: that is what lets `?` take every other error.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Says what was being done when a thing failed or was missing.
pub(crate) trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{doing}: {}", error.into())))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(format!("{doing}: missing")))
    }
}

/// Leaves the function with a formatted [`Failure`].
macro_rules! fail {
    ($($words:tt)*) => { return Err($crate::failure::Failure::new(format!($($words)*))) };
}
pub(crate) use fail;

/// Fails unless the two are equal, naming both.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, got: &T, wanted: &T) -> Result {
    if got != wanted {
        fail!("{what} is {got:?}, should be {wanted:?}");
    }
    Ok(())
}
