use std::sync::Arc;

use larder_oci::Scope;

use crate::challenge::{self, ChallengeError};
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::external::{ExternalTokens, Realm};
use crate::identity::Identity;
use crate::keys::{KeyHolder, Keys};
use crate::origin::Origin;
use crate::passwords::{Passwords, Verdict};
use crate::policy::{CurrentPolicy, Mode, Policy};
use crate::refusal::Refusal;
use crate::secret::Password;
use crate::service_key::ServiceKey;
use crate::token::{SigningKey, Tokens};
use crate::token_endpoint::TokenEndpoint;

/// How clients prove who they are.
pub enum AuthMode {
    /// They don't: everybody may do everything.
    Open,
    /// By user and password with each request; users may do everything, others nothing. Basic can't
    /// express anonymous access: docker gives up without credentials.
    Basic {
        /// The realm of the challenge, which clients show to the user.
        realm: String,
        /// The users.
        passwords: Arc<Passwords>,
    },
    /// By a token of Larder's own service, or by user and password with each request (curl).
    Token {
        /// The service's name: issuer and audience of the tokens.
        service: String,
        /// The users.
        passwords: Arc<Passwords>,
        /// What signs the tokens.
        key: SigningKey,
        /// Who may do what.
        mode: Mode,
    },
    /// By a token of another server, which alone says what may be done, where no rules do.
    External(Box<ExternalTokens>),
}

/// Why a policy can't be put in force without a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyUnfit {
    /// Rules need users, and the gate is open.
    #[error("this registry was started without auth, so nobody is asked who he is: restart it")]
    NobodyIsAsked,
    /// Only tokens can express what anybody may do, and this gate was made for Basic.
    #[error(
        "the rules now let `anonymous` do something, which clients can be told only by tokens: restart it"
    )]
    NeedsTokens,
}

/// Where every request is asked who it is.
pub struct Gate {
    method: Method,
    policy: CurrentPolicy,
    clock: Clock,
}

enum Method {
    Open,
    Basic { realm: String, passwords: Arc<Passwords>, keys: Arc<Keys> },
    Token(Box<TokenEndpoint>),
    External(Box<ExternalTokens>),
}

impl Gate {
    /// A gate of this kind.
    pub fn new(auth_mode: AuthMode, clock: Clock) -> Gate {
        match auth_mode {
            AuthMode::Open => Gate { method: Method::Open, policy: Policy::new(Mode::Open).into(), clock },
            AuthMode::Basic { realm, passwords } => Gate {
                method: Method::Basic { realm, passwords, keys: Arc::new(Keys::none()) },
                policy: Policy::new(Mode::EveryoneAuthenticated).into(),
                clock,
            },
            AuthMode::Token { service, passwords, key, mode } => {
                let policy = CurrentPolicy::from(Policy::new(mode));
                let tokens = Tokens::new(service, key, Arc::clone(&clock));
                let endpoint = TokenEndpoint::new(tokens, passwords, policy.clone(), Arc::clone(&clock));
                Gate { method: Method::Token(Box::new(endpoint)), policy, clock }
            }
            AuthMode::External(tokens) => {
                Gate { method: Method::External(tokens), policy: Policy::new(Mode::ByToken).into(), clock }
            }
        }
    }

    /// The same, where these API keys count as passwords too. An open gate asks for none, and with the tokens
    /// of another server no password counts.
    pub fn with_keys(self, keys: Arc<Keys>) -> Gate {
        let method = match self.method {
            Method::Open => Method::Open,
            Method::Basic { realm, passwords, .. } => Method::Basic { realm, passwords, keys },
            Method::Token(endpoint) => Method::Token(Box::new(endpoint.with_keys(keys))),
            Method::External(tokens) => Method::External(tokens),
        };
        Gate { method, ..self }
    }

    /// The same, whose token endpoint also serves the other registries of these names, with tokens that this key
    /// signs. Without a token endpoint nothing changes.
    pub fn with_other_services(self, names: Vec<String>, key: ServiceKey) -> Gate {
        let method = match self.method {
            Method::Token(endpoint) => Method::Token(Box::new(endpoint.with_other_services(names, key))),
            method @ (Method::Open | Method::Basic { .. } | Method::External(_)) => method,
        };
        Gate { method, ..self }
    }

