use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{HandClock, NOON};

fn tokens(service: &str, key: u8, clock: &HandClock) -> Tokens {
    Tokens::new(service.into(), SigningKey::from([key; 32]), clock.clock())
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A token with these claims and this header algorithm, signed with the key of sevens.
fn forged(algorithm: Algorithm, claims: &Value) -> BearerToken {
    let key = EncodingKey::from_secret(&[7; 32]);
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap().into()
}

fn right_claims() -> Value {
    json!({
        "iss": "larder", "aud": "larder", "sub": "bob", "iat": NOON, "nbf": NOON, "exp": NOON + 300,
        "access": [{"type": "repository", "name": "a", "actions": ["pull"]}],
    })
}

#[test]
fn the_first_use_finds_a_provider() {
    // Were none chosen, this would panic inside of jsonwebtoken.
    let tokens = tokens("larder", 7, &HandClock::at_noon());
    assert!(tokens.issue(&Actor::Anonymous, None, &[], None).is_ok());
    assert!(jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().is_err(), "one is installed");
    let again = self::tokens("larder", 7, &HandClock::at_noon());
    assert!(again.issue(&Actor::Anonymous, None, &[], None).is_ok(), "a second service doesn't mind");
}

#[test]
fn what_is_issued_is_read_back() {
    let tokens = tokens("larder", 7, &HandClock::at_noon());
    let cases = [
        (Actor::Anonymous, scopes(&[])),
        (Actor::Anonymous, scopes(&["repository:team/app:pull"])),
        (Actor::User("bob".into()), scopes(&["repository:a:pull,push,delete", "registry:catalog:*"])),
        (Actor::User("küche \"x\"".into()), scopes(&["repository:a:*"])),
    ];
    for (actor, access) in cases {
        let issued = tokens.issue(&actor, None, &access, None).unwrap();
        assert_eq!(issued.issued_at_unix_seconds, NOON);
        let content = tokens.verify(&issued.token).unwrap();
        assert_eq!((&content.actor, &*content.access, &content.key), (&actor, &*access, &None));
    }
}

#[test]
fn the_claims_are_those_of_distributions_specification() {
    let tokens = tokens("larder", 7, &HandClock::at_noon());
    let access = scopes(&["repository:team/app:pull,push", "registry:catalog:*", "other:x:pull"]);
    let token = tokens.issue(&Actor::User("bob".into()), None, &access, None).unwrap().token;
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token.expose()).unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": "larder", "aud": "larder", "sub": "bob", "iat": NOON, "nbf": NOON, "exp": NOON + 300,
            "access": [
                {"type": "repository", "name": "team/app", "actions": ["pull", "push"]},
                {"type": "registry", "name": "catalog", "actions": ["*"]},
            ],
        })
    );
    let header = jsonwebtoken::decode_header(token.expose()).unwrap();
    assert_eq!(header.alg, Algorithm::HS256);
    let anonymous = tokens.issue(&Actor::Anonymous, None, &[], None).unwrap().token;
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(anonymous.expose()).unwrap();
    assert_eq!((&claims["sub"], &claims["access"]), (&json!(""), &json!([])));
}

#[test]
fn a_token_counts_from_its_time_to_its_time_with_a_minute_to_spare() {
    let clock = HandClock::at_noon();
    let tokens = tokens("larder", 7, &clock);
    let token = tokens.issue(&Actor::Anonymous, None, &[], None).unwrap().token;
    let cases = [
        (NOON, None),
        (NOON + 300, None),
        (NOON + 360, None),
        (NOON + 361, Some(TokenProblem::Expired)),
        (NOON * 2, Some(TokenProblem::Expired)),
        (NOON - 60, None),
        (NOON - 61, Some(TokenProblem::NotYetValid)),
        (0, Some(TokenProblem::NotYetValid)),
    ];
    for (time, problem) in cases {
        clock.set(time);
        assert_eq!(tokens.verify(&token).err(), problem, "{time}");
    }
}

