//! Pushes as the clients do them.

use larder_oci::{Algorithm, Digest};

use crate::support::*;

fn sample(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at % 249) as u8).collect()
}

/// docker: POST, one chunked PATCH without a type, PUT without a body, HEAD. The digest is known last.
#[tokio::test]
async fn as_docker_does() {
    let server = Server::open().await;
    let layer = sample(3_000_000);
    let digest = digest_of(&layer);
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    let id = started.header("Docker-Upload-Uuid").unwrap().to_owned();
    let location = format!("/v2/lab/app/blobs/uploads/{id}");
    assert_eq!(
        started.undated(),
        format!(
            "HTTP/1.1 202 Accepted\nLocation: {location}\nRange: 0-0\n\
             Docker-Upload-Uuid: {id}\nOci-Chunk-Min-Length: 1\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
        )
    );
    let patched = server.ask(patch(location.as_str(), layer.as_slice()).chunked(32 << 10)).await;
    assert_eq!(
        patched.undated(),
        format!(
            "HTTP/1.1 202 Accepted\nLocation: {location}\nRange: 0-2999999\n\
             Docker-Upload-Uuid: {id}\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
        )
    );
    let target = format!("{location}?digest={}", digest.replace(':', "%3A"));
    let finished = server.ask(put(target, "")).await;
    assert_eq!(
        finished.undated(),
        format!(
            "HTTP/1.1 201 Created\nLocation: /v2/lab/app/blobs/{digest}\n\
             Docker-Content-Digest: {digest}\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
        )
    );
    let there = server.ask(head(format!("/v2/lab/app/blobs/{digest}"))).await;
    assert_eq!((there.status, there.header("Content-Length")), (200, Some("3000000")));
    server.push_blob("lab/app", CONFIG).await;
    let manifest = image(DOCKER_MANIFEST).replace(LAYER_DIGEST, &digest);
    let manifest_digest = digest_of(&manifest);
    let reply = server.put_manifest("lab/app", "latest", DOCKER_MANIFEST, manifest).await;
    assert_eq!(
        reply.undated(),
        format!(
            "HTTP/1.1 201 Created\nLocation: /v2/lab/app/manifests/{manifest_digest}\n\
             Docker-Content-Digest: {manifest_digest}\nDocker-Distribution-Api-Version: registry/2.0\nContent-Length: 0"
        )
    );
}

/// docker sends five layers at once, each request on a connection that it closes.
#[tokio::test]
async fn five_layers_at_once() {
    let server = Server::open().await;
    let push = async |number: u32| {
        let layer = sample(400_000 + number);
        let close = |request: Request| request.with("Connection", "close");
        let started = server.ask(close(post("/v2/lab/app/blobs/uploads/", ""))).await;
        assert_eq!(started.header("Connection"), Some("close"));
        let patched = server.ask(close(patch(started.location(), layer.as_slice()).chunked(10_000))).await;
        assert_eq!(patched.range(), format!("0-{}", layer.len() - 1));
        let target = format!("{}?digest={}", patched.location(), digest_of(&layer));
        assert_eq!(server.ask(close(put(target, ""))).await.status, 201);
        let got = server.ask(get(format!("/v2/lab/app/blobs/{}", digest_of(&layer)))).await;
        assert!(got.body == layer);
    };
    tokio::join!(push(0), push(1), push(2), push(3), push(4));
}

/// containerd, oras, helm: POST, then one PUT with the whole body.
#[tokio::test]
async fn as_containerd_does() {
    let server = Server::open().await;
    let layer = sample(1_500_000);
    let digest = digest_of(&layer);
    let mut client = server.connect().await;
    let missing = client.ask(&head(format!("/v2/lab/app/blobs/{digest}")).with("Accept", "a/b, */*")).await;
    assert_eq!(missing.status, 404);
    let started = client.ask(&post("/v2/lab/app/blobs/uploads/", "")).await;
    assert_eq!(started.status, 202);
    let whole =
        put(format!("{}?digest={}", started.location(), digest.replace(':', "%3A")), layer.as_slice())
            .with("Content-Type", "application/octet-stream");
    let finished = client.ask(&whole).await;
    assert_eq!(finished.status, 201);
    assert_eq!(finished.header("Docker-Content-Digest"), Some(digest.as_str()));
    assert!(client.ask(&get(finished.location())).await.body == layer);
}

