//! Retention by the API: the plan, the runs, what has to be shown before, and who may.

use std::time::Duration;

use larder_core::{Keeping, RetentionRule, RetentionRules, TagPattern};
use serde_json::{Value, json};

use crate::support::*;

const PATH: &str = "/api/v1/retention";

fn keeping(tags: &str) -> RetentionRules {
    let keep = vec![Keeping { tags: vec![TagPattern::from(tags)], ..Keeping::default() }];
    let rule = RetentionRule {
        place: "config.yml:7, retention rule 1".into(),
        repositories: vec!["lab/**".parse().unwrap()],
        tags: Vec::new(),
        keep,
        untagged: None,
        immutable_too: false,
    };
    RetentionRules { rules: vec![rule], every: Duration::from_secs(3600), immutable: Vec::new() }
}

/// Three tags, of which one is kept.
async fn server() -> Server {
    let server = Server::open().await;
    server.push_image("lab/app", "v1").await;
    server.push_manifest("lab/app", "build-1", &image_noted("one")).await;
    server.push_manifest("lab/app", "build-2", &image_noted("two")).await;
    server.push_image("other/app", "build-1").await;
    server.registry.set_retention(keeping("v*"));
    server
}

async fn tags(server: &Server, repository: &str) -> Value {
    server.ask(get(format!("/v2/{repository}/tags/list"))).await.json()["tags"].clone()
}

fn fingerprint(plan: &Value) -> String {
    plan["fingerprint"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_plan_says_what_goes_what_stays_and_by_which_rule() {
    let server = server().await;
    let plan = server.ask(get(PATH)).await.json();
    assert_eq!((&plan["approved"], &plan["goes"]), (&false.into(), &json!({ "tags": 2, "manifests": 0 })));
    assert_eq!(plan["rules"], json!(["config.yml:7, retention rule 1"]));
    assert_eq!(plan["last_run"], Value::Null);
    let repositories = plan["repositories"].as_array().unwrap();
    assert_eq!(repositories.len(), 1, "no rule is about the other: {plan}");
    let said: Vec<(&str, bool, &str)> = repositories[0]["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| {
            (tag["tag"].as_str().unwrap(), tag["goes"].as_bool().unwrap(), tag["why"].as_str().unwrap())
        })
        .collect();
    let rule = "(config.yml:7, retention rule 1)";
    let (goes, stays) = (format!("not named v* {rule}"), format!("named v* {rule}"));
    assert_eq!(said, [("build-1", true, &*goes), ("build-2", true, &*goes), ("v1", false, &*stays)]);
    assert_eq!(tags(&server, "lab/app").await, json!(["build-1", "build-2", "v1"]), "a plan changes nothing");

    let other = server.ask(get(format!("{PATH}?repository=other/app"))).await.json();
    assert_eq!(other["repositories"], json!([]));
    assert_eq!(server.ask(get(format!("{PATH}?repository=NO"))).await.status, 400);
}

#[tokio::test]
async fn rules_delete_only_after_what_they_delete_was_shown_and_again_after_a_change() {
    let server = server().await;
    let refused = server.ask(post(PATH, "")).await;
    assert_eq!(refused.refusal(), (409, "DENIED".into()));
    assert!(refused.text().contains("nobody has seen what they delete"), "{}", refused.text());
    assert_eq!(server.ask(post(format!("{PATH}?shown=nothing"), "")).await.status, 400);

    let shown = fingerprint(&server.ask(get(PATH)).await.json());
    let seen = server.ask(post(format!("{PATH}?shown={shown}"), "")).await;
    assert_eq!((seen.status, seen.json()), (200, json!({ "approved": true })));
    assert_eq!(tags(&server, "lab/app").await.as_array().unwrap().len(), 3, "to have seen it is no order");

    // Other rules: what was seen of the former counts for nothing.
    server.registry.set_retention(keeping("build-*"));
    assert_eq!(server.ask(post(PATH, "")).await.status, 409);
    let late = server.ask(post(format!("{PATH}?shown={shown}"), "")).await;
    assert_eq!(late.refusal(), (409, "DENIED".into()));
    assert!(late.text().contains("other rules are in force by now"), "{}", late.text());
    assert_eq!(tags(&server, "lab/app").await.as_array().unwrap().len(), 3);

    server.registry.set_retention(keeping("v*"));
    let done = server.ask(post(PATH, "")).await.json();
    assert_eq!((&done["gone"], &done["changed"], &done["failed"]), (&2.into(), &0.into(), &0.into()));
    assert_eq!(done["listed"][0]["reference"], "build-1");
    assert_eq!(tags(&server, "lab/app").await, json!(["v1"]));
    assert_eq!(tags(&server, "other/app").await, json!(["build-1"]));
    let plan = server.ask(get(PATH)).await.json();
    assert_eq!((&plan["approved"], &plan["last_run"]["tags"]), (&true.into(), &2.into()));

    // As of any deletion.
    let removals = server.ask(get("/api/v1/removals")).await.json();
    let removals = removals["removals"].as_array().unwrap();
    assert_eq!(removals.len(), 2);
    assert_eq!(removals[0]["by"], "larder:retention");
    let id = removals.iter().find(|each| each["tags"][0]["tag"] == "build-2").unwrap()["id"].clone();
    let undone = server.ask(post(format!("/api/v1/undo?repository=lab/app&id={id}"), "")).await;
    assert_eq!(undone.status, 200);
    assert_eq!(tags(&server, "lab/app").await, json!(["build-2", "v1"]));
}

#[tokio::test]
async fn with_consent_rules_that_nobody_has_seen_are_applied() {
    let server = server().await;
    let done = server.ask(post(format!("{PATH}?consent=true"), "")).await.json();
    assert_eq!(done["gone"], 2, "{done}");
    assert_eq!(server.ask(get(PATH)).await.json()["approved"], true);
    assert_eq!(server.ask(post(format!("{PATH}?consent=perhaps"), "")).await.status, 400);
    server.ask(put("/api/v1/maintenance?on=true", "")).await;
    assert_eq!(server.ask(post(PATH, "")).await.status, 405);
}

#[tokio::test]
async fn retention_is_for_administrators() {
    let users = Setup::gate(GateKind::Basic).start().await;
    for request in [get(PATH), post(PATH, ""), post(format!("{PATH}?consent=true"), "")] {
        assert_eq!(users.ask(request).await.status, 401);
    }
    assert_eq!(users.ask(get(PATH).basic(ALICE.0, ALICE.1)).await.status, 200);
    let rules = Setup::gate(GateKind::Rules).start().await;
    for request in
        [get(PATH), get(format!("{PATH}?repository=team/app")), post(format!("{PATH}?consent=true"), "")]
    {
        let reply = rules.ask(request.basic(BOB.0, BOB.1)).await;
        assert_eq!(reply.status, 403, "who may push and delete may not let rules delete: {}", reply.text());
    }
    assert_eq!(users.ask(delete(PATH).basic(ALICE.0, ALICE.1)).await.status, 405);
}
