use larder_doctor::{Options, Row};

use crate::support::*;

fn right(now: u64) -> String {
    access(now, now + 300, "pull\",\"push")
}

fn access(from: u64, until: u64, actions: &str) -> String {
    format!(
        r#"{{"iat":{from},"nbf":{from},"exp":{until},"access":[{{"type":"repository","name":"team/app","actions":["{actions}"]}}]}}"#
    )
}

async fn of(fault: Fault, options: Options) -> Visited {
    let registry = Registry::start(fault).await;
    visit(&format!("{}/team/app", registry.host()), options).await
}

#[tokio::test]
async fn a_wrong_password_and_a_dropped_header_are_told_apart() {
    let wrong = Options { login: Some(login(USER, "guess")), ..writing() };
    let visited = of(Fault::Basic, wrong.clone()).await;
    visited.found(
        "a wrong password",
        Row::LoginRefused,
        "registry",
        "the password is wrong",
        "larder user verify alice",
    );
    assert_eq!(visited.exit_code, 15);
    let visited = of(Fault::BasicDropped, writing()).await;
    visited.found(
        "a dropped header",
        Row::AuthorizationDropped,
        "proxy nginx",
        "doesn't pass the Authorization header on",
        "proxy_set_header Authorization",
    );
    let for_nobody = |now| format!(r#"{{"sub":"","iat":{now},"exp":{},"access":[]}}"#, now + 300);
    let visited = of(Fault::Bearer { realm: "{}/token", claims: for_nobody }, writing()).await;
    visited.found(
        "a dropped header before a token service that knows anonymous clients",
        Row::AuthorizationDropped,
        "token service",
        "doesn't pass the Authorization header on",
        "proxy_set_header Authorization",
    );
    let lost = Options { login: Some(login("robot$ci", "guess")), ..writing() };
    let visited = of(Fault::Basic, lost).await;
    visited.found(
        "a name that a shell eats",
        Row::LoginRefused,
        "registry",
        "after `$` for a variable",
        "'robot$ci'",
    );
    let visited = of(Fault::Bearer { realm: "{}/token", claims: right }, wrong).await;
    visited.found(
        "a wrong password for a token",
        Row::LoginRefused,
        "token service",
        "the password is wrong",
        "docker login",
    );
}

#[tokio::test]
async fn token_services_that_clients_cannot_use_are_named() {
    let cases: &[(&str, Fault, Row, &str, &str, &str)] = &[
        (
            "an inner name",
            Fault::Bearer { realm: "http://gitea.invalid:3000/v2/token", claims: right },
            Row::RealmUnreachable,
            "token service gitea.invalid",
            "only its own network knows",
            "public address",
        ),
        (
            "no URL",
            Fault::Bearer { realm: "/auth/token", claims: right },
            Row::RealmUnreachable,
            "registry",
            "no whole URL",
            "public address",
        ),
        (
            "no token in the answer",
            Fault::Bearer { realm: "{}/token", claims: |_| String::new() },
            Row::TokenRefused,
            "token service",
            "no token answer",
            "realm",
        ),
        (
            "a token of tomorrow",
            Fault::Bearer {
                realm: "{}/token",
                claims: |now| access(now + 3600, now + 7200, "pull\",\"push"),
            },
            Row::TokenClock,
            "token service",
            "clocks",
            "set-ntp",
        ),
        (
            "a short life",
            Fault::Bearer { realm: "{}/token", claims: |now| access(now, now + 20, "pull\",\"push") },
            Row::TokenShort,
            "token service",
            "after some layers",
            "5 minutes",
        ),
        (
            "a right that isn't given",
            Fault::Bearer { realm: "{}/token", claims: |now| access(now, now + 300, "pull") },
            Row::ScopeMissing,
            "token service",
            "may not push",
            "larder access explain alice push team/app",
        ),
    ];
    for (what, fault, row, hop, cause, fix) in cases {
        of(fault.clone(), writing()).await.found(what, *row, hop, cause, fix);
    }
}

#[tokio::test]
async fn a_realm_that_forgot_tls_is_not_sent_a_password() {
    let authority = Authority::new("Lab CA");
    let fault = Fault::Bearer { realm: "{}/token", claims: right };
    let registry = authority.shows(&Leaf::default()).start(fault).await;
    let options = Options { authorities: vec![authority.file.clone()], ..writing() };
    let visited = visit(&registry.host(), options).await;
    visited.found("the realm", Row::RealmScheme, "registry", "X-Forwarded-Proto", "http.host");
}

#[tokio::test]
async fn nginx_that_cannot_check_bcrypt_is_named() {
    let page = "<html><title>500 Internal Server Error</title></html>";
    let headers = &[
        ("content-type", "text/html"),
        ("server", "nginx/1.22.1"),
        ("www-authenticate", "Basic realm=\"x\""),
    ];
    let visited = of(Fault::Base(500, headers, page), writing()).await;
    visited.found("nginx", Row::ChallengeForeign, "proxy nginx", "crypt_r()", "auth_basic");
}

#[tokio::test]
async fn passwords_are_never_shown() {
    let options = Options { login: Some(login(USER, "hunter2")), ..writing() };
    let visited = of(Fault::Basic, options.clone()).await;
    let told = format!("{:?}{:?}{:?}{options:?}", visited.findings, visited.good, visited.skipped);
    assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg"), "{told}");
}
