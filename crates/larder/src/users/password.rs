//! A password on its way from the operator to its hash.

use crate::cli::PasswordSource;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};
use thiserror::Error;

/// bcrypt looks at no more bytes; a longer password would be accepted by its beginning alone.
const BYTES_LIMIT: usize = 72;

/// How much is read in search of a password: more than may be used, so that too long is told from too much.
const READ_LIMIT: u64 = 4096;

/// What a password is wanted for, which decides whether it is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Set,
    Compare,
}

/// A password that bcrypt can take: 1 to 72 bytes, no line break, no NUL. Its `Debug` is masked.
#[derive(PartialEq, Eq)]
pub(super) struct Password(String);

/// Why there is no password.
#[derive(Debug, Error)]
pub(crate) enum PasswordError {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// More than bcrypt can take.
    #[error(
        "the password has {bytes} bytes, and bcrypt ignores all after the {BYTES_LIMIT}nd: take a shorter one"
    )]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// More than one line.
    #[error("the password holds a line break: the file or input must hold the password alone")]
    LineBreak,
    /// A NUL byte.
    #[error("the password holds a NUL byte, which bcrypt can't take")]
    Nul,
    /// Not text.
    #[error("the password is not UTF-8 text")]
    NotUtf8,
    /// The two entries differ.
    #[error("the two passwords are not the same")]
    Differ,
    /// The file can't be read.
    #[error("could not read the password from {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Standard input can't be read.
    #[error("could not read the password from standard input")]
    Stdin(#[source] io::Error),
    /// There is nobody to ask.
    #[error("could not ask for the password; give it with --password-stdin or --password-file FILE")]
    Prompt(#[source] io::Error),
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(***)")
    }
}

impl Password {
    /// Takes the password from where the operator says it is, or asks.
    pub(super) fn read(source: &PasswordSource, purpose: Purpose) -> Result<Self, PasswordError> {
        if let Some(path) = &source.password_file {
            let failed = |source| PasswordError::File { path: path.clone(), source };
            let file = File::open(path).map_err(failed)?;
            return Self::from_reader(file, failed);
        }
        if source.password_stdin {
            return Self::from_reader(io::stdin().lock(), PasswordError::Stdin);
        }
        let password = prompt("Password: ")?;
        if purpose == Purpose::Set && prompt("Password again: ")? != password {
            return Err(PasswordError::Differ);
        }
        Ok(password)
    }

    pub(super) fn from_reader(
        reader: impl Read,
        failed: impl FnOnce(io::Error) -> PasswordError,
    ) -> Result<Self, PasswordError> {
        let mut bytes = Vec::new();
        reader.take(READ_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| PasswordError::NotUtf8)?;
        // Editors and echo end a file with a line break that nobody means to be part of the password.
        let text =
            text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        Self::new(text.to_owned())
    }

    pub(super) fn new(text: String) -> Result<Self, PasswordError> {
        if text.is_empty() {
            return Err(PasswordError::Empty);
        }
        if text.contains(['\n', '\r']) {
            return Err(PasswordError::LineBreak);
        }
        if text.contains('\0') {
            return Err(PasswordError::Nul);
        }
        if text.len() > BYTES_LIMIT {
            return Err(PasswordError::TooLong { bytes: text.len() });
        }
        Ok(Self(text))
    }

    /// The password as `larder-auth` takes it.
    pub(super) fn secret(&self) -> larder_auth::Password {
        self.0.as_str().into()
    }
}

fn prompt(question: &str) -> Result<Password, PasswordError> {
    rpassword::prompt_password(question).map_err(PasswordError::Prompt).and_then(Password::new)
}
