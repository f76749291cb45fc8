//! Larder's own tokens: anybody pulls, users push. Each client's way to its token (clients' page, 1.1 and 3).

use serde_json::Value;

use crate::support::*;

const UPLOADS: &str = "/v2/lab/app/blobs/uploads/";

async fn token(server: &Server, request: Request) -> String {
    token_of(server, request, false).await
}

async fn token_of(server: &Server, request: Request, is_offline: bool) -> String {
    let reply = server.ask(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    // docker reads either, containerd by POST wants the second.
    assert_eq!(answer["token"], answer["access_token"]);
    assert_eq!(answer.get("refresh_token").is_some(), is_offline, "only who asks for it gets one");
    assert_eq!(answer["expires_in"], 300);
    let issued = answer["issued_at"].as_str().unwrap();
    assert!(issued.len() == 20 && issued.ends_with('Z'), "{issued}");
    assert_eq!(reply.header("Cache-Control"), Some("no-store"));
    answer["token"].as_str().unwrap().to_owned()
}

fn bearer(request: Request, token: &str) -> Request {
    request.with("Authorization", format!("Bearer {token}"))
}

/// What a token says that it covers.
fn access(token: &str) -> Value {
    use ::base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let bytes = ::base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["access"].take()
}

#[tokio::test]
async fn the_base_is_challenged_although_anybody_may_pull() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let reply = server.ask(get("/v2/")).await;
    assert_eq!(
        reply.undated(),
        "HTTP/1.1 401 Unauthorized\nContent-Type: application/json; charset=utf-8\nContent-Length: 87\n\
         Www-Authenticate: Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\"\n\
         Docker-Distribution-Api-Version: registry/2.0"
    );
    // curl and crane with nothing at all.
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 404);
    assert_eq!(server.ask(get("/v2/_catalog")).await.status, 200);
}

#[tokio::test]
async fn docker_login() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let target = "/auth/token?account=alice&client_id=docker&offline_token=true&service=registry.lab";
    let token = token_of(&server, get(target).basic(ALICE.0, ALICE.1), true).await;
    assert_eq!(server.ask(bearer(get("/v2/"), &token)).await.status, 200);
    // docker keeps the refresh token in the password's place, and asks with it from then on.
    let reply = server.ask(get(target).basic(ALICE.0, ALICE.1)).await.json();
    let refresh = reply["refresh_token"].as_str().unwrap();
    let form = |refresh: &str| {
        let fields = "client_id=docker&grant_type=refresh_token&service=registry.lab";
        let scope = "scope=repository%3Alab%2Fapp%3Apush%2Cpull";
        post("/auth/token", format!("{fields}&{scope}&refresh_token={refresh}"))
            .with("Content-Type", "application/x-www-form-urlencoded")
    };
    let reply = server.ask(form(refresh)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let pushing = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(server.ask(bearer(post(UPLOADS, Vec::new()), &pushing)).await.status, 202);
    assert_eq!(server.ask(form(&token)).await.status, 401, "an access token is no refresh token");
    // A wrong password is said at once, in words that docker shows.
    for (user, password) in [("alice", "wrong"), ("nobody", "pass:word")] {
        let reply = server.ask(get(target).basic(user, password)).await;
        assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()));
        assert_eq!(reply.json()["errors"][0]["message"], "authentication required");
    }
}

#[tokio::test]
async fn docker_push() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let target = "/auth/token?account=alice&scope=repository%3Alab%2Fapp%3Apush%2Cpull\
                  &scope=repository%3Alab%2Fbase%3Apull&service=registry.lab";
    let token = token(&server, get(target).basic(ALICE.0, ALICE.1)).await;
    assert_eq!(
        access(&token),
        serde_json::json!([
            { "type": "repository", "name": "lab/app", "actions": ["pull", "push"] },
            { "type": "repository", "name": "lab/base", "actions": ["pull"] },
        ])
    );
    assert_eq!(server.ask(bearer(post(UPLOADS, ""), &token)).await.status, 202);
    // Not covered: another repository, and deleting.
    let reply = server.ask(bearer(post("/v2/lab/base/blobs/uploads/", ""), &token)).await;
    assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()));
    assert_eq!(
        reply.header("Www-Authenticate"),
        Some(
            "Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\",\
             scope=\"repository:lab/base:pull,push\",error=\"insufficient_scope\""
        )
    );
    let reply = server.ask(bearer(delete("/v2/lab/app/manifests/one"), &token)).await;
    assert_eq!(
        reply.header("Www-Authenticate"),
        Some(
            "Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\",\
             scope=\"repository:lab/app:delete\",error=\"insufficient_scope\""
        )
    );
}

