//! Larder's own tokens: JWTs signed with HMAC-SHA256, with the claims of distribution's token
//! specification ("Token Authentication Implementation"). Only Larder reads them, so a shared key does;
//! replicas share the key file.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use larder_oci::{Action, Actor, Resource, Scope};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, unix_seconds};
use crate::error::AuthError;
use crate::keys::{KeyHolder, KeyId, KeyProblem, Narrowing};
use crate::secret::BearerToken;
use crate::service_key::ServiceKey;
use crate::verified_tokens::VerifiedTokens;

/// How long a token counts. Clients assume at least 60 s; docker uses one token for a whole push and
/// fetches no other in the middle of it, while every check asks the users file anyway.
pub(crate) const VALIDITY: Duration = Duration::from_secs(300);

/// How far the clocks of two replicas may differ: what registry:2 allows.
const LEEWAY: Duration = Duration::from_secs(60);

/// The key that signs tokens. It must survive a restart, or the clients' tokens die with the process.
#[derive(Clone)]
pub struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub actor: Actor,
    /// What it covers.
    pub access: Arc<[Scope]>,
    /// The API key that it was given for.
    pub key: Option<Arc<KeyHolder>>,
}

/// What a token says, as long as its time is now and everybody whom it names is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) actor: Actor,
    pub(crate) access: Arc<[Scope]>,
    pub(crate) key: Option<KeyInToken>,
    /// In seconds since 1970.
    pub(crate) not_before: u64,
    pub(crate) expires: u64,
}

/// A key by its number, and how far it was narrowed: the rest is looked up, as it may be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyInToken {
    pub(crate) id: KeyId,
    pub(crate) narrowings: Arc<[Narrowing]>,
}

/// Why a token doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Its time is over.
    Expired,
    /// Its time has yet to come: the clocks of two replicas disagree.
    NotYetValid,
    /// It was signed with another key, or changed.
    BadSignature,
    /// It was made for another service, or before the service got its present name.
    OtherService,
    /// It is no token of ours at all.
    Garbled,
    /// It was made by another server than the one whose tokens count.
    OtherIssuer,
    /// It was signed with a key of which nothing is known.
    UntrustedKey,
    /// It was signed by an algorithm that isn't allowed.
    AlgorithmNotAllowed,
    /// It is a refresh token, and its user has another password since, or is gone.
    PasswordChanged,
    /// It is valid and its user is gone.
    UserGone,
    /// It is valid for the holder of a certificate that wasn't shown with it.
    OtherCertificate,
    /// It is valid and the API key that it was given for isn't.
    Key(KeyProblem),
}

/// Makes and reads tokens.
pub(crate) struct Tokens {
    service: String,
    key: SigningKey,
    others: Option<OtherServices>,
    verified: VerifiedTokens,
    clock: Clock,
}

/// Other registries that are given tokens, and what signs those.
struct OtherServices {
    names: Vec<String>,
    key: ServiceKey,
}

/// A token that was just made.
pub(crate) struct Issued {
    pub(crate) token: BearerToken,
    pub(crate) issued_at_unix_seconds: u64,
}

impl SigningKey {
    /// Bytes in a key: as many as the hash gives out, which is what RFC 7518 section 3.2 asks for.
    pub const LENGTH: usize = 32;
}

impl From<[u8; SigningKey::LENGTH]> for SigningKey {
    fn from(bytes: [u8; SigningKey::LENGTH]) -> SigningKey {
        SigningKey { encoding: EncodingKey::from_secret(&bytes), decoding: DecodingKey::from_secret(&bytes) }
    }
}

impl TryFrom<&[u8]> for SigningKey {
    type Error = AuthError;

