use super::*;
use crate::policy::{Mode, Policy};
use crate::testing::{HandClock, Home, NOON, USERS, at_home};
use crate::token::SigningKey;

fn endpoint(home: &Home, mode: Mode) -> TokenEndpoint {
    let clock = HandClock::at_noon();
    let tokens = Tokens::new("larder".into(), SigningKey::from([7; 32]), clock.clock());
    TokenEndpoint::new(tokens, home.passwords(&clock), Policy::new(mode).into(), clock.clock())
}

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.into(), password: password.into() }
}

/// Whose token, or what refusal; and what was granted.
async fn outcome(endpoint: &TokenEndpoint, login: Login, scopes: &[&str]) -> (String, Vec<String>) {
    let request = TokenRequest::new(login, scopes.iter().copied());
    match endpoint.grant(&request, &at_home()).await {
        Ok(grant) => {
            let claims = endpoint.verify(&grant.token, &at_home()).unwrap();
            assert_eq!((&claims.actor, &*claims.access), (&grant.actor, &*grant.granted));
            (grant.actor.to_string(), grant.granted.iter().map(Scope::to_string).collect())
        }
        Err(refusal) => (refusal.to_string(), Vec::new()),
    }
}

#[tokio::test]
async fn who_gets_what() {
    let home = Home::with_users(USERS);
    let bob = || password("bob", "s3cret");
    let wrong = || password("bob", "wrong");
    let unknown = || password("hub-user", "dckr_pat_x");
    const WRONG: &str = "wrong password for user \"bob\"";
    const UNKNOWN: &str = "there is no user \"hub-user\"";
    const UNUSABLE: &str = "a token was asked for with something else than user and password";
    const NEEDED: &str = "a token was asked for without credentials, and only users get one";
    let (open_door, users_only) = (Mode::AnonymousPull, Mode::EveryoneAuthenticated);
    type Case = (Mode, Login, &'static [&'static str], &'static str, &'static [&'static str]);
    let cases: Vec<Case> = vec![
        (open_door, bob(), &[], "bob", &[]),
        (open_door, bob(), &["repository:a:push,pull"], "bob", &["repository:a:pull,push"]),
        (open_door, bob(), &["repository:a:*"], "bob", &["repository:a:pull,push,delete"]),
        (
            open_door,
            bob(),
            &["repository:a:pull,push repository:b:pull", "repository(plugin):c:pull", "rubbish", ""],
            "bob",
            &["repository:a:pull,push", "repository:b:pull"],
        ),
        (open_door, Login::Anonymous, &[], "anonymous", &[]),
        (open_door, Login::Anonymous, &["repository:a:pull"], "anonymous", &["repository:a:pull"]),
        (open_door, Login::Anonymous, &["repository:a:push,pull"], "anonymous", &["repository:a:pull"]),
        // What clients of a mirror do, with credentials for another registry.
        (
            open_door,
            unknown(),
            &["repository:library/alpine:pull"],
            "anonymous",
            &["repository:library/alpine:pull"],
        ),
        (
            open_door,
            wrong(),
            &["repository:a:pull", "registry:catalog:*"],
            "anonymous",
            &["repository:a:pull", "registry:catalog:*"],
        ),
        (open_door, Login::Unusable, &["repository:a:pull"], "anonymous", &["repository:a:pull"]),
        (open_door, wrong(), &["rubbish"], "anonymous", &[]),
        // What users do, and must hear about.
        (open_door, wrong(), &[], WRONG, &[]),
        (open_door, unknown(), &[], UNKNOWN, &[]),
        (open_door, Login::Unusable, &[], UNUSABLE, &[]),
        (open_door, wrong(), &["repository:a:pull,push"], WRONG, &[]),
        (open_door, unknown(), &["repository:a:pull", "repository:b:push"], UNKNOWN, &[]),
        (open_door, wrong(), &["repository:a:*"], WRONG, &[]),
        (open_door, wrong(), &["repository:a:delete"], WRONG, &[]),
        // Where nobody but users has anything.
        (users_only, bob(), &["repository:a:pull"], "bob", &["repository:a:pull"]),
        (users_only, Login::Anonymous, &[], NEEDED, &[]),
        (users_only, Login::Anonymous, &["repository:a:pull"], NEEDED, &[]),
        (users_only, wrong(), &["repository:a:pull"], WRONG, &[]),
        (users_only, wrong(), &["rubbish"], WRONG, &[]),
    ];
    for (mode, login, scopes, whose, granted) in cases {
        let question = format!("{mode:?} {login:?} {scopes:?}");
        let found = outcome(&endpoint(&home, mode), login, scopes).await;
        assert_eq!(found.0, whose, "{question}");
        let mut expected: Vec<String> = granted.iter().copied().map(String::from).collect();
        expected.sort_by_key(|text| !text.starts_with("repository"));
        assert_eq!(found.1, expected, "{question}");
    }
}

#[tokio::test]
async fn the_answer_tells_the_tokens_time() {
    let home = Home::with_users(USERS);
    let request = TokenRequest::new(Login::Anonymous, []);
    let grant = endpoint(&home, Mode::AnonymousPull).grant(&request, &at_home()).await.unwrap();
    assert_eq!(grant.issued_at, "2026-03-01T12:00:00Z");
    assert_eq!(grant.expires_in_seconds, 300);
    assert!(!format!("{grant:?}").contains(grant.token.expose()));
    assert_eq!(NOON, 1_772_366_400);
}

#[tokio::test]
async fn a_token_ends_with_its_user() {
    let home = Home::with_users(USERS);
    let endpoint = endpoint(&home, Mode::AnonymousPull);
    let token = |login| {
        let request = TokenRequest::new(login, ["repository:a:pull"]);
        let endpoint = &endpoint;
        async move { endpoint.grant(&request, &at_home()).await.unwrap().token }
    };
    let of_bob = token(password("bob", "s3cret")).await;
    let of_alice = token(password("alice", "pass:word")).await;
    let of_nobody = token(Login::Anonymous).await;
    home.write(USERS.lines().next().unwrap());
    assert_eq!(endpoint.verify(&of_bob, &at_home()).err(), Some(TokenProblem::UserGone));
    assert_eq!(endpoint.verify(&of_alice, &at_home()).err(), None, "the file changed, its user didn't");
    assert_eq!(endpoint.verify(&of_nobody, &at_home()).err(), None);
}

#[test]
fn the_scopes_of_a_request_are_bounded() {
    let many = "repository:a:pull ".repeat(MOST_SCOPES + 1);
    let request = TokenRequest::new(Login::Anonymous, [many.as_str(), many.as_str()]);
    assert_eq!(request.scopes().len(), MOST_SCOPES);
}

#[test]
fn logins_by_header() {
    let cases = [
        (None, Login::Anonymous),
        (Some(""), Login::Anonymous),
        (Some("Basic Ym9iOnMzY3JldA=="), password("bob", "s3cret")),
        (Some("Basic !"), Login::Unusable),
        (Some("Bearer a.b.c"), Login::Unusable),
        (Some("Digest x"), Login::Unusable),
    ];
    for (value, login) in cases {
        assert_eq!(Login::from_authorization(value), login, "{value:?}");
    }
}

#[tokio::test]
async fn a_certificates_token_is_worth_nothing_without_the_certificate() {
    let home = Home::with_users(USERS);
    let endpoint = endpoint(&home, Mode::EveryoneAuthenticated);
    let robot = at_home().with_certificate("robot.lab");
    let request = TokenRequest::new(Login::Anonymous, ["repository:a:pull,push"]);
    assert!(matches!(endpoint.grant(&request, &at_home()).await, Err(Refusal::LoginNeeded)));
    let grant = endpoint.grant(&request, &robot).await.unwrap();
    assert_eq!(grant.actor, Actor::User("certificate:robot.lab".into()));
    assert_eq!(endpoint.verify(&grant.token, &robot).unwrap().actor, grant.actor);
    for other in [at_home(), at_home().with_certificate("robot.lab.example")] {
        assert_eq!(endpoint.verify(&grant.token, &other).err(), Some(TokenProblem::OtherCertificate));
    }
}

#[tokio::test]
async fn a_login_that_asks_for_it_gets_a_refresh_token_that_ends_with_the_password() {
    let home = Home::with_users(USERS);
    let endpoint = endpoint(&home, Mode::EveryoneAuthenticated);
    let login = || Login::Password { user: "bob".into(), password: "s3cret".into() };
    let ask = async |login, is_offline| {
        let request = TokenRequest::new(login, ["repository:a:pull,push"]).offline(is_offline);
        endpoint.grant(&request, &at_home()).await
    };
    assert_eq!(ask(login(), false).await.unwrap().refresh_token, None, "nobody asked for one");
    let token = ask(login(), true).await.unwrap().refresh_token.unwrap();
    let grant = ask(Login::Refresh(token.clone()), false).await.unwrap();
    assert_eq!((&grant.actor, grant.granted.len()), (&Actor::User("bob".into()), 1));
    assert!(endpoint.verify(&grant.token, &at_home()).is_ok());
    assert!(endpoint.verify(&token, &at_home()).is_err(), "it is no token for anything else");
    for foreign in [BearerToken::from(String::new()), "a.b.c".to_owned().into(), grant.token] {
        assert!(matches!(ask(Login::Refresh(foreign), false).await, Err(Refusal::LoginUnusable)));
    }
    let other_hash = USERS.lines().next().unwrap().replace("alice:", "bob:");
    for users in [other_hash, String::new()] {
        home.write(&users);
        let refusal = ask(Login::Refresh(token.clone()), false).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Token(TokenProblem::PasswordChanged)), "{refusal}");
    }
}
