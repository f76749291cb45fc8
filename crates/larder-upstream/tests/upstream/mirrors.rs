use larder_core::{Upstream as _, UpstreamFailure};
use larder_upstream::RemoteRegistry;
use tokio::net::TcpListener;

use crate::support::*;

/// A URL where nobody listens.
async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn the_next_url_is_asked_when_the_one_before_fails_and_then_first() {
    let good = Peer::start(|_| Reply::manifest("{}")).await;
    let bad = Peer::start(|_| Reply::new(503)).await;
    let client = RemoteRegistry::new(settings_of([dead().await, bad.url(), good.url()])).unwrap();
    manifest(&client).await.unwrap().unwrap();
    manifest(&client).await.unwrap().unwrap();
    // The two that failed rest.
    let manifests = |peer: &Peer| peer.lines().iter().filter(|line| line.contains("manifests")).count();
    assert_eq!((manifests(&bad), manifests(&good)), (1, 2));
    let snapshot = client.snapshot();
    assert_eq!(snapshot.urls[0].url, good.url());
    assert!(snapshot.urls[0].first_byte.is_some() && snapshot.urls[0].resting.is_none());
    assert!(snapshot.urls[1].resting.is_some() && snapshot.urls[2].resting.is_some());
    let failures: Vec<String> = snapshot.urls.iter().filter_map(|url| url.last_failure.clone()).collect();
    assert!(failures.iter().any(|words| words.contains("can't be reached")), "{failures:?}");
}

#[tokio::test]
async fn one_that_lacks_it_is_not_the_last_word() {
    let lacks = Peer::start(|_| Reply::new(404)).await;
    let has = Peer::start(|_| Reply::manifest("{}")).await;
    let client = RemoteRegistry::new(settings([&lacks, &has])).unwrap();
    manifest(&client).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_outage_is_never_a_not_there() {
    let lacks = Peer::start(|_| Reply::new(404)).await;
    for urls in [[lacks.url(), dead().await], [dead().await, lacks.url()]] {
        let client = RemoteRegistry::new(settings_of(urls)).unwrap();
        let error = manifest(&client).await.unwrap_err();
        assert_eq!(error.failure, UpstreamFailure::Unreachable);
    }
    let client = RemoteRegistry::new(settings([&lacks])).unwrap();
    assert!(manifest(&client).await.unwrap().is_none());
}

#[tokio::test]
async fn a_blob_that_breaks_off_goes_on_at_another_url() {
    let whole = b"0123456789";
    let cut = Peer::start(|_| Reply::ok(*whole).cut_after(4)).await;
    let good = Peer::start(|request| match request.header("range") {
        Some("bytes=4-") => Reply::new(206).body("456789").with("content-range", "bytes 4-9/10"),
        _ => Reply::new(400),
    })
    .await;
    let client = RemoteRegistry::new(settings([&cut, &good])).unwrap();
    let mut first = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
    let (mut bytes, error) = drain(&mut first).await;
    assert_eq!(error.unwrap().failure, UpstreamFailure::Cut);
    let mut rest = client.blob(&repository(), &blob(), bytes.len() as u64).await.unwrap().unwrap();
    let (more, error) = drain(&mut rest).await;
    assert!(error.is_none());
    bytes.extend(more);
    assert_eq!(bytes, whole);
}

#[tokio::test]
async fn others_are_measured_by_a_small_question_once_somebody_asks() {
    let first = Peer::start(|_| Reply::manifest("{}")).await;
    let second = Peer::start(|_| Reply::ok("{}")).await;
    let client = RemoteRegistry::new(settings([&first, &second])).unwrap();
    manifest(&client).await.unwrap().unwrap();
    let measured = async {
        while client.snapshot().urls.iter().any(|url| url.first_byte.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), measured).await.unwrap();
    assert_eq!(second.lines(), ["GET /v2/"]);
}
