//! What the cache tells of itself, and the ways in to its upstreams' images.

use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Allowance, BlobStream, FetchedManifest, ManifestHead, Upstream, UpstreamError, UpstreamFailure,
    UpstreamFuture, UpstreamPlace, UpstreamSettings, Upstreams,
};
use larder_oci::{Descriptor, Digest, Reference, RepoName, Tag};
use larder_server::{AccountReport, Door, Observers, Options, UpstreamReport, UrlReport};

use crate::support::*;

fn report() -> UpstreamReport {
    let account = AccountReport {
        account: "ci".to_owned(),
        limit: Some(100),
        remaining: Some(7),
        window: Some(Duration::from_secs(21600)),
        renews_in: None,
        login_refused: false,
    };
    let url = UrlReport {
        url: "https://registry-1.docker.io".to_owned(),
        resting: Some(Duration::from_secs(4)),
        first_byte: Some(Duration::from_millis(250)),
        bytes_per_second: Some(1e6),
        last_failure: Some("answers 503".to_owned()),
        accounts: vec![account],
    };
    UpstreamReport {
        name: "docker.io".to_owned(),
        prefix: Some("docker.io".to_owned()),
        offline: false,
        urls: vec![url],
        requests: vec![("manifest", "found", 3)],
        received_bytes: 42,
    }
}

fn setup(gate: GateKind) -> Setup {
    let observers = Observers { upstreams: Some(Arc::new(|| vec![report()])), ..Observers::default() };
    Setup { observers, ..Setup::gate(gate) }
}