    /// From the content of the key file.
    fn try_from(bytes: &[u8]) -> Result<SigningKey, AuthError> {
        let key: [u8; SigningKey::LENGTH] =
            bytes.try_into().map_err(|_| AuthError::SigningKeyLength { found: bytes.len() })?;
        Ok(key.into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([masked])")
    }
}

impl Claims {
    /// Whether the token covers this action.
    pub(crate) fn cover(&self, action: Action, resource: &Resource) -> bool {
        self.access
            .iter()
            .filter(|scope| scope.resource == *resource)
            .any(|scope| scope.actions.contains(&action) || scope.actions.contains(&Action::All))
    }
}

impl Content {
    /// Whether its time is now, in seconds since 1970.
    pub(crate) fn check_time(&self, now: u64) -> Result<(), TokenProblem> {
        if now > self.expires.saturating_add(LEEWAY.as_secs()) {
            return Err(TokenProblem::Expired);
        }
        if now.saturating_add(LEEWAY.as_secs()) < self.not_before {
            return Err(TokenProblem::NotYetValid);
        }
        Ok(())
    }
}

impl TokenProblem {
    /// A sentence for the client and the log.
    pub fn message(self) -> &'static str {
        match self {
            TokenProblem::Expired => "the token has expired; fetch a new one",
            TokenProblem::NotYetValid => {
                "the token is not valid yet: the clocks of the servers behind this address differ by more than a minute; \
                 set them, for instance with timedatectl set-ntp true"
            }
            TokenProblem::BadSignature => {
                "the token was not signed with this registry's key; fetch a new one; replicas must share one key"
            }
            TokenProblem::OtherService => "the token was made for another service; fetch a new one",
            TokenProblem::PasswordChanged => {
                "the user has another password since this login, or is gone; log in again with docker login"
            }
            TokenProblem::OtherIssuer => {
                "the token was made by another server than auth.token.issuer names; one of the two must change"
            }
            TokenProblem::UntrustedKey => {
                "the token was signed with a key that this registry doesn't know; auth.token.rootcertbundle or jwks \
                 must hold it, or vouch for it"
            }
            TokenProblem::AlgorithmNotAllowed => {
                "the token was signed by an algorithm that auth.token.signingalgorithms doesn't allow; \
                 add it there, or sign by another"
            }
            TokenProblem::Garbled => {
                "the token can't be read; fetch one from where this registry's challenge says"
            }
            TokenProblem::OtherCertificate => {
                "the token was given to the holder of a client certificate that wasn't shown with it; \
                 show that certificate, or log in anew"
            }
            TokenProblem::UserGone => {
                "the token's user is no longer a user of this registry; log in as another"
            }
            TokenProblem::Key(problem) => problem.message(),
        }
    }
}

impl Tokens {
    pub(crate) fn new(service: String, key: SigningKey, clock: Clock) -> Tokens {
        // jsonwebtoken panics at its first use when it finds no provider, or two, among its features; which
        // ones it has is up to the whole dependency tree. An error says that one was installed before.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Tokens { service, key, others: None, verified: VerifiedTokens::new(), clock }
    }

    /// The same, which also makes tokens for other registries.
    pub(crate) fn with_other_services(self, names: Vec<String>, key: ServiceKey) -> Tokens {
        Tokens { others: Some(OtherServices { names, key }), ..self }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// A token for this actor, who may have shown a key, that covers this much: at this registry, or at the other
    /// one that has this name, if it is one of those that are given tokens.
    pub(crate) fn issue(
        &self,
        actor: &Actor,
        key: Option<&KeyHolder>,
        access: &[Scope],
        service: Option<&str>,
    ) -> Result<Issued, AuthError> {
        let now = unix_seconds((self.clock)());
        let other = self.others.as_ref().and_then(|others| {
            let name = others.names.iter().find(|name| Some(name.as_str()) == service)?;
            Some((name, &others.key))
        });
        let claims = WireClaims {
            iss: self.service.clone(),
            aud: other.map_or(&self.service, |(name, _)| name).clone(),
            sub: match actor {
                Actor::Anonymous => String::new(),
                Actor::User(name) => name.as_ref().to_owned(),
            },
            iat: now,
            nbf: now,
            exp: now.saturating_add(VALIDITY.as_secs()),
            access: access.iter().filter_map(WireAccess::of).collect(),
            // Only here can it be looked up.
            key: key.filter(|_| other.is_none()).map(WireKey::of),
        };
        if let Some((_, key)) = other {
            return Ok(Issued { token: key.sign(&claims)?, issued_at_unix_seconds: now });
        }
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key.encoding)
            .map_err(|error| AuthError::Broken { doing: "signing a token", source: Box::new(error) })?;
        Ok(Issued { token: token.into(), issued_at_unix_seconds: now })
    }

    /// What the token says, if it is one of ours and its time is now.
    pub(crate) fn verify(&self, token: &BearerToken) -> Result<Arc<Content>, TokenProblem> {
        // There is one key as long as the process lives.
        const GENERATION: u64 = 0;
        let content = self.verified.content(token, GENERATION, || self.read(token))?;
        content.check_time(unix_seconds((self.clock)()))?;
        Ok(content)
    }

