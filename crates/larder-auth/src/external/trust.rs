//! Whose signatures count: certificates of a bundle, keys of a JWK set.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey as ParsedKey;

use super::jws::SigningAlgorithm;
use crate::clock::unix_seconds;
use crate::error::AuthError;

/// The most certificates that a token may bring.
const LONGEST_CHAIN: usize = 10;

/// `rootcertbundle`: certificates whose keys sign tokens, or whose holders vouch for those who do.
#[derive(Debug)]
pub(super) struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    keys: HashMap<String, PublicKey>,
}

/// `jwks`: keys that sign tokens.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: HashMap<String, PublicKey>,
}

/// A key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        /// Both big endian, without zeros in front.
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Elliptic {
        curve: Curve,
        /// Uncompressed: 4, x, y.
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// A key as RFC 7517 writes it. Fields that say nothing of the key itself aren't looked at.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    pub(super) x5c: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WireKeySet {
    keys: Vec<serde_json::Value>,
}

impl Bundle {
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Bundle, AuthError> {
        let mistaken = |problem: String| AuthError::TrustMistaken { path: path.to_owned(), problem };
        let mut bundle = Bundle { certificates: Vec::new(), anchors: Vec::new(), keys: HashMap::new() };
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(content)) {
            let certificate = certificate.map_err(|error| mistaken(format!("it is not PEM: {error}")))?;
            let broken = || mistaken(format!("certificate {number} can't be read"));
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| broken())?;
            // A key of a kind that can't sign tokens may still be an authority's.
            if let Some(key) = PublicKey::of_certificate(&parsed) {
                let names = [Some(libtrust_fingerprint(parsed.public_key().raw)), key.thumbprint()];
                bundle.keys.extend(names.into_iter().flatten().map(|name| (name, key.clone())));
            }
            if let Ok(anchor) = anchor_from_trusted_cert(&certificate) {
                bundle.anchors.push(anchor.to_owned());
            }
            bundle.certificates.push(certificate.into_owned());
        }
        if bundle.certificates.is_empty() {
            return Err(mistaken("there is no certificate in it".to_owned()));
        }
        Ok(bundle)
    }

    pub(super) fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.get(kid)
    }

    /// The key of the chain's first certificate, if it is one of ours, or one of ours vouches for it.
    pub(super) fn key_of_chain(&self, chain: &[String], now: SystemTime) -> Option<PublicKey> {
        if chain.len() > LONGEST_CHAIN {
            return None;
        }
        let chain = chain.iter().map(|text| STANDARD.decode(text).ok().map(CertificateDer::from));
        let chain = chain.collect::<Option<Vec<_>>>()?;
        let (signer, others) = chain.split_first()?;
        let (_, parsed) = X509Certificate::from_der(signer).ok()?;
        let seconds = unix_seconds(now);
        let is_ours = self.certificates.contains(signer)
            && parsed.validity().is_valid_at(ASN1Time::from_timestamp(seconds.try_into().ok()?).ok()?);
        if !is_ours {
            let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            EndEntityCert::try_from(signer)
                .ok()?
                .verify_for_usage(algorithms, &self.anchors, others, time, AnyUsage, None, None)
                .ok()?;
        }
        PublicKey::of_certificate(&parsed)
    }
}

/// Distribution asks for no usage in particular.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl KeySet {
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<KeySet, AuthError> {
        let mistaken = |problem: String| AuthError::TrustMistaken { path: path.to_owned(), problem };
        let set: WireKeySet = serde_json::from_slice(content)
            .map_err(|error| mistaken(format!("it is no JWK set: {error}")))?;
        let mut keys = HashMap::new();
        for (number, key) in (1..).zip(set.keys) {
            let jwk: Jwk = serde_json::from_value(key)
                .map_err(|error| mistaken(format!("key {number} can't be read: {error}")))?;
            // Symmetric keys, keys of curves that nobody signs tokens with: registry:3 holds them, and no token counts.
            let Some(key) = jwk.public_key() else { continue };
            keys.extend([jwk.kid, key.thumbprint()].into_iter().flatten().map(|name| (name, key.clone())));
        }
        if keys.is_empty() {
            return Err(mistaken("there is no key in it that could verify a token".to_owned()));
        }
        Ok(KeySet { keys })
    }

    pub(super) fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.get(kid)
    }
}

impl Jwk {
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_ref()?).ok();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (bytes(&self.n)?, bytes(&self.e)?);
                Some(PublicKey::Rsa { modulus: trimmed(&modulus), exponent: trimmed(&exponent) })
            }
            ("EC", Some(name)) => {
                let curve = Curve::of_name(name)?;
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                let whole = x.len() == curve.coordinate_bytes() && y.len() == x.len();
                whole.then(|| PublicKey::Elliptic { curve, point: [&[4], &x[..], &y].concat() })
            }
            ("OKP", Some("Ed25519")) => Some(PublicKey::Ed25519(bytes(&self.x)?)),
            _ => None,
        }
    }
}

