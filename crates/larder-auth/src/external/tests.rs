mod services;

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use larder_oci::{Action, RepoName, Resource};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::*;
use crate::gate::{AuthMode, Gate};
use crate::identity::Identity;
use crate::policy::Remedy;
use crate::refusal::Refusal;
use crate::testing::{HandClock, NOON, at_home, write};

/// A server that signs: its key, a certificate for it that signs itself, and how it signs.
struct Signer {
    pair: KeyPair,
    certificate: rcgen::Certificate,
    algorithm: &'static str,
}

impl Signer {
    fn new(algorithm: &'static str) -> Signer {
        let pair = match algorithm {
            "ES256" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            "ES384" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            "EdDSA" => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
        };
        let pair = pair.unwrap();
        let certificate = params().self_signed(&pair).unwrap();
        Signer { pair, certificate, algorithm }
    }

    fn sign(&self, signed: &[u8]) -> Vec<u8> {
        let (der, random) = (self.pair.serialize_der(), SystemRandom::new());
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap();
            pair.sign(&random, signed).unwrap().as_ref().to_vec()
        };
        let rsa = |encoding: &'static dyn signature::RsaEncoding| {
            let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &random, signed, &mut signature).unwrap();
            signature
        };
        match self.algorithm {
            "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => Ed25519KeyPair::from_pkcs8(&der).unwrap().sign(signed).as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS512" => rsa(&RSA_PSS_SHA512),
            other => panic!("{other}"),
        }
    }

    /// A token with this header beside `alg`, and these claims.
    fn token(&self, header: Value, claims: &Value) -> String {
        let mut header = header;
        header["alg"] = header.get("alg").cloned().unwrap_or_else(|| self.algorithm.into());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())))
    }

    fn fingerprint(&self) -> String {
        trust::libtrust_fingerprint(&self.pair.subject_public_key_info())
    }

    fn x5c(&self) -> Value {
        json!({ "x5c": [STANDARD.encode(self.certificate.der())] })
    }

    /// The key as a JWK, by a way of its own.
    fn jwk(&self) -> Value {
        let point = self.pair.public_key_raw();
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            "ES256" => {
                json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
            }
            "ES384" => {
                json!({"kty": "EC", "crv": "P-384", "x": encoded(&point[1..49]), "y": encoded(&point[49..])})
            }
            "EdDSA" => json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(point)}),
            other => panic!("{other}"),
        }
    }

    fn thumbprint(&self) -> String {
        let jwk: trust::Jwk = serde_json::from_value(self.jwk()).unwrap();
        jwk.public_key().unwrap().thumbprint().unwrap()
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["auth.lab".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

fn claims() -> Value {
    json!({
        "iss": "auth.lab", "aud": "registry.lab", "sub": "bob", "exp": NOON + 300, "nbf": NOON, "iat": NOON,
        "jti": "x", "access": [{"type": "repository", "name": "team/app", "actions": ["pull", "push"]}],
    })
}

fn settings(directory: &Path, certificates: bool, key_set: bool) -> ExternalSettings {
    ExternalSettings {
        realm: Realm::Url("https://auth.lab/token".into()),
        service: "registry.lab".into(),
        issuer: "auth.lab".into(),
        certificates: certificates.then(|| directory.join("bundle.pem")),
        key_set: key_set.then(|| directory.join("jwks.json")),
        algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
    }
}

/// A registry that believes this signer's certificate.
struct Trusting {
    directory: tempfile::TempDir,
    tokens: ExternalTokens,
    clock: HandClock,
}

impl Trusting {
    fn certificate_of(signer: &Signer) -> Trusting {
        Trusting::bundle(&signer.certificate.pem())
    }

    fn bundle(pem: &str) -> Trusting {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("bundle.pem"), pem.as_bytes());
        Trusting::open(directory, true, false)
    }

    fn key_set(keys: &[Value]) -> Trusting {
        let directory = tempfile::tempdir().unwrap();
        let set = json!({ "keys": keys }).to_string();
        write(&directory.path().join("jwks.json"), set.as_bytes());
        Trusting::open(directory, false, true)
    }

    fn open(directory: tempfile::TempDir, certificates: bool, key_set: bool) -> Trusting {
        let clock = HandClock::at_noon();
        let settings = settings(directory.path(), certificates, key_set);
        let tokens = ExternalTokens::open(settings, clock.clock()).unwrap();
        Trusting { directory, tokens, clock }
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenProblem> {
        self.tokens.verify(&token.to_owned().into())
    }
}

#[test]
fn keys_are_known_by_both_generations_names_by_certificate_and_by_key_set() {
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS512"] {
        let signer = Signer::new(algorithm);
        let by_bundle = Trusting::certificate_of(&signer);
        let mut headers = vec![json!({ "kid": signer.fingerprint() }), signer.x5c()];
        if !matches!(algorithm, "RS256" | "PS512") {
            headers.push(json!({ "kid": signer.thumbprint() }));
            headers.push(json!({ "jwk": signer.jwk() }));
            let mut named = signer.jwk();
            named["kid"] = "key-7".into();
            let by_key_set = Trusting::key_set(&[named]);
            for header in
                [json!({"kid": "key-7"}), json!({"kid": signer.thumbprint()}), json!({"jwk": signer.jwk()})]
            {
                let token = signer.token(header.clone(), &claims());
                assert!(by_key_set.verify(&token).is_ok(), "{algorithm} {header}");
            }
            let token = signer.token(signer.x5c(), &claims());
            assert_eq!(
                by_key_set.verify(&token),
                Err(TokenProblem::UntrustedKey),
                "a key set vouches for nobody"
            );
        }
        for header in headers {
            let claims = by_bundle.verify(&signer.token(header.clone(), &claims()));
            let claims = claims.unwrap_or_else(|problem| panic!("{algorithm} {header}: {problem:?}"));
            assert_eq!(claims.actor, Actor::User("bob".into()));
            assert_eq!(
                claims.access.iter().map(ToString::to_string).collect::<Vec<_>>(),
                ["repository:team/app:pull,push"]
            );
        }
    }
}

#[test]
fn names_of_keys_are_those_of_the_specifications() {
    // RFC 7638, section 3.1.
    let jwk = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let jwk: trust::Jwk = serde_json::from_value(jwk).unwrap();
    let thumbprint = jwk.public_key().unwrap().thumbprint().unwrap();
    assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // `docker-registry` 2.8.2 takes tokens with this `kid` for the key in this DER.
    let der = STANDARD.decode(DER_THAT_THE_PEER_KNOWS).unwrap();
    assert_eq!(trust::libtrust_fingerprint(&der), KID_THAT_THE_PEER_TAKES);
}

/// A public key of P-256, and its name as registry:2 has it: a token with this `kid` was shown to it, and taken.
const DER_THAT_THE_PEER_KNOWS: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5KHrwhb0bniPZR+2M+RJmgSXL8H2p9xzOsvRMZ96IUC5tmHF4KUeMB6BxnQi9uP92+riXED4VhZX5J+MzlFb1w==";
const KID_THAT_THE_PEER_TAKES: &str = "B3K2:JJNP:SM2L:NRVO:54VD:TUEC:Q3FP:I642:LMPO:3SRM:SA24:H4EA";

#[test]
fn a_token_from_any_other_key_audience_issuer_or_time_is_refused() {
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let registry = Trusting::certificate_of(&signer);
    let header = || json!({ "kid": signer.fingerprint() });
    let with = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        signer.token(header(), &claims)
    };
    let without = |key: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(key);
        signer.token(header(), &claims)
    };
    let good = signer.token(header(), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    use TokenProblem::*;
    for (what, token, expected) in [
        ("as it should be", good.clone(), Ok(())),
        ("another's key under our name", stranger.token(header(), &claims()), Err(BadSignature)),
        (
            "another's name",
            stranger.token(json!({"kid": stranger.fingerprint()}), &claims()),
            Err(UntrustedKey),
        ),
        ("another's certificate", stranger.token(stranger.x5c(), &claims()), Err(UntrustedKey)),
        (
            "another's certificate with our name",
            stranger.token(json!({"kid": signer.fingerprint(), "x5c": stranger.x5c()["x5c"]}), &claims()),
            Err(UntrustedKey),
        ),
        (
            "another's key inside",
            stranger.token(json!({"jwk": stranger.jwk()}), &claims()),
            Err(UntrustedKey),
        ),
        ("our certificate, another's signature", stranger.token(signer.x5c(), &claims()), Err(BadSignature)),
        ("no name", signer.token(json!({}), &claims()), Err(UntrustedKey)),
        (
            "no algorithm",
            signer.token(json!({"alg": "none", "kid": signer.fingerprint()}), &claims()),
            Err(AlgorithmNotAllowed),
        ),
        (
            "a shared key",
            signer.token(json!({"alg": "HS256", "kid": signer.fingerprint()}), &claims()),
            Err(BadSignature),
        ),
        (
            "the algorithm of another key",
            signer.token(json!({"alg": "RS256", "kid": signer.fingerprint()}), &claims()),
            Err(BadSignature),
        ),
        ("no signature", format!("{signed}."), Err(BadSignature)),
        ("half a signature", format!("{signed}.{}", &signature[..40]), Err(BadSignature)),
        ("two parts", signed.to_owned(), Err(Garbled)),
        ("four parts", format!("{good}.x"), Err(Garbled)),
        ("nothing", String::new(), Err(Garbled)),
        ("another issuer", with("iss", "other".into()), Err(OtherIssuer)),
        ("no issuer", without("iss"), Err(OtherIssuer)),
        ("another audience", with("aud", "other".into()), Err(OtherService)),
        ("no audience", without("aud"), Err(OtherService)),
        ("several audiences", with("aud", json!(["other", "registry.lab"])), Ok(())),
        ("several others", with("aud", json!(["other", "third"])), Err(OtherService)),
        ("over for a minute", with("exp", json!(NOON - 60)), Ok(())),
        ("over for longer", with("exp", json!(NOON - 61)), Err(Expired)),
        ("without an end", without("exp"), Err(Expired)),
        ("a minute early", with("nbf", json!(NOON + 60)), Ok(())),
        ("earlier", with("nbf", json!(NOON + 61)), Err(NotYetValid)),
        ("without a beginning", without("nbf"), Ok(())),
        ("a time with a fraction", with("exp", json!(NOON as f64 + 300.5)), Err(Garbled)),
        ("access to nothing", with("access", Value::Null), Ok(())),
        (
            "a class",
            with(
                "access",
                json!([{"type": "repository", "class": "image", "name": "a", "actions": ["pull"]}]),
            ),
            Ok(()),
        ),
    ] {
        assert_eq!(registry.verify(&token).map(drop), expected, "{what}");
        assert_eq!(registry.verify(&token).map(drop), expected, "{what}, asked again");
    }
    registry.clock.set(NOON + 361);
    assert_eq!(registry.verify(&good), Err(Expired), "what is remembered ends too");
    let settings =
        ExternalSettings { algorithms: vec![SigningAlgorithm::Es384], ..registry.tokens.settings.clone() };
    let strict = ExternalTokens::open(settings, HandClock::at_noon().clock()).unwrap();
    assert_eq!(strict.verify(&good.into()), Err(AlgorithmNotAllowed));
}

