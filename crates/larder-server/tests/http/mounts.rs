//! Mounting a blob from another repository: 201, or an upload session. containerd gives up on anything else.

use crate::support::*;

#[tokio::test]
async fn a_mount_is_done_or_becomes_an_upload() {
    let server = Server::open().await;
    server.push_blob("lab/base", LAYER).await;
    let escaped = LAYER_DIGEST.replace(':', "%3A");
    let mounted = [
        // docker escapes, containerd doesn't, and each has its own order. ggcr says more.
        format!("from=lab%2Fbase&mount={escaped}"),
        format!("mount={LAYER_DIGEST}&from=lab/base"),
        format!("mount={LAYER_DIGEST}&from=lab/base&origin=registry.lab"),
        // Whatever repository has it.
        format!("mount={LAYER_DIGEST}"),
    ];
    for (at, query) in mounted.iter().enumerate() {
        let reply = server.ask(post(format!("/v2/lab/to{at}/blobs/uploads/?{query}"), "")).await;
        assert_eq!(
            reply.undated(),
            format!(
                "HTTP/1.1 201 Created\nLocation: /v2/lab/to{at}/blobs/{LAYER_DIGEST}\n\
                 Docker-Content-Digest: {LAYER_DIGEST}\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
            ),
            "{query}"
        );
        assert_eq!(server.ask(get(reply.location())).await.body, LAYER);
    }
    let not_mounted = [
        format!("mount={ABSENT}&from=lab/base"),
        format!("mount={LAYER_DIGEST}&from=lab/none"),
        format!("mount={LAYER_DIGEST}&from=Not/A/Name"),
        format!("mount={LAYER_DIGEST}&from=..%2F..%2Fetc"),
        format!("mount={LAYER_DIGEST}&from="),
        "mount=sha256:beef&from=lab/base".to_owned(),
        "mount=md5:d41d8cd98f00b204e9800998ecf8427e&from=lab/base".to_owned(),
        "mount=&from=lab/base".to_owned(),
        "mount=latest".to_owned(),
        format!("mount={ABSENT}"),
        "from=lab/base".to_owned(),
    ];
    for query in not_mounted {
        let reply = server.ask(post(format!("/v2/lab/other/blobs/uploads/?{query}"), "")).await;
        assert_eq!(reply.status, 202, "{query}");
        assert_eq!((reply.range(), reply.headers("Docker-Upload-Uuid").len()), ("0-0", 1), "{query}");
        // The session is a real one: containers/image cancels it, others go on with it.
        assert_eq!(server.ask(delete(reply.location())).await.status, 204, "{query}");
    }
    assert_eq!(server.ask(head(format!("/v2/lab/other/blobs/{LAYER_DIGEST}"))).await.status, 404);
}

#[tokio::test]
async fn a_session_instead_of_a_mount_takes_the_blob() {
    let server = Server::open().await;
    let started = server.ask(post(format!("/v2/a/blobs/uploads/?mount={LAYER_DIGEST}&from=b"), "")).await;
    assert_eq!(started.status, 202);
    let done = server.ask(put(format!("{}?digest={LAYER_DIGEST}", started.location()), LAYER)).await;
    assert_eq!(done.status, 201);
}

#[tokio::test]
async fn a_deleted_blob_is_not_mounted() {
    let server = Server::open().await;
    server.push_blob("lab/base", LAYER).await;
    assert_eq!(server.ask(delete(format!("/v2/lab/base/blobs/{LAYER_DIGEST}"))).await.status, 202);
    for query in [format!("mount={LAYER_DIGEST}"), format!("mount={LAYER_DIGEST}&from=lab/base")] {
        let reply = server.ask(post(format!("/v2/lab/to/blobs/uploads/?{query}"), "")).await;
        assert_eq!(reply.status, 202, "{query}");
    }
}

/// Who may push here but not read there must not learn what is there.
#[tokio::test]
async fn nothing_is_mounted_from_where_the_client_may_not_read() {
    let server = Setup::gate(GateKind::Basic).start().await;
    let (user, password) = ALICE;
    let start = |query: String| post(format!("/v2/lab/to/blobs/uploads/{query}"), "");
    // Without credentials it is a refusal, not a mount.
    let reply = server.ask(start(format!("?mount={LAYER_DIGEST}&from=lab/base"))).await;
    assert_eq!(reply.refusal(), (401, "UNAUTHORIZED".into()));
    let reply = server.ask(start(format!("?mount={LAYER_DIGEST}&from=lab/base")).basic(user, password)).await;
    assert_eq!(reply.status, 202);
}
