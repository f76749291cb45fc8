//! Deleting tags, manifests and blobs.

use crate::support::*;

#[tokio::test]
async fn a_tag_goes_alone() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    server.push_manifest("lab/app", "two", &image(OCI_MANIFEST)).await;
    let reply = server.ask(delete("/v2/lab/app/manifests/one")).await;
    assert_eq!(
        reply.undated(),
        "HTTP/1.1 202 Accepted\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
    );
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 404);
    assert_eq!(server.ask(get("/v2/lab/app/manifests/two")).await.status, 200);
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{digest}"))).await.status, 200);
    assert_eq!(
        server.ask(delete("/v2/lab/app/manifests/one")).await.refusal(),
        (404, "MANIFEST_UNKNOWN".into())
    );
}

#[tokio::test]
async fn a_manifest_goes_with_its_tags() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    server.push_manifest("lab/app", "two", &image(OCI_MANIFEST)).await;
    server.push_manifest("lab/app", "other", &image_noted("other")).await;
    let target = format!("/v2/lab/app/manifests/{digest}");
    assert_eq!(server.ask(delete(target.as_str())).await.status, 202);
    for reference in ["one", "two", &digest] {
        let reply = server.ask(get(format!("/v2/lab/app/manifests/{reference}"))).await;
        assert_eq!(reply.refusal(), (404, "MANIFEST_UNKNOWN".into()), "{reference}");
    }
    assert_eq!(server.ask(delete(target)).await.refusal(), (404, "MANIFEST_UNKNOWN".into()));
    let tags = server.ask(get("/v2/lab/app/tags/list")).await;
    assert_eq!(tags.text(), "{\"name\":\"lab/app\",\"tags\":[\"other\"]}\n");
    // Pushed again, it is there again.
    assert_eq!(server.push_manifest("lab/app", "one", &image(OCI_MANIFEST)).await, digest);
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
}

#[tokio::test]
async fn a_blob_goes_from_one_repository() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    server.push_blobs("lab/other").await;
    let target = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    let reply = server.ask(delete(target.as_str())).await;
    assert_eq!(
        reply.undated(),
        "HTTP/1.1 202 Accepted\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
    );
    assert_eq!(server.ask(get(target.as_str())).await.refusal(), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(server.ask(delete(target)).await.refusal(), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(server.ask(get(format!("/v2/lab/other/blobs/{LAYER_DIGEST}"))).await.status, 200);
    assert_eq!(server.ask(delete(format!("/v2/lab/none/blobs/{LAYER_DIGEST}"))).await.status, 404);
}

#[tokio::test]
async fn deletes_that_are_switched_off() {
    let server = Setup { deletes: false, ..Setup::default() }.start().await;
    let digest = server.push_image("lab/app", "one").await;
    for target in [
        "/v2/lab/app/manifests/one".to_owned(),
        format!("/v2/lab/app/manifests/{digest}"),
        format!("/v2/lab/app/blobs/{LAYER_DIGEST}"),
        format!("/v2/lab/app/manifests/{ABSENT}"),
    ] {
        let reply = server.ask(delete(target.as_str())).await;
        assert_eq!(reply.status, 405, "{target}");
        assert_eq!(
            reply.text(),
            "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"The operation is unsupported.\",\
             \"detail\":\"deleting is switched off on this registry; its operator can allow it with \
             storage.delete.enabled: true\"}]}\n"
        );
    }
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    // A client may still clear up its own upload.
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    assert_eq!(server.ask(delete(started.location())).await.status, 204);
}
