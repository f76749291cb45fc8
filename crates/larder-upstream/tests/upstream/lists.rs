use larder_core::{Upstream as _, UpstreamFailure};

use crate::support::*;

#[tokio::test]
async fn a_list_of_tags_is_read_page_after_page() {
    let peer = Peer::start(|request| {
        if request.line().ends_with("n=1000&last=b") {
            return Reply::ok(r#"{"name":"x","tags":["c","not a tag!"]}"#);
        }
        // Whatever host the link names, the next page is asked for where the first was.
        Reply::ok(r#"{"name":"x","tags":["a","b"]}"#)
            .with("link", "<https://elsewhere.test/v2/other/tags/list?n=1000&last=b>; rel=\"next\"")
    })
    .await;
    let tags = peer.client().tags(&repository()).await.unwrap().unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c"]);
    let path = "GET /v2/library/nginx/tags/list?n=1000";
    assert_eq!(peer.lines(), [path.to_owned(), format!("{path}&last=b")]);
}

#[tokio::test]
async fn a_list_that_is_not_there_null_or_nonsense() {
    for (reply, expected) in [
        (Reply::new(404), Ok(None)),
        (Reply::ok(r#"{"name":"x","tags":null}"#), Ok(Some(0))),
        (Reply::ok("<html>"), Err(UpstreamFailure::Garbled)),
        (Reply::new(503), Err(UpstreamFailure::Failed { status: 503 })),
    ] {
        let reply = std::sync::Arc::new(reply);
        let peer = Peer::start(move |_| reply.as_ref().clone()).await;
        let tags = peer.client().tags(&repository()).await;
        assert_eq!(tags.map(|tags| tags.map(|tags| tags.len())).map_err(|error| error.failure), expected);
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let peer = Peer::start(|_| {
        Reply::ok(r#"{"tags":["a"]}"#).with("link", "</v2/x/tags/list?last=a>; rel=\"next\"")
    })
    .await;
    let failure = peer.client().tags(&repository()).await.unwrap_err().failure;
    assert_eq!((failure, peer.lines().len()), (UpstreamFailure::Garbled, 100));
}

/// ghcr.io has no such API; clients keep the list under a tag there.
#[tokio::test]
async fn referrers_come_by_the_api_or_from_the_tag_that_clients_keep_them_under() {
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":7}}]}}"#,
        blob()
    );
    let tag = format!("GET /v2/library/nginx/manifests/{}", blob().to_string().replace(':', "-"));
    for without_api in [None, Some(404), Some(405), Some(400)] {
        let (index, tag) = (index.clone(), tag.clone());
        let peer = Peer::start(move |request| match without_api {
            Some(status) if request.line() != tag => Reply::new(status),
            _ => Reply::ok(index.clone()),
        })
        .await;
        let found = peer.client().referrers(&repository(), &blob()).await.unwrap();
        assert_eq!(found.iter().map(|each| each.digest).collect::<Vec<_>>(), [blob()], "{without_api:?}");
    }
    let peer = Peer::start(|_| Reply::new(404)).await;
    assert!(peer.client().referrers(&repository(), &blob()).await.unwrap().is_empty());
}
