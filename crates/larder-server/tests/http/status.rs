//! `/api/v1/status`: the registry at a glance, and for whom.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_server::{About, Observers, UpstreamReport};
use serde_json::Value;

use crate::support::*;

const STATUS: &str = "/api/v1/status";

fn observers() -> Observers {
    let upstream = UpstreamReport {
        name: "docker.io".to_owned(),
        prefix: None,
        offline: true,
        urls: Vec::new(),
        requests: Vec::new(),
        received_bytes: 0,
    };
    let trouble = larder_certificates::Trouble {
        kind: "certificate-ends",
        reason: "it ends".to_owned(),
        fix: "renew it".to_owned(),
        since: SystemTime::UNIX_EPOCH,
    };
    Observers {
        about: Some(About {
            version: "7.1",
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
            addresses: vec!["https://r.lan:5000".to_owned()],
        }),
        upstreams: Some(Arc::new(move || vec![upstream.clone()])),
        certificate_troubles: Some(Arc::new(move || vec![trouble.clone()])),
        ..Observers::default()
    }
}

#[tokio::test]
async fn a_status_has_all_that_an_operator_looks_at_first() {
    let server = Setup { observers: observers(), ..Setup::default() }.start().await;
    let empty = server.ask(get(STATUS)).await.json();
    assert_eq!((&empty["repositories"], &empty["content"]["files"]), (&0.into(), &0.into()), "{empty}");
    for repository in ["one/app", "two/app"] {
        server.push_image(repository, "1").await;
    }
    server.push_image("one/app", "latest").await;
    let status = server.ask(get(STATUS)).await.json();
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64);
    assert_eq!([number("/repositories"), number("/tags"), number("/manifests")], [Some(2), Some(3), Some(2)]);
    assert_eq!(status["mode"]["is"], "read-write");
    assert_eq!((&status["version"], &status["started"]), (&"7.1".into(), &"1970-01-02T00:00:00Z".into()));
    assert_eq!(status["addresses"], serde_json::json!(["https://r.lan:5000"]));
    assert_eq!(status["content"]["files"], 0, "a count that is a minute old at most isn't made again");
    assert!(number("/disk/size_bytes") >= number("/disk/free_bytes"), "{status}");
    assert_eq!(
        (&status["upstreams"][0]["name"], &status["upstreams"][0]["offline"]),
        (&"docker.io".into(), &true.into())
    );
    assert_eq!((&status["collection"]["last"], &status["certificate"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&status["problems"]["count"], &status["problems"]["latest"][0]["kind"]),
        (&1.into(), &"certificate-ends".into())
    );
    assert_eq!(status["quotas"], serde_json::json!([]));
    assert_eq!(server.ask(post(STATUS, "")).await.status, 405);
}

#[tokio::test]
async fn what_images_share_is_kept_once_and_named_as_often_as_it_is_used() {
    let server = Server::open().await;
    for repository in ["one/app", "two/app", "three/app"] {
        server.push_image(repository, "1").await;
    }
    let content = server.ask(get(STATUS)).await.json()["content"].clone();
    let bytes = content["bytes"].as_u64().unwrap();
    assert_eq!((&content["files"], &content["named_bytes"]), (&3.into(), &(3 * bytes).into()), "{content}");
    assert!(bytes > (CONFIG.len() + LAYER.len()) as u64);
}

#[tokio::test]
async fn a_collection_is_told_with_what_it_freed_and_what_waits() {
    let server = Server::open().await;
    for tag in ["1", "2"] {
        let digest = server.push_image("lab/app", tag).await;
        if tag == "1" {
            assert_eq!(server.ask(delete(format!("/v2/lab/app/manifests/{digest}"))).await.status, 202);
        }
    }
    let waiting = server.ask(get(STATUS)).await.json()["collection"].clone();
    assert_eq!((&waiting["deletions_waiting"], &waiting["last"]), (&1.into(), &Value::Null), "{waiting}");
    assert!(waiting["next_final_at"].is_string(), "{waiting}");
    assert_eq!(server.ask(delete("/v2/lab/app/manifests/2")).await.status, 202);
    assert_eq!(server.ask(post("/api/v1/gc?now=true", "")).await.status, 200);
    let collected = server.ask(get(STATUS)).await.json()["collection"].clone();
    assert_eq!((&collected["deletions_waiting"], &collected["next_final_at"]), (&0.into(), &Value::Null));
    assert_eq!(collected["last"]["took"]["contents"], 3, "{collected}");
    assert_eq!(collected["last"]["took"]["bytes"], collected["freed_bytes"]);
    assert!(collected["freed_bytes"].as_u64() > Some(0));
}

#[tokio::test]
async fn maintenance_and_reading_only_are_said() {
    let server = Server::open().await;
    server.ask(put("/api/v1/maintenance?on=true&reason=a+new+disk", "")).await;
    let mode = server.ask(get(STATUS)).await.json()["mode"].clone();
    assert_eq!((&mode["is"], &mode["reason"]), (&"maintenance".into(), &"a new disk".into()));
    assert!(mode["since"].is_string());
    let server = Setup { read_only: true, ..Setup::default() }.start().await;
    assert_eq!(server.ask(get(STATUS)).await.json()["mode"]["is"], "read-only");
}

#[tokio::test]
async fn only_who_may_administer_sees_it() {
    let users = Setup::gate(GateKind::Basic).start().await;
    assert_eq!(users.ask(get(STATUS)).await.status, 401);
    assert_eq!(users.ask(get(STATUS).basic(ALICE.0, ALICE.1)).await.status, 200);
    let rules = Setup::gate(GateKind::Rules).start().await;
    assert_eq!(rules.ask(get(STATUS)).await.status, 401);
    let refused = rules.ask(get(STATUS).basic(BOB.0, BOB.1)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("administer"), "{}", refused.text());
}
