use std::time::{Duration, Instant};

use larder_core::{LONGEST_MANIFEST, Upstream as _, UpstreamFailure};
use larder_upstream::RemoteRegistry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::*;

#[tokio::test]
async fn each_refusal_is_told_apart_with_the_upstreams_own_words() {
    for (status, failure) in [
        (401, UpstreamFailure::Unauthorized),
        (403, UpstreamFailure::Denied),
        (400, UpstreamFailure::Failed { status: 400 }),
        (500, UpstreamFailure::Failed { status: 500 }),
        (503, UpstreamFailure::Failed { status: 503 }),
    ] {
        let body = r#"{"errors":[{"code":"X","message":"because\r\nof this"}]}"#;
        let peer = Peer::start(move |_| Reply::new(status).body(body)).await;
        let error = manifest(&peer.client()).await.unwrap_err();
        assert_eq!(error.failure, failure, "{status}");
        assert!(error.detail.contains("(becauseof this)"), "{error}");
        assert!(error.detail.starts_with(&peer.address.to_string()), "{error}");
        assert_eq!((&*error.upstream, &*error.host), ("lab", peer.address.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_black_hole_is_given_up_in_time() {
    // Connections are taken by the kernel, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings_of([format!("http://{}", listener.local_addr().unwrap())]);
    settings.answer_timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(error.detail.ends_with("gave no answer in 0.3 s"), "{error}");
}

#[tokio::test]
async fn a_name_that_nobody_knows_and_a_port_where_nobody_listens_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [dead, "http://nobody.invalid".to_owned()] {
        let error = manifest(&RemoteRegistry::new(settings_of([url.clone()])).unwrap()).await.unwrap_err();
        assert_eq!(error.failure, UpstreamFailure::Unreachable, "{url}: {error}");
    }
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_is_said_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = manifest(&RemoteRegistry::new(settings_of([url])).unwrap()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Tls, "{error}");
}

#[tokio::test]
async fn a_blob_that_is_cut_or_falls_silent_is_told_apart_from_its_end() {
    let cut = Peer::start(|_| Reply::ok("0123456789").cut_after(4)).await;
    let silent = Peer::start(|_| Reply::ok("0123456789").stall_after(4)).await;
    for (peer, words) in [(cut, "broke the connection off"), (silent, "has sent nothing for 0.3 s")] {
        let client = peer.client();
        let mut stream = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
        let (bytes, error) = drain(&mut stream).await;
        let error = error.unwrap();
        assert_eq!((bytes.as_slice(), error.failure), (b"0123".as_slice(), UpstreamFailure::Cut));
        assert!(error.detail.contains(words), "{error}");
        assert!(client.snapshot().urls[0].resting.is_some());
    }
}

#[tokio::test]
async fn a_manifest_beyond_all_measure_is_not_read_to_its_end() {
    let peer = Peer::start(|_| Reply::manifest(&"x".repeat(LONGEST_MANIFEST + 1))).await;
    let error = manifest(&peer.client()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Garbled);
}

#[tokio::test]
async fn a_dropped_question_is_withdrawn_and_gives_its_turn_back() {
    let silent = Peer::start(|_| Reply::ok("0123456789").stall_after(0)).await;
    let mut settings = silent.settings();
    settings.concurrency = 1;
    let client = RemoteRegistry::new(settings).unwrap();
    for _ in 0..3 {
        let stream = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
        assert_eq!(stream.size, Some(10));
    }
}