#[test]
fn an_authority_in_the_bundle_vouches_for_those_who_sign() {
    let authority_pair = KeyPair::generate().unwrap();
    let mut authority = params();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_pair).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_pair);
    let mut signer = Signer::new("ES256");
    signer.certificate = params().signed_by(&signer.pair, &issuer).unwrap();
    let registry = Trusting::bundle(&authority_certificate.pem());
    assert!(registry.verify(&signer.token(signer.x5c(), &claims())).is_ok());
    let by_name = signer.token(json!({ "kid": signer.fingerprint() }), &claims());
    assert_eq!(registry.verify(&by_name), Err(TokenProblem::UntrustedKey), "its key isn't in the bundle");
    // Whoever was vouched for vouches for nobody.
    let mut third = Signer::new("ES256");
    third.certificate =
        params().signed_by(&third.pair, &Issuer::from_params(&params(), &signer.pair)).unwrap();
    let chain = json!({ "x5c": [STANDARD.encode(third.certificate.der()), STANDARD.encode(signer.certificate.der())] });
    assert_eq!(registry.verify(&third.token(chain, &claims())), Err(TokenProblem::UntrustedKey));
    // A certificate that is over.
    let mut old = params();
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    signer.certificate = old.clone().signed_by(&signer.pair, &issuer).unwrap();
    assert_eq!(registry.verify(&signer.token(signer.x5c(), &claims())), Err(TokenProblem::UntrustedKey));
    signer.certificate = old.self_signed(&signer.pair).unwrap();
    let registry = Trusting::certificate_of(&signer);
    assert_eq!(registry.verify(&signer.token(signer.x5c(), &claims())), Err(TokenProblem::UntrustedKey));
    // An authority that signs itself, and tokens, as `openssl req -x509` makes it.
    signer.certificate = authority.self_signed(&signer.pair).unwrap();
    let registry = Trusting::certificate_of(&signer);
    assert!(registry.verify(&signer.token(signer.x5c(), &claims())).is_ok());
}

