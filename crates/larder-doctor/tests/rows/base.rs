use larder_doctor::{Options, Row};

use crate::support::*;

#[tokio::test]
async fn whatever_answers_in_the_registrys_place_is_named() {
    const HTML: (&str, &str) = ("content-type", "text/html");
    let cases: &[(&str, Fault, Row, &str, &str, &str)] = &[
        (
            "AirPlay has the port",
            Fault::Base(403, &[("server", "AirTunes/870.14.1")], ""),
            Row::AirPlay,
            "AirPlay",
            "port 5000",
            "another port",
        ),
        (
            "a Go proxy without a route",
            Fault::Base(404, &[("content-type", "text/plain; charset=utf-8")], "404 page not found\n"),
            Row::NoRouteForV2,
            "in front of the registry",
            "no route for /v2/",
            "path /v2/",
        ),
        (
            "Traefik without a route",
            Fault::Base(
                404,
                &[("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")],
                "404 page not found\n",
            ),
            Row::NoRouteForV2,
            "proxy Traefik",
            "no router of Traefik",
            "larder proxy traefik 127.0.0.1",
        ),
        (
            "a web page",
            Fault::Base(
                200,
                &[HTML, ("server", "nginx/1.22.1")],
                "<html><title>Welcome to nginx!</title></html>",
            ),
            Row::Html,
            "proxy nginx",
            "invalid character '<'",
            "path /v2/",
        ),
        (
            "a login page",
            Fault::Base(200, &[HTML], "<html><title>Sign in</title><form>password</form></html>"),
            Row::LoginPage,
            "in front of the registry",
            "login page",
            "leave the path /v2/ out",
        ),
        (
            "a redirect to single sign-on",
            Fault::Base(302, &[("location", "https://sso.lan/login"), ("server", "Caddy")], ""),
            Row::LoginPage,
            "proxy Caddy",
            "forward-auth",
            "leave the path /v2/ out",
        ),
        (
            "nobody behind the proxy",
            Fault::Base(
                502,
                &[HTML, ("server", "nginx/1.22.1")],
                "<html><title>502 Bad Gateway</title></html>",
            ),
            Row::BaseStatus,
            "proxy nginx",
            "the registry behind it doesn't answer",
            "start the registry",
        ),
        (
            "a 401 without its challenge",
            Fault::At(
                "GET /v2/",
                401,
                &[
                    ("content-type", "application/json"),
                    ("docker-distribution-api-version", "registry/2.0"),
                    ("server", "nginx/1.22.1"),
                ],
                "{\"errors\":[]}",
            ),
            Row::ChallengeMissing,
            "proxy nginx",
            "strips the header",
            "proxy_hide_header",
        ),
        (
            "a 401 of a forward-auth",
            Fault::Base(401, &[("content-type", "text/plain")], "Unauthorized"),
            Row::ApiVersionMissing,
            "",
            "",
            "",
        ),
        (
            "a limit on requests",
            Fault::Base(429, &[("content-type", "application/json")], "{}"),
            Row::TooManyRequests,
            "registry",
            "limit",
            "log in",
        ),
    ];
    for (what, fault, row, hop, cause, fix) in cases {
        let registry = Registry::start(fault.clone()).await;
        let visited = visit(&registry.host(), reading()).await;
        if *row == Row::ApiVersionMissing {
            // Both are true of it.
            let rows: Vec<Row> = visited.findings.iter().map(|finding| finding.row).collect();
            assert_eq!(rows, [Row::ApiVersionMissing, Row::ChallengeMissing], "{what}");
            continue;
        }
        visited.found(what, *row, hop, cause, fix);
        assert_eq!(visited.exit_code, 13, "{what}");
    }
}

#[tokio::test]
async fn a_missing_header_is_a_warning() {
    let registry =
        Registry::start(Fault::At("GET /v2/", 200, &[("content-type", "application/json")], "{}")).await;
    let visited = visit(&registry.host(), reading()).await;
    visited.found(
        "the header",
        Row::ApiVersionMissing,
        "in front",
        "first version",
        "Docker-Distribution-Api-Version",
    );
    assert_eq!(visited.exit_code, 0);
}

#[tokio::test]
async fn clocks_that_differ_are_said() {
    for (off, words) in [(-3600, "ahead of"), (3600, "behind")] {
        let registry = Registry::start(Fault::Clock(off)).await;
        let visited = visit(&registry.host(), reading()).await;
        visited.found("the clock", Row::ClockWrong, "this machine", "token not to be used before", "set-ntp");
        assert!(visited.findings[0].seen.contains(words), "{:?}", visited.findings);
    }
    let registry = Registry::start(Fault::Clock(20)).await;
    visit(&registry.host(), reading()).await.nothing("a difference that hurts nobody");
}

#[tokio::test]
async fn a_name_without_an_address_and_a_port_without_a_listener_are_told_apart() {
    let visited = visit("registry.invalid:5000", reading()).await;
    visited.found("the name", Row::NameUnknown, "name resolution", "no such host", "/etc/hosts");
    assert_eq!(visited.exit_code, 10);
    let visited = visit("127.0.0.1:1", reading()).await;
    assert_eq!(visited.findings[0].row, Row::Refused, "{:?}", visited.findings);
    assert_eq!(visited.exit_code, 11);
}

#[tokio::test]
async fn an_http_proxy_in_the_environment_is_said_unless_the_registry_is_left_out() {
    // A name that is this machine, but isn't spelled as one.
    let registry = Registry::start(Fault::None).await;
    let name = format!("http://localhost.localdomain:{}", registry.address.port());
    let set = |no_proxy: &str| Options {
        environment: vec![
            ("HTTPS_PROXY".to_owned(), "http://bob:secret@proxy:3128".to_owned()),
            ("no_proxy".to_owned(), no_proxy.to_owned()),
        ],
        ..reading()
    };
    let visited = visit(&name, set("")).await;
    if visited.findings.iter().any(|finding| finding.row == Row::NameUnknown) {
        // This machine's /etc/hosts doesn't have that name.
        return;
    }
    visited.found("the proxy", Row::ProxyEnvironment, "this machine", "that proxy", "NO_PROXY=");
    assert!(!visited.findings[0].seen.contains("secret"), "{:?}", visited.findings);
    visit(&name, set("localdomain")).await.nothing("left out");
}
