//! Pushing manifests: what is taken in, and what is said of the rest.

use crate::support::*;

/// The limit of registry:2 and of the specification, in bytes.
const LONGEST: usize = 4 << 20;

#[tokio::test]
async fn missing_content_is_named_piece_by_piece() {
    let server = Server::open().await;
    let reply = server.put_manifest("lab/app", "one", OCI_MANIFEST, image(OCI_MANIFEST)).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.text(),
        format!(
            "{{\"errors\":[{{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown to registry\",\
             \"detail\":\"lab/app lacks the config {CONFIG_DIGEST}; push it before the manifest that names it\"}},\
             {{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown to registry\",\
             \"detail\":\"lab/app lacks the layer {LAYER_DIGEST}; push it before the manifest that names it\"}}]}}\n"
        )
    );
    server.push_blob("lab/app", CONFIG).await;
    let reply = server.put_manifest("lab/app", "one", OCI_MANIFEST, image(OCI_MANIFEST)).await;
    assert_eq!(reply.codes().len(), 1);
    let list = index(OCI_INDEX, OCI_MANIFEST, &[ABSENT]);
    let reply = server.put_manifest("lab/app", "two", OCI_INDEX, list).await;
    assert_eq!(
        reply.json()["errors"][0]["detail"],
        format!("lab/app lacks the manifest {ABSENT}; push it before the manifest that names it")
    );
    // Another repository's blobs don't count.
    server.push_blobs("lab/other").await;
    let reply = server.put_manifest("lab/app", "one", OCI_MANIFEST, image(OCI_MANIFEST)).await;
    assert_eq!(reply.status, 400);
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 404);
}

/// The cache that BuildKit exports: an index whose manifests are layers and a config of its own.
#[tokio::test]
async fn an_index_of_blobs_is_taken() {
    let server = Server::open().await;
    server.push_blobs("lab/cache").await;
    let cache = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{LAYER_DIGEST}","size":11}},{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{CONFIG_DIGEST}","size":2}}]}}"#
    );
    let reply = server.put_manifest("lab/cache", "main", OCI_INDEX, cache.as_str()).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(server.ask(get("/v2/lab/cache/manifests/main")).await.text(), cache);
}

#[tokio::test]
async fn layers_that_may_not_be_distributed_may_be_elsewhere() {
    let server = Server::open().await;
    server.push_blob("lab/windows", CONFIG).await;
    for (at, kind) in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ]
    .iter()
    .enumerate()
    {
        let manifest = image(OCI_MANIFEST).replace("application/vnd.oci.image.layer.v1.tar+gzip", kind);
        let reply = server.put_manifest("lab/windows", &format!("v{at}"), OCI_MANIFEST, manifest).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
}

/// Helm's chart, cosign's signature, an artifact of an empty config: whatever media types they like.
#[tokio::test]
async fn artifacts_of_any_kind() {
    let server = Server::open().await;
    server.push_blobs("lab/chart").await;
    let chart = image(OCI_MANIFEST)
        .replace("application/vnd.oci.image.config.v1+json", "application/vnd.cncf.helm.config.v1+json")
        .replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        );
    assert_eq!(server.put_manifest("lab/chart", "1.0.0", OCI_MANIFEST, chart).await.status, 201);
    // `+` of a chart's version comes as `_`.
    let empty = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"application/x","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{CONFIG_DIGEST}","size":2,"data":"e30="}},"layers":[]}}"#
    );
    assert_eq!(server.put_manifest("lab/chart", "1.0.0_build", OCI_MANIFEST, empty).await.status, 201);
}

#[tokio::test]
async fn a_missing_subject_is_taken_and_named() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let signature = referrer(ABSENT, "application/x.signature", "one");
    let digest = digest_of(&signature);
    let reply = server.put_manifest("lab/app", &digest, OCI_MANIFEST, signature).await;
    assert_eq!(
        reply.undated(),
        format!(
            "HTTP/1.1 201 Created\nLocation: /v2/lab/app/manifests/{digest}\nDocker-Content-Digest: {digest}\n\
             Oci-Subject: {ABSENT}\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
        )
    );
}

#[tokio::test]
async fn several_tags_at_once() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let manifest = image(OCI_MANIFEST);
    let digest = digest_of(&manifest);
    let target = format!("/v2/lab/app/manifests/{digest}?tag=1&tag=1.2&tag=1.2.3");
    let push = |target: String| put(target, manifest.as_str()).with("Content-Type", OCI_MANIFEST);
    let reply = server.ask(push(target)).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.headers("Oci-Tag"), ["1", "1.2", "1.2.3"]);
    for tag in ["1", "1.2", "1.2.3"] {
        let got = server.ask(head(format!("/v2/lab/app/manifests/{tag}"))).await;
        assert_eq!(got.header("Docker-Content-Digest"), Some(digest.as_str()), "{tag}");
    }
    let many = |count: usize| (0..count).map(|at| format!("tag=t{at}")).collect::<Vec<_>>().join("&");
    let reply = server.ask(push(format!("/v2/lab/app/manifests/{digest}?{}", many(100)))).await;
    assert_eq!((reply.status, reply.headers("Oci-Tag").len()), (201, 100));
    let reply = server.ask(push(format!("/v2/lab/app/manifests/{digest}?{}", many(101)))).await;
    assert_eq!(reply.refusal(), (414, "TAG_INVALID".into()));
    let reply = server.ask(push(format!("/v2/lab/app/manifests/{digest}?tag=good&tag=-bad"))).await;
    assert_eq!(reply.refusal(), (400, "TAG_INVALID".into()));
    assert_eq!(server.ask(get("/v2/lab/app/manifests/good")).await.status, 404);
}