impl PublicKey {
    fn of_certificate(certificate: &X509Certificate<'_>) -> Option<PublicKey> {
        const ED25519: &str = "1.3.101.112";
        let key = certificate.public_key();
        match key.parsed().ok()? {
            ParsedKey::RSA(rsa) => {
                Some(PublicKey::Rsa { modulus: trimmed(rsa.modulus), exponent: trimmed(rsa.exponent) })
            }
            ParsedKey::EC(point) => {
                let oid = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let curve = Curve::of_oid(&oid.to_id_string())?;
                let whole = point.data().len() == 1 + 2 * curve.coordinate_bytes();
                whole.then(|| PublicKey::Elliptic { curve, point: point.data().to_vec() })
            }
            _ if key.algorithm.algorithm.to_id_string() == ED25519 => {
                Some(PublicKey::Ed25519(key.subject_public_key.data.to_vec()))
            }
            _ => None,
        }
    }

    /// Whether the signature of this text is this key's, by this algorithm.
    pub(super) fn verifies(&self, algorithm: SigningAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        use SigningAlgorithm::*;
        let verifies = |algorithm: &dyn signature::VerificationAlgorithm, key: &[u8]| {
            // aws-lc-rs' `UnparsedPublicKey` wants a `'static` algorithm; asked directly it is the same check.
            algorithm.verify_sig(key, signed, signature).is_ok()
        };
        match (self, algorithm) {
            (PublicKey::Rsa { modulus: n, exponent: e }, _) => {
                let parameters = match algorithm {
                    Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    EdDsa | Hs256 | Hs384 | Hs512 | Es256 | Es384 | Es512 => return false,
                };
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (PublicKey::Elliptic { curve: Curve::P256, point }, Es256) => {
                verifies(&signature::ECDSA_P256_SHA256_FIXED, point)
            }
            (PublicKey::Elliptic { curve: Curve::P384, point }, Es384) => {
                verifies(&signature::ECDSA_P384_SHA384_FIXED, point)
            }
            (PublicKey::Elliptic { curve: Curve::P521, point }, Es512) => {
                verifies(&signature::ECDSA_P521_SHA512_FIXED, point)
            }
            (PublicKey::Ed25519(key), EdDsa) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(signed, signature).is_ok()
            }
            (PublicKey::Elliptic { .. } | PublicKey::Ed25519(_), _) => false,
        }
    }

    /// RFC 7638: the SHA-256 of the key's required members, in the order of their names; registry:3's `kid`.
    pub(super) fn thumbprint(&self) -> Option<String> {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let json = match self {
            PublicKey::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encoded(exponent), encoded(modulus))
            }
            PublicKey::Elliptic { curve, point } => {
                let (x, y) = point.get(1..)?.split_at_checked(curve.coordinate_bytes())?;
                let curve = curve.name();
                format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, encoded(x), encoded(y))
            }
            PublicKey::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encoded(key)),
        };
        Some(encoded(&Sha256::digest(json)))
    }
}

impl Curve {
    const ALL: [(Curve, &str, &str, usize); 3] = [
        (Curve::P256, "P-256", "1.2.840.10045.3.1.7", 32),
        (Curve::P384, "P-384", "1.3.132.0.34", 48),
        (Curve::P521, "P-521", "1.3.132.0.35", 66),
    ];

    fn of_name(name: &str) -> Option<Curve> {
        Self::ALL.iter().find(|(_, known, ..)| *known == name).map(|(curve, ..)| *curve)
    }

    fn of_oid(oid: &str) -> Option<Curve> {
        Self::ALL.iter().find(|(_, _, known, _)| *known == oid).map(|(curve, ..)| *curve)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(curve, ..)| *curve == self).map_or("", |(_, name, ..)| name)
    }

    fn coordinate_bytes(self) -> usize {
        Self::ALL.iter().find(|(curve, ..)| *curve == self).map_or(0, |(.., bytes)| *bytes)
    }
}

/// libtrust's name for a key, registry:2's `kid`: the first 240 bits of the SHA-256 of its DER form, in base32, in
/// groups of four.
pub(super) fn libtrust_fingerprint(der: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(der);
    let mut name = String::new();
    // Five bytes are eight letters.
    for five in digest.chunks_exact(5) {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for group in [20, 0] {
            let letters = [15, 10, 5, 0].map(|shift| (bits >> (group + shift) & 31) as usize);
            let separator = if name.is_empty() { "" } else { ":" };
            name.push_str(separator);
            name.extend(
                letters.iter().filter_map(|letter| ALPHABET.get(*letter)).map(|&letter| char::from(letter)),
            );
        }
    }
    name
}

/// Without zeros in front, which ASN.1 puts there to mark a number as positive.
fn trimmed(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|&byte| byte == 0).collect()
}
