use larder_core::{ManifestHead, Upstream as _, UpstreamFailure};
use larder_upstream::{Kind, Outcome};

use crate::support::*;

#[tokio::test]
async fn a_manifest_is_asked_for_with_every_type_and_read_as_it_comes() {
    let peer = Peer::start(|_| Reply::manifest("{}")).await;
    let client = peer.client();
    let fetched = client.manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
    assert_eq!(fetched.bytes, "{}");
    assert_eq!(fetched.media_type.unwrap(), MANIFEST_TYPE);
    let asked = peer.asked();
    assert_eq!(asked[0].line(), "GET /v2/library/nginx/manifests/latest");
    let accept = asked[0].header("accept").unwrap();
    for part in ["oci.image.index", "oci.image.manifest", "manifest.list.v2", "distribution.manifest.v2"] {
        assert!(accept.contains(part), "{accept}");
    }
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn the_head_of_a_manifest_says_digest_type_and_length() {
    let peer = Peer::start(|_| Reply::manifest("{}")).await;
    let head = peer.client().head_manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
    let expected = ManifestHead {
        digest: Some(blob()),
        media_type: Some(MANIFEST_TYPE.parse().unwrap()),
        size: Some(2),
    };
    assert_eq!(head, expected);
    assert_eq!(peer.lines(), ["HEAD /v2/library/nginx/manifests/latest"]);
}

#[tokio::test]
async fn an_upstream_without_head_is_asked_by_get() {
    let peer = Peer::start(|request| match request.method.as_str() {
        "HEAD" => Reply::new(405),
        _ => Reply::manifest("{}"),
    })
    .await;
    let head = peer.client().head_manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
    assert_eq!(head.digest, Some(blob()));
}

#[tokio::test]
async fn a_blob_comes_from_where_it_is_asked_for() {
    let peer = Peer::start(|request| match request.header("range") {
        Some("bytes=3-") => Reply::new(206).body("defg").with("content-range", "bytes 3-6/7"),
        _ => Reply::ok("abcdefg"),
    })
    .await;
    let client = peer.client();
    let mut whole = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
    assert_eq!((whole.size, whole.from), (Some(7), 0));
    assert_eq!(drain(&mut whole).await.0, b"abcdefg");
    let mut rest = client.blob(&repository(), &blob(), 3).await.unwrap().unwrap();
    assert_eq!((rest.size, rest.from), (Some(7), 3));
    assert_eq!(drain(&mut rest).await.0, b"defg");
    assert_eq!(peer.asked()[0].header("range"), None);
    drop((whole, rest));
    let snapshot = client.snapshot();
    assert_eq!(snapshot.requests, [(Kind::Blob, Outcome::Found, 2)]);
    assert_eq!(snapshot.received_bytes, 11);
}

#[tokio::test]
async fn an_upstream_without_ranges_begins_at_the_beginning_and_says_so() {
    let peer = Peer::start(|_| Reply::ok("abcdefg")).await;
    let rest = peer.client().blob(&repository(), &blob(), 3).await.unwrap().unwrap();
    assert_eq!((rest.size, rest.from), (Some(7), 0));
}

#[tokio::test]
async fn a_part_that_does_not_say_which_is_no_answer() {
    let peer = Peer::start(|_| Reply::new(206).body("defg")).await;
    let error = peer.client().blob(&repository(), &blob(), 3).await.err().unwrap();
    assert_eq!(error.failure, UpstreamFailure::Garbled);
}

#[tokio::test]
async fn the_length_of_a_blob_is_had_by_head_or_where_that_is_refused_by_get() {
    let peer = Peer::start(|_| Reply::ok("abcdefg")).await;
    assert_eq!(peer.client().blob_size(&repository(), &blob()).await.unwrap(), Some(Some(7)));
    assert_eq!(peer.lines().len(), 1);
    for refusal in [401, 403, 405] {
        let peer = Peer::start(move |request| match request.method.as_str() {
            "HEAD" => Reply::new(refusal),
            _ if request.target == "/v2/" => Reply::ok("{}"),
            _ => Reply::ok("abcdefg"),
        })
        .await;
        assert_eq!(
            peer.client().blob_size(&repository(), &blob()).await.unwrap(),
            Some(Some(7)),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn what_the_upstream_lacks_is_none() {
    let peer = Peer::start(|_| Reply::new(404).body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)).await;
    let client = peer.client();
    assert!(manifest(&client).await.unwrap().is_none());
    assert!(client.head_manifest(&repository(), &tag("x")).await.unwrap().is_none());
    assert!(client.blob(&repository(), &blob(), 0).await.unwrap().is_none());
    assert!(client.blob_size(&repository(), &blob()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_path_stands_in_front_of_every_name() {
    let peer = Peer::start(|_| Reply::manifest("{}")).await;
    let client =
        larder_upstream::RemoteRegistry::new(settings_of([format!("{}/v2/hub", peer.url())])).unwrap();
    manifest(&client).await.unwrap().unwrap();
    assert_eq!(peer.lines(), ["GET /v2/hub/library/nginx/manifests/latest"]);
}

#[tokio::test]
async fn nothing_is_asked_before_somebody_asks() {
    let peer = Peer::start(|_| Reply::new(500)).await;
    let client = peer.client();
    client.allowance(&repository());
    client.snapshot();
    tokio::task::yield_now().await;
    assert!(peer.asked().is_empty());
}