#[tokio::test]
async fn four_megabytes_and_no_byte_more() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let sized = |length: usize| {
        let manifest = image_noted("NOTE");
        let note = "x".repeat(length - manifest.len() + "NOTE".len());
        manifest.replace("NOTE", &note)
    };
    for chunked in [false, true] {
        let push = async |tag: &str, manifest: String| {
            let request =
                put(format!("/v2/lab/app/manifests/{tag}"), manifest).with("Content-Type", OCI_MANIFEST);
            let request = if chunked { request.chunked(100_000) } else { request };
            let mut client = server.connect().await;
            client.send_what_is_taken(&request.to_bytes()).await;
            client.reply(false).await
        };
        let exact = sized(LONGEST);
        assert_eq!(push("exact", exact.clone()).await.status, 201);
        let got = server.ask(get("/v2/lab/app/manifests/exact")).await;
        assert!(got.body == exact.as_bytes());
        let reply = push("over", sized(LONGEST + 1)).await;
        assert_eq!(reply.refusal(), (413, "MANIFEST_INVALID".into()), "chunked: {chunked}");
        assert_eq!(
            reply.json()["errors"][0]["detail"],
            "the manifest has more than 4194304 bytes, the most that a manifest may have here; put what is large into a layer"
        );
        assert_eq!(push("over", sized(3 * LONGEST)).await.status, 413);
        assert_eq!(server.ask(get("/v2/lab/app/manifests/over")).await.status, 404);
    }
}

#[tokio::test]
async fn type_and_content_must_agree() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let cases = [
        // (Content-Type, body, status)
        (Some(OCI_MANIFEST), image(OCI_MANIFEST), 201),
        (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), image(OCI_MANIFEST), 201),
        (None, image(OCI_MANIFEST), 201),
        (Some(OCI_MANIFEST), image_without_type(), 201),
        (None, image_without_type(), 400),
        (Some(DOCKER_MANIFEST), image_without_type(), 400),
        (Some(DOCKER_MANIFEST), image(OCI_MANIFEST), 400),
        (Some(OCI_INDEX), image_without_type(), 400),
        (Some("application/json"), image_without_type(), 400),
        (Some("text"), image(OCI_MANIFEST), 400),
        (Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), image_without_type(), 400),
        (Some(OCI_MANIFEST), image(OCI_MANIFEST).replace(":2,", ":1,"), 400),
        (Some(OCI_MANIFEST), "{}".into(), 400),
        (Some(OCI_MANIFEST), String::new(), 400),
        (Some(OCI_MANIFEST), "null".into(), 400),
        (Some(OCI_MANIFEST), format!("{} x", image(OCI_MANIFEST)), 400),
        // Both an image and an index (CVE-2021-41190).
        (Some(OCI_MANIFEST), image(OCI_MANIFEST).replacen('{', "{\"manifests\":[],", 1), 400),
    ];
    for (content_type, body, status) in cases {
        let request = put("/v2/lab/app/manifests/one", body.as_str());
        let request =
            content_type.into_iter().fold(request, |request, kind| request.with("Content-Type", kind));
        let reply = server.ask(request).await;
        assert_eq!(reply.status, status, "{content_type:?} {body}");
        if status == 400 {
            assert_eq!(reply.codes(), ["MANIFEST_INVALID"], "{content_type:?} {body}");
        }
    }
}

#[tokio::test]
async fn bytes_that_the_digest_does_not_name() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let reply = server.put_manifest("lab/app", ABSENT, OCI_MANIFEST, image(OCI_MANIFEST)).await;
    assert_eq!(reply.refusal(), (400, "DIGEST_INVALID".into()));
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{ABSENT}"))).await.status, 404);
}

/// Children first, then the index: `skopeo copy --all`, and an index that is moved.
#[tokio::test]
async fn a_multi_platform_image() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let [amd, arm] = ["amd64", "arm64"].map(image_noted);
    let [amd_digest, arm_digest] = [&amd, &arm].map(digest_of);
    server.push_manifest("lab/app", &amd_digest, &amd).await;
    server.push_manifest("lab/app", &arm_digest, &arm).await;
    let list = index(OCI_INDEX, OCI_MANIFEST, &[&amd_digest, &arm_digest]);
    server.push_manifest("lab/app", "latest", &list).await;
    assert_eq!(server.ask(get("/v2/lab/app/manifests/latest")).await.text(), list);
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{arm_digest}"))).await.text(), arm);
    let tags = server.ask(get("/v2/lab/app/tags/list")).await;
    assert_eq!(tags.text(), "{\"name\":\"lab/app\",\"tags\":[\"latest\"]}\n");
}
