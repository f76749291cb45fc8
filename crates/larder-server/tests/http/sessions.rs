//! Upload sessions: status, cancel, resume, and two requests at once.

use crate::support::*;

async fn start(server: &Server) -> String {
    let started = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await;
    assert_eq!((started.status, started.range()), (202, "0-0"));
    started.location()
}

#[tokio::test]
async fn status_tells_how_far_it_came() {
    let server = Server::open().await;
    let location = start(&server).await;
    let id = location.rsplit('/').next().unwrap();
    for (bytes, range) in [("", "0-0"), ("h", "0-0"), ("ello", "0-4"), ("", "0-4")] {
        let patched = server.ask(patch(location.as_str(), bytes)).await;
        assert_eq!((patched.status, patched.range()), (202, range));
        let expected = format!(
            "HTTP/1.1 204 No Content\nLocation: {location}\nRange: {range}\nDocker-Upload-Uuid: {id}\n\
             Docker-Distribution-Api-Version: registry/2.0"
        );
        assert_eq!(server.ask(get(location.as_str())).await.undated(), expected);
        assert_eq!(server.ask(head(location.as_str())).await.undated(), expected);
    }
}

#[tokio::test]
async fn a_cancelled_or_finished_session_is_gone() {
    let server = Server::open().await;
    let cancelled = start(&server).await;
    let reply = server.ask(delete(cancelled.as_str())).await;
    assert_eq!(
        reply.undated(),
        format!(
            "HTTP/1.1 204 No Content\nDocker-Upload-Uuid: {}\nDocker-Distribution-Api-Version: registry/2.0",
            cancelled.rsplit('/').next().unwrap()
        )
    );
    let finished = start(&server).await;
    assert_eq!(server.ask(put(format!("{finished}?digest={LAYER_DIGEST}"), LAYER)).await.status, 201);
    for location in [cancelled.as_str(), &finished] {
        for request in [
            get(location),
            delete(location),
            patch(location, "more"),
            put(format!("{location}?digest={LAYER_DIGEST}"), ""),
        ] {
            assert_eq!(
                server.ask(request).await.refusal(),
                (404, "BLOB_UPLOAD_UNKNOWN".into()),
                "{location}"
            );
        }
    }
    // A session belongs to its repository.
    let other = start(&server).await.replace("lab/app", "lab/other");
    assert_eq!(server.ask(get(other.as_str())).await.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    assert_eq!(server.ask(patch(other.as_str(), "x")).await.status, 404);
}

#[tokio::test]
async fn a_wrong_digest_keeps_the_session() {
    let server = Server::open().await;
    let location = start(&server).await;
    server.ask(patch(location.as_str(), "hello ")).await;
    for (query, code) in [
        (format!("?digest={ABSENT}"), "DIGEST_INVALID"),
        (String::new(), "DIGEST_INVALID"),
        ("?digest=sha256:beef".to_owned(), "DIGEST_INVALID"),
        ("?digest=".to_owned(), "DIGEST_INVALID"),
    ] {
        let reply = server.ask(put(format!("{location}{query}"), "")).await;
        assert_eq!(reply.refusal(), (400, code.into()), "{query}");
        assert!(reply.json()["errors"][0]["detail"].is_string(), "docker retries on a null detail");
        assert_eq!(server.ask(get(location.as_str())).await.range(), "0-5", "{query}");
    }
    assert_eq!(server.ask(put(format!("{location}?digest={LAYER_DIGEST}"), "world")).await.status, 201);
}

/// The connection breaks in the middle of a PATCH. What arrived counts, and the client goes on from there.
#[tokio::test]
async fn a_broken_upload_is_resumed() {
    let server = Server::open().await;
    let layer: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 247) as u8).collect();
    for chunked in [false, true] {
        let location = start(&server).await;
        let request = patch(location.as_str(), layer.as_slice());
        let bytes = if chunked { request.chunked(1_000_000) } else { request }.to_bytes();
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let of_chunk = if chunked { b"f4240\r\n".len() } else { 0 };
        let mut client = server.connect().await;
        client.send(&bytes[..body + of_chunk + 777_777]).await;
        drop(client);
        eventually(async || server.ask(get(location.as_str())).await.range() == "0-777776").await;
        let rest = patch(location.as_str(), &layer[777_777..]).with("Content-Range", "777777-1999999");
        let patched = server.ask(rest).await;
        assert_eq!((patched.status, patched.range()), (202, "0-1999999"), "chunked: {chunked}");
        let target = format!("{location}?digest={}", digest_of(&layer));
        assert_eq!(server.ask(put(target, "")).await.status, 201);
    }
}

