//! What an endpoint is told of each thing that can happen, against distribution's contract
//! (`reference/distribution.md` section 6.1).

use larder_notify::Generation;
use serde_json::Value;

use crate::support::*;

/// A server whose notifications go to a webhook.
async fn notifying(generation: Generation, include_references: bool) -> (Server, Webhook) {
    let webhook = Webhook::start().await;
    let notify = Some(webhook.settings(generation, include_references));
    (Setup { notify, ..Setup::default() }.start().await, webhook)
}

/// The one event in a message.
fn event(message: &Message) -> Value {
    let envelope: Value = serde_json::from_str(&message.body).unwrap();
    let events = envelope["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    events[0].clone()
}

/// Method, action and target of each event, as the message writes them.
async fn told(webhook: &Webhook, count: usize) -> Vec<String> {
    let messages = webhook.messages(count).await;
    let said = |message: &Message| {
        let event = event(message);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        // As it stands in the message, because the order of the fields counts, too.
        let target = message.body.split_once("\"target\": ").unwrap().1.split_once("\"request\"").unwrap().0;
        let target: Vec<&str> = target.lines().map(str::trim).collect();
        let target = target.concat();
        let target = target.trim_end_matches(',');
        format!("{} {} {target}", text(&event["request"]["method"]), text(&event["action"]))
    };
    messages.iter().map(said).collect()
}

/// A body with what differs from run to run replaced by its name.
fn normalised(message: &Message) -> String {
    let event = event(message);
    let mut body = message.body.clone();
    for (at, name) in [
        ("/id", "ID"),
        ("/timestamp", "TIMESTAMP"),
        ("/request/id", "REQUEST"),
        ("/request/addr", "CLIENT"),
        ("/source/instanceID", "INSTANCE"),
    ] {
        let value = event.pointer(at).unwrap().as_str().unwrap();
        assert!(!value.is_empty(), "{at}");
        body = body.replace(value, name);
    }
    body
}

#[tokio::test]
async fn a_message_is_registry_2s() {
    let (server, webhook) = notifying(Generation::V1, false).await;
    server.push_image("lab/app", "one").await;
    server.ask(head("/v2/lab/app/manifests/one").with("User-Agent", "client/1.0")).await;
    let messages = webhook.messages(4).await;
    let pull = &messages[3];
    let head = pull.head.to_lowercase();
    assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\ncontent-type: application/vnd.docker.distribution.events.v1+json\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nuser-agent: larder/"), "{head}");
    let manifest = image(OCI_MANIFEST);
    let (digest, size) = (digest_of(&manifest), manifest.len());
    assert_eq!(
        normalised(pull),
        format!(
            r#"{{
   "events": [
      {{
         "id": "ID",
         "timestamp": "TIMESTAMP",
         "action": "pull",
         "target": {{
            "mediaType": "{OCI_MANIFEST}",
            "size": {size},
            "digest": "{digest}",
            "length": {size},
            "repository": "lab/app",
            "url": "http://registry.lab/v2/lab/app/manifests/{digest}",
            "tag": "one"
         }},
         "request": {{
            "id": "REQUEST",
            "addr": "CLIENT",
            "host": "registry.lab",
            "method": "HEAD",
            "useragent": "client/1.0"
         }},
         "actor": {{}},
         "source": {{
            "addr": "lab:5000",
            "instanceID": "INSTANCE"
         }}
      }}
   ]
}}"#
        )
    );
    let timestamp = event(pull)["timestamp"].as_str().unwrap().to_owned();
    assert!(
        timestamp.starts_with("20") && timestamp.ends_with('Z') && timestamp.contains('T'),
        "{timestamp}"
    );
    let id = event(pull)["id"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), id.matches('-').count(), &id[14..15]), (36, 4, "4"), "{id}");
}

