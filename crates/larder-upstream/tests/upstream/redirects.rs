use larder_core::{Upstream as _, UpstreamFailure};
use larder_upstream::{AccountSettings, CredentialSource, RemoteRegistry, Secret};

use crate::support::*;

#[tokio::test]
async fn a_cdn_on_another_port_sees_no_credentials() {
    let cdn = Peer::start(|_| Reply::ok("abc")).await;
    let location = format!("{}/signed?x=1", cdn.url());
    let peer = Peer::start(move |request| match request.header("authorization") {
        Some(_) => Reply::new(307).with("location", location.clone()),
        None => Reply::challenge("Basic"),
    })
    .await;
    let mut settings = peer.settings();
    let source =
        CredentialSource::Password { username: "u".to_owned(), password: Secret::from("p".to_owned()) };
    settings.accounts = vec![AccountSettings { repositories: Vec::new(), hosts: Vec::new(), source }];
    let client = RemoteRegistry::new(settings).unwrap();
    let mut stream = client.blob(&repository(), &blob(), 1).await.unwrap().unwrap();
    assert_eq!(drain(&mut stream).await.0, b"abc");
    let asked = &cdn.asked()[0];
    assert_eq!(asked.line(), "GET /signed?x=1");
    assert_eq!((asked.header("authorization"), asked.header("referer")), (None, None));
    assert_eq!(asked.header("range"), Some("bytes=1-"));
}

#[tokio::test]
async fn a_redirect_on_the_same_origin_keeps_them() {
    let peer = Peer::start(|request| match (request.header("authorization"), request.target.as_str()) {
        (None, _) => Reply::challenge("Basic"),
        (Some(_), "/elsewhere") => Reply::manifest("{}"),
        (Some(_), _) => Reply::new(302).with("location", "/elsewhere"),
    })
    .await;
    let mut settings = peer.settings();
    let source =
        CredentialSource::Password { username: "u".to_owned(), password: Secret::from("p".to_owned()) };
    settings.accounts = vec![AccountSettings { repositories: Vec::new(), hosts: Vec::new(), source }];
    manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_redirect_into_a_private_range_is_not_followed_unless_its_host_is_written_down() {
    let inside = Peer::start_at("127.0.0.3:0", |_| Reply::manifest("{}")).await;
    let location = inside.url();
    let peer = Peer::start(move |_| Reply::new(307).with("location", location.clone())).await;
    let error = manifest(&peer.client()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Garbled);
    assert!(error.detail.contains("127.0.0.3"), "{error}");
    assert!(inside.asked().is_empty());
    let mut settings = peer.settings();
    settings.hosts = vec!["127.0.0.3".to_owned()];
    manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_name_that_leads_into_a_private_range_is_not_dialled() {
    // `localhost` is a name here that is not written down, and resolves to this machine.
    let inside = Peer::start(|_| Reply::manifest("{}")).await;
    let location = format!("http://localhost:{}/", inside.address.port());
    let peer = Peer::start(move |_| Reply::new(307).with("location", location.clone())).await;
    let error = manifest(&peer.client()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Unreachable);
    assert!(inside.asked().is_empty());
}

#[tokio::test]
async fn a_circle_ends() {
    let peer = Peer::start(|_| Reply::new(302).with("location", "/again")).await;
    let error = manifest(&peer.client()).await.unwrap_err();
    assert!(error.detail.ends_with("redirects in a circle"), "{error}");
    assert_eq!(peer.asked().len(), 6);
}

#[tokio::test]
async fn what_a_cdn_refuses_says_nothing_about_our_login_or_the_repository() {
    for status in [401, 403, 404, 429] {
        let cdn = Peer::start(move |_| Reply::new(status).with("www-authenticate", "Basic")).await;
        let location = format!("{}/expired", cdn.url());
        let peer = Peer::start(move |_| Reply::new(307).with("location", location.clone())).await;
        let client = peer.client();
        let error = client.blob(&repository(), &blob(), 0).await.err().unwrap();
        assert_eq!(error.failure, UpstreamFailure::Failed { status });
        assert!(error.detail.contains(&format!("redirects to {}", cdn.address)), "{error}");
        assert_eq!(cdn.asked().len(), 1);
        assert_eq!(client.snapshot().urls[0].accounts[0].renews_in, None);
    }
}

#[tokio::test]
async fn a_manifest_that_is_missing_where_all_manifests_are_is_missing() {
    let backend = Peer::start(|_| Reply::new(404)).await;
    let location = format!("{}/v2/k8s/manifests/x", backend.url());
    let peer = Peer::start(move |_| Reply::new(307).with("location", location.clone())).await;
    assert!(manifest(&peer.client()).await.unwrap().is_none());
}
