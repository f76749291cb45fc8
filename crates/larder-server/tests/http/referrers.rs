//! The referrers API.

use serde_json::{Value, json};

use crate::support::*;

async fn list(server: &Server, target: &str) -> (Reply, Vec<Value>) {
    let reply = server.ask(get(target)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // Compared to the letter by ggcr and oras.
    assert_eq!(reply.header("Content-Type"), Some(OCI_INDEX));
    let body = reply.json();
    assert_eq!((&body["schemaVersion"], &body["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let manifests = body["manifests"].as_array().unwrap().clone();
    (reply, manifests)
}

#[tokio::test]
async fn nothing_known_is_an_empty_list() {
    let server = Server::open().await;
    let digest = server.push_image("lab/app", "one").await;
    for path in [
        format!("/v2/lab/app/referrers/{digest}"),
        format!("/v2/lab/app/referrers/{ABSENT}"),
        format!("/v2/lab/none/referrers/{ABSENT}"),
    ] {
        let reply = server.ask(get(path.as_str())).await;
        assert_eq!(
            reply.undated(),
            "HTTP/1.1 200 OK\nContent-Type: application/vnd.oci.image.index.v1+json\nContent-Length: 88\n\
             Docker-Distribution-Api-Version: registry/2.0"
        );
        assert_eq!(
            reply.json(),
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }),
            "{path}"
        );
        assert_eq!(server.ask(head(path)).await.header("Content-Length"), Some("88"));
    }
}

#[tokio::test]
async fn what_is_about_a_manifest_is_listed_and_filtered() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let kinds = ["application/x.sbom", "application/x.signature", "application/x.scan+json"];
    let mut expected = Vec::new();
    for kind in kinds {
        let manifest = referrer(&subject, kind, "a");
        let digest = server.push_manifest("lab/app", &digest_of(&manifest), &manifest).await;
        expected.push(json!({
            "mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len(), "artifactType": kind,
            "annotations": { "note": "a" },
        }));
    }
    let path = format!("/v2/lab/app/referrers/{subject}");
    let (reply, mut all) = list(&server, &path).await;
    assert_eq!(reply.header("Oci-Filters-Applied"), None);
    let by_digest = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    all.sort_by_key(by_digest);
    let mut sorted = expected.clone();
    sorted.sort_by_key(by_digest);
    assert_eq!(all, sorted);
    for (query, count) in [
        ("?artifactType=application/x.sbom", 1),
        ("?artifactType=application%2Fx.sbom", 1),
        ("?artifactType=application/x.sbom&artifactType=application/x.signature", 2),
        ("?artifactType=application/x.scan%2Bjson", 1),
        ("?artifactType=application/x.none", 0),
    ] {
        let (reply, found) = list(&server, &format!("{path}{query}")).await;
        assert_eq!(reply.header("Oci-Filters-Applied"), Some("artifactType"), "{query}");
        assert_eq!(found.len(), count, "{query}");
    }
    // An empty filter is none.
    let (reply, found) = list(&server, &format!("{path}?artifactType=")).await;
    assert_eq!((reply.header("Oci-Filters-Applied"), found.len()), (None, 3));
    // Another repository has its own.
    assert!(list(&server, &format!("/v2/lab/other/referrers/{subject}")).await.1.is_empty());
    // A deleted referrer is gone from the list.
    let digest = expected[0]["digest"].as_str().unwrap();
    assert_eq!(server.ask(delete(format!("/v2/lab/app/manifests/{digest}"))).await.status, 202);
    assert_eq!(list(&server, &path).await.1.len(), 2);
}

#[tokio::test]
async fn pages_lead_on_to_the_end() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let mut expected = Vec::new();
    for at in 0..11 {
        let kind = ["application/x.even", "application/x.odd"][at % 2];
        let manifest = referrer(&subject, kind, &at.to_string());
        expected.push((server.push_manifest("lab/app", &digest_of(&manifest), &manifest).await, kind));
    }
    expected.sort();
    for (filter, kind) in [("", None), ("&artifactType=application/x.odd", Some("application/x.odd"))] {
        let mut next = Some(format!("/v2/lab/app/referrers/{subject}?n=3{filter}"));
        let (mut walked, mut pages) = (Vec::new(), 0);
        while let Some(target) = next {
            let (reply, found) = list(&server, &target).await;
            assert!(found.len() <= 3);
            walked.extend(found.iter().map(|each| each["digest"].as_str().unwrap().to_owned()));
            pages += 1;
            next = reply.header("Link").map(link);
            assert_eq!(reply.header("Oci-Filters-Applied"), kind.map(|_| "artifactType"));
        }
        let wanted: Vec<String> = expected
            .iter()
            .filter(|(_, each)| kind.is_none_or(|kind| kind == *each))
            .map(|(digest, _)| digest.clone())
            .collect();
        assert_eq!(walked, wanted, "{filter}");
        assert_eq!(pages, wanted.len().div_ceil(3));
    }
}

/// The target of `<…>; rel="next"`.
fn link(header: &str) -> String {
    let target =
        header.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).expect("a Link");
    assert!(target.starts_with("/v2/"), "{target}");
    target.to_owned()
}

/// What clients wrote under the fallback tag when the registry had no referrers API.
#[tokio::test]
async fn the_fallback_tag_is_merged_in() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let by_field = referrer(&subject, "application/x.new", "new");
    let by_field = server.push_manifest("lab/app", &digest_of(&by_field), &by_field).await;
    // An old one, which doesn't name its subject.
    let old = image_noted("old");
    let old = server.push_manifest("lab/app", &digest_of(&old), &old).await;
    let fallback = index(OCI_INDEX, OCI_MANIFEST, &[&old]);
    let tag = subject.replace(':', "-");
    server.push_manifest("lab/app", &tag, &fallback).await;
    let (_, found) = list(&server, &format!("/v2/lab/app/referrers/{subject}")).await;
    let mut digests: Vec<&str> = found.iter().map(|each| each["digest"].as_str().unwrap()).collect();
    digests.sort_unstable();
    let mut expected = [by_field.as_str(), &old];
    expected.sort_unstable();
    assert_eq!(digests, expected);
    // And the tag itself is served, to clients that look there.
    assert_eq!(server.ask(get(format!("/v2/lab/app/manifests/{tag}"))).await.text(), fallback);
}

#[tokio::test]
async fn an_image_without_artifact_type_goes_by_its_config() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let manifest = referrer(&subject, "X", "a").replace(r#""artifactType":"X","#, "");
    server.push_manifest("lab/app", &digest_of(&manifest), &manifest).await;
    let (_, found) = list(&server, &format!("/v2/lab/app/referrers/{subject}")).await;
    assert_eq!(found[0]["artifactType"], "application/vnd.oci.image.config.v1+json");
}