#[test]
fn changed_files_count_at_once_and_broken_ones_change_nothing() {
    let (before, after) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let registry = Trusting::certificate_of(&before);
    let path = registry.directory.path().join("bundle.pem");
    let old = before.token(before.x5c(), &claims());
    let new = after.token(after.x5c(), &claims());
    assert!(registry.verify(&old).is_ok() && registry.verify(&new).is_err());
    write(&path, b"nothing of the kind");
    assert!(registry.verify(&old).is_ok(), "the certificates from before stay valid");
    write(&path, after.certificate.pem().as_bytes());
    assert_eq!(registry.verify(&old), Err(TokenProblem::UntrustedKey), "also the token that was remembered");
    assert!(registry.verify(&new).is_ok());
}

#[test]
fn files_that_make_nobody_count_keep_the_server_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let open = |certificates, key_set| {
        let settings = settings(directory.path(), certificates, key_set);
        ExternalTokens::open(settings, HandClock::at_noon().clock()).map(drop)
    };
    assert!(matches!(open(true, false), Err(AuthError::FileUnreadable { .. })));
    for content in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        write(&directory.path().join("bundle.pem"), content.as_bytes());
        assert!(matches!(open(true, false), Err(AuthError::TrustMistaken { .. })), "{content:?}");
    }
    for content in
        ["", "[]", r#"{"keys": []}"#, r#"{"keys": [{}]}"#, r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#]
    {
        write(&directory.path().join("jwks.json"), content.as_bytes());
        assert!(matches!(open(false, true), Err(AuthError::TrustMistaken { .. })), "{content:?}");
    }
}

