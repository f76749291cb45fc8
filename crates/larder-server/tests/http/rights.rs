//! Rules: what each of anonymous, two users of a team and one of no team may do, and what they are told.

use serde_json::json;

use crate::support::*;

/// A server with an image in each of these.
async fn world() -> Server {
    let server = Setup::gate(GateKind::Rules).start().await;
    for name in ["public/app", "team/app", "team/prod/app"] {
        for bytes in [CONFIG, LAYER] {
            let target = format!("/v2/{name}/blobs/uploads/?digest={}", digest_of(bytes));
            let reply = server.ask(post(target, bytes).basic(ALICE.0, ALICE.1)).await;
            assert_eq!(reply.status, 201, "{}", reply.text());
        }
        let manifest = put(format!("/v2/{name}/manifests/one"), image(OCI_MANIFEST));
        let manifest = manifest.with("Content-Type", OCI_MANIFEST).basic(ALICE.0, ALICE.1);
        assert_eq!(server.ask(manifest).await.status, 201);
    }
    server
}

async fn token(server: &Server, request: Request) -> String {
    let reply = server.ask(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["token"].as_str().unwrap().to_owned()
}

fn bearer(request: Request, token: &str) -> Request {
    request.with("Authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn each_does_what_he_may() {
    let server = world().await;
    let manifest = |name: &str| get(format!("/v2/{name}/manifests/one"));
    let upload = |name: &str| post(format!("/v2/{name}/blobs/uploads/"), "");
    let remove = |name: &str| delete(format!("/v2/{name}/manifests/absent"));
    let nobody: fn(Request) -> Request = |request| request;
    let bob = |request: Request| request.basic(BOB.0, BOB.1);
    let carol = |request: Request| request.basic(CAROL.0, CAROL.1);
    let cases = [
        ("anybody pulls what is public", nobody(manifest("public/app")), 200),
        ("and nothing else", nobody(manifest("team/app")), 401),
        ("nor pushes", nobody(upload("public/app")), 401),
        ("whoever has no part in it pulls what is public", carol(manifest("public/app")), 200),
        ("and nothing else", carol(manifest("team/app")), 403),
        ("nor learns that there is nothing", carol(manifest("no/such")), 403),
        ("nor pushes", carol(upload("public/app")), 403),
        ("the team pulls", bob(manifest("team/prod/app")), 200),
        ("and pushes", bob(upload("team/prod/app")), 202),
        ("and deletes", bob(remove("team/app")), 404),
        ("but not in production", bob(remove("team/prod/app")), 403),
        ("tags", nobody(get("/v2/public/app/tags/list")), 200),
        ("tags", carol(get("/v2/team/app/tags/list")), 403),
    ];
    for (what, request, status) in cases {
        let reply = server.ask(request).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_denial_names_the_rule() {
    let server = world().await;
    let reply = server.ask(delete("/v2/team/prod/app/manifests/one").basic(BOB.0, BOB.1)).await;
    assert_eq!(
        reply.text(),
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied: \
         config.yml:3, rule 3 forbids bob to delete in team/prod/app\",\
         \"detail\":\"config.yml:3, rule 3 forbids bob to delete in team/prod/app; \
         whoever administers this registry can allow it\"}]}\n"
    );
    let reply = server.ask(get("/v2/team/app/manifests/one").basic(CAROL.0, CAROL.1)).await;
    assert_eq!(
        reply.json()["errors"][0]["detail"],
        "no rule lets carol pull in team/app; whoever administers this registry can allow it"
    );
    let reply = server.ask(get("/v2/team/app/manifests/one")).await;
    assert_eq!(
        reply.json()["errors"][0]["detail"],
        json!({
            "reason": "no rule lets anonymous pull in team/app; log in with docker login",
            "needed": "repository:team/app:pull",
        })
    );
    // docker comes with a token for what it was granted of what it asked for.
    let scope = "scope=repository:team/prod/app:pull,push,delete&service=registry.lab";
    let token = token(&server, get(format!("/auth/token?{scope}")).basic(BOB.0, BOB.1)).await;
    let reply = server.ask(bearer(delete("/v2/team/prod/app/manifests/one"), &token)).await;
    assert_eq!(reply.refusal(), (403, "DENIED".into()));
}

#[tokio::test]
async fn docker_logs_in_and_is_granted_what_the_rules_allow() {
    let server = world().await;
    // Whoever has an account must be asked for it, although much is public.
    let reply = server.ask(get("/v2/")).await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("Www-Authenticate").unwrap().starts_with("Bearer realm="), "{}", reply.head);
    for (user, status) in [(ALICE, 200), (CAROL, 200), ((ALICE.0, "wrong"), 401)] {
        let login = get("/auth/token?account=x&client_id=docker&service=registry.lab");
        assert_eq!(server.ask(login.basic(user.0, user.1)).await.status, status);
    }
    let asked = "scope=repository:team/app:pull,push&scope=repository:public/app:pull";
    let granted = async |request: Request| server.ask(request).await.json()["scope"].clone();
    let by = |user: (&str, &str)| get(format!("/auth/token?{asked}")).basic(user.0, user.1);
    assert_eq!(granted(by(BOB)).await, "repository:public/app:pull repository:team/app:pull,push");
    assert_eq!(granted(by(CAROL)).await, "repository:public/app:pull");
    assert_eq!(granted(get(format!("/auth/token?{asked}"))).await, "repository:public/app:pull");
}

/// dockerd sends Docker Hub's password to its mirrors.
#[tokio::test]
async fn a_strangers_password_pulls_what_anybody_may_and_nothing_else() {
    let server = world().await;
    let ask = |scope: &str| get(format!("/auth/token?scope={scope}")).basic("hubuser", "hub password");
    let token = token(&server, ask("repository:public/app:pull")).await;
    assert_eq!(server.ask(bearer(get("/v2/public/app/manifests/one"), &token)).await.status, 200);
    assert_eq!(server.ask(bearer(get("/v2/team/app/manifests/one"), &token)).await.status, 401);
    assert_eq!(server.ask(get("/auth/token").basic("hubuser", "hub password")).await.status, 401);
}

#[tokio::test]
async fn the_catalog_shows_what_one_may_pull() {
    let server = world().await;
    let names = async |request: Request| {
        let reply = server.ask(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["repositories"].clone()
    };
    let all = json!(["public/app", "team/app", "team/prod/app"]);
    assert_eq!(names(get("/v2/_catalog")).await, json!(["public/app"]));
    assert_eq!(names(get("/v2/_catalog").basic(CAROL.0, CAROL.1)).await, json!(["public/app"]));
    assert_eq!(names(get("/v2/_catalog").basic(BOB.0, BOB.1)).await, all);
    let token = token(&server, get("/auth/token?scope=registry:catalog:*").basic(BOB.0, BOB.1)).await;
    assert_eq!(names(bearer(get("/v2/_catalog"), &token)).await, all);
    // A page is as full as it can be, and the last one says that it is.
    let page = server.ask(get("/v2/_catalog?n=1")).await;
    assert_eq!(page.json()["repositories"], json!(["public/app"]));
    assert_eq!(page.header("Link"), None);
    let page = server.ask(get("/v2/_catalog?n=2").basic(BOB.0, BOB.1)).await;
    assert_eq!(page.header("Link"), Some("</v2/_catalog?last=team%2Fapp&n=2>; rel=\"next\""));
}

/// What a rule forbids a user isn't his because he could have come without his name; and nothing is mounted
/// out of what he may not read.
#[tokio::test]
async fn what_is_forbidden_is_forbidden_on_every_way() {
    let server = world().await;
    assert_eq!(server.ask(get("/v2/hidden/app/manifests/one").basic(BOB.0, BOB.1)).await.status, 403);
    let target = format!("/v2/hidden/app/blobs/uploads/?digest={LAYER_DIGEST}");
    assert_eq!(server.ask(post(target, LAYER).basic(BOB.0, BOB.1)).await.status, 201);
    let target = format!("/v2/team/new/blobs/uploads/?mount={LAYER_DIGEST}&from=hidden/app");
    assert_eq!(server.ask(post(target, "").basic(BOB.0, BOB.1)).await.status, 202, "not mounted");
}