/// containerd: no `/v2/`; the challenge of the request itself, then POST with the password.
#[tokio::test]
async fn containerd_push() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let reply = server.ask(post(UPLOADS, "")).await;
    assert_eq!(
        reply.header("Www-Authenticate"),
        Some(
            "Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\",\
             scope=\"repository:lab/app:pull,push\""
        )
    );
    let form = |fields: &str, kind: &str| {
        let common =
            "client_id=containerd-client&service=registry.lab&scope=repository%3Alab%2Fapp%3Apull%2Cpush";
        post("/auth/token", format!("{common}{fields}")).with("Content-Type", kind)
    };
    let password = "&grant_type=password&username=alice&password=pass%3Aword";
    for kind in ["application/x-www-form-urlencoded; charset=utf-8", "application/x-www-form-urlencoded"] {
        let token = token(&server, form(password, kind)).await;
        assert_eq!(server.ask(bearer(post(UPLOADS, ""), &token)).await.status, 202);
    }
    // Two scopes in one field.
    let two = "&grant_type=password&username=alice&password=pass%3Aword";
    let request = post("/auth/token", format!("scope=repository:a:pull+repository:b:push,pull{two}"))
        .with("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(access(&token(&server, request).await).as_array().unwrap().len(), 2);
    // It tries GET after each of these.
    for (fields, kind, status) in [
        ("&grant_type=password&username=alice&password=wrong", "application/x-www-form-urlencoded", 401),
        ("&grant_type=refresh_token&refresh_token=of-another", "application/x-www-form-urlencoded", 401),
        ("", "application/x-www-form-urlencoded", 401),
        (password, "application/json", 400),
    ] {
        let reply = server.ask(form(fields, kind)).await;
        assert_eq!(reply.status, status, "{fields} {kind}");
        reply.codes();
    }
}

/// podman and skopeo: an account, no scope at login; `*` to delete; the catalog after a refusal.
#[tokio::test]
async fn podman() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let login = get("/auth/token?account=alice&service=registry.lab").basic(ALICE.0, ALICE.1);
    let unscoped = token(&server, login).await;
    assert_eq!(server.ask(bearer(get("/v2/"), &unscoped)).await.status, 200);
    let all =
        get("/auth/token?scope=repository%3Alab%2Fapp%3A%2A&service=registry.lab").basic(ALICE.0, ALICE.1);
    let all = token(&server, all).await;
    assert_eq!(access(&all)[0]["actions"], serde_json::json!(["pull", "push", "delete"]));
    assert_eq!(server.ask(bearer(delete("/v2/lab/app/manifests/one"), &all)).await.status, 404);
    let reply = server.ask(bearer(get("/v2/_catalog"), &unscoped)).await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("Www-Authenticate"),
        Some(
            "Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\",\
             scope=\"registry:catalog:*\",error=\"insufficient_scope\""
        )
    );
    for scope in ["registry:catalog:*", "registry:catalog:%2A"] {
        let request = get(format!("/auth/token?scope={scope}")).basic(ALICE.0, ALICE.1);
        let token = token(&server, request).await;
        assert_eq!(server.ask(bearer(get("/v2/_catalog"), &token)).await.status, 200);
    }
}