    /// Who comes, by the value of the `Authorization` header. Without one it is nobody in particular, which
    /// the policy may welcome; with a wrong one it is a refusal, even where nobody would have been served:
    /// who shows credentials wants to be known by them. Without any, a certificate's holder is known by his certificate.
    pub async fn identify(&self, authorization: Option<&str>, origin: &Origin) -> Result<Identity, Refusal> {
        let authorization = authorization.filter(|value| !value.trim().is_empty());
        // registry:2 without `auth` doesn't look at the header either.
        let value = match (authorization, &origin.certificate, &self.method) {
            (_, _, Method::Open) => return Ok(Identity::Anonymous),
            (Some(value), ..) => value,
            (None, Some(holder), Method::Basic { .. } | Method::Token(_)) => {
                return Ok(Identity::User(Arc::clone(holder)));
            }
            // Where another server's tokens say who may do what, nothing else does.
            (None, _, _) => return Ok(Identity::Anonymous),
        };
        match (Credentials::parse(value), &self.method) {
            (_, Method::Open) => Ok(Identity::Anonymous),
            (Credentials::Basic { user, password }, Method::Basic { passwords, keys, .. }) => {
                Ok(prove(passwords, keys, &self.clock, &user, &password, origin).await?.into())
            }
            (Credentials::Basic { user, password }, Method::Token(endpoint)) => {
                let (passwords, keys) = (endpoint.passwords(), endpoint.keys());
                Ok(prove(passwords, keys, &self.clock, &user, &password, origin).await?.into())
            }
            (Credentials::Bearer(token), Method::Token(endpoint)) => {
                endpoint.verify(&token, origin).map(Identity::Token).map_err(Refusal::Token)
            }
            (Credentials::Bearer(token), Method::External(tokens)) => {
                tokens.verify(&token).map(Identity::Token).map_err(Refusal::Token)
            }
            (Credentials::Bearer(_), Method::Basic { .. })
            | (Credentials::Basic { .. }, Method::External(_))
            | (Credentials::OtherScheme, _) => Err(Refusal::SchemeNotOffered),
            (Credentials::Garbled, _) => Err(Refusal::HeaderGarbled),
        }
    }

    /// What the identified may do, as of now: one request asks for it once.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.get()
    }

    /// Puts another policy in force, and with it the users whom it names groups of; requests under way are
    /// decided by the one that they found.
    ///
    /// Errors: [`PolicyUnfit`], and nothing has changed.
    pub fn replace_policy(&self, policy: Policy) -> Result<(), PolicyUnfit> {
        let passwords = match &self.method {
            Method::Open => return Err(PolicyUnfit::NobodyIsAsked),
            Method::Basic { .. } if policy.welcomes_anonymous() => return Err(PolicyUnfit::NeedsTokens),
            Method::Basic { passwords, .. } => passwords,
            Method::Token(endpoint) => endpoint.passwords(),
            Method::External(_) => {
                self.policy.replace(policy);
                return Ok(());
            }
        };
        if let Some(users) = policy.users() {
            passwords.replace_users(users);
        }
        self.policy.replace(policy);
        Ok(())
    }

    /// Where tokens are given out, if that is done here.
    pub fn token_endpoint(&self) -> Option<&TokenEndpoint> {
        match &self.method {
            Method::Open | Method::Basic { .. } | Method::External(_) => None,
            Method::Token(endpoint) => Some(endpoint),
        }
    }

    /// Where clients get tokens, if they get any.
    pub fn realm(&self) -> &Realm {
        match &self.method {
            Method::Open | Method::Basic { .. } | Method::Token(_) => &Realm::Own,
            Method::External(tokens) => tokens.realm(),
        }
    }

    /// The value of `WWW-Authenticate` for a 401; `None` at an open gate, which has no 401.
    ///
    /// `realm_url` is the absolute URL that [`realm`](Gate::realm) means for this client; `needed` is
    /// [`Denied::needed`](crate::Denied::needed), or several scopes for a mount.
    pub fn challenge<'a>(
        &self,
        realm_url: &str,
        needed: impl IntoIterator<Item = &'a Scope>,
        error: Option<ChallengeError>,
    ) -> Option<String> {
        match &self.method {
            Method::Open => None,
            Method::Basic { realm, .. } => Some(challenge::basic(realm)),
            Method::Token(endpoint) => Some(challenge::bearer(realm_url, endpoint.service(), needed, error)),
            Method::External(tokens) => Some(challenge::bearer(realm_url, tokens.service(), needed, error)),
        }
    }
}

/// Who has proven to be whom by a user name and a password.
pub(crate) enum Proven {
    User(Arc<str>),
    Key(Arc<KeyHolder>),
}

impl From<Proven> for Identity {
    fn from(proven: Proven) -> Identity {
        match proven {
            Proven::User(name) => Identity::User(name),
            Proven::Key(holder) => Identity::Key(holder),
        }
    }
}

/// Checks a user name and a password. An API key as the password says itself whose it is, so that any name
/// may stand beside it: programs that only have a field for a token send all kinds of names.
pub(crate) async fn prove(
    passwords: &Passwords,
    keys: &Keys,
    clock: &Clock,
    user: &str,
    password: &Password,
    origin: &Origin,
) -> Result<Proven, Refusal> {
    if let Some(recognised) = keys.recognise(password, |owner| passwords.knows(owner), clock) {
        return recognised.map(Proven::Key).map_err(Refusal::Key);
    }
    match passwords.verify(user, password, origin).await? {
        Verdict::Verified(user) => Ok(Proven::User(user)),
        Verdict::UnknownUser => Err(Refusal::unknown_user(user)),
        Verdict::WrongPassword => Err(Refusal::wrong_password(user)),
    }
}

#[cfg(test)]
mod tests;
