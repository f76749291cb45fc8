//! Maintenance: what is refused, how, and what goes on.

use crate::support::*;

#[tokio::test]
async fn nothing_is_taken_in_during_maintenance_and_pulls_go_on() {
    let server = Server::open().await;
    let begun = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    let location = begun.header("Location").unwrap().to_owned();
    let digest = server.push_image("lab/app", "one").await;
    let state = server.ask(get("/api/v1/maintenance")).await.json();
    assert_eq!((&state["on"], &state["changes_under_way"]), (&false.into(), &0.into()));
    let on = server.ask(put("/api/v1/maintenance?on=true&reason=a+new+disk", "")).await.json();
    assert_eq!((&on["on"], &on["reason"]), (&true.into(), &"a new disk".into()));

    for request in [
        post("/v2/lab/app/blobs/uploads/", ""),
        post(format!("/v2/lab/app/blobs/uploads/?digest={LAYER_DIGEST}"), LAYER),
        post(format!("/v2/lab/new/blobs/uploads/?mount={LAYER_DIGEST}&from=lab/app"), ""),
        patch(location.as_str(), "x"),
        delete(location.as_str()),
        put("/v2/lab/app/manifests/two", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST),
        delete("/v2/lab/app/manifests/one"),
        delete(format!("/v2/lab/app/blobs/{LAYER_DIGEST}")),
        post("/api/v1/gc?now=true", ""),
    ] {
        let reply = server.ask(request).await;
        assert_eq!(reply.refusal(), (405, "UNSUPPORTED".into()), "{}", reply.text());
        assert_eq!(reply.header("Retry-After"), Some("61"));
        // docker stops at once at a message of our own, and shows it.
        let message = reply.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("maintenance (a new disk)"), "{message}");
    }
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{digest}"))).await.status, 200);
    assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await.status, 200);
    assert_eq!(server.ask(get("/v2/lab/app/tags/list")).await.status, 200);
    assert!(server.ask(get("/readyz")).await.text().contains("ok for pulls only: maintenance a new disk"));

    let off = server.ask(put("/api/v1/maintenance?on=false", "")).await.json();
    assert_eq!(off["on"], false);
    assert_eq!(server.ask(get("/readyz")).await.text(), "ok\n");
    assert_eq!(server.ask(patch(location.as_str(), "x")).await.status, 202, "the session goes on");
    server.push_image("lab/app", "two").await;
}

#[tokio::test]
async fn maintenance_is_for_administrators() {
    let users = Setup::gate(GateKind::Basic).start().await;
    assert_eq!(users.ask(put("/api/v1/maintenance?on=true", "")).await.status, 401);
    let rules = Setup::gate(GateKind::Rules).start().await;
    for request in [put("/api/v1/maintenance?on=true", ""), get("/api/v1/maintenance")] {
        assert_eq!(rules.ask(request.basic(BOB.0, BOB.1)).await.status, 403);
    }
    let server = Server::open().await;
    assert_eq!(server.ask(put("/api/v1/maintenance", "")).await.status, 400);
    assert_eq!(server.ask(put("/api/v1/maintenance?on=perhaps", "")).await.status, 400);
}