#[tokio::test]
async fn anonymous_pull_with_and_without_a_token() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let push = get("/auth/token?scope=repository:lab/app:pull,push").basic(ALICE.0, ALICE.1);
    let push = token(&server, push).await;
    for bytes in [CONFIG, LAYER] {
        let target = format!("{UPLOADS}?digest={}", digest_of(bytes));
        assert_eq!(server.ask(bearer(post(target, bytes), &push)).await.status, 201);
    }
    let manifest = put("/v2/lab/app/manifests/one", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
    assert_eq!(server.ask(bearer(manifest, &push)).await.status, 201);
    // Asking for more than anybody may is no error: one gets the rest.
    let anonymous = get("/auth/token?service=registry.lab&scope=repository:lab/app:pull,push&scope=nonsense");
    let anonymous = token(&server, anonymous).await;
    assert_eq!(access(&anonymous)[0]["actions"], serde_json::json!(["pull"]));
    assert_eq!(server.ask(bearer(get("/v2/"), &anonymous)).await.status, 200);
    for path in ["/v2/lab/app/manifests/one".to_owned(), format!("/v2/lab/app/blobs/{LAYER_DIGEST}")] {
        assert_eq!(server.ask(get(path.as_str())).await.status, 200);
        assert_eq!(server.ask(bearer(get(path.as_str()), &anonymous)).await.status, 200);
        // A token for something else doesn't take away what anybody may.
        let other = token(&server, get("/auth/token?scope=repository:lab/other:pull")).await;
        assert_eq!(server.ask(bearer(get(path.as_str()), &other)).await.status, 200);
    }
    let reply = server.ask(bearer(post(UPLOADS, ""), &anonymous)).await;
    assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()));
}

/// dockerd sends Docker Hub's password, or Hub's refresh token, to its mirrors. A 401 would make it go around
/// the mirror without a word.
#[tokio::test]
async fn a_strangers_credentials_pull_like_nobodys() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let scope = "scope=repository:library/nginx:pull&service=registry.lab";
    let hubs = [
        get(format!("/auth/token?account=hubuser&{scope}")).basic("hubuser", "hub-password"),
        get(format!("/auth/token?{scope}")).with("Authorization", "Basic !!!"),
        post("/auth/token", format!("grant_type=refresh_token&refresh_token=x&{scope}"))
            .with("Content-Type", "application/x-www-form-urlencoded"),
        post("/auth/token", format!("grant_type=password&username=hubuser&password=x&{scope}"))
            .with("Content-Type", "application/x-www-form-urlencoded"),
    ];
    for request in hubs {
        let token = token(&server, request).await;
        assert_eq!(access(&token)[0]["actions"], serde_json::json!(["pull"]));
        assert_eq!(server.ask(bearer(get("/v2/library/nginx/tags/list"), &token)).await.status, 404);
    }
    // Where the account could have got more, its owner hears that it is wrong.
    let push = get("/auth/token?scope=repository:library/nginx:pull,push").basic("hubuser", "hub-password");
    assert_eq!(server.ask(push).await.status, 401);
}

#[tokio::test]
async fn tokens_that_do_not_count() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let good =
        token(&server, get("/auth/token?scope=repository:lab/app:pull,push").basic(ALICE.0, ALICE.1)).await;
    let mut parts: Vec<&str> = good.split('.').collect();
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    // {"alg":"none","typ":"JWT"}
    parts[0] = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let algorithm_none = format!("{}.{}.", parts[0], parts[1]);
    let swapped = parts.join(".");
    for bad in ["x", "a.b.c", &unsigned, &algorithm_none, &swapped, &format!("{good}A"), &good[1..]] {
        // Whoever shows credentials wants to be known by them, also where nobody is asked.
        // And is told what a new token must cover.
        for (request, scope) in [
            (get("/v2/"), ""),
            (get("/v2/lab/app/manifests/one"), "scope=\"repository:lab/app:pull\","),
            (post(UPLOADS, ""), "scope=\"repository:lab/app:pull,push\","),
        ] {
            let reply = server.ask(bearer(request, bad)).await;
            assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()), "{bad}");
            assert_eq!(
                reply.header("Www-Authenticate"),
                Some(
                    format!(
                        "Bearer realm=\"http://registry.lab/auth/token\",service=\"registry.lab\",{scope}\
                         error=\"invalid_token\""
                    )
                    .as_str()
                ),
                "{bad}"
            );
        }
    }
    // A user who is one no more.
    write(&server.directory.path().join("htpasswd"), b"");
    assert_eq!(server.ask(bearer(post(UPLOADS, ""), &good)).await.status, 401);
}

