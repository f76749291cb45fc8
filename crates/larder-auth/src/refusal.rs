use std::borrow::Cow;

use crate::challenge::ChallengeError;
use crate::error::{AuthError, wait_seconds};
use crate::htpasswd::shorten;
use crate::keys::KeyProblem;
use crate::token::TokenProblem;

/// The credentials that came aren't believed, or couldn't be looked at. As text it is for the log; the
/// client gets [`Refusal::message`].
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such user.
    #[error("there is no user {user:?}")]
    UnknownUser {
        /// The name that came, shortened.
        user: String,
    },
    /// Not the user's password.
    #[error("wrong password for user {user:?}")]
    WrongPassword {
        /// The user.
        user: String,
    },
    /// The API key doesn't count.
    #[error("{}", .0.message())]
    Key(KeyProblem),
    /// Nobody asked for a token, and nobody gets none here.
    #[error("a token was asked for without credentials, and only users get one")]
    LoginNeeded,
    /// A refresh token, or something else than user and password, at the token endpoint.
    #[error("a token was asked for with something else than user and password")]
    LoginUnusable,
    /// The header can't be read.
    #[error("the Authorization header can't be read")]
    HeaderGarbled,
    /// The header is of a scheme that this registry doesn't offer.
    #[error("the Authorization header has a scheme that is not offered here")]
    SchemeNotOffered,
    /// The token doesn't count.
    #[error("{}", .0.message())]
    Token(TokenProblem),
    /// Nothing is known about the credentials: 429 if [`Refusal::retry_after_seconds`] says when to come back, 500 for others.
    #[error(transparent)]
    Failed(#[from] AuthError),
}

impl Refusal {
    pub(crate) fn unknown_user(user: &str) -> Refusal {
        Refusal::UnknownUser { user: shorten(user) }
    }

    pub(crate) fn wrong_password(user: &str) -> Refusal {
        Refusal::WrongPassword { user: shorten(user) }
    }

    /// What the client may read: never whether it was the name or the password.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Refusal::UnknownUser { .. } | Refusal::WrongPassword { .. } => {
                "the user name or the password is wrong; log in again with docker login"
            }
            Refusal::Key(problem) => problem.message(),
            Refusal::LoginNeeded => "this registry is for its users only; log in with docker login",
            Refusal::LoginUnusable => {
                "this registry takes user name and password; log in again with docker login"
            }
            Refusal::HeaderGarbled => {
                "the Authorization header can't be read; log in again with docker login"
            }
            Refusal::SchemeNotOffered => {
                "this registry doesn't take this kind of credentials; see the WWW-Authenticate header"
            }
            Refusal::Token(problem) => problem.message(),
            Refusal::Failed(AuthError::TooManyLogins) => {
                "too many logins wait for their password check; try again in a moment"
            }
            Refusal::Failed(AuthError::TooManyGuesses { wait, .. }) => {
                let seconds = wait_seconds(*wait);
                return Cow::Owned(format!(
                    "too many wrong passwords for this user from this address; try again in {seconds} s"
                ));
            }
            Refusal::Failed(_) => "the credentials could not be checked",
        })
    }

    /// After how many seconds the same credentials may be shown again, if they were not looked at.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        const UNTIL_THE_QUEUE_IS_SHORTER: u64 = 5;
        match self {
            Refusal::Failed(AuthError::TooManyGuesses { wait, .. }) => Some(wait_seconds(*wait)),
            Refusal::Failed(AuthError::TooManyLogins) => Some(UNTIL_THE_QUEUE_IS_SHORTER),
            _ => None,
        }
    }

    /// Whom the credentials were said to be, shortened; `None` where they said nobody.
    pub fn user(&self) -> Option<&str> {
        match self {
            Refusal::UnknownUser { user }
            | Refusal::WrongPassword { user }
            | Refusal::Failed(AuthError::TooManyGuesses { user, .. }) => Some(user),
            _ => None,
        }
    }

    /// What the challenge says about the credentials that came.
    pub fn challenge_error(&self) -> Option<ChallengeError> {
        match self {
            Refusal::Token(_) => Some(ChallengeError::InvalidToken),
            Refusal::UnknownUser { .. }
            | Refusal::WrongPassword { .. }
            | Refusal::Key(_)
            | Refusal::LoginNeeded
            | Refusal::LoginUnusable
            | Refusal::HeaderGarbled
            | Refusal::SchemeNotOffered
            | Refusal::Failed(_) => None,
        }
    }
}
