//! Protocols and connections: TLS, HTTP/2, keep-alive, the wrong protocol on a port.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// The head of a real ClientHello: a handshake record of TLS 1.0, as every client sends it first.
const CLIENT_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03];

/// docker and podman always try TLS first. Without an answer they would wait ten seconds on each operation.
#[tokio::test]
async fn tls_on_the_plain_port_is_answered_at_once() {
    let server = Server::open().await;
    let mut client = server.connect().await;
    client.send(CLIENT_HELLO).await;
    client.half_close().await;
    let (answer, orderly) = client.rest().await;
    assert!(orderly);
    assert_eq!(
        String::from_utf8(answer).unwrap(),
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
         Client sent an HTTPS request to an HTTP server.\n"
    );
    // Also to a client that keeps its side open and waits.
    let mut client = server.connect().await;
    client.send(&CLIENT_HELLO[..1]).await;
    client.wait_for(12).await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port() {
    let server = Setup { tls: true, ..Setup::default() }.start().await;
    let mut client = server.connect().await;
    client.send(get("/v2/").to_bytes()).await;
    let (answer, orderly) = client.rest().await;
    assert!(orderly);
    assert_eq!(
        String::from_utf8(answer).unwrap(),
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
    let address = server.address.to_string();
    assert!(larder_server::probe(&address, "/healthz").await.unwrap());
}

async fn tls(server: &Server, protocols: &[&[u8]]) -> TlsStream<tokio::net::TcpStream> {
    let certificate = CertificateDer::from_pem_file(server.directory.path().join("certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, server.tcp().await)).await.unwrap()
}

/// Most clients offer no ALPN and speak HTTP/1.1.
#[tokio::test]
async fn http_1_over_tls() {
    let mut setup = Setup::gate(GateKind::Tokens);
    setup.tls = true;
    let server = setup.start().await;
    for protocols in [&[] as &[&[u8]], &[b"http/1.1"]] {
        let mut client = Client::over(tls(&server, protocols).await);
        let reply = client.ask(&get("/v2/").with("Host", "reg.lab:5000")).await;
        assert_eq!(
            reply.header("Www-Authenticate"),
            Some("Bearer realm=\"https://reg.lab:5000/auth/token\",service=\"registry.lab\"")
        );
        assert_eq!(client.ask(&get("/healthz")).await.text(), "ok\n");
    }
}

/// Pushes and pulls a blob and provokes a refusal; gives the blob.
async fn over_http_2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, base: &str) -> Vec<u8> {
    let (client, connection) = within(h2::client::handshake(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut client = within(client.clone().ready()).await.unwrap();
        let mut request = http::Request::builder().method(method).uri(format!("{base}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
        sending.send_data(Bytes::copy_from_slice(body), true).unwrap();
        let (head, mut incoming) = within(answer).await.unwrap().into_parts();
        let mut received = Vec::new();
        while let Some(piece) = within(incoming.data()).await {
            let piece = piece.unwrap();
            incoming.flow_control().release_capacity(piece.len()).unwrap();
            received.extend(piece);
        }
        (head, received)
    };
    let layer: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 241) as u8).collect();
    let digest = digest_of(&layer);
    let (head, _) = ask("POST", "/v2/lab/app/blobs/uploads/", &[], b"").await;
    assert_eq!(head.status, 202);
    let location = head.headers["location"].to_str().unwrap().to_owned();
    let (head, _) = ask("PATCH", &location, &[], &layer).await;
    assert_eq!((head.status.as_u16(), head.headers["range"].to_str().unwrap()), (202, "0-2999999"));
    let (head, _) = ask("PUT", &format!("{location}?digest={digest}"), &[], b"").await;
    assert_eq!(head.status, 201);
    let path = format!("/v2/lab/app/blobs/{digest}");
    let (head, body) = ask("HEAD", &path, &[], b"").await;
    assert_eq!((head.headers["content-length"].to_str().unwrap(), body.len()), ("3000000", 0));
    // The long Range header of containers/image, which is larger than h2's default list of headers.
    let ranges: Vec<String> = (0..1024).map(|at| format!("{:012}-{:012}", at * 2000, at * 2000)).collect();
    let (head, _) = ask("GET", &path, &[("range", &format!("bytes={}", ranges.join(",")))], b"").await;
    assert_eq!(head.status, 206);
    let (head, _) = ask("GET", "/v2/lab/app/manifests/none", &[], b"").await;
    assert_eq!(head.status, 404);
    let gets = tokio::join!(ask("GET", &path, &[], b""), ask("GET", &path, &[], b""));
    assert!(gets.0.1 == layer && gets.1.1 == layer);
    assert_eq!(gets.0.0.headers["docker-content-digest"], digest.as_str());
    driver.abort();
    layer
}

#[tokio::test]
async fn http_2_over_tls() {
    let server = Setup { tls: true, ..Setup::default() }.start().await;
    let stream = tls(&server, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    over_http_2(stream, "https://localhost").await;
}

#[tokio::test]
async fn http_2_in_the_clear_by_prior_knowledge() {
    let server = Server::open().await;
    let layer = over_http_2(server.tcp().await, "http://registry.lab").await;
    let got = server.ask(get(format!("/v2/lab/app/blobs/{}", digest_of(&layer)))).await;
    assert!(got.body == layer);
}

#[tokio::test]
async fn requests_in_a_row_and_in_one_piece() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await.body, LAYER);
        assert_eq!(client.ask(&get("/v2/lab/app/manifests/none")).await.status, 404);
        assert_eq!(client.ask(&head("/v2/lab/app/manifests/one")).await.status, 200);
    }
    let pipelined: Vec<u8> = [
        get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}")),
        head("/v2/lab/app/manifests/one"),
        post("/v2/lab/app/blobs/uploads/", ""),
        get("/v2/_catalog"),
    ]
    .iter()
    .flat_map(Request::to_bytes)
    .collect();
    client.send(pipelined).await;
    assert_eq!(client.reply(false).await.body, LAYER);
    assert_eq!(client.reply(true).await.status, 200);
    assert_eq!(client.reply(false).await.status, 202);
    assert_eq!(client.reply(false).await.text(), "{\"repositories\":[\"lab/app\"]}\n");
}

/// A proxy keeps its connections, and sends the next client's request on one that it wasn't told the end of.
#[tokio::test]
async fn an_answer_before_the_end_of_a_body_says_that_the_connection_ends() {
    let server = Server::open().await;
    let nobodys = "/v2/lab/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    for rest_of_head in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut client = server.connect().await;
        client.send(format!("PATCH {nobodys} HTTP/1.1\r\nHost: a\r\n{rest_of_head}\r\n\r\n")).await;
        let refused = client.reply(false).await;
        assert_eq!((refused.status, refused.header("Connection")), (404, Some("close")), "{rest_of_head}");
        assert!(client.is_closed().await);
    }
    // What has no body, or came whole, leaves the connection as it is.
    let mut client = server.connect().await;
    for request in [put(nobodys, ""), put("/v2/lab/app/manifests/v1", "{}"), get("/v2/lab/app/manifests/v1")]
    {
        let refused = client.ask(&request).await;
        assert!(
            (400..500).contains(&refused.status) && refused.header("Connection").is_none(),
            "{request:?}"
        );
    }
}

