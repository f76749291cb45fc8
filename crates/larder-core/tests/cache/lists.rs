//! Tags and referrers, by the upstream's word and with what is here.

use std::time::Duration;

use larder_core::{Freshness, Listed, Page, RegistryError, UpstreamSettings};
use larder_oci::{Descriptor, Digest};
use tokio::time::Instant;

use super::fake::Fault;
use super::world::{APP, World, access, image, settings};

fn fresh_for(seconds: u64) -> UpstreamSettings {
    UpstreamSettings { fresh_for: Freshness::For(Duration::from_secs(seconds)), ..settings() }
}

impl World {
    async fn tags_of(
        &self,
        repository: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<String>, RegistryError> {
        let page = Page { after: after.map(str::to_owned), limit };
        self.registry.tags(&access(repository), page).await
    }

    async fn all_tags(&self) -> Listed<String> {
        self.tags_of(APP, None, 100).await.unwrap()
    }

    async fn referrers(&self, kinds: &[&str]) -> Result<Listed<Descriptor>, RegistryError> {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let page = Page { after: None, limit: 100 };
        self.registry.referrers(&access(APP), &self.image.digest, kinds, page).await
    }
}

fn referrer(mark: &str, kind: &str) -> Descriptor {
    let json = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::sha256(mark.as_bytes()), "size": 5, "artifactType": kind,
    });
    serde_json::from_value(json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_an_upstream_are_listed_and_asked_for_once_per_window() {
    let world = World::with(fresh_for(60), 100);
    world.publish(APP, Some("2"), &image(2, 100));
    world.publish(APP, Some("10"), &image(3, 100));
    for _ in 0..3 {
        let listed = world.all_tags().await;
        assert_eq!(listed.items, ["10", "2", "latest"], "in byte order, whatever the upstream's is");
        assert!(!listed.more && listed.copy.is_none());
    }
    assert_eq!(world.fake.asked().lists, 1);
    let page = world.tags_of(APP, Some("10"), 1).await.unwrap();
    assert_eq!((page.items, page.more), (vec!["2".to_owned()], true));
    let end = world.tags_of(APP, Some("2"), 1).await.unwrap();
    assert_eq!((end.items, end.more), (vec!["latest".to_owned()], false));
    assert_eq!(world.fake.asked().lists, 1);
    world.publish(APP, Some("3"), &image(4, 100));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.all_tags().await.items, ["10", "2", "3", "latest"]);
    assert!(matches!(
        world.tags_of("library/none", None, 9).await,
        Err(RegistryError::RepositoryUnknown { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_listed_whatever_the_upstream_does_and_said_to_be_only_that() {
    for fault in [Fault::Down, Fault::BlackHole, Fault::Slow(Duration::from_secs(10))] {
        let world = World::with(settings(), 100);
        world.pull().await;
        world.publish(APP, Some("2"), &image(2, 100));
        world.fake.set(fault);
        let begun = Instant::now();
        let listed = world.all_tags().await;
        assert_eq!(listed.items, ["latest"]);
        assert!(listed.copy.is_some(), "{fault:?}");
        assert!(begun.elapsed() <= Duration::from_secs(3), "{fault:?}: {:?}", begun.elapsed());
        if fault != Fault::Slow(Duration::from_secs(10)) {
            let other = world.tags_of("library/other", None, 9).await.unwrap_err();
            let is_unknown = matches!(other, RegistryError::RepositoryUnknown { .. });
            assert!(!is_unknown, "an outage is never a \"not there\"");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_lists_of_what_people_push_nor_by_who_is_offline() {
    let world = World::with(settings(), 100);
    world.push(APP, "own", &image(5, 100)).await;
    assert_eq!(world.all_tags().await.items, ["own"]);
    let pushed = image(5, 100).digest;
    let page = Page { after: None, limit: 9 };
    let referrers = world.registry.referrers(&access(APP), &pushed, Vec::new(), page).await.unwrap();
    assert!(referrers.items.is_empty() && referrers.copy.is_none());
    assert_eq!(world.fake.asked().lists, 0);

    let world = World::with(UpstreamSettings { offline: true, ..settings() }, 100);
    assert!(world.tags_of(APP, None, 9).await.is_err());
    assert_eq!(world.fake.asked().lists, 0);
}

#[tokio::test(start_paused = true)]
async fn referrers_that_only_the_upstream_knows_are_found() {
    let world = World::with(fresh_for(60), 100);
    let (signature, sbom) = (referrer("one", "application/signature"), referrer("two", "application/sbom"));
    let known = vec![signature.clone(), sbom.clone()];
    world.fake.state.lock().unwrap().referrers.insert((APP.to_owned(), world.image.digest), known);
    let listed = world.referrers(&[]).await.unwrap();
    let mut digests = [signature.digest, sbom.digest];
    digests.sort();
    assert_eq!(listed.items.iter().map(|each| each.digest).collect::<Vec<_>>(), digests);
    assert_eq!(world.referrers(&["application/sbom"]).await.unwrap().items, [sbom]);
    assert_eq!(world.fake.asked().lists, 1);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_referrers_of_what_is_not_here_are_not_known() {
    let world = World::new();
    world.fake.set(Fault::Down);
    assert!(world.referrers(&[]).await.is_err());
    world.fake.set(Fault::None);
    world.pull().await;
    world.fake.set(Fault::Down);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let listed = world.referrers(&[]).await.unwrap();
    assert!(listed.items.is_empty() && listed.copy.is_some());
}
