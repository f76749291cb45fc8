//! One line per request, in Apache's combined format.

use crate::support::*;

#[tokio::test]
async fn lines() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let before = server.logged(2).await;
    assert_eq!(
        before[0],
        format!(
            "127.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \
             \"POST /v2/lab/app/blobs/uploads/?digest={CONFIG_DIGEST} HTTP/1.1\" 201 0 \"\" \"\""
        )
    );
    let blob = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    let requests = [
        (
            get(blob.as_str()).with("User-Agent", "docker/20.10 go \\(linux\\)"),
            200,
            11,
            "docker/20.10 go \\\\(linux\\\\)",
        ),
        (get(blob.as_str()).with("Range", "bytes=-5"), 206, 5, ""),
        (head(blob.as_str()), 200, 0, ""),
        (get(blob.as_str()).with("If-None-Match", "*"), 304, 0, ""),
        (get("/v2/"), 200, 2, ""),
        (get("/nothing"), 404, 19, ""),
        (get("/v2/x?a=%22b").with("User-Agent", "a\"b"), 404, 301, "a\\\"b"),
    ];
    for (at, (request, status, bytes, agent)) in requests.into_iter().enumerate() {
        let line = request_line(&request);
        let reply = server.ask(request).await;
        assert_eq!(reply.status, status, "{line}");
        let lines = server.logged(3 + at).await;
        assert_eq!(
            lines[2 + at],
            format!(
                "127.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \"{line}\" {status} {bytes} \"\" \"{agent}\""
            )
        );
    }
}

fn request_line(request: &Request) -> String {
    String::from_utf8(request.to_bytes()).unwrap().lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_download_that_breaks_off_is_logged_with_what_was_sent() {
    let server = Server::open().await;
    let digest = server.push_blob("lab/app", vec![7; 40_000_000]).await;
    let mut client = server.connect().await;
    client.send(get(format!("/v2/lab/app/blobs/{digest}")).to_bytes()).await;
    client.wait_for(300_000).await;
    drop(client);
    let lines = server.logged(2).await;
    let mut words = lines[1].split(' ').skip(8);
    assert_eq!(words.next(), Some("200"), "{}", lines[1]);
    let sent: u64 = words.next().unwrap().parse().unwrap();
    assert!((300_000..40_000_000).contains(&sent), "{}", lines[1]);
}

#[tokio::test]
async fn secrets_stay_out() {
    let server = Setup::gate(GateKind::Tokens).start().await;
    server.ask(get("/v2/").basic(ALICE.0, ALICE.1).with("Referer", "http://a/")).await;
    let form = post("/auth/token", "grant_type=password&username=alice&password=pass%3Aword")
        .with("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(server.ask(form).await.status, 200);
    for line in server.logged(2).await {
        assert!(!line.contains("pass") && !line.contains(&base64("alice:pass:word")), "{line}");
    }
}