#[tokio::test]
async fn the_cache_says_what_it_did_and_how_its_upstreams_are() {
    let server = setup(GateKind::Open).start().await;
    let reply = server.ask(get("/api/v1/cache")).await;
    assert_eq!(reply.status, 200);
    let status = reply.json();
    assert_eq!(status["cache"]["misses"], 0);
    let upstream = &status["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["received_bytes"]), (&"docker.io".into(), &42.into()));
    let url = &upstream["urls"][0];
    assert_eq!((&url["resting_seconds"], &url["first_byte_seconds"]), (&4.into(), &0.25.into()));
    assert_eq!(url["last_failure"], "answers 503");
    assert_eq!((&url["accounts"][0]["remaining"], &url["accounts"][0]["limit"]), (&7.into(), &100.into()));
    assert_eq!(server.ask(put("/api/v1/cache", "")).await.status, 405);
    // Nothing was fetched; what was pushed doesn't count.
    server.push_image("team/app", "one").await;
    let status = server.ask(get("/api/v1/cache?next=5")).await.json();
    assert_eq!((&status["stock"]["images"], &status["stock"]["bytes"]), (&0.into(), &0.into()));
    assert!(status["stock"]["free_bytes"].as_u64() > Some(0), "{status}");
    assert_eq!(
        status["cache"]["evicted_by_reason"],
        serde_json::json!({"unused": 0, "too_large": 0, "disk_full": 0})
    );
    for list in ["next", "held", "evicted"] {
        assert_eq!(status[list], serde_json::json!([]), "{list}");
    }
    assert_eq!(server.ask(get("/api/v1/cache?next=all")).await.status, 400);
}

/// Whoever may see the catalog learns how it goes, and not as whom the operator pulls.
#[tokio::test]
async fn whose_accounts_they_are_is_for_administrators() {
    let server = setup(GateKind::EachRight).start().await;
    for (user, account, words) in [
        ("keeper", "ci", "answers 503"),
        ("reader", "account 1", "its words are for administrators"),
        ("pusher", "account 1", "its words are for administrators"),
    ] {
        let status = server.ask(get("/api/v1/cache").basic(user, EACH_PASSWORD)).await.json();
        let url = &status["upstreams"][0]["urls"][0];
        assert_eq!((&url["accounts"][0]["account"], &url["last_failure"]), (&account.into(), &words.into()));
        assert_eq!(url["accounts"][0]["remaining"], 7);
    }
}

#[tokio::test]
async fn it_says_so_only_to_whom_the_catalog_is_shown() {
    let server = setup(GateKind::Basic).start().await;
    assert_eq!(server.ask(get("/api/v1/cache")).await.status, 401);
    assert_eq!(server.ask(get("/api/v1/cache").basic(ALICE.0, ALICE.1)).await.status, 200);
}

fn doors() -> Vec<Door> {
    vec![Door {
        prefix: Some("ghcr.io".parse().unwrap()),
        has_library: false,
        namespaces: vec!["ghcr.io".to_owned()],
        host_names: vec!["ghcr.lab".to_owned()],
    }]
}

#[tokio::test]
async fn an_image_below_a_prefix_is_reached_through_every_door() {
    let options = Options { doors: doors(), catalog_max_entries: 10, tags_max: 10, ..Options::default() };
    let server = Setup { options, ..Setup::default() }.start().await;
    server.push_image("ghcr.io/owner/app", "one").await;
    for (target, host) in [
        ("/v2/ghcr.io/owner/app/manifests/one", "x"),
        ("/v2/owner/app/manifests/one?ns=ghcr.io", "x"),
        ("/ghcr.io/v2/owner/app/manifests/one", "x"),
        ("/v2/owner/app/manifests/one", "ghcr.lab:5000"),
    ] {
        assert_eq!(server.ask(get(target).with("Host", host)).await.status, 200, "{target} at {host}");
    }
    assert_eq!(server.ask(get("/v2/owner/app/manifests/one")).await.status, 404);
    let reply = server.ask(get("/v2/owner/app/manifests/one?ns=evil.example")).await;
    let (status, words) = (reply.status, reply.text());
    assert!(status == 404 && words.contains("no mirror of evil.example"), "{status} {words}");
}

/// Whoever could push there could put his own image in the place of the upstream's, for everybody. registry:2's caches
/// refuse each of these, too, whatever `storage.delete.enabled` says.
#[tokio::test]
async fn an_open_cache_takes_nothing_in() {
    let options = Options { takes_no_pushes: true, ..Setup::default().options };
    let server = Setup { options, ..Setup::default() }.start().await;
    let digest = digest_of(b"a layer");
    for request in [
        post("/v2/library/app/blobs/uploads/", ""),
        post(format!("/v2/library/app/blobs/uploads/?digest={digest}"), "a layer"),
        post(format!("/v2/library/app/blobs/uploads/?mount={digest}&from=library/other"), ""),
        put("/v2/library/app/manifests/latest", "{}"),
        delete("/v2/library/app/manifests/latest"),
        delete(format!("/v2/library/app/manifests/{digest}")),
        delete(format!("/v2/library/app/blobs/{digest}")),
    ] {
        let reply = server.ask(request).await;
        let (status, words) = (reply.status, reply.text());
        assert!(status == 405 && words.contains("UNSUPPORTED") && words.contains("is a cache"), "{words}");
    }
    assert_eq!(server.ask(get("/v2/_catalog")).await.text().trim(), r#"{"repositories":[]}"#);
}

#[tokio::test]
async fn rights_are_those_of_the_name_here() {
    let options = Options { doors: doors(), catalog_max_entries: 10, tags_max: 10, ..Options::default() };
    let server = Setup { options, ..Setup::gate(GateKind::TokensForUsers) }.start().await;
    let reply = server.ask(get("/v2/owner/app/manifests/one?ns=ghcr.io")).await;
    assert_eq!(reply.status, 401);
    let challenge = reply.header("Www-Authenticate").unwrap();
    assert!(challenge.contains("scope=\"repository:ghcr.io/owner/app:pull\""), "{challenge}");
}

#[tokio::test]
async fn an_upstreams_prefix_answers_as_the_registrys_own_base() {
    let options = || Options { doors: doors(), catalog_max_entries: 10, tags_max: 10, ..Options::default() };
    let open = Setup { options: options(), ..Setup::default() }.start().await;
    for target in ["/v2/ghcr.io/", "/v2/ghcr.io/?ns=ghcr.io", "/v2/ghcr.io"] {
        let reply = open.ask(get(target)).await;
        assert_eq!((reply.status, reply.text()), (200, "{}".into()), "{target}");
        assert_eq!(reply.header("Docker-Distribution-Api-Version"), Some("registry/2.0"), "{target}");
    }
    assert_eq!(open.ask(get("/v2/evil.example/")).await.status, 404);
    assert_eq!(open.ask(put("/v2/ghcr.io/", "")).await.status, 405);
    let users = Setup { options: options(), ..Setup::gate(GateKind::TokensForUsers) }.start().await;
    let (base, prefix) = (users.ask(get("/v2/")).await, users.ask(get("/v2/ghcr.io/?ns=ghcr.io")).await);
    assert_eq!((base.status, prefix.status), (401, 401));
    assert!(prefix.header("Www-Authenticate").is_some());
    assert_eq!(prefix.header("Www-Authenticate"), base.header("Www-Authenticate"));
}

#[tokio::test]
async fn only_who_administers_the_registry_has_images_fetched_ahead() {
    let server = setup(GateKind::Basic).start().await;
    let target = "/api/v1/cache/warm?image=docker.io/library/nginx:1";
    assert_eq!(server.ask(post(target, "")).await.status, 401);
    assert_eq!(server.ask(get("/api/v1/cache/warm")).await.status, 401);
    // The rest is about an open one.
    let server = setup(GateKind::Open).start().await;
    for (query, words) in [
        ("", "name one to 100 images"),
        ("image=Nginx", "is no image"),
        ("image=nginx&platform=arm64", "is no platform"),
        ("image=nginx", "below no upstream's name"),
    ] {
        let reply = server.ask(post(format!("/api/v1/cache/warm?{query}"), "")).await;
        let (status, text) = (reply.status, reply.text());
        assert!(status == 400 && text.contains(words), "{query}: {status} {text}");
    }
    let reply = server.ask(get("/api/v1/cache/warm")).await.json();
    assert_eq!(reply, serde_json::json!({ "list": [], "jobs": [] }));
}

/// An upstream of everything, which is down.
struct Down;

fn down<T: Send + 'static>() -> UpstreamFuture<'static, T> {
    Box::pin(async {
        Err(UpstreamError {
            upstream: "hub".into(),
            host: "hub.test".into(),
            failure: UpstreamFailure::Unreachable,
            detail: "it is down".into(),
            cause: None,
        })
    })
}

impl Upstream for Down {
    fn name(&self) -> &str {
        "hub"
    }

    fn allowance(&self, _: &RepoName) -> Allowance {
        Allowance::Plenty
    }

    fn head_manifest<'a>(
        &'a self,
        _: &'a RepoName,
        _: &'a Reference,
    ) -> UpstreamFuture<'a, Option<ManifestHead>> {
        down()
    }

    fn manifest<'a>(
        &'a self,
        _: &'a RepoName,
        _: &'a Reference,
    ) -> UpstreamFuture<'a, Option<FetchedManifest>> {
        down()
    }

    fn blob_size<'a>(&'a self, _: &'a RepoName, _: &'a Digest) -> UpstreamFuture<'a, Option<Option<u64>>> {
        down()
    }

    fn blob<'a>(&'a self, _: &'a RepoName, _: &'a Digest, _: u64) -> UpstreamFuture<'a, Option<BlobStream>> {
        down()
    }

    fn tags<'a>(&'a self, _: &'a RepoName) -> UpstreamFuture<'a, Option<Vec<Tag>>> {
        down()
    }

    fn referrers<'a>(&'a self, _: &'a RepoName, _: &'a Digest) -> UpstreamFuture<'a, Vec<Descriptor>> {
        down()
    }
}

