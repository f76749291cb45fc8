//! The collector, undoing and histories by the API: what is answered, and to whom.

use crate::support::*;

#[tokio::test]
async fn a_deletion_is_listed_undone_and_made_final() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    assert_eq!(server.ask(delete("/v2/lab/app/manifests/one")).await.status, 202);

    let removals = server.ask(get("/api/v1/removals")).await.json();
    let removal = &removals["removals"][0];
    assert_eq!((&removal["repository"], &removal["tags"][0]["tag"]), (&"lab/app".into(), &"one".into()));
    assert_eq!(removal["tags"][0]["digest"], digest.as_str());
    let of_other = server.ask(get("/api/v1/removals?repository=lab/other")).await.json();
    assert_eq!(of_other["removals"], serde_json::json!([]));

    let id = removal["id"].as_u64().unwrap();
    let undone = server.ask(post(format!("/api/v1/undo?repository=lab/app&id={id}"), "")).await;
    assert_eq!((undone.status, &undone.json()["tags"][0]), (200, &"one".into()));
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    let again = server.ask(post(format!("/api/v1/undo?repository=lab/app&id={id}"), "")).await;
    assert_eq!(again.status, 404, "{}", again.text());

    assert_eq!(server.ask(delete("/v2/lab/app/manifests/one")).await.status, 202);
    let plan = server.ask(post("/api/v1/gc?dry_run=true", "")).await.json();
    assert_eq!(plan["would_go"]["contents"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{digest}"))).await.status, 200);
    let early = server.ask(post("/api/v1/gc", "")).await.json();
    assert_eq!(early["collected"]["contents"], 0, "its grace time isn't over");
    let collected = server.ask(post("/api/v1/gc?now=true", "")).await.json();
    assert_eq!(collected["collected"]["contents"], 3);
    assert_eq!(collected["collected"]["bytes"], plan["would_go"]["bytes"]);
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{digest}"))).await.status, 404);
    let state = server.ask(get("/api/v1/gc")).await.json();
    assert_eq!((&state["running"], &state["deletions_waiting"]), (&false.into(), &0.into()));
    assert_eq!(state["so_far"]["contents"], 3);
}

#[tokio::test]
async fn a_tag_has_a_history() {
    let server = Server::open().await;
    let one = server.push_image("lab/app", "latest").await;
    let two = server.push_manifest("lab/app", "latest", &image_noted("two")).await;
    let history = server.ask(get("/api/v1/history?repository=lab/app&tag=latest")).await.json();
    let mut entries: Vec<(String, bool)> = history["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["digest"].as_str().unwrap().to_owned(), entry["current"].as_bool().unwrap()))
        .collect();
    // Pushed within one tick of the clock they have no order.
    entries.sort_by_key(|(_, current)| !current);
    assert_eq!(entries, [(two, true), (one, false)]);
    assert_eq!(server.ask(get("/api/v1/history?repository=lab/app&tag=!")).await.status, 400);
    assert_eq!(server.ask(get("/api/v1/history?repository=NO&tag=a")).await.status, 400);
}

#[tokio::test]
async fn administering_takes_the_right_to() {
    let users = Setup::gate(GateKind::Basic).start().await;
    assert_eq!(users.ask(post("/api/v1/gc", "")).await.status, 401);
    assert_eq!(users.ask(post("/api/v1/gc", "").basic(ALICE.0, ALICE.1)).await.status, 200);
    assert_eq!(users.ask(get("/api/v1/removals")).await.status, 401);
    assert_eq!(users.ask(put("/api/v1/gc", "")).await.status, 405);
    assert_eq!(users.ask(post("/api/v1/gc?now=perhaps", "").basic(ALICE.0, ALICE.1)).await.status, 400);

    let rules = Setup::gate(GateKind::Rules).start().await;
    for user in [BOB, CAROL] {
        let reply = rules.ask(post("/api/v1/gc", "").basic(user.0, user.1)).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    let own = rules.ask(get("/api/v1/removals?repository=team/app").basic(BOB.0, BOB.1)).await;
    assert_eq!(own.status, 200, "who may push may undo");
    let others = rules.ask(get("/api/v1/removals?repository=team/app").basic(CAROL.0, CAROL.1)).await;
    assert_eq!(others.status, 403);
}
