//! Behind a reverse proxy, beside one, and through a socket file.

use larder_server::Options;

use crate::support::*;

fn behind(trusted: &[&str]) -> Setup {
    let trusted_proxies = trusted.iter().map(|text| text.parse().unwrap()).collect();
    let setup = Setup::gate(GateKind::Tokens);
    Setup { options: Options { trusted_proxies, ..setup.options }, ..setup }
}

async fn realm_and_client(server: &Server) -> (String, String) {
    let request = get("/v2/")
        .with("X-Forwarded-For", "1.1.1.1, 198.51.100.7")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "reg.example");
    let reply = server.ask(request).await;
    let challenge = reply.header("Www-Authenticate").unwrap().to_owned();
    let line = server.logged(1).await.remove(0);
    (challenge.split('"').nth(1).unwrap().to_owned(), line.split(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn only_a_trusted_proxy_speaks_for_its_clients() {
    let trusting = behind(&["127.0.0.0/8"]).start().await;
    assert_eq!(
        realm_and_client(&trusting).await,
        ("https://reg.example/auth/token".into(), "198.51.100.7".into())
    );
    for trusted in [&[] as &[&str], &["192.0.2.0/24"]] {
        let server = behind(trusted).start().await;
        assert_eq!(
            realm_and_client(&server).await,
            ("http://registry.lab/auth/token".into(), "127.0.0.1".into())
        );
    }
}

#[tokio::test]
async fn through_a_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("larder.sock");
    // Left by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let setup = Setup { socket: Some(path.clone()), ..Setup::default() };
    let server = setup.start().await;
    let connect = async || Client::over(within(tokio::net::UnixStream::connect(&path)).await.unwrap());
    let mut client = connect().await;
    let layer: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 241) as u8).collect();
    let digest = digest_of(&layer);
    let pushed = client.ask(&post(format!("/v2/a/blobs/uploads/?digest={digest}"), layer.as_slice())).await;
    assert_eq!(pushed.status, 201);
    let pulled =
        client.ask(&get(format!("/v2/a/blobs/{digest}")).with("X-Forwarded-For", "198.51.100.7")).await;
    assert!(pulled.body == layer);
    assert!(server.logged(2).await[1].starts_with("198.51.100.7 - - "));
    assert!(larder_server::probe(path.to_str().unwrap(), "/healthz").await.unwrap());
    // A second one doesn't take it from the first.
    assert!(larder_server::BoundServer::bind_unix(&path, None).is_err());
    assert_eq!(connect().await.ask(&get("/v2/")).await.status, 200);
    server.stop.cancel();
    drop(client);
    server.ended().await.unwrap();
    assert!(!path.try_exists().unwrap());
    // What is no socket is not touched.
    write(&path, b"a file");
    assert!(larder_server::BoundServer::bind_unix(&path, None).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

/// A browser asks first, without credentials, whether it may ask.
#[tokio::test]
async fn a_browsers_preflight_needs_no_credentials() {
    for gate in [GateKind::Basic, GateKind::TokensForUsers] {
        let setup = Setup::gate(gate);
        let header = |name: &str, value: &str| (name.parse().unwrap(), value.parse().unwrap());
        let headers = vec![
            header("access-control-allow-origin", "https://ui.example"),
            header("access-control-allow-methods", "HEAD, GET, OPTIONS, DELETE"),
        ];
        let server = Setup { options: Options { headers, ..setup.options }, ..setup }.start().await;
        for path in ["/v2/", "/v2/_catalog", "/v2/lab/app/manifests/one", "/v2/lab/app/tags/list"] {
            let preflight = options(path)
                .with("Origin", "https://ui.example")
                .with("Access-Control-Request-Method", "GET")
                .with("Access-Control-Request-Headers", "authorization");
            let reply = server.ask(preflight).await;
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("https://ui.example"), "{path}");
            assert_eq!(reply.header("Www-Authenticate"), None, "{path}");
            // The answer proper has them too, a challenge not excepted.
            let reply = server.ask(get(path)).await;
            assert_eq!(
                (reply.status, reply.header("Access-Control-Allow-Origin")),
                (401, Some("https://ui.example"))
            );
        }
        // Probes come without credentials as well.
        for path in ["/", "/healthz", "/readyz"] {
            assert_eq!(server.ask(get(path)).await.status, 200, "{path}");
        }
    }
}

/// Clients resolve a Location against the address that they asked: so a relative one is right behind any proxy, also
/// where `http.host` is set. registry:2 would answer with the host then.
#[tokio::test]
async fn locations_are_relative_whatever_the_host_is_said_to_be() {
    let options = Options {
        public_url: Some("https://reg.example".into()),
        prefix: "/images".into(),
        ..Setup::default().options
    };
    let server = Setup { options, ..Setup::default() }.start().await;
    let started = server.ask(post("/images/v2/a/blobs/uploads/", "").with("X-Forwarded-Host", "other")).await;
    assert!(started.location().starts_with("/images/v2/a/blobs/uploads/"));
}
