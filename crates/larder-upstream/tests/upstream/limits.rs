use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_core::{Allowance, Upstream as _, UpstreamFailure};
use larder_upstream::{AccountSettings, CredentialSource, Quirks, RemoteRegistry, Secret};

use crate::support::*;

fn hub(reply: Reply, remaining: u64) -> Reply {
    reply
        .with("ratelimit-limit", "100;w=21600")
        .with("ratelimit-remaining", format!("{remaining};w=21600"))
        .with("docker-ratelimit-source", "192.0.2.7")
}

/// Counts `GET`s of manifests as Docker Hub does.
async fn limited(first: u64) -> Peer {
    let left = AtomicU64::new(first);
    Peer::start(move |request| {
        if request.method == "HEAD" {
            return hub(Reply::manifest("{}"), left.load(Ordering::SeqCst));
        }
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match before {
            Ok(left) => hub(Reply::manifest("{}"), left - 1),
            Err(_) => {
                hub(Reply::new(429).body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}"#), 0)
            }
        }
    })
    .await
}

fn as_hub(peer: &Peer) -> std::sync::Arc<RemoteRegistry> {
    let mut settings = peer.settings();
    settings.quirks = Quirks { only_manifest_gets_count: true, ..Quirks::default() };
    RemoteRegistry::new(settings).unwrap()
}

#[tokio::test]
async fn what_is_left_is_read_from_every_answer_and_shown() {
    let peer = limited(77).await;
    let client = as_hub(&peer);
    assert_eq!(client.allowance(&repository()), Allowance::Plenty);
    client.head_manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
    let of = |client: &RemoteRegistry| client.snapshot().urls[0].accounts[0].clone();
    assert_eq!((of(&client).limit, of(&client).remaining), (Some(100), Some(77)));
    assert_eq!(of(&client).window, Some(Duration::from_secs(21600)));
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(of(&client).remaining, Some(76));
    assert_eq!(of(&client).label, "anonymous");
}

#[tokio::test]
async fn near_the_end_it_is_scarce_and_at_zero_nothing_that_counts_is_asked() {
    let peer = limited(2).await;
    let client = as_hub(&peer);
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(client.allowance(&repository()), Allowance::Scarce);
    manifest(&client).await.unwrap().unwrap();
    assert!(matches!(client.allowance(&repository()), Allowance::Spent { .. }));
    let before = peer.asked().len();
    let error = manifest(&client).await.unwrap_err();
    let UpstreamFailure::RateLimited { retry_after: Some(pause) } = error.failure else {
        panic!("{error:?}")
    };
    assert!(pause > Duration::from_secs(200) && pause <= Duration::from_secs(300), "{pause:?}");
    assert!(error.detail.contains("rate limit that anonymous has used up"), "{error}");
    assert_eq!(peer.asked().len(), before);
    // HEAD costs nothing there, and blobs don't either.
    client.head_manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
    assert_eq!(peer.asked().len(), before + 1);
}

#[tokio::test]
async fn a_429_says_when_to_come_back_and_nobody_asks_before() {
    let peer = Peer::start(|_| {
        Reply::new(429)
            .with("retry-after", "37")
            .body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"Data limit exceeded"}]}"#)
    })
    .await;
    let client = peer.client();
    let error = manifest(&client).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::RateLimited { retry_after: Some(Duration::from_secs(37)) });
    assert!(error.detail.ends_with("(Data limit exceeded)"), "{error}");
    for _ in 0..3 {
        client.blob(&repository(), &blob(), 0).await.err().unwrap();
        client.head_manifest(&repository(), &tag("latest")).await.unwrap_err();
    }
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn several_accounts_take_turns_and_one_that_is_used_up_is_passed_over() {
    let left = [AtomicU64::new(10), AtomicU64::new(30)];
    let peer = Peer::start(move |request| {
        let Some(header) = request.header("authorization") else { return Reply::challenge("Basic") };
        let left = if header == "Basic YTpw" { &left[0] } else { &left[1] };
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(before) => hub(Reply::manifest("{}"), before - 1),
            Err(_) => hub(Reply::new(429), 0),
        }
    })
    .await;
    let mut settings = peer.settings();
    settings.accounts = ["a", "b"]
        .map(|name| AccountSettings {
            repositories: Vec::new(),
            hosts: Vec::new(),
            source: CredentialSource::Password {
                username: name.to_owned(),
                password: Secret::from("p".to_owned()),
            },
        })
        .into();
    let client = RemoteRegistry::new(settings).unwrap();
    for _ in 0..40 {
        manifest(&client).await.unwrap().unwrap();
    }
    let of = |name: &str| {
        let accounts = client.snapshot().urls[0].accounts.clone();
        accounts.into_iter().find(|account| account.label == name).unwrap().remaining
    };
    assert_eq!((of("a"), of("b")), (Some(0), Some(0)));
    let error = manifest(&client).await.unwrap_err();
    assert!(matches!(error.failure, UpstreamFailure::RateLimited { .. }), "{error:?}");
}
