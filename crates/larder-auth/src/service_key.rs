//! Tokens for other registries: signed so that who verifies them can't make any, and with the certificate of the
//! key inside (`x5c`), which registry:2 and registry:3 both understand, whereas they differ in how they name keys.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde_json::json;

use crate::error::AuthError;
use crate::secret::BearerToken;

/// A key of ECDSA over P-256, and the certificate that other registries know it by.
pub struct ServiceKey {
    pair: EcdsaKeyPair,
    header: String,
}

impl ServiceKey {
    /// From PEM: a private key (PKCS #8) and its certificate.
    ///
    /// Errors: [`AuthError::ServiceKeyUnusable`].
    pub fn parse(pem: &[u8]) -> Result<ServiceKey, AuthError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| AuthError::ServiceKeyUnusable)?;
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| AuthError::ServiceKeyUnusable)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&certificate)] });
        Ok(ServiceKey { pair: pair.map_err(|_| AuthError::ServiceKeyUnusable)?, header: header.to_string() })
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<BearerToken, AuthError> {
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| AuthError::Broken {
            doing: "signing a token for another registry",
            source,
        };
        let claims = serde_json::to_vec(claims).map_err(|error| broken(error.into()))?;
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&self.header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|error| broken(error.into()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKey([masked])")
    }
}
