//! What is asked before anything else: the base, probes, methods, slashes.

use larder_server::Options;

use crate::support::*;

#[tokio::test]
async fn the_small_answers() {
    let server = Server::open().await;
    let cases = [
        (get("/"), "HTTP/1.1 200 OK\nCache-Control: no-cache\nContent-Length: 0", ""),
        (
            get("/healthz"),
            "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 3",
            "ok\n",
        ),
        (
            get("/readyz"),
            "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 3",
            "ok\n",
        ),
        (
            get("/v2/"),
            "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\nContent-Length: 2\n\
             Docker-Distribution-Api-Version: registry/2.0",
            "{}",
        ),
        (
            head("/v2/"),
            "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\nContent-Length: 2\n\
             Docker-Distribution-Api-Version: registry/2.0",
            "",
        ),
        (
            get("/v2"),
            "HTTP/1.1 301 Moved Permanently\nLocation: /v2/\n\
             Docker-Distribution-Api-Version: registry/2.0\nContent-Length: 0",
            "",
        ),
        (
            get("/favicon.ico"),
            "HTTP/1.1 404 Not Found\nContent-Type: text/plain; charset=utf-8\nContent-Length: 19",
            "404 page not found\n",
        ),
        (
            get("/debug/health"),
            "HTTP/1.1 404 Not Found\nContent-Type: text/plain; charset=utf-8\nContent-Length: 106",
            "404 page not found: this is told at http.debug.addr, and here at /healthz and /readyz whether all is well\n",
        ),
        (
            // The first edition of the API, which podman search tries.
            get("/v1/search?q=x&n=25"),
            "HTTP/1.1 404 Not Found\nContent-Type: text/plain; charset=utf-8\nContent-Length: 19",
            "404 page not found\n",
        ),
    ];
    for (request, head, body) in cases {
        let reply = server.ask(request).await;
        assert_eq!(reply.undated(), head);
        assert_eq!(reply.text(), body);
    }
}

#[tokio::test]
async fn methods() {
    let server = Server::open().await;
    let upload = "6b3c9a93-af5d-473f-a4ce-9710022185cd";
    let allowed = [
        ("/".to_owned(), "GET, HEAD"),
        ("/v2/".to_owned(), "GET, HEAD"),
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        ("/v2/a/tags/list".to_owned(), "GET, HEAD"),
        ("/v2/a/manifests/x".to_owned(), "DELETE, GET, HEAD, PUT"),
        (format!("/v2/a/blobs/{ABSENT}"), "DELETE, GET, HEAD"),
        (format!("/v2/a/referrers/{ABSENT}"), "GET, HEAD"),
        ("/v2/a/blobs/uploads/".to_owned(), "POST"),
        (format!("/v2/a/blobs/uploads/{upload}"), "DELETE, GET, HEAD, PATCH, PUT"),
        ("/auth/token".to_owned(), "GET, HEAD, POST"),
    ];
    for (path, allow) in allowed {
        let reply = server.ask(options(path.as_str())).await;
        assert_eq!((reply.status, reply.header("Allow")), (200, Some(allow)), "OPTIONS {path}");
        let mut client = server.connect().await;
        client.send(format!("TRACE {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let reply = client.reply(false).await;
        assert_eq!(reply.header("Allow"), Some(allow), "TRACE {path}");
        assert_eq!(reply.refusal(), (405, "UNSUPPORTED".into()), "TRACE {path}");
    }
    let reply = server.ask(put("/v2/a/tags/list", "")).await;
    assert_eq!(
        reply.text(),
        "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"The operation is unsupported.\",\
         \"detail\":\"this path doesn't answer PUT; it answers GET, HEAD\"}]}\n"
    );
    let reply = server.ask(post("/v2/_catalog?n=1000", "")).await;
    assert!(reply.text().contains("starts no garbage collection; that runs by itself"), "{}", reply.text());
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    for path in [
        "/v2/_catalog/".to_owned(),
        "/v2/lab/app/tags/list/".to_owned(),
        "/v2/lab/app/manifests/one/".to_owned(),
        format!("/v2/lab/app/manifests/{digest}/"),
        format!("/v2/lab/app/blobs/{LAYER_DIGEST}/"),
        format!("/v2/lab/app/referrers/{digest}/"),
    ] {
        let with = server.ask(get(path.as_str())).await;
        let without = server.ask(get(path.trim_end_matches('/'))).await;
        assert_eq!((with.status, &with.body), (200, &without.body), "{path}");
    }
    let reply = server.ask(post("/v2/lab/app/blobs/uploads", "")).await;
    assert_eq!(reply.status, 202);
    let upload = reply.location();
    assert_eq!(server.ask(get(format!("{upload}/"))).await.status, 204);
}

#[tokio::test]
async fn everything_stands_below_the_prefix_but_the_probes() {
    let options = Options { prefix: "/registry".into(), ..Setup::default().options };
    let server = Setup { options, ..Setup::default() }.start().await;
    for (path, status) in [
        ("/registry/v2/", 200),
        ("/registry/", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/v2/", 404),
        ("/registryv2/", 404),
        ("/other/v2/", 404),
    ] {
        assert_eq!(server.ask(get(path)).await.status, status, "{path}");
    }
    let reply = server.ask(get("/registry/v2")).await;
    assert_eq!((reply.status, reply.header("Location")), (301, Some("/registry/v2/")));
    let started = server.ask(post("/registry/v2/a/blobs/uploads/", "")).await;
    let upload = started.location();
    assert!(upload.starts_with("/registry/v2/a/blobs/uploads/"), "{upload}");
    let finished = server.ask(put(format!("{upload}?digest={LAYER_DIGEST}"), LAYER)).await;
    assert_eq!(finished.status, 201);
    assert_eq!(finished.location(), format!("/registry/v2/a/blobs/{LAYER_DIGEST}"));
    assert_eq!(server.ask(get(finished.location())).await.body, LAYER);
}

#[tokio::test]
async fn configured_headers_are_added_to_every_answer_of_the_api() {
    let nosniff = ("x-content-type-options".parse().unwrap(), "nosniff".parse().unwrap());
    let options = Options { headers: vec![nosniff], ..Setup::default().options };
    let server = Setup { options, ..Setup::default() }.start().await;
    for path in ["/v2/", "/v2/a/tags/list", "/v2/A/tags/list", "/v2/nothing"] {
        let reply = server.ask(get(path)).await;
        assert_eq!(reply.headers("X-Content-Type-Options"), ["nosniff"], "{path}");
    }
}
