//! Reading manifests and blobs, as the pull side of the requirement matrix wants it.

use crate::support::*;

/// A repository with a manifest of every kind: (tag, type it must be served as, bytes).
async fn with_every_kind(server: &Server) -> Vec<(&'static str, &'static str, String)> {
    server.push_blobs("lab/app").await;
    let image_digest = digest_of(image(OCI_MANIFEST));
    let kinds = vec![
        ("oci", OCI_MANIFEST, image(OCI_MANIFEST)),
        ("docker", DOCKER_MANIFEST, image(DOCKER_MANIFEST)),
        ("untyped", OCI_MANIFEST, image_without_type()),
        ("index", OCI_INDEX, index(OCI_INDEX, OCI_MANIFEST, &[&image_digest])),
        ("list", DOCKER_LIST, index(DOCKER_LIST, OCI_MANIFEST, &[&image_digest])),
        ("untyped-index", OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()),
    ];
    for (tag, kind, bytes) in &kinds {
        let reply = server.put_manifest("lab/app", tag, kind, bytes.as_str()).await;
        assert_eq!(reply.status, 201, "{tag}: {}", reply.text());
        assert_eq!(reply.header("Docker-Content-Digest"), Some(digest_of(bytes).as_str()), "{tag}");
    }
    kinds
}

#[tokio::test]
async fn manifests_are_served_as_they_came_with_all_that_clients_read() {
    let server = Server::open().await;
    for (tag, kind, bytes) in with_every_kind(&server).await {
        let digest = digest_of(&bytes);
        let length = bytes.len();
        let expected = format!(
            "HTTP/1.1 200 OK\nContent-Length: {length}\nAccept-Ranges: bytes\n\
             Docker-Content-Digest: {digest}\nEtag: \"{digest}\"\nContent-Type: {kind}\n\
             Docker-Distribution-Api-Version: registry/2.0"
        );
        for reference in [tag, &digest] {
            let path = format!("/v2/lab/app/manifests/{reference}");
            let got = server.ask(get(path.as_str())).await;
            assert_eq!(got.undated(), expected);
            assert_eq!(got.text(), bytes);
            // docker gives up on a HEAD without length, type or digest.
            let headed = server.ask(head(path.as_str())).await;
            assert_eq!(headed.undated(), expected);
        }
    }
}

#[tokio::test]
async fn accept_decides_nothing() {
    let server = Server::open().await;
    let kinds = with_every_kind(&server).await;
    // docker: six lines in any order. containerd: one line. curl: anything, or none. Then nonsense.
    let accepts: [&[&str]; 7] = [
        &[
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "application/json",
            OCI_MANIFEST,
            DOCKER_MANIFEST,
            DOCKER_LIST,
            OCI_INDEX,
        ],
        &[
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, */*",
        ],
        &["*/*"],
        &[],
        &[DOCKER_MANIFEST],
        &["text/html;q=0.5", "application/vnd.oci.image.manifest.v1+json;q=0"],
        &["%%%"],
    ];
    for accept in accepts {
        for (tag, kind, bytes) in &kinds {
            let request = accept.iter().fold(get(format!("/v2/lab/app/manifests/{tag}")), |request, each| {
                request.with("Accept", each)
            });
            let reply = server.ask(request.with("Accept-Encoding", "gzip")).await;
            assert_eq!(reply.status, 200, "{tag} {accept:?}");
            assert_eq!(reply.header("Content-Type"), Some(*kind), "{tag} {accept:?}");
            assert_eq!(reply.header("Content-Encoding"), None);
            assert_eq!(&reply.text(), bytes);
        }
    }
}

#[tokio::test]
async fn blobs_are_served_with_registry_2s_headers() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let expected = "HTTP/1.1 200 OK\n\
        Content-Length: 11\n\
        Accept-Ranges: bytes\n\
        Cache-Control: max-age=31536000\n\
        Docker-Content-Digest: sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\n\
        Etag: \"sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"\n\
        Content-Type: application/octet-stream\n\
        Docker-Distribution-Api-Version: registry/2.0";
    let path = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    // A client that can take gzip or zstd gets the bytes that the digest names all the same.
    for request in [get(path.as_str()), get(path.as_str()).with("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8")]
    {
        let got = server.ask(request).await;
        assert_eq!(got.undated(), expected);
        assert_eq!(got.body, LAYER);
    }
    assert_eq!(server.ask(head(path)).await.undated(), expected);
}

#[tokio::test]
async fn an_empty_blob_has_its_length_too() {
    let server = Server::open().await;
    let digest = server.push_blob("lab/app", b"").await;
    for request in [get(format!("/v2/lab/app/blobs/{digest}")), head(format!("/v2/lab/app/blobs/{digest}"))] {
        let reply = server.ask(request).await;
        assert_eq!((reply.status, reply.header("Content-Length")), (200, Some("0")));
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    let cases = [
        ("/v2/lab/app/manifests/two".to_owned(), "MANIFEST_UNKNOWN", "lab/app has no manifest two"),
        (
            format!("/v2/lab/app/manifests/{ABSENT}"),
            "MANIFEST_UNKNOWN",
            "lab/app has no manifest sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ),
        ("/v2/lab/none/manifests/one".to_owned(), "MANIFEST_UNKNOWN", "lab/none has no manifest one"),
        (
            format!("/v2/lab/app/blobs/{ABSENT}"),
            "BLOB_UNKNOWN",
            "lab/app has no blob sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            format!("/v2/lab/none/blobs/{LAYER_DIGEST}"),
            "BLOB_UNKNOWN",
            "lab/none has no blob sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        ),
    ];
    for (path, code, detail) in cases {
        let got = server.ask(get(path.as_str())).await;
        assert_eq!(got.refusal(), (404, code.into()), "{path}");
        let told = got.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert_eq!(told.split("; ").next(), Some(detail), "{told}");
        let headed = server.ask(head(path.as_str())).await;
        assert_eq!(headed.undated(), got.undated(), "{path}");
    }
}

#[tokio::test]
async fn a_manifest_is_no_blob_and_a_blob_no_manifest() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{digest}"))).await.status, 404);
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{LAYER_DIGEST}"))).await.status, 404);
}

#[tokio::test]
async fn a_mirrors_query_is_passed_over() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    for path in [
        "/v2/lab/app/manifests/one?ns=docker.io".to_owned(),
        format!("/v2/lab/app/manifests/{digest}?ns=docker.io"),
        format!("/v2/lab/app/blobs/{LAYER_DIGEST}?ns=docker.io"),
        // Some clients escape the colon.
        format!("/v2/lab/app/blobs/{}", LAYER_DIGEST.replace(':', "%3A")),
    ] {
        assert_eq!(server.ask(get(path.as_str())).await.status, 200, "{path}");
    }
}
