//! The audit log: a line for each decision that matters, and for no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use larder_server::{Audit, AuditTrail};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::*;

/// Keeps the lines in memory.
#[derive(Default)]
struct Trail {
    lines: Mutex<Vec<String>>,
    /// The lines of changes that wait to be written.
    held: Mutex<Vec<oneshot::Sender<()>>>,
    holds: AtomicBool,
    fails: AtomicBool,
}

impl AuditTrail for Trail {
    fn offer(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }

    fn keep(&self, line: &str) -> oneshot::Receiver<()> {
        self.offer(line);
        let (sender, receiver) = oneshot::channel();
        if self.holds.load(Ordering::SeqCst) {
            self.held.lock().unwrap().push(sender);
        }
        receiver
    }

    fn is_failing(&self) -> bool {
        self.fails.load(Ordering::SeqCst)
    }
}

impl Trail {
    /// What the lines say, each shortened to what isn't null and differs from run to run.
    fn said(&self) -> Vec<Value> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.iter().map(|line| said(line)).collect()
    }
}

fn said(line: &str) -> Value {
    let mut value: Value = serde_json::from_str(line).unwrap();
    let fields = value.as_object_mut().unwrap();
    assert_eq!(fields.remove("time").unwrap(), "2026-10-10T13:55:36.000Z");
    assert_eq!(fields.remove("request").unwrap().as_str().unwrap().len(), 16);
    assert_eq!(fields.remove("from").unwrap(), "127.0.0.1");
    fields.retain(|_, value| !value.is_null());
    value
}

async fn audited(gate: GateKind, pulls: bool) -> (Server, Arc<Trail>) {
    let trail = Arc::new(Trail::default());
    let mut setup = Setup::gate(gate);
    let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_791_640_536);
    let shared: Arc<dyn AuditTrail> = Arc::clone(&trail) as _;
    setup.options.audit = Some(Audit { trail: shared, pulls, required: true, now });
    (setup.start().await, trail)
}

