//! Tags and catalog.

use crate::support::*;

/// Walks from `Link` to `Link`; gives the items of all pages.
async fn walk(server: &Server, first: &str, field: &str) -> Vec<Vec<String>> {
    let (mut next, mut pages) = (Some(first.to_owned()), Vec::new());
    while let Some(target) = next {
        let reply = server.ask(get(target)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let items = reply.json()[field].as_array().unwrap().clone();
        pages.push(items.iter().map(|item| item.as_str().unwrap().to_owned()).collect());
        next = reply.header("Link").map(|link| {
            let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
            target.expect("a Link").to_owned()
        });
    }
    pages
}

#[tokio::test]
async fn tags() {
    let server = Server::open().await;
    let names = ["v1.10", "latest", "v1.9", "_x", "V1", "0", "a-b", "a.b", "a_b", "z"];
    for name in names {
        server.push_image("lab/app", name).await;
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    let reply = server.ask(get("/v2/lab/app/tags/list")).await;
    assert_eq!(
        reply.text(),
        "{\"name\":\"lab/app\",\"tags\":[\"0\",\"V1\",\"_x\",\"a-b\",\"a.b\",\"a_b\",\"latest\",\"v1.10\",\"v1.9\",\"z\"]}\n"
    );
    assert_eq!(
        reply.undated(),
        "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\nContent-Length: 88\n\
         Docker-Distribution-Api-Version: registry/2.0"
    );
    assert_eq!(server.ask(head("/v2/lab/app/tags/list")).await.undated(), reply.undated());
    for n in 1..=11 {
        let pages = walk(&server, &format!("/v2/lab/app/tags/list?n={n}"), "tags").await;
        assert_eq!(pages.concat(), sorted, "n={n}");
        assert_eq!(pages.len(), names.len().div_ceil(n), "n={n}: no page is empty");
    }
    let page = server.ask(get("/v2/lab/app/tags/list?n=3")).await;
    assert_eq!(page.header("Link"), Some("</v2/lab/app/tags/list?last=_x&n=3>; rel=\"next\""));
    for (query, expected) in [
        ("?last=a_b", vec!["latest", "v1.10", "v1.9", "z"]),
        ("?last=m&n=2", vec!["v1.10", "v1.9"]),
        ("?n=2&last=v1.10", vec!["v1.9", "z"]),
        ("?last=z", vec![]),
        ("?last=zzz&n=5", vec![]),
        ("?last=%00", names_sorted(&sorted)),
        ("?n=0", vec![]),
    ] {
        let reply = server.ask(get(format!("/v2/lab/app/tags/list{query}"))).await;
        assert_eq!(reply.json()["tags"], serde_json::json!(expected), "{query}");
    }
    assert_eq!(server.ask(get("/v2/lab/app/tags/list?n=0")).await.header("Link"), None);
}

fn names_sorted(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_no_tags() {
    let server = Server::open().await;
    for query in ["", "?n=5", "?last=a"] {
        let reply = server.ask(get(format!("/v2/lab/none/tags/list{query}"))).await;
        assert_eq!(reply.refusal(), (404, "NAME_UNKNOWN".into()), "{query}");
    }
    // One with blobs only is none yet; one whose last tag was deleted still is.
    server.push_blobs("lab/blobs").await;
    assert_eq!(server.ask(get("/v2/lab/blobs/tags/list")).await.status, 404);
    server.push_image("lab/app", "one").await;
    assert_eq!(server.ask(delete("/v2/lab/app/manifests/one")).await.status, 202);
    let reply = server.ask(get("/v2/lab/app/tags/list")).await;
    assert_eq!(reply.text(), "{\"name\":\"lab/app\",\"tags\":[]}\n");
}

#[tokio::test]
async fn page_sizes_that_are_none() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    for path in [
        "/v2/_catalog".to_owned(),
        "/v2/lab/app/tags/list".to_owned(),
        format!("/v2/lab/app/referrers/{digest}"),
    ] {
        for n in ["-1", "abc", "", "1.5", "0x10", "99999999999999999999999", "1%00", "%F0%9F%98%80"] {
            let reply = server.ask(get(format!("{path}?n={n}"))).await;
            assert_eq!(reply.refusal(), (400, "PAGINATION_NUMBER_INVALID".into()), "{path} {n}");
        }
    }
    let reply = server.ask(get("/v2/_catalog?n=abc")).await;
    assert_eq!(
        reply.text(),
        "{\"errors\":[{\"code\":\"PAGINATION_NUMBER_INVALID\",\"message\":\"invalid number of results requested\",\
         \"detail\":{\"n\":\"abc\",\"reason\":\"n must be a number; write one from 0 to 1000, the most that is sent at once\"}}]}\n"
    );
}

#[tokio::test]
async fn catalog() {
    let server = Server::open().await;
    assert_eq!(server.ask(get("/v2/_catalog")).await.text(), "{\"repositories\":[]}\n");
    // Names between which directory order and byte order differ.
    let names = ["b0", "foo", "foo/1bar", "foo-bar", "foo.bar", "a", "foo/bar/baz", "foobar"];
    for name in names {
        server.push_image(name, "one").await;
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    let reply = server.ask(get("/v2/_catalog")).await;
    assert_eq!(
        reply.text(),
        "{\"repositories\":[\"a\",\"b0\",\"foo\",\"foo-bar\",\"foo.bar\",\"foo/1bar\",\"foo/bar/baz\",\"foobar\"]}\n"
    );
    for n in 1..=9 {
        let pages = walk(&server, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert_eq!(pages.concat(), sorted, "n={n}");
        assert_eq!(pages.len(), names.len().div_ceil(n));
    }
    let page = server.ask(get("/v2/_catalog?n=6")).await;
    assert_eq!(page.header("Link"), Some("</v2/_catalog?last=foo%2F1bar&n=6>; rel=\"next\""));
    assert_eq!(server.ask(get("/v2/_catalog?n=0")).await.text(), "{\"repositories\":[]}\n");
    // More than is sent at once is not an error: it is cut, and a Link leads on.
    let mut setup = Setup::default();
    setup.options.catalog_max_entries = 5;
    setup.options.tags_max = 5;
    let server = server.restart_as(setup).await;
    let reply = server.ask(get("/v2/_catalog?n=1000")).await;
    assert_eq!(reply.json()["repositories"].as_array().unwrap().len(), 5);
    assert_eq!(reply.header("Link"), Some("</v2/_catalog?last=foo.bar&n=5>; rel=\"next\""));
}

/// Without `n` a catalog is a hundred long, as registry:2's, and leads on.
#[tokio::test]
async fn a_long_catalog_comes_in_pages_unasked() {
    let server = Server::open().await;
    let names: Vec<String> = (0..103).map(|at| format!("app{at:03}")).collect();
    let manifest = r#"{"schemaVersion":2,"manifests":[]}"#;
    for name in &names {
        let reply = server.put_manifest(name, "one", OCI_INDEX, manifest).await;
        assert_eq!(reply.status, 201);
    }
    let pages = walk(&server, "/v2/_catalog", "repositories").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 3]);
    assert_eq!(pages.concat(), names);
}