#[tokio::test]
async fn at_the_gate_the_token_says_what_may_be_done_and_nobody_comes_without() {
    let signer = Signer::new("ES256");
    let registry = Trusting::certificate_of(&signer);
    let gate = Gate::new(AuthMode::External(Box::new(registry.tokens)), registry.clock.clock());
    let policy = gate.policy();
    let name = |text: &str| text.parse::<RepoName>().unwrap();
    let nobody = gate.identify(None, &at_home()).await.unwrap();
    assert_eq!(policy.base(&nobody).unwrap_err().remedy, Remedy::LogIn);
    let denied = policy.pull(&nobody, &name("team/app")).unwrap_err();
    assert_eq!(denied.remedy, Remedy::LogIn);
    assert_eq!(
        gate.challenge("https://auth.lab/token", denied.needed.as_ref(), denied.challenge_error()).unwrap(),
        r#"Bearer realm="https://auth.lab/token",service="registry.lab",scope="repository:team/app:pull""#
    );
    assert!(policy.catalog(&nobody).is_err());
    let mut access = claims();
    access["access"] = json!([
        {"type": "repository", "name": "team/app", "actions": ["pull", "push"]},
        {"type": "repository", "name": "all", "actions": ["*"]},
        {"type": "repository(plugin)", "name": "plugin", "actions": ["*"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]);
    for sub in ["bob", ""] {
        access["sub"] = sub.into();
        let header = format!("Bearer {}", signer.token(signer.x5c(), &access));
        let holder = gate.identify(Some(&header), &at_home()).await.unwrap();
        assert!(policy.base(&holder).is_ok());
        assert!(
            policy.push(&holder, &name("team/app")).is_ok()
                && policy.pull(&holder, &name("team/app")).is_ok()
        );
        assert!(policy.delete(&holder, &name("all")).is_ok());
        assert!(policy.catalog(&holder).is_ok());
        for (denied, scope) in [
            (policy.delete(&holder, &name("team/app")).map(drop), "repository:team/app:delete"),
            (policy.pull(&holder, &name("other")).map(drop), "repository:other:pull"),
            (policy.pull(&holder, &name("plugin")).map(drop), "repository:plugin:pull"),
        ] {
            let denied = denied.unwrap_err();
            assert_eq!(denied.remedy, Remedy::WiderToken, "{scope}");
            let challenge = gate.challenge("r", denied.needed.as_ref(), denied.challenge_error()).unwrap();
            let expected = format!(
                r#"Bearer realm="r",service="registry.lab",scope="{scope}",error="insufficient_scope""#
            );
            assert_eq!(challenge, expected);
        }
    }
    let refused = async |value: &str| gate.identify(Some(value), &at_home()).await.unwrap_err();
    assert!(matches!(refused("Basic Ym9iOnMzY3JldA").await, Refusal::SchemeNotOffered));
    let refusal = refused("Bearer x.y.z").await;
    let challenge = gate.challenge("r", None, refusal.challenge_error()).unwrap();
    assert_eq!(challenge, r#"Bearer realm="r",service="registry.lab",error="invalid_token""#);
    assert!(gate.token_endpoint().is_none());
}

proptest! {
    #[test]
    fn a_token_allows_what_it_names_and_nothing_else(
        named in prop::collection::btree_map(
            prop::sample::select(vec!["a", "a/b", "b", "c"]),
            prop::sample::subsequence(vec!["pull", "push", "delete", "*"], 0..4),
            0..3,
        ),
        asked in prop::sample::select(vec!["a", "a/b", "b", "c", "d"]),
        action in prop::sample::select(vec![Action::Pull, Action::Push, Action::Delete]),
        place in any::<prop::sample::Index>(),
        change in 1u8..128,
    ) {
        // One signer for all cases: making a key takes longer than all else here.
        static SIGNER: std::sync::LazyLock<Signer> = std::sync::LazyLock::new(|| Signer::new("EdDSA"));
        let signer = &*SIGNER;
        let registry = Trusting::certificate_of(signer);
        let mut claims = claims();
        claims["access"] = named
            .iter()
            .map(|(name, actions)| json!({"type": "repository", "name": name, "actions": actions}))
            .collect();
        let token = signer.token(json!({ "kid": signer.fingerprint() }), &claims);
        let claims = registry.verify(&token).unwrap();
        let resource = Resource::Repository(asked.parse().unwrap());
        let expected = named
            .get(asked)
            .is_some_and(|actions| actions.iter().any(|word| *word == "*" || *word == action.as_str()));
        let policy = crate::policy::Policy::new(crate::policy::Mode::ByToken);
        let (identity, name) = (Identity::Token(claims.clone()), asked.parse().unwrap());
        let allowed = match action {
            Action::Pull => policy.pull(&identity, &name).is_ok(),
            Action::Push => policy.push(&identity, &name).is_ok(),
            _ => policy.delete(&identity, &name).is_ok(),
        };
        prop_assert_eq!((allowed, claims.cover(action, &resource)), (expected, expected));

        let mut changed = token.clone().into_bytes();
        let at = place.index(changed.len());
        changed[at] ^= change;
        if let Ok(changed) = String::from_utf8(changed) {
            prop_assert!(registry.verify(&changed).is_err(), "{}", changed);
        }
    }

    #[test]
    fn no_token_makes_it_stumble(header in "[ -~]{0,80}", claims in "[ -~]{0,80}", text in "\\PC{0,60}") {
        static SIGNER: std::sync::LazyLock<Signer> = std::sync::LazyLock::new(|| Signer::new("EdDSA"));
        let registry = Trusting::certificate_of(&SIGNER);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.", part(&header), part(&claims));
        prop_assert!(registry.verify(&token).is_err());
        prop_assert!(registry.verify(&text).is_err());
    }
}
