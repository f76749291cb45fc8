use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use larder_core::{Upstream as _, UpstreamFailure};
use larder_upstream::{ProxyUrl, RemoteRegistry, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::authorities::Authority;
use crate::support::*;

/// A proxy for `CONNECT` that leads everybody to one server and keeps the heads of what it was asked.
async fn tunnel(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                kept.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
                let mut far = TcpStream::connect(to).await.unwrap();
                near.write_all(b"HTTP/1.1 200 x\r\n\r\n").await.unwrap();
                // Whoever hangs up first ends it.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, heads)
}

#[tokio::test]
async fn an_upstreams_proxy_is_asked_for_everything_and_looks_up_its_names() {
    let proxy = Peer::start(|request| match request.target.as_str() {
        "http://cdn.invalid/signed" => Reply::ok("abc"),
        target if target.starts_with("http://registry.invalid/v2/library/nginx/blobs/") => {
            Reply::new(307).with("location", "http://cdn.invalid/signed")
        }
        "http://registry.invalid/v2/library/nginx/manifests/latest" => Reply::manifest("{}"),
        _ => Reply::new(500),
    })
    .await;
    let mut settings = settings_of(["http://registry.invalid".to_owned()]);
    settings.proxy = Some(ProxyUrl::from(proxy.url()));
    let client = RemoteRegistry::new(settings.clone()).unwrap();
    assert_eq!(manifest(&client).await.unwrap().as_deref(), Some("{}"));
    let mut stream = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
    assert_eq!(drain(&mut stream).await.0, b"abc");
    assert_eq!(proxy.asked().len(), 3);
    // Without it nobody knows the name.
    settings.proxy = None;
    let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
    assert_eq!(error.failure, UpstreamFailure::Unreachable, "{error}");
    assert_eq!(proxy.asked().len(), 3);
}

#[tokio::test]
async fn only_what_has_a_proxy_goes_through_it() {
    let peer = Peer::start(|_| Reply::manifest("direct")).await;
    let proxy = Peer::start(|_| Reply::manifest("through the proxy")).await;
    for (through, expected) in [(None, "direct"), (Some(proxy.url()), "through the proxy")] {
        let mut settings = peer.settings();
        settings.proxy = through.map(ProxyUrl::from);
        let client = RemoteRegistry::new(settings).unwrap();
        assert_eq!(manifest(&client).await.unwrap().as_deref(), Some(expected));
    }
    assert_eq!(peer.lines(), ["GET /v2/library/nginx/manifests/latest"]);
    let whole = format!("GET {}/v2/library/nginx/manifests/latest", peer.url());
    assert_eq!(proxy.lines(), [whole]);
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_only_the_proxy_learns_its_password() {
    let authority = Authority::new();
    let peer = authority.peer(|_| Reply::manifest("{}")).await;
    let (proxy, heads) = tunnel(peer.address).await;
    let mut settings = settings_of(["https://registry.lab".to_owned()]);
    settings.ca_file = Some(authority.file.clone());
    settings.proxy = Some(ProxyUrl::from(format!("http://me:secret@{proxy}")));
    assert!(!format!("{settings:?}").contains("secret"));
    let client = RemoteRegistry::new(settings).unwrap();
    for _ in 0..2 {
        assert_eq!(manifest(&client).await.unwrap().as_deref(), Some("{}"));
    }
    let heads = heads.lock().unwrap().clone();
    // The connection is used again.
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with("connect registry.lab:443 http/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("\r\nproxy-authorization: basic bwu6c2vjcmv0\r\n"), "{heads:?}");
    assert_eq!(peer.asked().len(), 2);
    assert!(peer.asked().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn a_proxy_that_is_no_url_is_refused_without_being_repeated() {
    let mut settings = settings_of(["https://registry.lab".to_owned()]);
    settings.proxy = Some(ProxyUrl::from("http://me:secret@[proxy".to_owned()));
    let error = RemoteRegistry::new(settings).err().unwrap();
    assert!(matches!(error, TransportError::Proxy { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
