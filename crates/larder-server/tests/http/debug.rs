//! The second listener, and what turns requests away when a check fails.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_server::{Check, Debug, DebugServer, Health, Metrics, Observers, Subject};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::support::*;

/// A registry with its debug listener.
struct Watched {
    server: Server,
    debug: SocketAddr,
    _stop: DropGuard,
}

impl Watched {
    async fn start(checks: Vec<Check>) -> Watched {
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::new("1.2.3")));
        let observers = Observers {
            metrics: Some(Arc::clone(&metrics)),
            health: Some(Arc::clone(&health)),
            ..Observers::default()
        };
        let server = Setup { observers, ..Setup::default() }.start().await;
        metrics.show_storage(server.registry.clone());
        let listener = DebugServer::bind("127.0.0.1", 0).await.unwrap();
        let debug = listener.address().unwrap();
        let stop = CancellationToken::new();
        let told = Debug { health: Arc::clone(&health), metrics: Some(("/metrics".to_owned(), metrics)) };
        tokio::spawn(listener.serve(told, stop.clone()));
        tokio::spawn(health.watch(checks, stop.clone()));
        Watched { server, debug, _stop: stop.drop_guard() }
    }

    async fn ask(&self, request: Request) -> Reply {
        let stream = within(tokio::net::TcpStream::connect(self.debug)).await.unwrap();
        Client::over(stream).ask(&request).await
    }

    async fn metrics(&self) -> String {
        self.ask(get("/metrics")).await.text()
    }

    async fn becomes(&self, status: u16) -> Reply {
        eventually(async || self.ask(get("/debug/health")).await.status == status).await;
        self.ask(get("/debug/health")).await
    }
}

const SOON: Duration = Duration::from_millis(5);

fn check(name: &str, subject: Subject) -> Check {
    Check { name: name.to_owned(), subject, interval: SOON, threshold: 0 }
}

fn file_check(path: &Path) -> Check {
    check("/a/file", Subject::File(path.to_owned()))
}

#[tokio::test]
async fn a_failing_check_takes_the_registry_out_of_service_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("down");
    let watched = Watched::start(vec![file_check(&path)]).await;
    let well = watched.ask(get("/debug/health")).await;
    assert_eq!((well.status, well.text().as_str()), (200, "{}"));
    assert_eq!(watched.server.ask(get("/v2/")).await.status, 200);
    write(&path, b"");
    let ill = watched.becomes(503).await;
    assert_eq!(ill.text(), "{\"/a/file\":\"file exists\"}");
    assert_eq!(ill.header("Content-Type"), Some("application/json; charset=utf-8"));
    for path in ["/", "/v2/", "/v2/_catalog", "/nothing", "/readyz"] {
        let reply = watched.server.ask(get(path)).await;
        assert_eq!(reply.status, 503, "{path}");
        assert_eq!(
            reply.text(),
            "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"service unavailable\",\
             \"detail\":\"health check failed: please see /debug/health\"}]}\n"
        );
        assert_eq!(reply.header("Docker-Distribution-Api-Version"), None);
    }
    assert_eq!(watched.server.ask(head("/v2/")).await.status, 503);
    // Restarting the process would mend nothing.
    assert_eq!(watched.server.ask(get("/healthz")).await.status, 200);
    std::fs::File::open(directory.path()).unwrap();
    directory.close().unwrap();
    watched.becomes(200).await;
    assert_eq!(watched.server.ask(get("/v2/")).await.status, 200);
}

#[tokio::test]
async fn a_port_and_a_url_are_asked() {
    // Healthy at first: a registry is a fine thing to ask.
    let other = Server::open().await;
    let url = format!("http://{}/v2/", other.address).parse().unwrap();
    let redirect = format!("http://{}/v2", other.address).parse().unwrap();
    let http = |url, status| Subject::Http {
        url,
        headers: [("x-a".parse().unwrap(), "b".parse().unwrap())].into_iter().collect(),
        status,
        timeout: Duration::from_secs(5),
    };
    let tcp = Subject::Tcp { address: other.address.to_string(), timeout: Duration::from_secs(5) };
    let watched = Watched::start(vec![
        check("url", http(url, 200)),
        check("redirect", http(redirect, 301)),
        check("port", tcp),
    ])
    .await;
    // They have been asked, by what they are asked with.
    let lines = other.logged(4).await;
    assert!(lines.iter().any(|line| line.contains("\"HEAD /v2/ HTTP/1.1\" 200")), "{lines:?}");
    assert_eq!(watched.ask(get("/debug/health")).await.text(), "{}");
    other.stop.cancel();
    other.ended().await.unwrap();
    eventually(async || watched.ask(get("/debug/health")).await.json().as_object().unwrap().len() == 3).await;
}

