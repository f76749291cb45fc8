//! Whoever is refused is told why and what to do, whichever way he came to be refused.

use crate::support::*;

/// A request that is refused: with what status and code, and words of what it is told to do.
type Case = (Request, u16, &'static str, &'static str);

/// Each route with what can be wrong about it.
fn cases() -> Vec<Case> {
    let session = "/v2/lab/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let manifest = |text: &str| put("/v2/lab/app/manifests/one", text).with("Content-Type", OCI_MANIFEST);
    vec![
        (get("/v2/Lab/app/tags/list"), 400, "NAME_INVALID", "docker tag"),
        (get("/v2/lab/%ff/tags/list"), 400, "NAME_INVALID", "ASCII"),
        (get("/v2/lab/app/manifests/-x"), 400, "TAG_INVALID", "another with docker tag"),
        (get("/v2/lab/app/manifests/sha256:x"), 400, "DIGEST_INVALID", "64 of the digits"),
        (get("/v2/lab/app/blobs/md5:00"), 400, "DIGEST_INVALID", "use sha256"),
        (get("/v2/lab/app/referrers/x"), 400, "DIGEST_INVALID", "64 of the digits"),
        (get("/v2/lab/app/nothing/x"), 404, "UNSUPPORTED", "/v2/<name>/manifests/"),
        (get("/v2/lab/app/manifests/two"), 404, "MANIFEST_UNKNOWN", "/v2/lab/app/tags/list"),
        (get(format!("/v2/lab/app/blobs/{ABSENT}")), 404, "BLOB_UNKNOWN", "push the image"),
        (get("/v2/lab/none/tags/list"), 404, "NAME_UNKNOWN", "push an image"),
        (get("/v2/_catalog?n=x"), 400, "PAGINATION_NUMBER_INVALID", "one from 0 to"),
        (get("/v2/lab/app/tags/list?n=-1"), 400, "PAGINATION_NUMBER_INVALID", "one from 0 to"),
        (get(format!("/v2/lab/app/referrers/{ABSENT}?last=x")), 400, "DIGEST_INVALID", "64 of the digits"),
        (
            get("/v2/lab/app/manifests/one").with("Range", "bytes=9999999-"),
            416,
            "RANGE_INVALID",
            "ask for bytes=0-",
        ),
        (get("/v2/lab/app/manifests/one").with("If-Match", "\"x\""), 412, "DENIED", "without the condition"),
        (post("/v2/", ""), 405, "UNSUPPORTED", "it answers GET"),
        (delete("/v2/lab/app/manifests/two"), 404, "MANIFEST_UNKNOWN", "/v2/lab/app/tags/list"),
        (delete(format!("/v2/lab/app/blobs/{ABSENT}")), 404, "BLOB_UNKNOWN", "push the image"),
        (get(session), 404, "BLOB_UPLOAD_UNKNOWN", "start a new one"),
        (get("/v2/lab/app/blobs/uploads/x"), 404, "BLOB_UPLOAD_UNKNOWN", "Location"),
        (put(session, "x"), 400, "DIGEST_INVALID", "?digest="),
        (put(format!("{session}?digest=x"), "x"), 400, "DIGEST_INVALID", "64 of the digits"),
        (patch(session, "x").with("Content-Range", "z"), 416, "RANGE_INVALID", "write"),
        (patch(session, "x").with("Content-Range", "0-9"), 400, "SIZE_INVALID", "send it again"),
        (
            post(format!("/v2/lab/app/blobs/uploads/?digest={ABSENT}"), "x"),
            400,
            "DIGEST_INVALID",
            "send it again",
        ),
        (post("/v2/lab/app/blobs/uploads/?digest-algorithm=md5", ""), 400, "DIGEST_INVALID", "use sha256"),
        (manifest("{"), 400, "MANIFEST_INVALID", "write it otherwise"),
        (manifest("{}"), 400, "MANIFEST_INVALID", "write it otherwise"),
        (
            put("/v2/lab/app/manifests/one", "{\"schemaVersion\":2}").with("Content-Type", "text/plain"),
            400,
            "MANIFEST_INVALID",
            "send an OCI image manifest",
        ),
        (
            put("/v2/lab/app/manifests/one", "{}").with("Content-Type", "x"),
            400,
            "MANIFEST_INVALID",
            "own mediaType",
        ),
        (put("/v2/lab/app/manifests/one?tag=-", "{}"), 400, "TAG_INVALID", "another tag"),
        (put(format!("/v2/lab/app/manifests/{ABSENT}"), image(OCI_MANIFEST)), 400, "DIGEST_INVALID", "again"),
        (
            put("/v2/lab/other/manifests/one", image(OCI_MANIFEST)),
            400,
            "MANIFEST_BLOB_UNKNOWN",
            "before the manifest",
        ),
        (
            put("/v2/lab/app/manifests/one", image(OCI_MANIFEST)).with("If-None-Match", "*"),
            412,
            "DENIED",
            "decide anew",
        ),
        (get("/auth/token"), 404, "UNSUPPORTED", "user and password with each request"),
        (get("/api/v1/history?repository=lab/app&tag=-"), 400, "UNSUPPORTED", "put right"),
        (post("/api/v1/undo?repository=lab/app&id=x", ""), 400, "UNSUPPORTED", "put right"),
        (post("/api/v1/undo?repository=lab/app&id=7", ""), 404, "MANIFEST_UNKNOWN", "/api/v1/removals"),
        (post("/api/v1/gc?now=maybe", ""), 400, "UNSUPPORTED", "put right"),
    ]
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    for (request, status, code, fix) in cases() {
        let what = format!("{request:?}");
        let reply = server.ask(request).await;
        // The form of the sentence is checked wherever codes are read.
        let found = reply.refusal();
        assert_eq!(found, (status, vec![code; found.1.split(' ').count()].join(" ")), "{what}");
        let detail = &reply.json()["errors"][0]["detail"];
        let told = detail.as_str().or_else(|| detail["reason"].as_str()).unwrap();
        assert!(told.split_once("; ").unwrap().1.contains(fix), "{what}: {told}");
    }
}

#[tokio::test]
async fn what_is_switched_off_says_by_whom() {
    let server = Setup { deletes: false, ..Setup::default() }.start().await;
    server.push_image("lab/app", "one").await;
    let refused = server.ask(delete("/v2/lab/app/manifests/one")).await;
    assert_eq!(refused.refusal(), (405, "UNSUPPORTED".into()));
    assert!(refused.text().contains("storage.delete.enabled: true"), "{}", refused.text());
    let server = Setup { read_only: true, ..Setup::default() }.start().await;
    let refused = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    assert_eq!(refused.refusal(), (405, "UNSUPPORTED".into()));
    assert!(refused.text().contains("storage.maintenance.readonly"), "{}", refused.text());
}

#[tokio::test]
async fn who_may_not_is_told_where_docker_shows_it() {
    let server = Setup::gate(GateKind::Rules).start().await;
    let refused = server.ask(get("/v2/team/app/manifests/one").basic(CAROL.0, CAROL.1)).await;
    assert_eq!(refused.refusal(), (403, "DENIED".into()));
    // docker prints the message and not the detail.
    assert_eq!(
        refused.json()["errors"][0]["message"],
        "requested access to the resource is denied: no rule lets carol pull in team/app"
    );
    let refused = server.ask(get("/v2/team/app/manifests/one")).await;
    assert_eq!(refused.refusal(), (401, "UNAUTHORIZED".into()));
    assert!(refused.text().contains("docker login"), "{}", refused.text());
}
