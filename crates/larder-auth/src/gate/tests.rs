mod keys;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::error::AuthError;
use crate::policy::Remedy;
use crate::testing::{HandClock, Home, NOON, USERS, at_home};
use crate::token::TokenProblem;
use crate::token_endpoint::{Login, TokenRequest};

struct Gates {
    home: Home,
    clock: HandClock,
}

impl Gates {
    fn new() -> Gates {
        Gates { home: Home::with_users(USERS), clock: HandClock::at_noon() }
    }

    fn open(&self) -> Gate {
        Gate::new(AuthMode::Open, self.clock.clock())
    }

    fn basic(&self) -> Gate {
        let passwords = self.home.passwords(&self.clock);
        Gate::new(AuthMode::Basic { realm: "Registry Realm".into(), passwords }, self.clock.clock())
    }

    fn token(&self, mode: Mode) -> Gate {
        let auth_mode = AuthMode::Token {
            service: "larder".into(),
            passwords: self.home.passwords(&self.clock),
            key: SigningKey::from([7; 32]),
            mode,
        };
        Gate::new(auth_mode, self.clock.clock())
    }
}

fn header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn token_header(gate: &Gate, authorization: Option<&str>, scopes: &[&str]) -> String {
    let request = TokenRequest::new(Login::from_authorization(authorization), scopes.iter().copied());
    let grant = gate.token_endpoint().unwrap().grant(&request, &at_home()).await.unwrap();
    format!("Bearer {}", grant.token.expose())
}

#[tokio::test]
async fn an_open_gate_asks_nobody() {
    let gate = Gates::new().open();
    for value in [None, Some("Basic !"), Some("Bearer x"), Some("Digest x")] {
        assert_eq!(gate.identify(value, &at_home()).await.unwrap(), Identity::Anonymous, "{value:?}");
    }
    assert!(gate.policy().base(&Identity::Anonymous).is_ok());
    assert!(gate.policy().push(&Identity::Anonymous, &"a".parse().unwrap()).is_ok());
    assert_eq!(gate.challenge("http://host/auth/token", None, None), None);
    assert!(gate.token_endpoint().is_none());
}

#[tokio::test]
async fn a_gate_is_shared_by_tasks() {
    let gates = Gates::new();
    let gate = Arc::new(gates.token(Mode::AnonymousPull));
    let identify = async move { gate.identify(Some(&header("bob", "s3cret")), &at_home()).await };
    let identity = tokio::spawn(identify).await.unwrap();
    assert_eq!(identity.unwrap(), Identity::User("bob".into()));
}

#[tokio::test]
async fn a_basic_gate_knows_users_by_their_password() {
    let gate = Gates::new().basic();
    let bob = gate.identify(Some(&header("bob", "s3cret")), &at_home()).await.unwrap();
    assert_eq!(bob, Identity::User("bob".into()));
    assert!(gate.policy().base(&bob).is_ok());
    assert!(gate.policy().delete(&bob, &"a".parse().unwrap()).is_ok());
    assert_eq!(
        gate.policy().base(&gate.identify(None, &at_home()).await.unwrap()).unwrap_err().remedy,
        Remedy::LogIn
    );
    let scope = "repository:a:pull".parse().unwrap();
    assert_eq!(
        gate.challenge("http://host/auth/token", Some(&scope), Some(ChallengeError::InvalidToken)).unwrap(),
        r#"Basic realm="Registry Realm""#
    );
    assert!(gate.token_endpoint().is_none());
}

