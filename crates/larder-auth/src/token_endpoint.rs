//! The token endpoint's rules (distribution's token specification, "Docker Registry v2 authentication via
//! central service"; rules 2, 5, 6 and 10 of the clients' page, section 3).
//!
//! `docker login` asks for a refresh token and keeps it in the place of the password: so the password doesn't lie on
//! the client's disk, and ends there when it is changed here. Whoever doesn't ask gets none. It has no end of its own, as
//! docker can't renew one: it stands for a password, and lives as long as that.

use std::sync::Arc;

use larder_oci::{Actor, Resource, Scope};
use tracing::debug;

use crate::clock::{Clock, rfc3339};
use crate::credentials::Credentials;
use crate::error::AuthError;
use crate::gate::{Proven, prove};
use crate::htpasswd::shorten;
use crate::keys::{KeyHolder, Keys};
use crate::origin::{CERTIFICATE_PREFIX, Origin};
use crate::passwords::Passwords;
use crate::policy::CurrentPolicy;
use crate::refusal::Refusal;
use crate::secret::{BearerToken, Password};
use crate::service_key::ServiceKey;
use crate::token::{Claims, KeyInToken, TokenProblem, Tokens, VALIDITY};

/// The most scopes that one request is granted. docker asks for five at most, BuildKit for one per base
/// image; a token for more would be too long for the headers that proxies let through.
pub(crate) const MOST_SCOPES: usize = 32;

/// Gives out tokens to whom they are due.
pub struct TokenEndpoint {
    tokens: Tokens,
    passwords: Arc<Passwords>,
    keys: Arc<Keys>,
    policy: CurrentPolicy,
    clock: Clock,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    login: Login,
    scopes: Vec<Scope>,
    service: Option<String>,
    wants_refresh_token: bool,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nobody in particular.
    Anonymous,
    /// User and password, by `Authorization` or by form.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Password,
    },
    /// A refresh token: ours, or another registry's.
    Refresh(BearerToken),
    /// Something that is never valid here: a scheme that isn't spoken,
    /// a header that can't be read.
    Unusable,
}

/// A token, and what the answer says about it.
#[derive(Clone, Debug)]
pub struct TokenGrant {
    /// For `token` and `access_token`.
    pub token: BearerToken,
    /// For `refresh_token`: in the place of the password, if one was asked for with a password.
    pub refresh_token: Option<BearerToken>,
    /// For `expires_in`.
    pub expires_in_seconds: u64,
    /// For `issued_at`: RFC 3339, UTC.
    pub issued_at: String,
    /// Whose token it is; anonymous too when wrong credentials asked for no more than anybody may have.
    pub actor: Actor,
    /// The API key that it was given for, if it was one.
    pub key: Option<Arc<KeyHolder>>,
    /// What it covers: of what was asked, what the policy allows.
    pub granted: Vec<Scope>,
}

impl Login {
    /// From the value of the `Authorization` header, if there was one.
    pub fn from_authorization(value: Option<&str>) -> Login {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else {
            return Login::Anonymous;
        };
        match Credentials::parse(value) {
            Credentials::Basic { user, password } => Login::Password { user, password },
            Credentials::Bearer(_) | Credentials::OtherScheme | Credentials::Garbled => Login::Unusable,
        }
    }
}

impl TokenRequest {
    /// `scope_parameters` are the values of the request's `scope` parameters, each one scope or several
    /// between spaces. What can't be read is something that isn't granted, never an error.
    pub fn new<'a>(login: Login, scope_parameters: impl IntoIterator<Item = &'a str>) -> TokenRequest {
        let read = |text: &str| {
            text.parse().unwrap_or_else(|_| Scope {
                resource: Resource::Other(shorten(text)),
                actions: Default::default(),
            })
        };
        let scopes = scope_parameters
            .into_iter()
            .flat_map(str::split_whitespace)
            .take(MOST_SCOPES)
            .map(read)
            .collect();
        TokenRequest { login, scopes, service: None, wants_refresh_token: false }
    }

    /// The same, for the registry of this name: the request's `service` parameter.
    pub fn for_service(self, service: Option<String>) -> TokenRequest {
        TokenRequest { service, ..self }
    }

    /// The same, which asks for a refresh token (`offline_token`, `access_type=offline`).
    pub fn offline(self, wants_refresh_token: bool) -> TokenRequest {
        TokenRequest { wants_refresh_token, ..self }
    }

    /// What is asked for.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

impl TokenEndpoint {
    pub(crate) fn new(
        tokens: Tokens,
        passwords: Arc<Passwords>,
        policy: CurrentPolicy,
        clock: Clock,
    ) -> TokenEndpoint {
        TokenEndpoint { tokens, passwords, keys: Arc::new(Keys::none()), policy, clock }
    }

    pub(crate) fn with_other_services(self, names: Vec<String>, key: ServiceKey) -> TokenEndpoint {
        TokenEndpoint { tokens: self.tokens.with_other_services(names, key), ..self }
    }

    pub(crate) fn with_keys(self, keys: Arc<Keys>) -> TokenEndpoint {
        TokenEndpoint { keys, ..self }
    }