/// containerd 1.6 hangs for ever when it is told, while it sends, that its connection ends.
#[tokio::test]
async fn who_sends_on_is_heard_out_before_a_refusal_and_keeps_the_connection() {
    let server = Server::open().await;
    let nobodys = "/v2/lab/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let piece = vec![b'a'; 50_000];
    let in_chunks = [b"c350\r\n".as_slice(), &piece, b"\r\n"].concat();
    for (rest_of_head, pieces) in [
        ("Content-Length: 150000", [piece.as_slice(); 3].concat()),
        ("Transfer-Encoding: chunked", [&in_chunks, &in_chunks, b"0\r\n\r\n".as_slice()].concat()),
    ] {
        let mut client = server.connect().await;
        for _ in 0..2 {
            client.send(format!("PATCH {nobodys} HTTP/1.1\r\nHost: a\r\n{rest_of_head}\r\n\r\n")).await;
            client.send(pieces.as_slice()).await;
            let refused = client.reply(false).await;
            assert_eq!((refused.status, refused.header("Connection")), (404, None), "{rest_of_head}");
        }
        // Nobody is told to send what nobody needs.
        let waits = "Content-Length: 100000\r\nExpect: 100-continue";
        client.send(format!("PATCH {nobodys} HTTP/1.1\r\nHost: a\r\n{waits}\r\n\r\n")).await;
        let refused = client.reply(false).await;
        assert_eq!((refused.status, refused.header("Connection")), (404, Some("close")));
    }
}