#[tokio::test]
async fn each_thing_that_happens_is_told() {
    let (server, webhook) = notifying(Generation::V1, false).await;
    let digest = server.push_image("lab/app", "one").await;
    let size = image(OCI_MANIFEST).len();
    server.push_manifest("lab/app", "two", &image(OCI_MANIFEST)).await;
    server.push_manifest("lab/app", &digest, &image(OCI_MANIFEST)).await;
    let reply =
        server.ask(post(format!("/v2/lab/to/blobs/uploads/?mount={LAYER_DIGEST}&from=lab/app"), "")).await;
    assert_eq!(reply.status, 201);
    server.ask(get("/v2/lab/app/manifests/two")).await;
    server.ask(head(format!("/v2/lab/app/manifests/{digest}"))).await;
    server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}")).with("Range", "bytes=0-3")).await;
    server.ask(head(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await;
    // Of these nothing is told: the client has it already, it isn't there, or it is no content.
    let known = get("/v2/lab/app/manifests/two").with("If-None-Match", format!("\"{digest}\""));
    assert_eq!(server.ask(known).await.status, 304);
    assert_eq!(server.ask(get("/v2/lab/app/manifests/none")).await.status, 404);
    assert_eq!(server.ask(get("/v2/lab/app/tags/list")).await.status, 200);
    assert_eq!(server.ask(get("/v2/_catalog")).await.status, 200);
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    assert_eq!(server.ask(delete(started.location())).await.status, 204);
    assert_eq!(server.ask(delete("/v2/lab/app/manifests/none")).await.status, 404);
    // An upload in pieces ends with one event.
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    let location = server.ask(patch(started.location(), "hello ")).await.location().to_owned();
    assert_eq!(server.ask(put(format!("{location}?digest={LAYER_DIGEST}"), "world")).await.status, 201);
    server.ask(delete("/v2/lab/app/manifests/two")).await;
    server.push_manifest("lab/app", "three", &image(OCI_MANIFEST)).await;
    server.ask(delete(format!("/v2/lab/app/manifests/{digest}"))).await;
    server.ask(delete(format!("/v2/lab/to/blobs/{LAYER_DIGEST}"))).await;
    let blob = |repository: &str, digest: &str, size: usize, from: &str| {
        format!(
            r#"{{"mediaType": "application/octet-stream","size": {size},"digest": "{digest}","length": {size},"repository": "{repository}",{from}"url": "http://registry.lab/v2/{repository}/blobs/{digest}"}}"#
        )
    };
    let manifest = |tag: &str| {
        format!(
            r#"{{"mediaType": "{OCI_MANIFEST}","size": {size},"digest": "{digest}","length": {size},"repository": "lab/app","url": "http://registry.lab/v2/lab/app/manifests/{digest}"{tag}}}"#
        )
    };
    let expected = [
        format!("POST push {}", blob("lab/app", CONFIG_DIGEST, 2, "")),
        format!("POST push {}", blob("lab/app", LAYER_DIGEST, 11, "")),
        format!("PUT push {}", manifest(r#","tag": "one""#)),
        format!("PUT push {}", manifest(r#","tag": "two""#)),
        format!("PUT push {}", manifest("")),
        format!("POST mount {}", blob("lab/to", LAYER_DIGEST, 11, r#""fromRepository": "lab/app","#)),
        format!("GET pull {}", manifest(r#","tag": "two""#)),
        format!("HEAD pull {}", manifest("")),
        format!("GET pull {}", blob("lab/app", LAYER_DIGEST, 11, "")),
        format!("HEAD pull {}", blob("lab/app", LAYER_DIGEST, 11, "")),
        format!("PUT push {}", blob("lab/app", LAYER_DIGEST, 11, "")),
        r#"DELETE delete {"repository": "lab/app","tag": "two"}"#.to_owned(),
        format!("PUT push {}", manifest(r#","tag": "three""#)),
        format!(r#"DELETE delete {{"digest": "{digest}","repository": "lab/app"}}"#),
        r#"DELETE delete {"repository": "lab/app","tag": "one"}"#.to_owned(),
        r#"DELETE delete {"repository": "lab/app","tag": "three"}"#.to_owned(),
        format!(r#"DELETE delete {{"digest": "{LAYER_DIGEST}","repository": "lab/to"}}"#),
    ];
    let told = told(&webhook, expected.len()).await;
    assert_eq!(told, expected);
}

#[tokio::test]
async fn registry_3s_messages_write_what_is_empty() {
    let (server, webhook) = notifying(Generation::V2, true).await;
    let digest = server.push_image("lab/app", "one").await;
    let size = image(OCI_MANIFEST).len();
    server.ask(get("/v2/lab/app/manifests/one")).await;
    server.ask(delete("/v2/lab/app/manifests/one")).await;
    server.ask(delete(format!("/v2/lab/app/manifests/{digest}"))).await;
    let told = told(&webhook, 6).await;
    let references = format!(
        r#""references": [{{"mediaType": "application/vnd.oci.image.config.v1+json","digest": "{CONFIG_DIGEST}","size": 2}},{{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip","digest": "{LAYER_DIGEST}","size": 11}}]"#
    );
    let manifest = format!(
        r#"{{"mediaType": "{OCI_MANIFEST}","digest": "{digest}","size": {size},"length": {size},"repository": "lab/app","url": "http://registry.lab/v2/lab/app/manifests/{digest}","tag": "one",{references}}}"#
    );
    assert_eq!(
        told[2..],
        [
            format!("PUT push {manifest}"),
            format!("GET pull {manifest}"),
            r#"DELETE delete {"mediaType": "","digest": "","size": 0,"repository": "lab/app","tag": "one"}"#
                .to_owned(),
            format!(
                r#"DELETE delete {{"mediaType": "","digest": "{digest}","size": 0,"repository": "lab/app"}}"#
            ),
        ]
    );
    let head = webhook.messages(1).await[0].head.to_lowercase();
    assert!(
        head.contains("\r\ncontent-type: application/vnd.docker.distribution.events.v2+json\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_message_names_who_it_was_and_where_the_registry_is() {
    let webhook = Webhook::start().await;
    let mut setup = Setup::gate(GateKind::Basic);
    setup.notify = Some(webhook.settings(Generation::V1, false));
    setup.options.public_url = Some("https://registry.example.com".into());
    setup.options.prefix = "/images".into();
    let server = setup.start().await;
    let (user, password) = ALICE;
    let target = format!("/images/v2/lab/app/blobs/uploads/?digest={LAYER_DIGEST}");
    assert_eq!(server.ask(post(target.as_str(), LAYER)).await.status, 401);
    assert_eq!(server.ask(post(target, LAYER).basic(user, password)).await.status, 201);
    let event = event(&webhook.messages(1).await[0]);
    assert_eq!(event["actor"]["name"], user);
    assert_eq!(
        event["target"]["url"],
        format!("https://registry.example.com/images/v2/lab/app/blobs/{LAYER_DIGEST}")
    );
}
