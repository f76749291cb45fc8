use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use larder_core::{Upstream as _, UpstreamFailure};
use larder_upstream::{EnvironmentProxies, ProxyUrl, RemoteRegistry, Settings, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::authorities::Authority;
use crate::support::*;

/// A proxy for `CONNECT` that leads everybody to one server and keeps the heads of what it was asked.
async fn tunnel(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    tunnel_that_says(Some(to), "HTTP/1.1 200 x\r\n\r\n").await
}

/// The same with words of its own; without a server it hangs up after them.
async fn tunnel_that_says(
    to: Option<SocketAddr>,
    words: &'static str,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
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
                near.write_all(words.as_bytes()).await.unwrap();
                let Some(to) = to else { return };
                let mut far = TcpStream::connect(to).await.unwrap();
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

/// An upstream asked in an environment with these variables.
fn in_environment(url: &str, variables: &[(&str, String)]) -> Settings {
    let mut settings = settings_of([url.to_owned()]);
    settings.environment = EnvironmentProxies::read(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone())
    });
    settings
}

#[tokio::test]
async fn by_the_environment_plain_http_is_asked_of_the_proxy_in_whole_urls() {
    let proxy = Peer::start(|_| Reply::manifest("{}")).await;
    let url = format!("http://me:s%40cret@{}", proxy.address);
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let client =
            RemoteRegistry::new(in_environment("http://registry.invalid", &[(variable, url.clone())]))
                .unwrap();
        assert_eq!(manifest(&client).await.unwrap().as_deref(), Some("{}"));
        let asked = proxy.asked().pop().unwrap();
        assert_eq!(asked.line(), "GET http://registry.invalid/v2/library/nginx/manifests/latest");
        // me:s@cret
        assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6c0BjcmV0"), "{asked:?}");
    }
    // The variable for the other scheme, an exemption, and this machine itself.
    let peer = Peer::start(|_| Reply::manifest("direct")).await;
    for (upstream, variables) in [
        ("http://registry.invalid", vec![("HTTPS_PROXY", url.clone())]),
        ("http://registry.invalid", vec![("HTTP_PROXY", url.clone()), ("NO_PROXY", ".invalid".to_owned())]),
        (&peer.url(), vec![("HTTP_PROXY", url.clone())]),
    ] {
        let client = RemoteRegistry::new(in_environment(upstream, &variables)).unwrap();
        let answer = manifest(&client).await;
        match answer {
            Ok(found) => assert_eq!(found.as_deref(), Some("direct")),
            Err(error) => assert_eq!(error.failure, UpstreamFailure::Unreachable, "{error}"),
        }
    }
    assert_eq!((proxy.asked().len(), peer.asked().len()), (2, 1));
}

#[tokio::test]
async fn by_the_environment_https_goes_through_a_tunnel_but_to_what_is_exempt() {
    let authority = Authority::new();
    let peer = authority.peer(|_| Reply::manifest("{}")).await;
    let (proxy, heads) = tunnel(peer.address).await;
    for (name, no_proxy, is_tunnelled) in [
        ("HTTPS_PROXY", "", true),
        ("https_proxy", "registry.lab:5000,.registry.lab,10.0.0.0/8", true),
        ("HTTPS_PROXY", "registry.lab:443", false),
        ("https_proxy", "*.lab", false),
        ("HTTPS_PROXY", "*", false),
    ] {
        heads.lock().unwrap().clear();
        let variables = [(name, format!("http://me:secret@{proxy}")), ("no_proxy", no_proxy.to_owned())];
        let mut settings = in_environment("https://registry.lab", &variables);
        settings.ca_file = Some(authority.file.clone());
        let answer = manifest(&RemoteRegistry::new(settings).unwrap()).await;
        let heads = heads.lock().unwrap().clone();
        if is_tunnelled {
            assert_eq!(answer.unwrap().as_deref(), Some("{}"), "{no_proxy}");
            assert!(heads[0].starts_with("connect registry.lab:443 http/1.1\r\n"), "{heads:?}");
            assert!(heads[0].contains("\r\nproxy-authorization: basic bwu6c2vjcmv0\r\n"), "{heads:?}");
        } else {
            assert_eq!(answer.unwrap_err().failure, UpstreamFailure::Unreachable, "{no_proxy}");
            assert_eq!(heads.len(), 0, "{no_proxy}: {heads:?}");
        }
    }
    assert!(peer.asked().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_one_that_does() {
    let said = |settings: Settings| async move {
        let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
        (error.failure, error.to_string())
    };
    let tunnelled = [
        ("HTTP/1.1 407 x\r\n\r\n", "and wants a login (407): put user and password into its URL"),
        ("HTTP/1.1 403 x\r\n\r\n", "and refuses to lead there"),
        ("", "and hung up instead of leading there"),
    ];
    for (answer, words) in tunnelled {
        let (proxy, _) = tunnel_that_says(None, answer).await;
        let settings = in_environment("https://registry.lab", &[("HTTPS_PROXY", format!("http://{proxy}"))]);
        let (failure, said) = said(settings).await;
        assert_eq!(said, format!("upstream lab: {proxy} is the proxy on the way to registry.lab {words}"));
        let is_login = failure == UpstreamFailure::Failed { status: 407 };
        assert_eq!(is_login, words.contains("407"), "{failure:?}");
    }
    let (proxy, _) = tunnel_that_says(None, tunnelled[0].0).await;
    let url = format!("http://me:secret@{proxy}");
    let (_, refused) = said(in_environment("https://registry.lab", &[("HTTPS_PROXY", url)])).await;
    assert!(refused.ends_with("and refuses the login in its URL (407)") && !refused.contains("secret"));
    // Over plain HTTP it answers in the upstream's place.
    for (status, words) in [
        (407, "is the proxy on the way to registry.lab and wants a login (407)"),
        (403, "denies this to anonymous (it or the proxy on the way, "),
        (503, "answers 503 Service Unavailable (it or the proxy on the way, "),
    ] {
        let proxy = Peer::start(move |_| Reply::new(status)).await;
        let (_, said) = said(in_environment("http://registry.lab", &[("HTTP_PROXY", proxy.url())])).await;
        assert!(said.contains(words) && said.contains(&proxy.address.to_string()), "{status}: {said}");
    }
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (upstream, variable) in
        [("https://registry.lab", "HTTPS_PROXY"), ("http://registry.lab", "HTTP_PROXY")]
    {
        let (failure, said) = said(in_environment(upstream, &[(variable, format!("http://{gone}"))])).await;
        assert_eq!(failure, UpstreamFailure::Unreachable);
        assert!(said.contains(&gone.to_string()) && said.contains("proxy"), "{said}");
    }
}

#[test]
fn a_variable_that_names_no_proxy_stops_the_start_by_its_name() {
    let settings =
        in_environment("https://registry.lab", &[("https_proxy", "ftp://me:secret@proxy".to_owned())]);
    let error = RemoteRegistry::new(settings).err().unwrap();
    assert!(error.to_string().contains("the variable https_proxy must be a proxy's URL"), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