async fn bearer(server: &Server, user: (&str, &str), scope: &str) -> String {
    let reply = server.ask(get(format!("/auth/token?scope={scope}")).basic(user.0, user.1)).await;
    format!("Bearer {}", reply.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_push_and_a_deletion_are_told_with_who_what_and_why() {
    let (server, trail) = audited(GateKind::Basic, false).await;
    let with = |request: Request| request.basic(ALICE.0, ALICE.1);
    let allowed = |action: &str, reference: &str, digest: &str, status: u16| {
        json!({
            "user": "alice", "by": "password", "action": action, "repository": "lab/app",
            "reference": reference, "digest": digest, "allowed": true,
            "reason": "every user may do everything", "status": status,
        })
    };
    // A client that doesn't say who it is learns that it has to, and that is nothing to keep.
    assert_eq!(server.ask(get("/v2/")).await.status, 401);
    assert_eq!(server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.status, 401);
    for bytes in [CONFIG, LAYER] {
        let target = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of(bytes));
        assert_eq!(server.ask(with(post(target, bytes))).await.status, 201);
    }
    // In steps it is one line, too.
    let started = server.ask(with(post("/v2/lab/app/blobs/uploads/", ""))).await;
    let location = server.ask(with(patch(started.location(), "hello "))).await.location();
    let target = format!("{location}?digest={LAYER_DIGEST}");
    assert_eq!(server.ask(with(put(target, "world"))).await.status, 201);
    let manifest = image(OCI_MANIFEST);
    let digest = digest_of(&manifest);
    let request = put("/v2/lab/app/manifests/one", manifest).with("Content-Type", OCI_MANIFEST);
    assert_eq!(server.ask(with(request)).await.status, 201);
    let target = format!("/v2/lab/app/manifests/{digest}");
    assert_eq!(server.ask(with(delete(target.as_str()))).await.status, 202);
    assert_eq!(server.ask(with(delete(target.as_str()))).await.status, 404);
    let mut gone = allowed("delete", &digest, &digest, 202);
    gone.as_object_mut().unwrap().remove("digest");
    let mut not_there = gone.clone();
    not_there["status"] = 404.into();
    assert_eq!(
        trail.said(),
        [
            allowed("push", CONFIG_DIGEST, CONFIG_DIGEST, 201),
            allowed("push", LAYER_DIGEST, LAYER_DIGEST, 201),
            allowed("push", LAYER_DIGEST, LAYER_DIGEST, 201),
            allowed("push", "one", &digest, 201),
            gone,
            not_there,
        ]
    );
}

#[tokio::test]
async fn denials_name_the_rule_and_logins_who_it_was_said_to_be() {
    let (server, trail) = audited(GateKind::Rules, false).await;
    let scope = "repository:team/prod/app:pull,push,delete";
    let token = bearer(&server, BOB, scope).await;
    let target = format!("/v2/team/prod/app/manifests/{ABSENT}");
    assert_eq!(server.ask(delete(target.as_str()).with("Authorization", &token)).await.status, 403);
    assert_eq!(server.ask(delete(target.as_str()).basic(BOB.0, "wrong")).await.status, 401);
    assert_eq!(server.ask(get("/v2/").basic(BOB.0, BOB.1)).await.status, 200);
    assert_eq!(server.ask(get("/auth/token").basic("mallory", "x")).await.status, 401);
    // What is allowed and changes nothing is left out: pulls, lists, tokens of nobody, and their use.
    let anonymous = server.ask(get("/auth/token?scope=repository:public/app:pull")).await;
    let anonymous = format!("Bearer {}", anonymous.json()["token"].as_str().unwrap());
    assert_eq!(server.ask(get("/v2/").with("Authorization", &anonymous)).await.status, 200);
    server.ask(get("/v2/public/app/manifests/one").with("Authorization", &anonymous)).await;
    server.ask(get("/v2/public/app/tags/list").with("Authorization", &anonymous)).await;
    // But not what is denied.
    let reply = server.ask(get("/v2/team/app/manifests/one").with("Authorization", &anonymous)).await;
    assert_eq!(reply.status, 401);
    let forbidden = "config.yml:3, rule 3 forbids bob to delete in team/prod/app";
    assert_eq!(
        trail.said(),
        [
            json!({
                "user": "bob", "by": "password", "action": "token", "allowed": true, "status": 200,
                "reason": "the credentials are right",
                "asked": "repository:team/prod/app:pull,push,delete", "granted": "repository:team/prod/app:pull,push",
            }),
            json!({
                "user": "bob", "by": "token", "action": "delete", "repository": "team/prod/app",
                "reference": ABSENT, "allowed": false, "rule": "config.yml:3, rule 3", "reason": forbidden,
                "status": 403,
            }),
            json!({
                "action": "login", "repository": "team/prod/app", "reference": ABSENT, "allowed": false,
                "claimed": "bob", "reason": "wrong password for user \"bob\"", "status": 401,
            }),
            json!({
                "user": "bob", "by": "password", "action": "login", "allowed": true, "status": 200,
                "reason": "the credentials are right",
            }),
            json!({
                "action": "login", "allowed": false, "claimed": "mallory",
                "reason": "there is no user \"mallory\"", "status": 401,
            }),
            json!({
                "by": "token", "action": "pull", "repository": "team/app", "reference": "one",
                "allowed": false, "status": 401,
                "reason": "no rule lets anonymous pull in team/app; log in with docker login",
            }),
        ]
    );
}

#[tokio::test]
async fn pulls_are_told_where_they_are_wanted() {
    let (server, trail) = audited(GateKind::Open, true).await;
    let digest = server.push_image("lab/app", "one").await;
    trail.said();
    server.ask(head("/v2/lab/app/manifests/one")).await;
    server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await;
    server.ask(get("/v2/lab/app/tags/list")).await;
    server.ask(get("/v2/_catalog")).await;
    server.ask(get("/v2/lab/none/manifests/one")).await;
    let open = "no authentication is configured, so everybody may do everything";
    let line = |action: &str, more: Value| {
        let mut line =
            json!({ "by": "none", "action": action, "allowed": true, "reason": open, "status": 200 });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    assert_eq!(
        trail.said(),
        [
            line("pull", json!({ "repository": "lab/app", "reference": "one", "digest": digest })),
            line(
                "pull",
                json!({ "repository": "lab/app", "reference": LAYER_DIGEST, "digest": LAYER_DIGEST })
            ),
            line("list", json!({ "repository": "lab/app" })),
            line("list", json!({})),
            line("pull", json!({ "repository": "lab/none", "reference": "one", "status": 404 })),
        ]
    );
}

#[tokio::test]
async fn a_mount_tells_where_from() {
    let (server, trail) = audited(GateKind::Open, false).await;
    server.push_image("lab/app", "one").await;
    trail.said();
    server.ask(post(format!("/v2/lab/to/blobs/uploads/?mount={LAYER_DIGEST}&from=lab/app"), "")).await;
    let said = trail.said();
    assert_eq!(said.len(), 1);
    assert_eq!((&said[0]["mounted_from"], &said[0]["status"]), (&"lab/app".into(), &201.into()));
}

#[tokio::test]
async fn a_change_is_answered_when_its_line_is_written() {
    let (server, trail) = audited(GateKind::Open, false).await;
    trail.holds.store(true, Ordering::SeqCst);
    let target = format!("/v2/lab/app/blobs/uploads/?digest={LAYER_DIGEST}");
    let mut client = server.connect().await;
    client.send(post(target.as_str(), LAYER).to_bytes()).await;
    eventually(|| async { !trail.held.lock().unwrap().is_empty() }).await;
    let early = tokio::time::timeout(Duration::from_millis(20), client.wait_for(1)).await;
    assert!(early.is_err(), "answered before the line was written");
    trail.held.lock().unwrap().drain(..).for_each(|held| held.send(()).unwrap());
    assert_eq!(client.reply(false).await.status, 201);
    trail.said();
    // Whoever leaves meanwhile leaves his line behind all the same, once.
    let mut client = server.connect().await;
    client.send(post(target, LAYER).to_bytes()).await;
    eventually(|| async { !trail.held.lock().unwrap().is_empty() }).await;
    drop(client);
    assert_eq!(trail.said().len(), 1);
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_changed_where_it_is_required() {
    let (server, trail) = audited(GateKind::Open, false).await;
    let digest = server.push_image("lab/app", "one").await;
    trail.fails.store(true, Ordering::SeqCst);
    trail.said();
    let refused = [
        post("/v2/lab/app/blobs/uploads/", ""),
        put("/v2/lab/app/manifests/two", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST),
        delete(format!("/v2/lab/app/manifests/{digest}")),
    ];
    for request in refused {
        let reply = server.ask(request).await;
        assert_eq!(reply.refusal(), (503, "UNAVAILABLE".into()));
        assert!(reply.text().contains("audit log"), "{}", reply.text());
    }
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    trail.fails.store(false, Ordering::SeqCst);
    assert_eq!(server.ask(delete(format!("/v2/lab/app/manifests/{digest}"))).await.status, 202);
}