#[tokio::test]
async fn connections_end_when_the_client_says_so() {
    let server = Server::open().await;
    let mut client = server.connect().await;
    let reply = client.ask(&get("/v2/").with("Connection", "close")).await;
    assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
    assert!(client.is_closed().await);
    // HTTP/1.0 closes unless told otherwise: health checks speak it.
    let mut client = server.connect().await;
    client.send("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.reply(false).await.text(), "ok\n");
    assert!(client.is_closed().await);
    assert!(larder_server::probe(&server.address.to_string(), "/healthz").await.unwrap());
    assert!(!larder_server::probe(&server.address.to_string(), "/nothing").await.unwrap());
    // A client that closes its sending side still reads its answer.
    let mut client = server.connect().await;
    client.send(get("/v2/").to_bytes()).await;
    client.half_close().await;
    assert_eq!(client.reply(false).await.text(), "{}");
    assert!(client.is_closed().await);
}

/// Who connects and then says nothing, or not enough to tell which protocol it is, must not hold his place for
/// ever: ten thousand of them would be all that there are.
#[tokio::test]
async fn a_silent_client_loses_its_place() {
    let plain = Server::open().await;
    let secure = Setup { tls: true, ..Setup::default() }.start().await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET /v2/ HTTP/1.1\r\nHost"] {
        for server in [&plain, &secure] {
            let mut client = if server.address == plain.address {
                server.connect().await
            } else {
                Client::over(tls(server, &[]).await)
            };
            client.send(beginning).await;
            // Whoever is served meanwhile was accepted later.
            assert_eq!(plain.ask(get("/healthz")).await.status, 200);
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(121)).await;
            tokio::time::resume();
            assert!(client.is_closed().await, "{beginning:?}");
        }
    }
}

/// Go clients keep theirs for 90 seconds: so it is they who close, and no request meets a closing connection.
#[tokio::test]
async fn an_idle_connection_lives_longer_than_clients_keep_it() {
    let server = Server::open().await;
    let mut client = server.connect().await;
    let mut pass = async |seconds: u64| {
        assert_eq!(client.ask(&get("/v2/")).await.status, 200);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    pass(95).await;
    pass(95).await;
    pass(121).await;
    assert!(client.is_closed().await);
}

/// What clients send in the head counts in any spelling.
#[tokio::test]
async fn header_names_in_any_case() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let mut client = server.connect().await;
    client
        .send(format!("GET /v2/lab/app/blobs/{LAYER_DIGEST} HTTP/1.1\r\nhOST:registry.lab\r\nrAnGe:   bytes=0-1  \r\n\r\n"))
        .await;
    assert_eq!(client.reply(false).await.text(), "he");
}

/// A file that ends early while it is sent: the client must not take what it got for the whole.
#[tokio::test]
async fn a_truncated_blob_cuts_the_connection() {
    let server = Server::open().await;
    let bytes: Vec<u8> = (0..40_000_000_u32).map(|at| (at % 239) as u8).collect();
    let digest = server.push_blob("lab/app", &bytes).await;
    let mut client = server.connect().await;
    client.send(get(format!("/v2/lab/app/blobs/{digest}")).to_bytes()).await;
    client.wait_for(100_000).await;
    // More than the sockets' buffers hold is still to come.
    let file = std::fs::File::options().write(true).open(server.blob_path(&digest.parse().unwrap())).unwrap();
    file.set_len(30_000_000).unwrap();
    let (received, _) = client.rest().await;
    let head = String::from_utf8_lossy(&received[..300]).into_owned();
    assert!(head.contains("\r\nContent-Length: 40000000\r\n"), "{head}");
    assert!(received.len() < 31_000_000, "{}", received.len());
    // The server lives.
    assert_eq!(server.ask(get("/v2/")).await.status, 200);
}