/// The realm must be an address that this very client reaches.
#[tokio::test]
async fn the_realm_is_where_the_client_is() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("Host", "10.0.0.5:5000")], "http://10.0.0.5:5000"),
        (&[("Host", "[::1]:5000")], "http://[::1]:5000"),
        (&[("X-Forwarded-Proto", "https")], "https://registry.lab"),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "reg.example")], "https://reg.example"),
        (&[("X-Forwarded-Host", "reg.example, inner")], "http://reg.example"),
        (&[("Forwarded", "for=10.0.0.1;proto=https;host=reg.example")], "https://reg.example"),
        (
            &[("Forwarded", "proto=https"), ("X-Forwarded-Host", "ignored"), ("X-Forwarded-Proto", "http")],
            "https://registry.lab",
        ),
        (&[("Host", "evil\",error=\"x")], "http://localhost"),
    ];
    for (headers, base) in cases {
        let request = headers.iter().fold(get("/v2/"), |request, (name, value)| request.with(name, value));
        let reply = server.ask(request).await;
        let expected = format!("Bearer realm=\"{base}/auth/token\",service=\"registry.lab\"");
        assert_eq!(reply.header("Www-Authenticate"), Some(expected.as_str()), "{headers:?}");
    }
    let mut setup = Setup::gate(GateKind::Tokens);
    setup.options.prefix = "/registry".into();
    setup.options.public_url = Some("https://reg.example:8443".into());
    let server = setup.start().await;
    let reply = server.ask(get("/registry/v2/").with("X-Forwarded-Host", "other")).await;
    assert_eq!(
        reply.header("Www-Authenticate"),
        Some("Bearer realm=\"https://reg.example:8443/registry/auth/token\",service=\"registry.lab\"")
    );
    let token = token(&server, get("/registry/auth/token").basic(ALICE.0, ALICE.1)).await;
    assert_eq!(server.ask(bearer(get("/registry/v2/"), &token)).await.status, 200);
}

/// A user's password works without a token as well: curl, and clients that only know Basic.
#[tokio::test]
async fn a_password_instead_of_a_token() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    assert_eq!(server.ask(get("/v2/").basic(ALICE.0, ALICE.1)).await.status, 200);
    assert_eq!(server.ask(post(UPLOADS, "").basic(ALICE.0, ALICE.1)).await.status, 202);
    assert_eq!(server.ask(get("/v2/").basic(ALICE.0, "wrong")).await.status, 401);
}

/// Users only: a token for the target alone mounts nothing out of what it may not read.
#[tokio::test]
async fn nothing_is_mounted_from_a_repository_that_the_token_does_not_cover() {
    let server = Setup::gate(GateKind::TokensForUsers).start().await;
    let of =
        async |scope: &str| token(&server, get(format!("/auth/token?{scope}")).basic(ALICE.0, ALICE.1)).await;
    let both = of("scope=repository:lab/base:pull,push&scope=repository:lab/to:pull,push").await;
    let target = format!("/v2/lab/base/blobs/uploads/?digest={LAYER_DIGEST}");
    assert_eq!(server.ask(bearer(post(target, LAYER), &both)).await.status, 201);
    let one = of("scope=repository:lab/to:pull,push").await;
    for query in [format!("mount={LAYER_DIGEST}&from=lab/base"), format!("mount={LAYER_DIGEST}")] {
        let target = format!("/v2/lab/to/blobs/uploads/?{query}");
        assert_eq!(server.ask(bearer(post(target.as_str(), ""), &one)).await.status, 202, "{query}");
    }
    let target = format!("/v2/lab/to/blobs/uploads/?mount={LAYER_DIGEST}&from=lab/base");
    assert_eq!(server.ask(bearer(post(target, ""), &both)).await.status, 201);
    // Nobody gets in without an account.
    let anonymous = server.ask(get("/auth/token?scope=repository:lab/base:pull")).await;
    assert_eq!(anonymous.refusal(), (401, "UNAUTHORIZED".into()));
    assert_eq!(server.ask(get(format!("/v2/lab/base/blobs/{LAYER_DIGEST}"))).await.status, 401);
}
