//! Conditional requests.

use crate::support::*;

#[tokio::test]
async fn reads() {
    let server = Server::open().await;
    let image = server.push_image("lab/app", "one").await;
    let contents = [
        ("manifests/one".to_owned(), image.clone()),
        (format!("blobs/{LAYER_DIGEST}"), LAYER_DIGEST.to_owned()),
    ];
    for (path, digest) in contents {
        let path = format!("/v2/lab/app/{path}");
        let cases = [
            ("If-None-Match", format!("\"{digest}\""), 304),
            ("If-None-Match", format!("W/\"{digest}\""), 304),
            ("If-None-Match", digest.clone(), 304),
            ("If-None-Match", format!("\"{ABSENT}\", \"{digest}\""), 304),
            ("If-None-Match", "*".into(), 304),
            ("If-None-Match", format!("\"{ABSENT}\""), 200),
            ("If-None-Match", "\"\"".into(), 200),
            ("If-Match", format!("\"{digest}\""), 200),
            ("If-Match", "*".into(), 200),
            ("If-Match", format!("\"{ABSENT}\", \"{digest}\""), 200),
            ("If-Match", format!("\"{ABSENT}\""), 412),
            ("If-Match", format!("W/\"{digest}\""), 412),
        ];
        for (name, value, status) in cases {
            for request in [get(path.as_str()), head(path.as_str())] {
                let reply = server.ask(request.with(name, &value)).await;
                assert_eq!(reply.status, status, "{path} {name}: {value}");
            }
        }
    }
    // Both lines of a header count.
    let path = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    let twice = get(path.as_str())
        .with("If-None-Match", format!("\"{ABSENT}\""))
        .with("If-None-Match", format!("\"{LAYER_DIGEST}\""));
    assert_eq!(server.ask(twice).await.status, 304);
}

#[tokio::test]
async fn not_modified_has_no_body_and_leaves_the_connection_usable() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        let request = get("/v2/lab/app/manifests/one").with("If-None-Match", format!("\"{digest}\""));
        let reply = client.ask(&request).await;
        assert_eq!(
            reply.undated(),
            format!(
                "HTTP/1.1 304 Not Modified\nDocker-Content-Digest: {digest}\nEtag: \"{digest}\"\n\
                 Docker-Distribution-Api-Version: registry/2.0"
            )
        );
    }
    assert_eq!(client.ask(&get("/v2/lab/app/manifests/one")).await.status, 200);
    // An unknown tag is unknown, whatever the condition.
    let unknown = get("/v2/lab/app/manifests/two").with("If-None-Match", "*");
    assert_eq!(client.ask(&unknown).await.status, 404);
}

#[tokio::test]
async fn if_range() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    for (condition, status, body) in [
        (format!("\"{LAYER_DIGEST}\""), 206, "world"),
        (format!("\"{ABSENT}\""), 200, "hello world"),
        (format!("W/\"{LAYER_DIGEST}\""), 200, "hello world"),
        ("Wed, 21 Oct 2015 07:28:00 GMT".to_owned(), 200, "hello world"),
    ] {
        let request = get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))
            .with("Range", "bytes=6-")
            .with("If-Range", &condition);
        let reply = server.ask(request).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{condition}");
    }
}

#[tokio::test]
async fn a_tag_moves_only_if_its_condition_holds() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let [first, second] = ["first", "second"].map(image_noted);
    let put_if = async |tag: &str, manifest: &str, name: &str, value: String| {
        let request = put(format!("/v2/lab/app/manifests/{tag}"), manifest)
            .with("Content-Type", OCI_MANIFEST)
            .with(name, value);
        server.ask(request).await
    };
    let quoted = |manifest: &str| format!("\"{}\"", digest_of(manifest));
    // Nobody has it: "only if it is there" fails, "only if it is not" succeeds, once.
    let refused = put_if("one", &first, "If-Match", "*".into()).await;
    assert_eq!(refused.refusal(), (412, "DENIED".into()));
    assert_eq!(
        refused.json()["errors"][0]["detail"],
        "the precondition does not hold: one points at nothing; look at what the tag points at now, and decide anew"
    );
    assert_eq!(put_if("one", &first, "If-None-Match", "*".into()).await.status, 201);
    assert_eq!(put_if("one", &second, "If-None-Match", "*".into()).await.status, 412);
    // Two who move the tag from what they saw: the second sees that the first was there.
    assert_eq!(put_if("one", &second, "If-Match", quoted(&first)).await.status, 201);
    assert_eq!(put_if("one", &first, "If-Match", quoted(&first)).await.status, 412);
    let now = server.ask(head("/v2/lab/app/manifests/one")).await;
    assert_eq!(now.header("Docker-Content-Digest"), Some(digest_of(&second).as_str()));
    // A weak tag never matches strongly.
    assert_eq!(put_if("one", &first, "If-Match", format!("W/{}", quoted(&second))).await.status, 412);
    assert_eq!(put_if("one", &first, "If-None-Match", quoted(&second)).await.status, 412);
    assert_eq!(put_if("one", &first, "If-None-Match", quoted(&first)).await.status, 201);
}