/// containers/image: PATCH with type and length.
#[tokio::test]
async fn as_skopeo_does() {
    let server = Server::open().await;
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    let whole = patch(started.location(), LAYER).with("Content-Type", "application/octet-stream");
    let patched = server.ask(whole).await;
    assert_eq!((patched.status, patched.range()), (202, "0-10"));
    assert_eq!(
        server.ask(put(format!("{}?digest={LAYER_DIGEST}", patched.location()), "")).await.status,
        201
    );
}

/// regclient: chunks with their ranges; after a lost answer it learns from the 416 where to go on.
#[tokio::test]
async fn as_regclient_does() {
    let server = Server::open().await;
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    let location = started.location();
    let chunk = |range: &str, bytes: &str| {
        patch(location.as_str(), bytes)
            .with("Content-Range", range)
            .with("Content-Type", "application/octet-stream")
    };
    let first = server.ask(chunk("0-5", "hello ")).await;
    assert_eq!((first.status, first.range()), (202, "0-5"));
    // The same chunk again, one that leaves a gap, and one that overlaps.
    for range in ["0-5", "8-13", "3-8"] {
        let refused = server.ask(chunk(range, "world!")).await;
        assert_eq!(refused.refusal(), (416, "RANGE_INVALID".into()), "{range}");
        assert_eq!((refused.location().as_str(), refused.range()), (location.as_str(), "0-5"), "{range}");
        assert_eq!(refused.header("Docker-Upload-Uuid"), started.header("Docker-Upload-Uuid"));
    }
    let second = server.ask(chunk("6-8", "wor")).await;
    assert_eq!((second.status, second.range()), (202, "0-8"));
    // The last one comes with the PUT.
    let last = put(format!("{location}?digest={LAYER_DIGEST}"), "ld").with("Content-Range", "9-10");
    assert_eq!(server.ask(last).await.status, 201);
    assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await.body, LAYER);
}

#[tokio::test]
async fn chunks_that_lie_about_themselves() {
    let server = Server::open().await;
    let cases = [
        ("0-9", "hello", 400, "SIZE_INVALID"),
        ("0-3", "hello", 400, "SIZE_INVALID"),
        ("4-0", "hello", 416, "RANGE_INVALID"),
        ("a-b", "hello", 416, "RANGE_INVALID"),
        ("0", "hello", 416, "RANGE_INVALID"),
        ("", "hello", 416, "RANGE_INVALID"),
        ("-0-4", "hello", 416, "RANGE_INVALID"),
        ("99999999999999999999-99999999999999999999", "h", 416, "RANGE_INVALID"),
        // HTTP's own form is read, and no byte came.
        ("bytes 0-4/*", "", 400, "SIZE_INVALID"),
    ];
    for (range, bytes, status, code) in cases {
        for chunked in [false, true] {
            let location = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
            let request = patch(location.as_str(), bytes).with("Content-Range", range);
            let request = if chunked { request.chunked(2) } else { request };
            let reply = server.ask(request).await;
            assert_eq!(reply.refusal(), (status, code.into()), "{range} {chunked}");
            // The session lives, and says where to go on: chunked lies are found out at their end.
            let state = server.ask(get(location.as_str())).await;
            assert_eq!(state.status, 204);
            let last: u64 = state.range()[2..].parse().unwrap();
            assert!(last < 5, "{range} {chunked}: {}", state.range());
        }
    }
}

#[tokio::test]
async fn a_whole_blob_in_one_post() {
    let server = Server::open().await;
    for chunked in [false, true] {
        let name = format!("lab/chunked-{chunked}");
        let request = post(format!("/v2/{name}/blobs/uploads/?digest={LAYER_DIGEST}"), LAYER);
        let reply = server.ask(if chunked { request.chunked(4) } else { request }).await;
        assert_eq!(reply.status, 201);
        assert_eq!(reply.location(), format!("/v2/{name}/blobs/{LAYER_DIGEST}"));
        assert_eq!(reply.header("Docker-Content-Digest"), Some(LAYER_DIGEST));
        assert_eq!(server.ask(get(reply.location())).await.body, LAYER);
    }
    let wrong = server.ask(post(format!("/v2/lab/app/blobs/uploads/?digest={ABSENT}"), LAYER)).await;
    assert_eq!(wrong.refusal(), (400, "DIGEST_INVALID".into()));
    assert_eq!(
        wrong.json()["errors"][0]["detail"],
        format!("the content hashes to {LAYER_DIGEST}, not to {ABSENT}; send it again")
    );
    // No session is left behind that nobody knows of.
    let uploads = server.directory.path().join("data/docker/registry/v2/repositories/lab/app/_uploads");
    let left = std::fs::read_dir(&uploads).map_or(0, |entries| entries.count());
    assert_eq!(left, 0);
}