#[tokio::test]
async fn credentials_that_are_not_believed() {
    let gates = Gates::new();
    let (bob, nobody) = (header("bob", "wrong"), header("nobody", "s3cret"));
    let cases = [
        (bob.as_str(), "wrong password for user \"bob\""),
        (nobody.as_str(), "there is no user \"nobody\""),
        ("Basic !", "the Authorization header can't be read"),
        ("Digest x", "the Authorization header has a scheme that is not offered here"),
    ];
    for gate in [gates.basic(), gates.token(Mode::AnonymousPull)] {
        for (value, log) in cases {
            let refusal = gate.identify(Some(value), &at_home()).await.unwrap_err();
            assert_eq!(refusal.to_string(), log);
            assert_eq!(refusal.challenge_error(), None);
        }
        let refusal = async |value: &str| gate.identify(Some(value), &at_home()).await.unwrap_err().message();
        assert_eq!(refusal(&bob).await, refusal(&nobody).await, "a client can't tell which was wrong");
    }
    let refusal = gates.basic().identify(Some("Bearer a.b.c"), &at_home()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::SchemeNotOffered), "{refusal}");
}

#[tokio::test]
async fn names_in_the_log_can_not_fake_a_line() {
    let gate = Gates::new().basic();
    let value = header(&format!("x\n{}", "y".repeat(500)), "p");
    let log = gate.identify(Some(&value), &at_home()).await.unwrap_err().to_string();
    assert!(!log.contains('\n') && log.len() < 200, "{log}");
}

#[tokio::test]
async fn docker_logs_in_and_pushes() {
    let gates = Gates::new();
    let gate = gates.token(Mode::AnonymousPull);
    let repository = "team/app".parse().unwrap();

    // `GET /v2/` with nothing: challenged, though pulling needs no account.
    let nobody = gate.identify(None, &at_home()).await.unwrap();
    let denied = gate.policy().base(&nobody).unwrap_err();
    assert_eq!(
        gate.challenge("http://host/auth/token", &denied.needed, denied.challenge_error()).unwrap(),
        r#"Bearer realm="http://host/auth/token",service="larder""#
    );
    // `docker login` asks for no scope, and tries the token at `/v2/`.
    let bob = header("bob", "s3cret");
    let token = token_header(&gate, Some(&bob), &[]).await;
    let identity = gate.identify(Some(&token), &at_home()).await.unwrap();
    assert!(gate.policy().base(&identity).is_ok());
    // That token is no good for a push, and the challenge says what is.
    let denied = gate.policy().push(&identity, &repository).unwrap_err();
    assert_eq!(
        gate.challenge("http://host/auth/token", &denied.needed, denied.challenge_error()).unwrap(),
        r#"Bearer realm="http://host/auth/token",service="larder",scope="repository:team/app:pull,push",error="insufficient_scope""#
    );
    let token = token_header(&gate, Some(&bob), &["repository:team/app:push,pull"]).await;
    let identity = gate.identify(Some(&token), &at_home()).await.unwrap();
    let access = gate.policy().push(&identity, &repository).unwrap();
    assert_eq!(access.actor().to_string(), "bob");
    // curl -u needs no token.
    let identity = gate.identify(Some(&bob), &at_home()).await.unwrap();
    assert!(gate.policy().push(&identity, &repository).is_ok());
}

#[tokio::test]
async fn strangers_pull_with_and_without_a_token() {
    let gates = Gates::new();
    let gate = gates.token(Mode::AnonymousPull);
    let repository = "team/app".parse().unwrap();
    let nobody = gate.identify(None, &at_home()).await.unwrap();
    assert!(gate.policy().pull(&nobody, &repository).is_ok());
    assert!(gate.policy().catalog(&nobody).is_ok());
    assert_eq!(gate.policy().push(&nobody, &repository).unwrap_err().remedy, Remedy::LogIn);
    assert_eq!(
        gate.identify(Some(" "), &at_home()).await.unwrap(),
        Identity::Anonymous,
        "an empty header is none"
    );
    let token = token_header(&gate, None, &["repository:team/app:pull,push"]).await;
    let stranger = gate.identify(Some(&token), &at_home()).await.unwrap();
    assert!(gate.policy().pull(&stranger, &repository).is_ok());
    assert_eq!(gate.policy().push(&stranger, &repository).unwrap_err().remedy, Remedy::WiderToken);
}