/// A client that only closes its sending side is told what is wrong.
#[tokio::test]
async fn a_body_that_ends_early_is_refused() {
    let server = Server::open().await;
    let location = start(&server).await;
    let mut client = server.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")).await;
    client.half_close().await;
    assert_eq!(client.reply(false).await.refusal(), (400, "BLOB_UPLOAD_INVALID".into()));
    eventually(async || server.ask(get(location.as_str())).await.range() == "0-4").await;
}

/// A session survives a restart of the server.
#[tokio::test]
async fn a_session_outlives_the_process() {
    let server = Server::open().await;
    let location = start(&server).await;
    server.ask(patch(location.as_str(), "hello ")).await;
    let server = server.restart_as(Setup::default()).await;
    assert_eq!(server.ask(get(location.as_str())).await.range(), "0-5");
    assert_eq!(server.ask(put(format!("{location}?digest={LAYER_DIGEST}"), "world")).await.status, 201);
}

/// A client whose connection died comes back on another: the newer request has the session.
#[tokio::test]
async fn the_newer_of_two_requests_has_the_session() {
    let server = Server::open().await;
    let location = start(&server).await;
    let mut older = server.connect().await;
    older
        .send(format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    // The server asks for the body: it has the session.
    older.wait_for(b"HTTP/1.1 100 Continue\r\n\r\n".len()).await;
    older.send("hello ").await;
    let mut newer = server.connect().await;
    newer.send(format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")).await;
    let refused = older.reply(false).await;
    assert_eq!(refused.refusal(), (409, "BLOB_UPLOAD_INVALID".into()));
    newer.send("world").await;
    let patched = newer.reply(false).await;
    assert_eq!(patched.status, 202);
    // What the older one had got through before it was stopped is in front, whole.
    let held = patched.range().to_owned();
    assert!(["0-10", "0-4"].contains(&held.as_str()), "{held}");
    let content: &[u8] = if held == "0-10" { LAYER } else { b"world" };
    let target = format!("{location}?digest={}", digest_of(content));
    assert_eq!(server.ask(put(target, "")).await.status, 201);
}

/// Cancelling stops whoever is writing.
#[tokio::test]
async fn a_cancel_stops_the_writer() {
    let server = Server::open().await;
    let location = start(&server).await;
    let mut writer = server.connect().await;
    writer
        .send(format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    writer.wait_for(b"HTTP/1.1 100 Continue\r\n\r\n".len()).await;
    assert_eq!(server.ask(delete(location.as_str())).await.status, 204);
    assert_eq!(writer.reply(false).await.status, 409);
    assert_eq!(server.ask(get(location.as_str())).await.status, 404);
}

#[tokio::test]
async fn a_read_only_registry_takes_nothing_and_serves_on() {
    let server = Server::open().await;
    let location = start(&server).await;
    let digest = server.push_image("lab/app", "one").await;
    let server = server.restart_as(Setup { read_only: true, ..Setup::default() }).await;
    for request in [
        post("/v2/lab/app/blobs/uploads/", ""),
        post(format!("/v2/lab/app/blobs/uploads/?digest={LAYER_DIGEST}"), LAYER),
        post(format!("/v2/lab/new/blobs/uploads/?mount={LAYER_DIGEST}&from=lab/app"), ""),
        patch(location.as_str(), "x"),
        put(format!("{location}?digest={LAYER_DIGEST}"), "x"),
        delete(location.as_str()),
        put("/v2/lab/app/manifests/two", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST),
        delete("/v2/lab/app/manifests/one"),
        delete(format!("/v2/lab/app/manifests/{digest}")),
        delete(format!("/v2/lab/app/blobs/{LAYER_DIGEST}")),
    ] {
        let reply = server.ask(request).await;
        assert_eq!(reply.refusal(), (405, "UNSUPPORTED".into()));
        assert_eq!(
            reply.json()["errors"][0]["detail"],
            "this registry is read-only at the moment (storage.maintenance.readonly); pull, or wait until its operator ends that"
        );
    }
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await.status, 200);
}
