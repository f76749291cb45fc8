//! Bearer tokens: Larder's from its own endpoint, docker-registry's, which has none, from a key made here.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::client::{self, Request, Target};
use super::fixture::REPOSITORY;
use crate::failure::{Context, Result, fail, same};
use crate::http::quoted_parameter;
use crate::places::Ring;

/// Who signs, and for whom: docker-registry compares both with its configuration.
const NAME: &str = "bench";
/// Long enough for any run.
const LIFETIME_SECONDS: u64 = 24 * 3600;

/// The token that Larder gives to anybody who asks, for pulls: that is what docker and podman fetch first.
pub(super) fn of_larder(target: &Target) -> Result<String> {
    let challenge = challenge(target)?;
    let service = quoted_parameter(&challenge, "service").context(format!("service in {challenge:?}"))?;
    let path = format!("/auth/token?service={service}&scope=repository:{REPOSITORY}:pull");
    let (reply, body) = client::fetch_whole(target, &Request::get(path))?;
    same("the token endpoint's status", &reply.status, &200)?;
    let answer: Value = serde_json::from_slice(&body)?;
    Ok(answer.get("token").and_then(Value::as_str).context("a token")?.to_owned())
}

/// What a server says to a request without a token, which it must refuse.
pub(super) fn challenge(target: &Target) -> Result<String> {
    let (reply, _) = client::fetch(target, &Request::get("/v2/"))?;
    same("the status without a token", &reply.status, &401)?;
    let challenge = reply.header("www-authenticate").context("a challenge")?;
    if !challenge.starts_with("Bearer ") {
        fail!("the challenge is {challenge:?}, which asks for no token");
    }
    Ok(challenge.to_owned())
}

/// A token server's key, whose certificate docker-registry trusts.
pub(super) struct Signer {
    certificates: PathBuf,
    header: Header,
    key: EncodingKey,
}

impl Signer {
    pub(super) fn make(ring: &Ring) -> Result<Self> {
        // Fails when one has been chosen before, which then is this one: no other is compiled in.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Larder test ring tokens");
        let pair = KeyPair::generate()?;
        let certificate = params.self_signed(&pair)?;
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![base64::engine::general_purpose::STANDARD.encode(certificate.der())]);
        Ok(Self {
            certificates: ring.write("tokens.crt", certificate.pem())?,
            header,
            key: EncodingKey::from_ec_der(pair.serialized_der()),
        })
    }

    /// The section of config.yml that makes docker-registry want these tokens.
    pub(super) fn section(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: http://127.0.0.1/token\n    service: {NAME}\n    issuer: {NAME}\n    rootcertbundle: {}\n",
            self.certificates.display()
        )
    }

    pub(super) fn token(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "iss": NAME,
            "sub": NAME,
            "aud": NAME,
            "nbf": now,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": now.to_string(),
            "access": [{ "type": "repository", "name": REPOSITORY, "actions": ["pull"] }],
        });
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}
