//! Guessing passwords: who guesses waits, and nobody else does.

use crate::support::*;

/// Wrong passwords for alice, all different, until one isn't looked at any more.
async fn guess_until_refused(server: &Server, from: &str, request: impl Fn() -> Request) -> Reply {
    for number in 0..10 {
        let request = request().basic(ALICE.0, &format!("{from} {number}")).with("X-Forwarded-For", from);
        let reply = server.ask(request).await;
        if reply.status != 401 {
            return reply;
        }
    }
    panic!("ten guesses, and none was refused");
}

#[tokio::test]
async fn a_guesser_is_told_to_wait_and_the_household_is_not() {
    let server = Setup::gate(GateKind::Rules).start().await;
    let login = |user: (&str, &str), from: &str| {
        get("/auth/token").basic(user.0, user.1).with("X-Forwarded-For", from)
    };
    // Alice has been there before, and has left bob a guest.
    assert_eq!(server.ask(login(ALICE, "203.0.113.7")).await.status, 200);
    let reply = guess_until_refused(&server, "203.0.113.7", || get("/auth/token")).await;
    assert_eq!(reply.refusal(), (429, "TOOMANYREQUESTS".into()));
    assert_eq!(reply.header("Retry-After"), Some("1"));
    assert_eq!(reply.header("Www-Authenticate"), None, "no other credentials are asked for");
    // docker shows the message and nothing else.
    let words = "too many wrong passwords for this user from this address; try again in 1 s";
    let error = &reply.json()["errors"][0];
    assert_eq!((&error["message"], &error["detail"]), (&words.into(), &words.into()));
    assert_eq!(server.ask(login(ALICE, "203.0.113.7")).await.status, 200, "her password is known there");
    assert_eq!(server.ask(login(BOB, "203.0.113.7")).await.status, 200, "so near is he, and yet another");
    assert_eq!(server.ask(login(ALICE, "203.0.113.8")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_claims_to_be_elsewhere_is_not_believed() {
    let mut setup = Setup::gate(GateKind::Basic);
    setup.options.trusted_proxies = Vec::new();
    let server = setup.start().await;
    for number in 0..5 {
        let request = get("/v2/").basic(ALICE.0, &format!("guess {number}"));
        let reply = server.ask(request.with("X-Forwarded-For", format!("203.0.113.{number}"))).await;
        assert_eq!(reply.status, 401);
    }
    let reply = server.ask(get("/v2/").basic(ALICE.0, "guess")).await;
    assert_eq!(reply.refusal(), (429, "TOOMANYREQUESTS".into()));
    // The same again is no guess: the answer is known.
    assert_eq!(server.ask(get("/v2/").basic(ALICE.0, "guess 0")).await.status, 401);
}

/// dockerd sends its Docker Hub password to a mirror, and silently goes around one that refuses it.
#[tokio::test]
async fn what_anybody_may_pull_is_never_refused_for_wrong_passwords() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let pull = || get("/auth/token?scope=repository:library/alpine:pull");
    for number in 0..20 {
        let reply = server.ask(pull().basic("hub-user", &format!("password {number}"))).await;
        assert_eq!(reply.status, 200, "{number}");
    }
    let reply = guess_until_refused(&server, "203.0.113.7", || {
        get("/auth/token?scope=repository:library/alpine:pull,push")
    })
    .await;
    assert_eq!(reply.status, 429);
}