#[tokio::test]
async fn sha512_everywhere() {
    let server = Server::open().await;
    let digest = Digest::of(Algorithm::Sha512, LAYER).to_string();
    // Said at the start, only at the end, or with everything in one POST.
    for (name, start) in [("a", "?digest-algorithm=sha512"), ("b", ""), ("c", "?digest-algorithm=sha256")] {
        let started = server.ask(post(format!("/v2/{name}/blobs/uploads/{start}"), "")).await;
        assert_eq!(started.status, 202);
        let patched = server.ask(patch(started.location(), &LAYER[..4])).await;
        let target = format!("{}?digest={digest}", patched.location());
        let finished = server.ask(put(target, &LAYER[4..])).await;
        assert_eq!(finished.status, 201, "{name}: {}", finished.text());
        assert_eq!(finished.header("Docker-Content-Digest"), Some(digest.as_str()));
    }
    let at_once = server.ask(post(format!("/v2/d/blobs/uploads/?digest={digest}"), LAYER)).await;
    assert_eq!(at_once.status, 201);
    let mounted = server.ask(post(format!("/v2/e/blobs/uploads/?mount={digest}&from=a"), "")).await;
    assert_eq!(mounted.status, 201);
    for name in ["a", "b", "c", "d", "e"] {
        let got = server.ask(get(format!("/v2/{name}/blobs/{digest}"))).await;
        assert_eq!((got.status, got.body.as_slice()), (200, LAYER), "{name}");
        assert_eq!(got.header("Docker-Content-Digest"), Some(digest.as_str()));
        assert_eq!(got.header("Etag"), Some(format!("\"{digest}\"").as_str()));
    }
    server.push_blob("a", CONFIG).await;
    let manifest = image(OCI_MANIFEST).replace(LAYER_DIGEST, &digest);
    let manifest_digest = Digest::of(Algorithm::Sha512, manifest.as_bytes()).to_string();
    let target = format!("/v2/a/manifests/{manifest_digest}?tag=one");
    let reply = server.ask(put(target, manifest.as_str()).with("Content-Type", OCI_MANIFEST)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("Docker-Content-Digest"), Some(manifest_digest.as_str()));
    for reference in ["one", &manifest_digest] {
        let got = server.ask(get(format!("/v2/a/manifests/{reference}"))).await;
        assert_eq!((got.status, got.text()), (200, manifest.clone()), "{reference}");
        assert_eq!(got.header("Docker-Content-Digest"), Some(manifest_digest.as_str()));
    }
    for algorithm in ["md5", "sha384", "", "SHA512"] {
        let reply = server.ask(post(format!("/v2/a/blobs/uploads/?digest-algorithm={algorithm}"), "")).await;
        assert_eq!(reply.refusal(), (400, "DIGEST_INVALID".into()), "{algorithm}");
    }
}

/// A 401 or 405 comes before the body has been sent. It must reach the client, which is still sending.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Setup { read_only: true, ..Setup::default() }.start().await;
    let private = Setup::gate(GateKind::Basic).start().await;
    let upload = "/v2/a/blobs/uploads/6b3c9a93-af5d-473f-a4ce-9710022185cd";
    let body = sample(8 << 20);
    for chunked in [false, true] {
        for (server, expected) in [(&server, (405, "UNSUPPORTED")), (&private, (401, "UNAUTHORIZED"))] {
            let request = patch(upload, body.as_slice());
            let request = if chunked { request.chunked(32 << 10) } else { request };
            let mut client = server.connect().await;
            client.send_what_is_taken(&request.to_bytes()).await;
            let reply = client.reply(false).await;
            assert_eq!(reply.refusal(), (expected.0, expected.1.into()), "chunked: {chunked}");
        }
    }
}
