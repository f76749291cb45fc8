//! What things take, and quotas: what is answered, and to whom.

use larder_core::QuotaRule;

use crate::support::*;

fn number(value: &serde_json::Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(u64::MAX)
}

#[tokio::test]
async fn what_would_be_free_without_something_is_told_before_and_comes_true() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    server.push_manifest("lab/app", "two", &image_noted("two")).await;
    server.push_image("team/app", "one").await;

    let all = server.ask(get("/api/v1/du")).await.json();
    assert_eq!((&all["of"], &all["more"]), (&"everything".into(), &false.into()));
    let names: Vec<&str> = all["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["repository"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["lab/app", "team/app"], "biggest first");
    let app = server.ask(get("/api/v1/du?of=lab/app")).await.json();
    assert_eq!(app["listed"].as_array().unwrap().len(), 2);
    assert_eq!(number(&app, "bytes"), number(&app, "unique") + number(&app, "shared"));

    let two = server.ask(get("/api/v1/du?of=lab/app:two")).await.json();
    assert_eq!(number(&two, "unique"), image_noted("two").len() as u64, "its layers are those of `one`, too");
    let needed_by: Vec<&str> =
        two["needed_by"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    assert_eq!(needed_by, ["lab/app:one", "team/app"]);

    let prefix = server.ask(get("/api/v1/du?of=lab/")).await.json();
    assert_eq!((&prefix["of"], &prefix["unique"]), (&"prefix".into(), &app["unique"]));
    assert_eq!(server.ask(get("/api/v1/du?of=lab")).await.json(), prefix, "no repository has this name");

    assert_eq!(server.ask(delete("/v2/lab/app/manifests/two")).await.status, 202);
    let collected = server.ask(post("/api/v1/gc?now=true", "")).await.json();
    assert_eq!(collected["collected"]["bytes"], two["unique"], "what was told is what is free");
}

#[tokio::test]
async fn what_nobody_has_is_not_found_and_what_others_have_is_for_administrators() {
    let server = Server::open().await;
    for (query, status) in [
        ("of=nobody/app", 404),
        ("of=nobody/", 404),
        ("of=nobody/app:v1", 404),
        ("of=NO", 400),
        ("of=a:!", 400),
        ("limit=0", 400),
        ("limit=10001", 400),
        ("limit=x", 400),
        ("limit=1", 200),
    ] {
        let reply = server.ask(get(format!("/api/v1/du?{query}"))).await;
        assert_eq!(reply.status, status, "{query}: {}", reply.text());
    }
    assert_eq!(server.ask(post("/api/v1/du", "")).await.status, 405);
    let rules = Setup::gate(GateKind::Rules).start().await;
    for path in ["/api/v1/du", "/api/v1/du?of=team/app", "/api/v1/quotas"] {
        assert_eq!(rules.ask(get(path)).await.status, 401, "{path}");
        assert_eq!(rules.ask(get(path).basic(BOB.0, BOB.1)).await.status, 403, "{path}");
    }
}

fn quota(bytes: Option<u64>, tags: Option<u64>) -> QuotaRule {
    let repositories = "lab/**".parse().into_iter().collect();
    QuotaRule { place: "config.yml:3, quota 1".into(), repositories, bytes, tags, copies: false }
}

#[tokio::test]
async fn a_push_beyond_a_quota_is_told_the_numbers() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    let used = number(&server.ask(get("/api/v1/du?of=lab/")).await.json(), "bytes");
    server.registry.set_quotas(&[quota(Some(used + 10), Some(2))]);
    let quotas = server.ask(get("/api/v1/quotas")).await.json();
    assert_eq!(server.ask(get("/api/v1/status")).await.json()["quotas"], quotas["quotas"]);
    let state = &quotas["quotas"][0];
    assert_eq!((number(state, "bytes"), number(state, "tags")), (used, 1));

    // The same again, another tag, and content that is there cost nothing.
    server.push_image("lab/app", "one").await;
    server.push_image("lab/other", "one").await;
    let manifest = image_noted("two");
    let denied = server.put_manifest("lab/app", "one", OCI_MANIFEST, manifest.as_bytes()).await;
    let words = denied.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(denied.refusal(), (403, "DENIED".to_owned()));
    let numbers = format!(
        "quota exceeded: {used} bytes used of {} bytes, this needs {} bytes more (config.yml:3, quota 1); ",
        used + 10,
        manifest.len()
    );
    assert!(words.starts_with(&numbers), "{words}");
    let large = "x".repeat(1000);
    let path = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of(&large));
    let early = server.ask(post(path, large.as_bytes())).await;
    assert_eq!(early.refusal(), (403, "DENIED".to_owned()), "{}", early.text());
    assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{}", digest_of(&large)))).await.status, 404);
    server.push_blobs("lab/third").await;
    let third = server.put_manifest("lab/third", "three", OCI_MANIFEST, image(OCI_MANIFEST)).await;
    let words = third.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(
        words.starts_with("quota exceeded: 2 tags of 2, this needs 1 more (config.yml:3, quota 1); "),
        "{words}"
    );

    // Elsewhere nobody is in the way.
    server.push_blobs("team/app").await;
    server.push_manifest("team/app", "one", &manifest).await;
    // What goes makes room.
    server.registry.set_quotas(&[quota(Some(used), Some(2))]);
    assert_eq!(server.ask(delete("/v2/lab/other/manifests/one")).await.status, 202);
    assert_eq!(server.ask(delete("/v2/lab/app/manifests/one")).await.status, 202);
    server.ask(post("/api/v1/gc?now=true", "")).await;
    server.push_image("lab/app", "again").await;
}