    fn read(&self, token: &BearerToken) -> Result<Content, TokenProblem> {
        let claims =
            jsonwebtoken::decode::<WireClaims>(token.expose(), &self.key.decoding, &self.validation())
                .map_err(|error| problem_of(error.kind()))?
                .claims;
        let actor = if claims.sub.is_empty() {
            Actor::Anonymous
        } else {
            Actor::User(Arc::from(claims.sub.as_str()))
        };
        Ok(Content {
            actor,
            access: claims.access.iter().filter_map(WireAccess::scope).collect(),
            key: claims.key.map(WireKey::read).transpose()?,
            not_before: claims.nbf,
            expires: claims.exp,
        })
    }

    /// A refresh token for this user: it counts until the user goes or gets another password, whose `mark` it has.
    pub(crate) fn issue_refresh(&self, user: &str, mark: &str) -> Result<BearerToken, AuthError> {
        let claims = RefreshClaims {
            iss: self.service.clone(),
            aud: REFRESH.to_owned(),
            sub: user.to_owned(),
            mark: mark.to_owned(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key.encoding)
            .map(BearerToken::from)
            .map_err(|error| AuthError::Broken { doing: "signing a refresh token", source: Box::new(error) })
    }

    /// The user and the mark of a refresh token; `None` for whatever isn't one of ours.
    pub(crate) fn read_refresh(&self, token: &BearerToken) -> Option<(String, String)> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.set_issuer(&[&self.service]);
        validation.set_audience(&[REFRESH]);
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<RefreshClaims>(token.expose(), &self.key.decoding, &validation);
        claims.ok().map(|token| (token.claims.sub, token.claims.mark))
    }

    /// The times are left to us, because jsonwebtoken asks the system's clock.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.service]);
        validation.set_audience(&[&self.service]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

/// jsonwebtoken's kinds are an open set; what isn't named here means that it couldn't make sense of it.
fn problem_of(kind: &ErrorKind) -> TokenProblem {
    match kind {
        ErrorKind::InvalidSignature => TokenProblem::BadSignature,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenProblem::OtherService,
        _ => TokenProblem::Garbled,
    }
}

/// The audience of refresh tokens: none but the token endpoint, so that one is no token for anything else. No service can
/// have this name, which holds a blank.
const REFRESH: &str = "refresh token";

#[derive(Serialize, Deserialize)]
struct RefreshClaims {
    iss: String,
    aud: String,
    sub: String,
    mark: String,
}

/// The claims as RFC 7519 and distribution's specification spell them.
#[derive(Serialize, Deserialize)]
struct WireClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    access: Vec<WireAccess>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<WireKey>,
}

#[derive(Serialize, Deserialize)]
struct WireKey {
    id: String,
    narrowed: Vec<String>,
}

impl WireKey {
    fn of(holder: &KeyHolder) -> WireKey {
        WireKey {
            id: holder.record().id.to_string(),
            narrowed: holder.narrowings().iter().map(Narrowing::to_string).collect(),
        }
    }

    /// A narrowing of a later Larder can't be left out: the token then counts for nothing.
    fn read(self) -> Result<KeyInToken, TokenProblem> {
        let garbled = |()| TokenProblem::Garbled;
        let narrowings = self.narrowed.iter().map(|text| text.parse()).collect::<Result<Vec<_>, ()>>();
        Ok(KeyInToken {
            id: self.id.parse().map_err(|_| TokenProblem::Garbled)?,
            narrowings: narrowings.map_err(garbled)?.into(),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireAccess {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

impl WireAccess {
    fn of(scope: &Scope) -> Option<WireAccess> {
        let (kind, name) = match &scope.resource {
            Resource::Repository(name) => ("repository", name.as_str()),
            Resource::Catalog => ("registry", "catalog"),
            Resource::Other(_) => return None,
        };
        let actions = scope.actions.iter().map(|action| action.as_str().to_owned()).collect();
        Some(WireAccess { kind: kind.to_owned(), name: name.to_owned(), actions })
    }

    /// What a later Larder may grant and this one doesn't know, it doesn't give.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let text = format!("{}:{}:{}", self.kind, self.name, self.actions.join(","));
        let scope: Scope = text.parse().ok()?;
        let known = !matches!(scope.resource, Resource::Other(_)) && scope.actions != BTreeSet::new();
        known.then_some(scope)
    }
}

#[cfg(test)]
mod tests;
