//! A signed token in its compact form (RFC 7515), and the algorithms that sign (RFC 7518, RFC 8037).

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::trust::Jwk;

/// The three parts of a token, still encoded.
pub(super) struct Jws<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims with the dot between them.
    signed: &'a str,
}

/// What a token says about its signature.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// Certificates in base64, the signer's first.
    pub(super) x5c: Option<Vec<String>>,
    pub(super) jwk: Option<Jwk>,
}

/// By what a token may be signed: the algorithms that distribution knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519.
    EdDsa,
    /// A shared key: may be allowed, as in distribution, and never verifies, as there.
    Hs256,
    /// As [`Hs256`](SigningAlgorithm::Hs256).
    Hs384,
    /// As [`Hs256`](SigningAlgorithm::Hs256).
    Hs512,
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    Rs512,
    /// ECDSA, P-256.
    Es256,
    /// ECDSA, P-384.
    Es384,
    /// ECDSA, P-521.
    Es512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
}

/// No algorithm has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no signing algorithm")]
pub struct UnknownAlgorithm(pub String);

impl SigningAlgorithm {
    /// All of them, by their names in tokens and configurations. It is what distribution allows unless it is told
    /// otherwise.
    pub const ALL: [(&str, SigningAlgorithm); 13] = [
        ("EdDSA", SigningAlgorithm::EdDsa),
        ("HS256", SigningAlgorithm::Hs256),
        ("HS384", SigningAlgorithm::Hs384),
        ("HS512", SigningAlgorithm::Hs512),
        ("RS256", SigningAlgorithm::Rs256),
        ("RS384", SigningAlgorithm::Rs384),
        ("RS512", SigningAlgorithm::Rs512),
        ("ES256", SigningAlgorithm::Es256),
        ("ES384", SigningAlgorithm::Es384),
        ("ES512", SigningAlgorithm::Es512),
        ("PS256", SigningAlgorithm::Ps256),
        ("PS384", SigningAlgorithm::Ps384),
        ("PS512", SigningAlgorithm::Ps512),
    ];
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<SigningAlgorithm, UnknownAlgorithm> {
        let known = SigningAlgorithm::ALL.iter().find(|(name, _)| *name == text);
        known.map(|(_, algorithm)| *algorithm).ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

impl<'a> Jws<'a> {
    pub(super) fn split(token: &'a str) -> Option<Jws<'a>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Jws { header, claims, signature, signed })
    }

    pub(super) fn header(&self) -> Option<Header> {
        decoded(self.header)
    }

    /// To be believed only when the signature was verified.
    pub(super) fn claims<Claims: DeserializeOwned>(&self) -> Option<Claims> {
        decoded(self.claims)
    }

    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    pub(super) fn signature(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.signature).ok()
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