/// containerd and BuildKit ask for the manifest that they are about to push, and give up at anything but 200 and 404.
#[tokio::test]
async fn an_upstream_that_fails_fails_no_push() {
    let upstreams = || {
        Upstreams::new([UpstreamPlace {
            prefix: None,
            has_library: false,
            upstream: Arc::new(Down),
            settings: Arc::new(UpstreamSettings::default()),
        }])
    };
    let one = format!("{OCI_MANIFEST}, */*");
    let all = format!("{OCI_MANIFEST}, application/vnd.oci.image.index.v1+json, */*");
    let ask = |request: Request, accept: &str| request.with("Accept", accept);
    let open = Server::open().await;
    open.registry.set_upstreams(upstreams());
    let path = "/v2/me/app/manifests/one";
    assert_eq!(open.ask(ask(head(path), &one)).await.status, 404);
    assert_eq!(open.ask(ask(head(path), &all)).await.status, 502, "who pulls is told what is wrong");
    assert_eq!(open.ask(ask(get(path), &one)).await.status, 502);
    open.push_image("me/app", "one").await;
    assert_eq!(open.ask(ask(head(path), &one)).await.status, 200);
    let users = Setup::gate(GateKind::Tokens).start().await;
    users.registry.set_upstreams(upstreams());
    assert_eq!(users.ask(ask(head(path), &one)).await.status, 502, "who may not push doesn't ask for that");
}
