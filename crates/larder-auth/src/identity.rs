use std::sync::Arc;

use larder_oci::Actor;

use crate::keys::KeyHolder;
use crate::token::Claims;

/// Who came, and with what: it makes a difference to what may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody in particular, with nothing in hand.
    Anonymous,
    /// A user who showed his password, or the holder of a certificate: he may do all that the policy lets him.
    User(Arc<str>),
    /// Somebody who showed an API key: he may do what the policy lets its owner and the key covers.
    Key(Arc<KeyHolder>),
    /// Somebody with a token: he may do what the policy lets him and the token covers.
    Token(Claims),
}

impl Identity {
    /// Who acts.
    pub fn actor(&self) -> Actor {
        match self {
            Identity::Anonymous => Actor::Anonymous,
            Identity::User(name) => Actor::User(Arc::clone(name)),
            Identity::Key(holder) => holder.actor(),
            Identity::Token(claims) => claims.actor.clone(),
        }
    }

    /// The API key that was shown, now or for the token.
    pub fn key(&self) -> Option<&Arc<KeyHolder>> {
        match self {
            Identity::Anonymous | Identity::User(_) => None,
            Identity::Key(holder) => Some(holder),
            Identity::Token(claims) => claims.key.as_ref(),
        }
    }
}
