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
async fn tags_go_back_to_where_they_pointed_at_a_moment() {
    let server = Server::open().await;
    let one = server.push_image("lab/app", "latest").await;
    server.push_manifest("lab/app", "steady", &image_noted("steady")).await;
    let moment = moment_after(&server, "lab/app", "steady").await;
    let two = server.push_manifest("lab/app", "latest", &image_noted("two")).await;
    server.push_manifest("lab/app", "new", &image_noted("new")).await;
    let path = |more: &str| format!("/api/v1/undo?repository=lab/app&to={moment}{more}");

    let planned = server.ask(post(path("&dry_run=true"), "")).await.json();
    let latest = serde_json::json!({ "tag": "latest", "from": two, "to": one, "outcome": "back" });
    assert_eq!(planned["rewound"][0], latest, "{planned}");
    assert_eq!(
        (&planned["rewound"][1]["tag"], &planned["rewound"][1]["outcome"]),
        (&"new".into(), &"unknown".into())
    );
    assert_eq!(planned["rewound"].as_array().unwrap().len(), 2, "what is as it was is not named: {planned}");
    assert_eq!(target(&server, "lab/app:latest").await, two, "a plan changes nothing");

    let only = server.ask(post(path("&tag=steady"), "")).await.json();
    assert_eq!(only["rewound"], serde_json::json!([]));
    let done = server.ask(post(path(""), "")).await.json();
    assert_eq!(done["rewound"][0], latest);
    assert_eq!(target(&server, "lab/app:latest").await, one);
    assert_eq!(
        server.ask(get(format!("/v2/lab/app/manifests/{two}"))).await.status,
        200,
        "what it left stays"
    );
    let again = server.ask(post(path(""), "")).await.json();
    assert_eq!(again["rewound"][0]["outcome"], "unknown", "it has come back since: {again}");

    assert_eq!(server.ask(post("/api/v1/undo?repository=lab/app&to=yesterday", "")).await.status, 400);
    let rules = Setup::gate(GateKind::Rules).start().await;
    let path = format!("/api/v1/undo?repository=team/app&to={moment}");
    assert_eq!(rules.ask(post(path, "").basic(CAROL.0, CAROL.1)).await.status, 403);
}

#[tokio::test]
async fn an_immutable_tag_is_left_where_it_is_and_the_others_go_back() {
    let server = Server::open().await;
    let one = server.push_image("lab/app", "v1").await;
    server.push_manifest("lab/app", "latest", &image(OCI_MANIFEST)).await;
    server.push_manifest("lab/app", "zz", &image(OCI_MANIFEST)).await;
    let moment = moment_after(&server, "lab/app", "zz").await;
    let two = server.push_manifest("lab/app", "v1", &image_noted("two")).await;
    server.push_manifest("lab/app", "latest", &image_noted("two")).await;
    server.push_manifest("lab/app", "zz", &image_noted("two")).await;
    // The rule comes after the tag has moved.
    let immutable = larder_core::ImmutableRule {
        place: "config.yml:5, immutable rule 1".into(),
        repositories: Vec::new(),
        tags: vec![larder_core::TagPattern::from("v*")],
    };
    let rules = larder_core::RetentionRules { immutable: vec![immutable], ..Default::default() };
    server.registry.set_retention(rules);
    for more in ["&dry_run=true", ""] {
        let path = format!("/api/v1/undo?repository=lab/app&to={moment}{more}");
        let done = server.ask(post(path, "")).await.json();
        let back = |tag: &str| serde_json::json!({ "tag": tag, "from": two, "to": one, "outcome": "back" });
        let left = serde_json::json!({
            "tag": "v1", "from": two, "to": one, "outcome": "immutable", "rule": "config.yml:5, immutable rule 1",
        });
        assert_eq!(done["rewound"], serde_json::json!([back("latest"), left, back("zz")]));
    }
    assert_eq!(target(&server, "lab/app:v1").await, two);
    for tag in ["latest", "zz"] {
        assert_eq!(target(&server, &format!("lab/app:{tag}")).await, one, "{tag}");
    }
}

/// What a tag points at.
async fn target(server: &Server, name: &str) -> String {
    let (repository, tag) = name.split_once(':').unwrap();
    let reply = server.ask(get(format!("/v2/{repository}/manifests/{tag}"))).await;
    reply.header("Docker-Content-Digest").unwrap().to_owned()
}

/// A moment at which this tag pointed where it does now, and nothing that comes later has happened yet.
async fn moment_after(server: &Server, repository: &str, tag: &str) -> String {
    let path = format!("/api/v1/history?repository={repository}&tag={tag}");
    let history = server.ask(get(path)).await.json();
    let since = history["history"][0]["since"].as_str().unwrap();
    // The clock of the file system has steps; what is pushed from here on is behind the next one.
    let since = humantime::parse_rfc3339(since).unwrap() + std::time::Duration::from_millis(20);
    while std::time::SystemTime::now() < since + std::time::Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    humantime::format_rfc3339_millis(since).to_string()
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
