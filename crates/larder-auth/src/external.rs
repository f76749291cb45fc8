//! Tokens of another server (`auth.token`), verified as registry:2 and registry:3 do it: distribution's token
//! specification, "Token Authentication Implementation".
//!
//! The two generations differ in how a token names its key: by libtrust's fingerprint or by RFC 7638's thumbprint.
//! Both are understood, so that a token server written for either goes on working.

mod jws;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use larder_oci::Actor;
use serde::Deserialize;

use crate::clock::{Clock, unix_seconds};
use crate::error::AuthError;
use crate::followed_file::{FollowedFile, Kind};
use crate::secret::BearerToken;
use crate::token::{Claims, Content, TokenProblem, WireAccess};
use crate::verified_tokens::VerifiedTokens;
use jws::{Header, Jws};
use trust::{Bundle, KeySet, PublicKey};

pub use jws::{SigningAlgorithm, UnknownAlgorithm};

/// The largest file of certificates or keys that is read; a bundle of all public authorities has a fifth.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// What is known of the other server: `auth.token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSettings {
    /// Where clients get tokens.
    pub realm: Realm,
    /// What the tokens are made for (`aud`).
    pub service: String,
    /// Who makes them (`iss`).
    pub issuer: String,
    /// Certificates (PEM): of the keys that sign, or of the authorities that vouch for those.
    pub certificates: Option<PathBuf>,
    /// Keys that sign, as a JWK set (RFC 7517).
    pub key_set: Option<PathBuf>,
    /// By which algorithms tokens may be signed.
    pub algorithms: Vec<SigningAlgorithm>,
}

/// Where clients get tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Realm {
    /// At this registry: its own token endpoint.
    Own,
    /// At this URL.
    Url(String),
    /// At the host that the client has asked, below this path (`autoredirect`).
    SameHost {
        /// With a slash in front.
        path: String,
    },
}

/// Verifies the tokens of another server. Its files are read again when they change.
pub struct ExternalTokens {
    settings: ExternalSettings,
    certificates: Option<FollowedFile<Bundle>>,
    key_set: Option<FollowedFile<KeySet>>,
    trust: Mutex<Trust>,
    verified: VerifiedTokens,
    clock: Clock,
}

/// Whom tokens are believed from, as of one time.
#[derive(Clone, Default)]
struct Trust {
    certificates: Option<Arc<Bundle>>,
    key_set: Option<Arc<KeySet>>,
    /// What was found good with one generation says nothing of another.
    generation: u64,
}

impl ExternalTokens {
    /// Reads the files for the first time.
    ///
    /// Errors: [`AuthError::FileUnreadable`] and [`AuthError::TrustMistaken`]; either must keep the server from
    /// starting.
    pub fn open(settings: ExternalSettings, clock: Clock) -> Result<ExternalTokens, AuthError> {
        let certificates = settings.certificates.clone().map(|path| {
            let kind = Kind {
                name: "file of token certificates",
                content: "certificates",
                largest_bytes: LARGEST_FILE_BYTES,
                parse: Bundle::parse,
                when_absent: None,
            };
            FollowedFile::open(path, kind)
        });
        let key_set = settings.key_set.clone().map(|path| {
            let kind = Kind {
                name: "file of token keys",
                content: "keys",
                largest_bytes: LARGEST_FILE_BYTES,
                parse: KeySet::parse,
                when_absent: None,
            };
            FollowedFile::open(path, kind)
        });
        Ok(ExternalTokens {
            certificates: certificates.transpose()?,
            key_set: key_set.transpose()?,
            settings,
            trust: Mutex::default(),
            verified: VerifiedTokens::new(),
            clock,
        })
    }

    pub(crate) fn realm(&self) -> &Realm {
        &self.settings.realm
    }

    pub(crate) fn service(&self) -> &str {
        &self.settings.service
    }

    /// What the token says, if it is the other server's and its time is now. Blocks for a `stat` of each file.
    pub(crate) fn verify(&self, token: &BearerToken) -> Result<Claims, TokenProblem> {
        let trust = self.trust();
        let content = self.verified.content(token, trust.generation, || self.read(token, &trust))?;
        content.check_time(unix_seconds((self.clock)()))?;
        Ok(Claims { actor: content.actor.clone(), access: Arc::clone(&content.access), key: None })
    }

    fn trust(&self) -> Trust {
        let certificates = self.certificates.as_ref().map(FollowedFile::current);
        let key_set = self.key_set.as_ref().map(FollowedFile::current);
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if !same(&trust.certificates, &certificates) || !same(&trust.key_set, &key_set) {
            let generation = trust.generation.saturating_add(1);
            *trust = Trust { certificates, key_set, generation };
        }
        trust.clone()
    }

    fn read(&self, token: &BearerToken, trust: &Trust) -> Result<Content, TokenProblem> {
        let jws = Jws::split(token.expose()).ok_or(TokenProblem::Garbled)?;
        let header = jws.header().ok_or(TokenProblem::Garbled)?;
        let algorithm = header.alg.parse().ok();
        let Some(algorithm) = algorithm.filter(|known| self.settings.algorithms.contains(known)) else {
            return Err(TokenProblem::AlgorithmNotAllowed);
        };
        let key = self.key_of(&header, trust).ok_or(TokenProblem::UntrustedKey)?;
        if !key.verifies(algorithm, jws.signed(), &jws.signature().ok_or(TokenProblem::Garbled)?) {
            return Err(TokenProblem::BadSignature);
        }
        let claims: ExternalClaims = jws.claims().ok_or(TokenProblem::Garbled)?;
        if claims.iss != self.settings.issuer {
            return Err(TokenProblem::OtherIssuer);
        }
        if !claims.aud.holds(&self.settings.service) {
            return Err(TokenProblem::OtherService);
        }
        Ok(Content {
            actor: if claims.sub.is_empty() {
                Actor::Anonymous
            } else {
                Actor::User(claims.sub.as_str().into())
            },
            access: claims.access.unwrap_or_default().iter().filter_map(WireAccess::scope).collect(),
            key: None,
            not_before: claims.nbf,
            expires: claims.exp,
        })
    }

    /// The key that signed, if somebody whom we trust says so. The order of the ways to name it is distribution's.
    fn key_of(&self, header: &Header, trust: &Trust) -> Option<PublicKey> {
        let certificates = trust.certificates.as_deref();
        let chain = header.x5c.as_ref().or_else(|| header.jwk.as_ref()?.x5c.as_ref());
        if let Some(chain) = chain {
            return certificates?.key_of_chain(chain, (self.clock)());
        }
        let by_kid = |kid: &str| {
            let in_bundle = certificates.and_then(|bundle| bundle.key(kid));
            in_bundle.or_else(|| trust.key_set.as_ref()?.key(kid)).cloned()
        };
        match (&header.jwk, &header.kid) {
            // A key in the token is one that we know already, or none.
            (Some(jwk), _) => by_kid(&jwk.public_key()?.thumbprint()?),
            (None, Some(kid)) => by_kid(kid),
            (None, None) => None,
        }
    }
}

fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The claims as other servers write them: what isn't there is as in distribution, which reads it as zero.
#[derive(Deserialize)]
struct ExternalClaims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    exp: u64,
    #[serde(default)]
    access: Option<Vec<WireAccess>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Audience {
        Audience::Several(Vec::new())
    }
}

impl Audience {
    fn holds(&self, service: &str) -> bool {
        match self {
            Audience::One(name) => name == service,
            Audience::Several(names) => names.iter().any(|name| name == service),
        }
    }
}

#[cfg(test)]
mod tests;
