use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_core::{Upstream as _, UpstreamFailure};
use larder_upstream::{AccountSettings, CredentialSource, RemoteRegistry, Secret};

use crate::support::*;

fn user(name: &str) -> AccountSettings {
    let source =
        CredentialSource::Password { username: name.to_owned(), password: Secret::from("pw".to_owned()) };
    AccountSettings { repositories: Vec::new(), hosts: Vec::new(), source }
}

fn basic(name: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:pw")))
}

/// A token server that numbers its tokens.
async fn token_server() -> Peer {
    let count = AtomicUsize::new(0);
    Peer::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::ok(format!(r#"{{"token":"t{number}","expires_in":300}}"#))
    })
    .await
}

fn bearer(realm: &str) -> String {
    format!(r#"Bearer realm="{realm}/token",service="lab",scope="repository:user/image:pull""#)
}

/// A registry that believes the tokens for which this says so.
async fn registry(realm: String, believes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Peer {
    Peer::start(move |request| match request.header("authorization") {
        Some(header) if believes(header) => Reply::manifest("{}"),
        _ => Reply::challenge(bearer(&realm)),
    })
    .await
}

#[tokio::test]
async fn a_token_for_this_repository_is_fetched_once_and_used_again() {
    let tokens = token_server().await;
    let peer = registry(tokens.url(), |header| header == "Bearer t1").await;
    let client = peer.client();
    for _ in 0..3 {
        manifest(&client).await.unwrap().unwrap();
    }
    // The challenge's own scope was a placeholder.
    assert_eq!(tokens.lines(), ["GET /token?service=lab&scope=repository%3Alibrary%2Fnginx%3Apull"]);
    assert_eq!(tokens.asked()[0].header("authorization"), None);
    assert_eq!(peer.asked().len(), 4);
    // The next repository costs no further challenge.
    client.manifest(&"other/app".parse().unwrap(), &tag("latest")).await.unwrap_err();
    assert_eq!(tokens.lines().len(), 3);
}

#[tokio::test]
async fn many_who_need_a_token_at_once_fetch_one() {
    let tokens = token_server().await;
    let peer = registry(tokens.url(), |header| header == "Bearer t1").await;
    let client = peer.client();
    let all = (0..20).map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { manifest(&client).await.unwrap().unwrap() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_no_longer_believed_is_renewed() {
    let tokens = token_server().await;
    let good = Arc::new(AtomicUsize::new(1));
    let number = Arc::clone(&good);
    let peer =
        registry(tokens.url(), move |header| header == format!("Bearer t{}", number.load(Ordering::SeqCst)))
            .await;
    let client = peer.client();
    manifest(&client).await.unwrap().unwrap();
    good.store(2, Ordering::SeqCst);
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(tokens.asked().len(), 2);
}

#[tokio::test]
async fn a_token_server_is_told_the_password_and_the_registry_is_not() {
    let tokens = token_server().await;
    let peer = registry(tokens.url(), |header| header == "Bearer t1").await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("ci")];
    let client = RemoteRegistry::new(settings).unwrap();
    manifest(&client).await.unwrap().unwrap();
    let asked = tokens.asked();
    assert_eq!(asked[0].header("authorization"), Some(basic("ci").as_str()));
    assert!(asked[0].target.ends_with("&account=ci"), "{}", asked[0].target);
    assert!(
        peer.asked()
            .iter()
            .all(|request| !request.header("authorization").unwrap_or("").starts_with("Basic"))
    );
}

#[tokio::test]
async fn a_token_server_on_another_site_is_not_told_the_password_unless_it_is_written_down() {
    let tokens = Peer::start_at("127.0.0.2:0", |_| Reply::ok(r#"{"token":"t1"}"#)).await;
    let peer = registry(tokens.url(), |header| header == "Bearer t1").await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("ci")];
    let client = RemoteRegistry::new(settings.clone()).unwrap();
    let error = manifest(&client).await.unwrap_err();
    assert!(error.detail.contains("private range"), "{error}");
    assert!(tokens.asked().is_empty());
    settings.hosts = vec!["127.0.0.2".to_owned()];
    let client = RemoteRegistry::new(settings).unwrap();
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(tokens.asked()[0].header("authorization"), Some(basic("ci").as_str()));
}

#[tokio::test]
async fn a_password_is_shown_to_whom_wants_one() {
    let peer = Peer::start(|request| match request.header("authorization") {
        Some(header) if header == basic("ci") => Reply::manifest("{}"),
        _ => Reply::challenge(r#"Basic realm="lab""#),
    })
    .await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("ci")];
    let client = RemoteRegistry::new(settings).unwrap();
    manifest(&client).await.unwrap().unwrap();
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(peer.asked().len(), 3);
    let error = manifest(&peer.client()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Unauthorized);
    assert!(error.detail.ends_with("wants a login"), "{error}");
}

#[tokio::test]
async fn a_refused_login_is_said_and_a_public_image_is_had_without_it() {
    // The token server gives nobody in particular a token, but not to this user.
    let tokens = Peer::start(|request| match request.header("authorization") {
        Some(_) => Reply::new(401),
        None => Reply::ok(r#"{"access_token":"public"}"#),
    })
    .await;
    let peer = registry(tokens.url(), |header| header == "Bearer public").await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("ci")];
    let client = RemoteRegistry::new(settings).unwrap();
    manifest(&client).await.unwrap().unwrap();
    manifest(&client).await.unwrap().unwrap();
    // The login is not tried with every pull.
    assert_eq!(tokens.asked().len(), 2);
    let accounts = &client.snapshot().urls[0].accounts;
    assert_eq!((accounts[0].label.as_str(), accounts[0].login_refused), ("ci", true));
    assert!(!accounts[1].login_refused);
}

#[tokio::test]
async fn a_private_repository_with_a_refused_login_says_whose_login_it_was() {
    let tokens = Peer::start(|_| Reply::new(401)).await;
    let peer = registry(tokens.url(), |_| false).await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("ci")];
    let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Unauthorized);
    assert!(error.detail.contains("refused the login of ci"), "{error}");
}

#[tokio::test]
async fn an_account_is_used_for_its_own_repositories_and_its_own_hosts() {
    let peer = Peer::start(|request| match request.header("authorization") {
        Some(_) => Reply::manifest("{}"),
        None => Reply::challenge("Basic"),
    })
    .await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("general"), user("team")];
    settings.accounts[1].repositories = vec!["team/**".parse().unwrap()];
    let client = RemoteRegistry::new(settings.clone()).unwrap();
    manifest(&client).await.unwrap().unwrap();
    client.manifest(&"team/app".parse().unwrap(), &tag("latest")).await.unwrap().unwrap();
    let last = |peer: &Peer| peer.asked().last().unwrap().header("authorization").unwrap().to_owned();
    assert_eq!(last(&peer), basic("team"));
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(last(&peer), basic("general"));
    settings.accounts[0].hosts = vec!["elsewhere.example".to_owned()];
    let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
    assert!(error.detail.ends_with("wants a login"), "{error}");
}

#[tokio::test]
async fn where_a_refusal_names_no_challenge_the_base_does() {
    let tokens = token_server().await;
    let realm = tokens.url();
    let peer = Peer::start(move |request| match request.header("authorization") {
        Some("Bearer t1") => Reply::manifest("{}"),
        _ if request.target == "/v2/" => Reply::challenge(bearer(&realm)),
        _ => Reply::new(401),
    })
    .await;
    manifest(&peer.client()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refresh_token_is_posted() {
    let tokens = token_server().await;
    let peer = registry(tokens.url(), |header| header == "Bearer t1").await;
    let mut settings = peer.settings();
    settings.accounts = vec![user("<token>")];
    manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap().unwrap();
    let asked = &tokens.asked()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert!(
        asked.body.starts_with("grant_type=refresh_token&refresh_token=pw&client_id=larder"),
        "{}",
        asked.body
    );
}

#[tokio::test]
async fn answers_of_a_token_server_that_hold_no_token_are_said_to() {
    for (body, words) in [("{}", "answers without a token"), ("<html>", "gives no token but something else")]
    {
        let tokens = Peer::start(move |_| Reply::ok(body)).await;
        let peer = registry(tokens.url(), |_| true).await;
        let peer2 = registry(tokens.url(), |_| false).await;
        drop(peer);
        let error = manifest(&peer2.client()).await.unwrap_err();
        assert_eq!(error.failure, UpstreamFailure::Garbled);
        assert!(error.detail.contains(words), "{error}");
    }
}
