//! Credentials and token requests.

use super::{Case, otherwise, refused};
use crate::support::*;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let basic = |text: &str| format!("Basic {}", base64(text));
    let long = "a".repeat(40_000);
    let nested = base64(&"[".repeat(10_000)).replace('=', "");
    let values = [
        "Basic".to_owned(),
        "Basic =".to_owned(),
        "Basic ====".to_owned(),
        "Basic !!!".to_owned(),
        "Basic AAAA".to_owned(),
        basic("nocolon"),
        basic(":"),
        basic("alice:"),
        basic(":pass:word"),
        basic("alice:pa\0ss"),
        basic("alice\0:pass:word"),
        basic("alice\n:pass:word"),
        basic("alice:pass:word\0"),
        basic(&format!("alice:{}", "x".repeat(20_000))),
        basic(&format!("{}:x", "x".repeat(20_000))),
        basic(&format!("{long}:{long}")),
        "Bearer".to_owned(),
        "Bearer  ".to_owned(),
        "Bearer a".to_owned(),
        "Bearer ..".to_owned(),
        "Bearer a.b.c.d".to_owned(),
        format!("Bearer {long}"),
        format!("Bearer {nested}.{nested}.{nested}"),
        "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA".to_owned(),
        "Bearer eyJhbGciOiJSUzI1NiJ9.e30.AAAA".to_owned(),
        "Bearer eyJhbGciOiJIUzI1NiIsImp3ayI6e319.e30.AAAA".to_owned(),
        "Digest username=\"alice\"".to_owned(),
        "Negotiate YII".to_owned(),
        "alice:pass:word".to_owned(),
        long.clone(),
    ];
    for value in values {
        for request in [get("/v2/"), get("/v2/lab/app/tags/list"), put("/v2/lab/app/manifests/one", "{}")] {
            let request = request.with("Authorization", &value);
            cases.push(refused(&value, request.to_bytes(), 401, "UNAUTHORIZED"));
        }
    }
    let raw = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \xff\xfe\r\n\r\n";
    cases.push(refused("no text", raw, 401, "UNAUTHORIZED"));
    for host in ["a\"b", "a b", "", "evil\\", &long] {
        cases.push(refused(host, get("/v2/").with("Host", host).to_bytes(), 401, "UNAUTHORIZED"));
        let forwarded = get("/v2/").with("X-Forwarded-Host", host).with("X-Forwarded-Proto", host);
        cases.push(refused(host, forwarded.to_bytes(), 401, "UNAUTHORIZED"));
    }
    // Any scope is taken; it gives what it gives.
    for scope in [
        "%00",
        "%ff",
        ":::::",
        "repository:..:pull",
        "repository:a%0d%0aX-Injected:%201:pull",
        "repository:a:",
        "repository::pull",
        "registry:catalog:*",
        "repository(plugin):a:pull",
        &"repository:a:pull%20".repeat(2000),
        &"a".repeat(60_000),
    ] {
        cases.push(otherwise(scope, get(format!("/auth/token?scope={scope}")).to_bytes(), 200));
    }
    let form = |body: String| {
        let request = post("/auth/token", body).with("Content-Type", "application/x-www-form-urlencoded");
        request.to_bytes()
    };
    for (what, body, status, code) in [
        ("nothing", String::new(), 401, "UNAUTHORIZED"),
        ("bad escapes", "grant_type=%zz&%=%&&&=".to_owned(), 401, "UNAUTHORIZED"),
        ("no user", "grant_type=password".to_owned(), 401, "UNAUTHORIZED"),
        (
            "a long password",
            format!("grant_type=password&username=alice&password={long}"),
            401,
            "UNAUTHORIZED",
        ),
        ("too long a form", "a".repeat(70_000), 400, "UNSUPPORTED"),
        ("far too long a form", "a".repeat(3 << 20), 400, "UNSUPPORTED"),
    ] {
        cases.push(refused(what, form(body), status, code));
    }
    cases.push(refused("no type", post("/auth/token", "a=b").to_bytes(), 400, "UNSUPPORTED"));
    cases
}