#[tokio::test]
async fn a_token_that_does_not_count_is_refused_even_for_a_pull() {
    let gates = Gates::new();
    let gate = gates.token(Mode::AnonymousPull);
    let token = token_header(&gate, Some(&header("bob", "s3cret")), &["repository:a:pull"]).await;
    let refused = async |value: &str| match gate.identify(Some(value), &at_home()).await {
        Err(refusal @ Refusal::Token(problem)) => {
            assert_eq!(refusal.challenge_error(), Some(ChallengeError::InvalidToken));
            assert_eq!(refusal.message(), problem.message());
            problem
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("Bearer a.b.c").await, TokenProblem::Garbled);
    gates.clock.set(NOON + 361);
    assert_eq!(refused(&token).await, TokenProblem::Expired);
    gates.clock.set(NOON);
    gates.home.write("");
    assert_eq!(refused(&token).await, TokenProblem::UserGone);
}

#[tokio::test]
async fn a_token_outlives_a_restart_with_the_same_key() {
    let gates = Gates::new();
    let token = token_header(&gates.token(Mode::AnonymousPull), None, &["repository:a:pull"]).await;
    let after = gates.token(Mode::AnonymousPull);
    let identity = after.identify(Some(&token), &at_home()).await.unwrap();
    assert!(after.policy().pull(&identity, &"a".parse().unwrap()).is_ok());
    // The policy counts as it is now, not as it was when the token was made.
    let closed = gates.token(Mode::EveryoneAuthenticated);
    let identity = closed.identify(Some(&token), &at_home()).await.unwrap();
    assert!(closed.policy().pull(&identity, &"a".parse().unwrap()).is_err());
    assert!(closed.policy().base(&identity).is_err());
}

#[test]
fn every_refusal_has_words_for_the_client_and_none_of_the_users() {
    let refusals = [
        Refusal::unknown_user("bob"),
        Refusal::wrong_password("bob"),
        Refusal::LoginNeeded,
        Refusal::LoginUnusable,
        Refusal::HeaderGarbled,
        Refusal::SchemeNotOffered,
        Refusal::Token(TokenProblem::Expired),
        Refusal::Token(TokenProblem::NotYetValid),
        Refusal::Token(TokenProblem::BadSignature),
        Refusal::Token(TokenProblem::OtherService),
        Refusal::Token(TokenProblem::Garbled),
        Refusal::Token(TokenProblem::UserGone),
        Refusal::Token(TokenProblem::OtherCertificate),
        Refusal::Failed(AuthError::TooManyLogins),
        Refusal::Failed(AuthError::TooManyGuesses { user: "bob".into(), wait: Duration::from_millis(1) }),
        Refusal::Failed(AuthError::Broken { doing: "checking bob", source: "x".into() }),
    ];
    for refusal in refusals {
        assert!(refusal.message().len() > 20 && !refusal.message().contains("bob"), "{refusal}");
        assert!(!refusal.to_string().is_empty());
    }
}

#[tokio::test]
async fn who_shows_a_certificate_and_nothing_else_is_known_by_it() {
    let gates = Gates::new();
    let robot = at_home().with_certificate("robot.lab");
    let named = Identity::User("certificate:robot.lab".into());
    for gate in [gates.basic(), gates.token(Mode::AnonymousPull)] {
        assert_eq!(gate.identify(None, &robot).await.unwrap(), named);
        assert!(gate.policy().base(&named).is_ok());
        // Credentials go before, right or wrong.
        let bob = gate.identify(Some(&header("bob", "s3cret")), &robot).await.unwrap();
        assert_eq!(bob, Identity::User("bob".into()));
        let wrong = gate.identify(Some(&header("bob", "wrong")), &robot).await;
        assert!(matches!(wrong, Err(Refusal::WrongPassword { .. })), "{wrong:?}");
        // Nobody can log in under such a name.
        let faked = gate.identify(Some(&header("certificate:robot.lab", "")), &at_home()).await;
        assert!(faked.is_err(), "{faked:?}");
    }
    assert_eq!(gates.open().identify(None, &robot).await.unwrap(), Identity::Anonymous);
}
