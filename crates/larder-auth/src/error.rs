use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::password_hash::{FEWEST_ROUNDS, HIGHEST_COST, LOWEST_COST, MOST_ARGON2_KIB, MOST_ROUNDS};
use crate::token::SigningKey;

/// What can fail here; that somebody isn't who he says he is, is a [`Refusal`](crate::Refusal) instead.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The operator must make the file readable.
    #[error("the {name} {} can't be read: check that it exists and that larder may read it", path.display())]
    FileUnreadable {
        /// What kind of file it is: `users file`.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The operator must mend the file. All mistakes are told at once.
    #[error("{}", UsersFileMistake::listed(path, mistakes))]
    UsersFileMistaken {
        /// The file.
        path: PathBuf,
        /// In the order of the lines; at least one.
        mistakes: Vec<UsersFileMistake>,
    },
    /// The operator must restore or remove the file of API keys; `larder key` wrote it.
    #[error("{} is no file of API keys that this Larder can read: {problem}", path.display())]
    KeysFileMistaken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The operator must mend the file: `auth.token.rootcertbundle` or `jwks`.
    #[error("{} says of nobody that his tokens count: {problem}", path.display())]
    TrustMistaken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file doesn't hold the key that signs tokens for other registries, and its certificate.
    #[error("it must hold a private key of P-256 (PKCS #8) and its certificate, both in PEM")]
    ServiceKeyUnusable,
    /// The text is no API key, or one that can't be narrowed any further.
    #[error("{reason}")]
    KeyUnusable {
        /// What is wrong and what would be right.
        reason: Cow<'static, str>,
    },
    /// The user name, password or cost can't go into a users file: choose another.
    #[error("{reason}")]
    LoginUnusable {
        /// What is wrong and what would be right.
        reason: Cow<'static, str>,
    },
    /// The key file doesn't hold a key: restore it, or delete it and let everybody fetch new tokens.
    #[error("a token key has {} bytes, this one has {found}", SigningKey::LENGTH)]
    SigningKeyLength {
        /// Bytes found.
        found: usize,
    },
    /// Too many passwords wait for their check: come back later.
    #[error("too many logins wait for their password check; try again in a moment")]
    TooManyLogins,
    /// This user was given wrong passwords too often from where this one comes; it was not looked at.
    #[error(
        "user {user:?} was given too many wrong passwords from this address; the next one counts in {} s",
        wait_seconds(*wait)
    )]
    TooManyGuesses {
        /// The name that came, shortened.
        user: String,
        /// How long it takes until another password is looked at.
        wait: Duration,
    },
    /// Larder's own fault, or its end: nothing that a caller can heal.
    #[error("{doing} failed")]
    Broken {
        /// What was being done.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whole seconds after which a wait is over.
pub(crate) fn wait_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// One line of a users file that can't stand. It never holds the line itself, which may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFileMistake {
    /// From 1.
    pub line: usize,
    /// Whose line it is, where that can be told.
    pub user: Option<String>,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineProblem {
    /// The bytes aren't UTF-8.
    NotUtf8,
    /// No `:` between user and hash.
    NoColon,
    /// Nothing stands before the `:`.
    NoUser,
    /// A password in a form that isn't accepted.
    OtherHash(HashKind),
    /// It begins like bcrypt and goes on differently.
    BrokenBcrypt,
    /// The bcrypt cost would be no protection, or no end.
    Cost(u32),
    /// It begins like sha-crypt and goes on differently.
    BrokenShaCrypt,
    /// sha-crypt's rounds would be no protection, or no end.
    Rounds(u32),
    /// It begins like Argon2 and goes on differently.
    BrokenArgon2,
    /// One check would take too much memory or time.
    Argon2TooDear,
}

/// The forms of password that htpasswd files hold besides those that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// `$apr1$`, what `htpasswd` writes without `-B`.
    Apr1,
    /// `{SHA}`
    Sha1,
    /// `$1$`
    Md5Crypt,
    /// `$2x$`: bcrypt by a library whose hashes were wrong.
    FaultyBcrypt,
    /// Thirteen letters of the old `crypt(3)`.
    UnixCrypt,
    /// Anything else, or no hash at all.
    PlainOrUnknown,
}

impl UsersFileMistake {
    /// The most mistakes that one message lists; a file of the wrong kind has one in each line.
    const MOST_LISTED: usize = 20;

    fn listed(path: &std::path::Path, mistakes: &[UsersFileMistake]) -> String {
        let mut text = String::new();
        for mistake in mistakes.iter().take(Self::MOST_LISTED) {
            let separator = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{separator}{} {mistake}", path.display()));
        }
        if let Some(more @ 1..) = mistakes.len().checked_sub(Self::MOST_LISTED) {
            text.push_str(&format!("\n… and {more} more lines"));
        }
        text
    }
}

impl fmt::Display for UsersFileMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(user) = &self.user {
            write!(f, ", user {user:?}")?;
        }
        write!(f, ": {}; ", self.problem)?;
        match (&self.user, self.problem) {
            // A name that a shell would take apart is left for the reader to quote.
            (Some(user), _)
                if user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte)) =>
            {
                write!(f, "set the password anew: larder user add {user}")
            }
            (Some(_), _) => f.write_str("set the password anew: larder user add <user>"),
            (None, _) => f.write_str("delete the line and add the user: larder user add <user>"),
        }
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineProblem::NotUtf8 => f.write_str("it is not UTF-8 text"),
            LineProblem::NoColon => f.write_str("it has no `:` between user and password hash"),
            LineProblem::NoUser => f.write_str("no user name stands before the `:`"),
            LineProblem::OtherHash(kind) => {
                let kind = kind.description();
                write!(
                    f,
                    "the password is {kind}, and only bcrypt, argon2 and sha-crypt ($5$, $6$) are accepted"
                )
            }
            LineProblem::BrokenBcrypt => f.write_str("the bcrypt hash is cut off or damaged"),
            LineProblem::Cost(cost) => {
                write!(f, "the bcrypt cost is {cost}, and it must be {LOWEST_COST} to {HIGHEST_COST}")
            }
            LineProblem::BrokenShaCrypt => f.write_str("the sha-crypt hash is cut off or damaged"),
            LineProblem::Rounds(rounds) => {
                write!(
                    f,
                    "it has {rounds} rounds of sha-crypt, and they must be {FEWEST_ROUNDS} to {MOST_ROUNDS}"
                )
            }
            LineProblem::BrokenArgon2 => f.write_str("the argon2 hash is cut off or damaged"),
            LineProblem::Argon2TooDear => write!(
                f,
                "one check of this argon2 hash would take too long or more than {} MiB",
                MOST_ARGON2_KIB / 1024
            ),
        }
    }
}

impl HashKind {
    fn description(self) -> &'static str {
        match self {
            HashKind::Apr1 => "an MD5 hash ($apr1$, what `htpasswd` writes without -B)",
            HashKind::Sha1 => "an SHA-1 hash ({SHA})",
            HashKind::Md5Crypt => "an MD5 hash ($1$)",
            HashKind::FaultyBcrypt => "a hash of a faulty bcrypt library ($2x$)",
            HashKind::UnixCrypt => "an old crypt(3) hash",
            HashKind::PlainOrUnknown => "plain text or an unknown kind of hash",
        }
    }
}
