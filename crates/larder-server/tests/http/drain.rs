//! Stopping: running requests end well, nothing new is taken, and what takes too long is reported.

use std::io::ErrorKind;
use std::time::Duration;

use larder_server::ServeError;
use tokio::net::TcpStream;

use crate::support::*;

/// A PATCH that has begun: the server has asked for its body.
async fn running_upload(server: &Server) -> (Client, String) {
    let location = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
    let mut client = server.connect().await;
    client
        .send(format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    client.wait_for(b"HTTP/1.1 100 Continue\r\n\r\n".len()).await;
    client.send("hello ").await;
    (client, location)
}

#[tokio::test]
async fn a_running_upload_ends_well() {
    let server = Server::open().await;
    let (mut upload, location) = running_upload(&server).await;
    server.stop.cancel();
    // The port is given back while the upload still runs.
    eventually(async || match TcpStream::connect(server.address).await {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(_) => false,
    })
    .await;
    upload.send("world").await;
    let patched = upload.reply(false).await;
    assert_eq!((patched.status, patched.range()), (202, "0-10"));
    assert_eq!(patched.header("Connection"), Some("close"));
    assert!(upload.is_closed().await);
    let directory = server.ended().await.unwrap();
    // And the next process goes on with it.
    let server = Setup::default().start_in(directory).await;
    assert_eq!(server.ask(put(format!("{location}?digest={LAYER_DIGEST}"), "")).await.status, 201);
}

#[tokio::test]
async fn a_running_download_ends_well() {
    let server = Server::open().await;
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 239) as u8).collect();
    let digest = server.push_blob("lab/app", &bytes).await;
    let mut client = server.connect().await;
    client.send(get(format!("/v2/lab/app/blobs/{digest}")).to_bytes()).await;
    client.wait_for(1000).await;
    server.stop.cancel();
    assert!(client.reply(false).await.body == bytes);
    server.ended().await.unwrap();
}

#[tokio::test]
async fn connections_without_a_request_hold_nothing_up() {
    let server = Server::open().await;
    let mut fresh = server.connect().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.ask(&get("/v2/")).await.status, 200);
    let mut half_a_head = server.connect().await;
    half_a_head.send("GET /v2/ HTTP/1.1\r\nHo").await;
    server.stop.cancel();
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(half_a_head.is_closed().await);
    server.ended().await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_was_only_begun_holds_nothing_up() {
    let server = Setup { tls: true, ..Setup::default() }.start().await;
    let mut fresh = server.connect().await;
    let mut begun = server.connect().await;
    begun.send([0x16, 0x03, 0x01]).await;
    server.stop.cancel();
    assert!(fresh.is_closed().await);
    begun.rest().await;
    server.ended().await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_cut_and_reported() {
    let server = Setup { drain: Duration::from_millis(20), ..Setup::default() }.start().await;
    let (_upload, _) = running_upload(&server).await;
    server.stop.cancel();
    let error = server.ended().await.unwrap_err();
    assert!(matches!(error, ServeError::DrainTimeout { connections: 1, seconds: 0 }), "{error}");
    assert_eq!(error.to_string(), "1 connections were still busy after 0 s and were cut");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let server = Server::open().await;
    let again = larder_server::BoundServer::bind("127.0.0.1", server.address.port(), None).await;
    let error = again.err().expect("the port is taken");
    assert_eq!(
        error.to_string(),
        format!(
            "can't listen on 127.0.0.1:{}; choose another address with http.addr or REGISTRY_HTTP_ADDR",
            server.address.port()
        )
    );
}
