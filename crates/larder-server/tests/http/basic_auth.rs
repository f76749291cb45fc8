//! Users and passwords with each request: registry:2's htpasswd.

use larder_server::Options;

use crate::support::*;

const UNAUTHORIZED: &str =
    "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":null}]}\n";

#[tokio::test]
async fn the_401_is_registry_2s_to_the_byte() {
    let nosniff = ("x-content-type-options".parse().unwrap(), "nosniff".parse().unwrap());
    let options = Options { headers: vec![nosniff], ..Setup::default().options };
    let server = Setup { options, ..Setup::gate(GateKind::Basic) }.start().await;
    let reply = server.ask(get("/v2/")).await;
    assert_eq!(
        reply.undated(),
        "HTTP/1.1 401 Unauthorized\nContent-Type: application/json; charset=utf-8\nContent-Length: 87\n\
         Www-Authenticate: Basic realm=\"Registry Realm\"\nDocker-Distribution-Api-Version: registry/2.0\n\
         X-Content-Type-Options: nosniff"
    );
    assert_eq!(reply.text(), UNAUTHORIZED);
    assert_eq!(server.ask(head("/v2/")).await.undated(), reply.undated());
}

#[tokio::test]
async fn docker_login() {
    let server = Setup::gate(GateKind::Basic).start().await;
    let (user, password) = ALICE;
    assert_eq!(server.ask(get("/v2/")).await.status, 401);
    let reply = server.ask(get("/v2/").basic(user, password)).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    for (user, password) in [(user, "wrong"), ("nobody", password), ("", ""), (user, ""), ("Alice", password)]
    {
        let reply = server.ask(get("/v2/").basic(user, password)).await;
        assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()), "{user}:{password}");
        assert_eq!(reply.header("Www-Authenticate"), Some("Basic realm=\"Registry Realm\""));
        assert_eq!(
            reply.json()["errors"][0]["detail"],
            "the user name or the password is wrong; log in again with docker login"
        );
    }
}

#[tokio::test]
async fn nothing_is_open_but_the_probes() {
    let server = Setup::gate(GateKind::Basic).start().await;
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(server.ask(get(path)).await.status, 200, "{path}");
    }
    let upload = "6b3c9a93-af5d-473f-a4ce-9710022185cd";
    for request in [
        get("/v2/_catalog"),
        get("/v2/lab/app/tags/list"),
        get("/v2/lab/app/manifests/one"),
        head("/v2/lab/app/manifests/one"),
        put("/v2/lab/app/manifests/one", image(OCI_MANIFEST)),
        delete("/v2/lab/app/manifests/one"),
        get(format!("/v2/lab/app/blobs/{ABSENT}")),
        delete(format!("/v2/lab/app/blobs/{ABSENT}")),
        get(format!("/v2/lab/app/referrers/{ABSENT}")),
        post("/v2/lab/app/blobs/uploads/", ""),
        get(format!("/v2/lab/app/blobs/uploads/{upload}")),
        patch(format!("/v2/lab/app/blobs/uploads/{upload}"), "x"),
        put(format!("/v2/lab/app/blobs/uploads/{upload}?digest={ABSENT}"), "x"),
        delete(format!("/v2/lab/app/blobs/uploads/{upload}")),
    ] {
        let reply = server.ask(request.clone()).await;
        assert_eq!(reply.header("Www-Authenticate"), Some("Basic realm=\"Registry Realm\""));
        assert_eq!(reply.status, 401);
        if !request.is_head() {
            assert_eq!(reply.codes(), ["UNAUTHORIZED"]);
            // docker takes a null here for a reason to try again for 51 seconds.
            assert!(!reply.json()["errors"][0]["detail"].is_null(), "{}", reply.text());
        }
        // With a login the same is answered otherwise.
        let reply = server.ask(request.basic(ALICE.0, ALICE.1)).await;
        assert_ne!(reply.status, 401);
    }
    // There is no token to be had.
    assert_eq!(server.ask(get("/auth/token")).await.refusal(), (404, "UNSUPPORTED".into()));
}

#[tokio::test]
async fn a_whole_push_and_pull_with_a_password() {
    let server = Setup::gate(GateKind::Basic).start().await;
    let with = |request: Request| request.basic(ALICE.0, ALICE.1);
    for bytes in [CONFIG, LAYER] {
        let target = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of(bytes));
        assert_eq!(server.ask(with(post(target, bytes))).await.status, 201);
    }
    let manifest = put("/v2/lab/app/manifests/one", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
    assert_eq!(server.ask(with(manifest)).await.status, 201);
    assert_eq!(server.ask(with(get("/v2/lab/app/manifests/one"))).await.status, 200);
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 401);
    assert_eq!(server.ask(with(get("/v2/_catalog"))).await.text(), "{\"repositories\":[\"lab/app\"]}\n");
}

#[tokio::test]
async fn headers_that_are_no_credentials() {
    let server = Setup::gate(GateKind::Basic).start().await;
    let cases = [
        (
            "Bearer abc",
            "this registry doesn't take this kind of credentials; see the WWW-Authenticate header",
        ),
        (
            "Negotiate abc",
            "this registry doesn't take this kind of credentials; see the WWW-Authenticate header",
        ),
        ("Basic", "the Authorization header can't be read; log in again with docker login"),
        ("Basic !!!", "the Authorization header can't be read; log in again with docker login"),
        ("Basic YWxpY2U=", "the Authorization header can't be read; log in again with docker login"),
    ];
    for (value, detail) in cases {
        let reply = server.ask(get("/v2/").with("Authorization", value)).await;
        assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()), "{value}");
        assert_eq!(reply.json()["errors"][0]["detail"], detail, "{value}");
    }
    // The scheme's case and the padding don't count.
    let encoded = base64("alice:pass:word");
    for value in [format!("basic {encoded}"), format!("BASIC {}", encoded.trim_end_matches('='))] {
        assert_eq!(server.ask(get("/v2/").with("Authorization", value)).await.status, 200);
    }
    // An empty header is none.
    assert_eq!(server.ask(get("/v2/").with("Authorization", "")).await.text(), UNAUTHORIZED);
}

/// registry:2 without auth doesn't look at what clients send along.
#[tokio::test]
async fn an_open_registry_looks_at_no_credentials() {
    let server = Server::open().await;
    for value in ["Basic !!!", "Bearer x", "Basic YTpi"] {
        assert_eq!(server.ask(get("/v2/").with("Authorization", value)).await.status, 200, "{value}");
    }
}