#[tokio::test]
async fn a_threshold_is_waited_for_and_a_silent_port_is_not() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let slow = Subject::Http { url, headers: Default::default(), status: 200, timeout: SOON };
    let directory = tempfile::tempdir().unwrap();
    let patient = Check { threshold: 1_000_000, ..file_check(directory.path()) };
    let watched = Watched::start(vec![check("slow", slow), patient]).await;
    let ill = watched.becomes(503).await;
    assert_eq!(ill.text(), "{\"slow\":\"no answer within 5ms\"}");
}

#[tokio::test]
async fn requests_are_counted_by_distributions_names() {
    let watched = Watched::start(Vec::new()).await;
    let server = &watched.server;
    server.push_image("lab/app", "one").await;
    for _ in 0..3 {
        assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    }
    assert_eq!(server.ask(get("/v2/lab/app/manifests/none")).await.status, 404);
    assert_eq!(server.ask(get("/nothing")).await.status, 404);
    server.logged(8).await;
    let expected = [
        "registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"} 3",
        "registry_http_requests_total{code=\"404\",handler=\"manifest\",method=\"get\"} 1",
        "registry_http_requests_total{code=\"201\",handler=\"manifest\",method=\"put\"} 1",
        "registry_http_in_flight_requests{handler=\"manifest\"} 0",
        "registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"} 4",
        "registry_http_response_size_bytes_count{handler=\"manifest\"} 5",
        "larder_build_info{version=\"1.2.3\"} 1",
    ];
    eventually(async || {
        let text = watched.metrics().await;
        expected.iter().all(|line| text.contains(line))
    })
    .await;
    let text = watched.metrics().await;
    assert!(!text.contains("handler=\"nothing\""), "{text}");
    // A connection that is open is seen, and so is its end.
    let client = server.connect().await;
    let connections = async |count: usize| {
        eventually(async || watched.metrics().await.contains(&format!("larder_connections {count}\n"))).await;
    };
    connections(1).await;
    drop(client);
    connections(0).await;
}

#[tokio::test]
async fn the_disk_maintenance_and_what_was_verified_are_told() {
    let watched = Watched::start(Vec::new()).await;
    let text = watched.metrics().await;
    let free = text.lines().find_map(|line| line.strip_prefix("larder_disk_free_bytes "));
    assert!(free.unwrap().parse::<u64>().unwrap() > 0, "{text}");
    assert!(text.contains("larder_maintenance 0\n"), "{text}");
    for name in ["blobs", "bytes", "damaged", "set_aside", "healed", "faults", "mended", "passes"] {
        assert!(text.contains(&format!("larder_verify_{name}_total 0\n")), "{name}: {text}");
    }
    watched.server.ask(put("/api/v1/maintenance?on=true&reason=a+new+disk", "")).await;
    assert!(watched.metrics().await.contains("larder_maintenance 1\n"));
    watched.server.ask(put("/api/v1/maintenance?on=false", "")).await;
    assert!(watched.metrics().await.contains("larder_maintenance 0\n"));
}

#[tokio::test]
async fn nothing_else_is_there() {
    let watched = Watched::start(Vec::new()).await;
    for path in ["/", "/debug/vars", "/debug/pprof/", "/debug/health/down", "/v2/"] {
        assert_eq!(watched.ask(get(path)).await.status, 404, "{path}");
    }
    assert_eq!(watched.ask(post("/debug/health", "")).await.status, 404);
    // And nothing of it at the front.
    for path in ["/metrics", "/debug/health"] {
        assert_eq!(watched.server.ask(get(path)).await.status, 404, "{path}");
    }
}