    /// A token for what may be had of what was asked.
    ///
    /// Wrong credentials are refused where the user would want to know: at `docker login`, which asks for
    /// no scope, and where the account could have got more. Where it couldn't, they get the anonymous
    /// token: dockerd sends Docker Hub's credentials to its mirrors, and silently goes around a mirror that
    /// refuses them.
    pub async fn grant(&self, request: &TokenRequest, origin: &Origin) -> Result<TokenGrant, Refusal> {
        match (&request.login, &origin.certificate) {
            (Login::Anonymous, Some(holder)) => self.issue(Actor::User(Arc::clone(holder)), None, request),
            (Login::Anonymous, None) if self.policy.get().welcomes_anonymous() => {
                self.issue(Actor::Anonymous, None, request)
            }
            (Login::Anonymous, None) => Err(Refusal::LoginNeeded),
            (Login::Unusable, _) => self.issue_in_spite_of(Refusal::LoginUnusable, "", request),
            (Login::Refresh(token), _) => self.refresh(token, request),
            (Login::Password { user, password }, _) => {
                let refusal =
                    match prove(&self.passwords, &self.keys, &self.clock, user, password, origin).await {
                        Ok(Proven::User(user)) => return self.log_in(&user, request),
                        // A key stays with its holder: it is a secret of its own already, and can be narrowed.
                        Ok(Proven::Key(holder)) => return self.issue(holder.actor(), Some(&holder), request),
                        // A dockerd with somebody else's old password goes on pulling what anybody may.
                        Err(
                            refusal @ (Refusal::UnknownUser { .. }
                            | Refusal::WrongPassword { .. }
                            | Refusal::Key(_)
                            | Refusal::Failed(AuthError::TooManyGuesses { .. })),
                        ) => refusal,
                        Err(refusal) => return Err(refusal),
                    };
                self.issue_in_spite_of(refusal, user, request)
            }
        }
    }

    fn log_in(&self, user: &Arc<str>, request: &TokenRequest) -> Result<TokenGrant, Refusal> {
        let mut grant = self.issue(Actor::User(Arc::clone(user)), None, request)?;
        let mark = request.wants_refresh_token.then(|| self.passwords.mark_of(user)).flatten();
        grant.refresh_token = mark.map(|mark| self.tokens.issue_refresh(user, &mark)).transpose()?;
        Ok(grant)
    }

    fn refresh(&self, token: &BearerToken, request: &TokenRequest) -> Result<TokenGrant, Refusal> {
        let Some((user, mark)) = self.tokens.read_refresh(token) else {
            return self.issue_in_spite_of(Refusal::LoginUnusable, "", request);
        };
        if self.passwords.mark_of(&user) != Some(mark) {
            return self.issue_in_spite_of(Refusal::Token(TokenProblem::PasswordChanged), &user, request);
        }
        let mut grant = self.issue(Actor::User(user.into()), None, request)?;
        grant.refresh_token = request.wants_refresh_token.then(|| token.clone());
        Ok(grant)
    }

    /// The name that its tokens are issued under, and that clients ask it for by.
    pub fn service(&self) -> &str {
        self.tokens.service()
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The claims of a valid token whose user or key is still there. A certificate's token counts only where the
    /// certificate is shown as well.
    pub(crate) fn verify(&self, token: &BearerToken, origin: &Origin) -> Result<Claims, TokenProblem> {
        let content = self.tokens.verify(token)?;
        let is_user = |name: &str| self.passwords.knows(name);
        let key = match (&content.key, &content.actor) {
            (Some(KeyInToken { id, narrowings }), _) => {
                let holder = self.keys.recall(*id, narrowings, is_user, &self.clock);
                Some(holder.map_err(TokenProblem::Key)?)
            }
            (None, Actor::User(user)) if user.starts_with(CERTIFICATE_PREFIX) => {
                if origin.certificate.as_ref() != Some(user) {
                    return Err(TokenProblem::OtherCertificate);
                }
                None
            }
            (None, Actor::User(user)) if !is_user(user) => return Err(TokenProblem::UserGone),
            (None, Actor::User(_) | Actor::Anonymous) => None,
        };
        // Whose the key is, is what the keys say now.
        let actor = key.as_ref().map_or_else(|| content.actor.clone(), |holder| holder.actor());
        Ok(Claims { actor, access: Arc::clone(&content.access), key })
    }

    fn issue(
        &self,
        actor: Actor,
        key: Option<&Arc<KeyHolder>>,
        request: &TokenRequest,
    ) -> Result<TokenGrant, Refusal> {
        let holder = key.map(Arc::as_ref);
        let granted = self.policy.get().grant(&actor, holder, &request.scopes);
        let issued = self.tokens.issue(&actor, holder, &granted, request.service.as_deref())?;
        Ok(TokenGrant {
            token: issued.token,
            refresh_token: None,
            expires_in_seconds: VALIDITY.as_secs(),
            issued_at: rfc3339(issued.issued_at_unix_seconds),
            actor,
            key: key.map(Arc::clone),
            granted,
        })
    }

    fn issue_in_spite_of(
        &self,
        refusal: Refusal,
        claimed_user: &str,
        request: &TokenRequest,
    ) -> Result<TokenGrant, Refusal> {
        let policy = self.policy.get();
        let as_user = policy.grant(&Actor::User(claimed_user.into()), None, &request.scopes);
        let as_anybody = policy.grant(&Actor::Anonymous, None, &request.scopes);
        let is_login = request.scopes.is_empty();
        if is_login || as_user != as_anybody || !policy.welcomes_anonymous() {
            return Err(refusal);
        }
        debug!(%refusal, "wrong credentials ask for no more than anybody may have, and get an anonymous token");
        self.issue(Actor::Anonymous, None, request)
    }
}

#[cfg(test)]
mod tests;