#[test]
fn problems_are_told_apart() {
    let clock = HandClock::at_noon();
    let mine = tokens("larder", 7, &clock);
    let issue = |tokens: Tokens| tokens.issue(&Actor::Anonymous, None, &[], None).unwrap().token;
    let changed = |field: &str, value: Value| {
        let mut claims = right_claims();
        claims[field] = value;
        forged(Algorithm::HS256, &claims)
    };
    let without = |field: &str| {
        let mut claims = right_claims();
        claims.as_object_mut().unwrap().remove(field);
        forged(Algorithm::HS256, &claims)
    };
    let good = issue(tokens("larder", 7, &clock));
    let [header, claims, signature] =
        <[&str; 3]>::try_from(good.expose().split('.').collect::<Vec<_>>()).unwrap();
    let other = issue(tokens("larder", 8, &clock));
    let other_claims = other.expose().split('.').nth(1).unwrap();
    assert_eq!(claims, other_claims);
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let text = |text: String| BearerToken::from(text);
    let cases = [
        (forged(Algorithm::HS256, &right_claims()), None),
        (changed("aud", json!(["larder", "x"])), Some(TokenProblem::Garbled)),
        (other, Some(TokenProblem::BadSignature)),
        (text(format!("{header}.{claims}.{}", signature.to_lowercase())), Some(TokenProblem::BadSignature)),
        (text(format!("{header}.{claims}.")), Some(TokenProblem::BadSignature)),
        (issue(tokens("other", 7, &clock)), Some(TokenProblem::OtherService)),
        (changed("iss", json!("other")), Some(TokenProblem::OtherService)),
        (changed("aud", json!("other")), Some(TokenProblem::OtherService)),
        (without("iss"), Some(TokenProblem::Garbled)),
        (without("aud"), Some(TokenProblem::Garbled)),
        (without("sub"), Some(TokenProblem::Garbled)),
        (without("exp"), Some(TokenProblem::Garbled)),
        (without("nbf"), Some(TokenProblem::Garbled)),
        (without("access"), Some(TokenProblem::Garbled)),
        (changed("exp", json!("tomorrow")), Some(TokenProblem::Garbled)),
        (changed("exp", json!(u64::MAX)), None),
        (changed("nbf", json!(u64::MAX)), Some(TokenProblem::NotYetValid)),
        (forged(Algorithm::HS512, &right_claims()), Some(TokenProblem::Garbled)),
        (text(unsigned), Some(TokenProblem::Garbled)),
        (text(format!("{header}.{claims}")), Some(TokenProblem::Garbled)),
        (text("a.b.c".into()), Some(TokenProblem::Garbled)),
        (text(String::new()), Some(TokenProblem::Garbled)),
    ];
    for (token, problem) in cases {
        assert_eq!(mine.verify(&token).err(), problem, "{}", token.expose());
    }
}

#[test]
fn access_that_is_not_known_is_not_given() {
    let mut claims = right_claims();
    claims["access"] = json!([
        {"type": "repository", "class": "image", "name": "a", "actions": ["pull", "fly"]},
        {"type": "repository", "name": "b", "actions": ["fly"]},
        {"type": "repository(plugin)", "name": "c", "actions": ["pull"]},
        {"type": "repository", "name": "../d", "actions": ["pull"]},
        {"type": "galaxy", "name": "e", "actions": ["*"]},
    ]);
    let content =
        tokens("larder", 7, &HandClock::at_noon()).verify(&forged(Algorithm::HS256, &claims)).unwrap();
    let known = scopes(&["repository:a:pull"]);
    assert_eq!((&content.actor, &*content.access), (&Actor::User("bob".into()), &*known));
}

#[test]
fn keys_have_32_bytes_and_do_not_show() {
    for (length, is_key) in [(0, false), (31, false), (32, true), (33, false)] {
        assert_eq!(SigningKey::try_from(&vec![7; length][..]).is_ok(), is_key, "{length}");
    }
    let error = SigningKey::try_from(&b"short"[..]).unwrap_err();
    assert_eq!(error.to_string(), "a token key has 32 bytes, this one has 5");
    assert_eq!(format!("{:?}", SigningKey::from([7; 32])), "SigningKey([masked])");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}(\\.\\PC{0,40}){0,3}") {
        let tokens = tokens("larder", 7, &HandClock::at_noon());
        prop_assert_eq!(tokens.verify(&text.into()).err(), Some(TokenProblem::Garbled));
    }

    #[test]
    fn any_signed_claims_are_read_or_refused(
        field in prop::sample::select(&["iss", "aud", "sub", "iat", "nbf", "exp", "access"][..]),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!([{"type": 1}])), Just(json!(-1)),
            any::<f64>().prop_map(|number| json!(number)), "\\PC{0,20}".prop_map(|text| json!(text)),
            any::<u64>().prop_map(|number| json!(number)),
        ],
    ) {
        let mut claims = right_claims();
        claims[field] = value;
        let tokens = tokens("larder", 7, &HandClock::at_noon());
        let _ = tokens.verify(&forged(Algorithm::HS256, &claims));
    }

    #[test]
    fn no_changed_letter_goes_unseen(position in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let tokens = tokens("larder", 7, &HandClock::at_noon());
        let good = tokens.issue(&Actor::Anonymous, None, &[], None).unwrap().token;
        let mut text = good.expose().to_owned();
        let position = position.index(text.len());
        text.replace_range(position..=position, &letter);
        prop_assert!(text == good.expose() || tokens.verify(&text.into()).is_err());
    }
}
