use std::time::Duration;

use bytes::Bytes;
use larder_core::{
    Allowance, CacheLimits, Platform, UpstreamSettings, WarmEntry, WarmImage, WarmJob, WarmState,
};
use larder_oci::{Actor, AdminAccess, Digest, MediaType};
use tokio_util::sync::CancellationToken;

use super::fake::Fault;
use super::world::{APP, Image, World, access, image, settings, upstreams};

fn admin() -> AdminAccess {
    AdminAccess::granted_by_policy(Actor::Anonymous)
}

fn arm64() -> Platform {
    Platform { os: "linux".to_owned(), architecture: "arm64".to_owned(), variant: None }
}

fn wanted(tag: &str, platforms: &[Platform]) -> WarmImage {
    let (repository, reference) = (APP.parse().unwrap(), tag.parse().unwrap());
    WarmImage { repository, reference, platforms: platforms.to_vec() }
}

/// An index of two platforms, and what belongs to the second.
struct Multi {
    amd64: Image,
    arm64: Image,
    attestation: Image,
}

impl World {
    fn publish_multi(&self) -> Multi {
        let multi = Multi { amd64: image(2, 20_000), arm64: image(3, 20_000), attestation: image(4, 100) };
        for each in [&multi.amd64, &multi.arm64, &multi.attestation] {
            self.publish(APP, None, each);
        }
        let child = |image: &Image, os: &str, architecture: &str| {
            serde_json::json!({
                "mediaType": MediaType::OCI_MANIFEST, "digest": image.digest, "size": image.manifest.len(),
                "platform": { "os": os, "architecture": architecture },
            })
        };
        let mut attestation = child(&multi.attestation, "unknown", "unknown");
        attestation["annotations"] = serde_json::json!({ "vnd.docker.reference.digest": multi.arm64.digest });
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
            "manifests": [child(&multi.amd64, "linux", "amd64"), child(&multi.arm64, "linux", "arm64"), attestation],
        });
        self.fake.put_manifest(APP, Some("multi"), &Bytes::from(serde_json::to_vec(&index).unwrap()));
        multi
    }

    /// Fetches an image ahead and waits for what comes of it.
    async fn warm(&self, image: WarmImage) -> WarmJob {
        let id = self.registry.begin_warming(&admin(), image).unwrap().unwrap();
        self.until(|| self.job(id).state.is_over()).await;
        self.job(id)
    }

    fn job(&self, id: u64) -> WarmJob {
        self.registry.warming(&admin()).into_iter().find(|job| job.id == id).unwrap()
    }
}

fn reason(job: &WarmJob) -> String {
    match &job.state {
        WarmState::Failed(reason) => reason.to_string(),
        other => panic!("it should have failed: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_fetched_ahead_is_neither_hit_nor_miss() {
    let world = World::new();
    world.publish_multi();
    let counts = || {
        let counts = world.registry.cache_counts();
        (counts.hits, counts.misses, counts.bytes_from_cache)
    };
    for _ in 0..3 {
        assert_eq!(world.warm(wanted("multi", &[])).await.state, WarmState::Done);
        assert_eq!(counts(), (0, 0, 0), "nobody has asked");
    }
    let pulled = world.tag("multi").await.unwrap().unwrap();
    assert_eq!(counts(), (1, 0, pulled.bytes.len() as u64));
}

#[tokio::test]
async fn an_image_is_fetched_ahead_for_the_platforms_asked_for_and_nothing_else_and_nothing_twice() {
    let world = World::new();
    let multi = world.publish_multi();
    let job = world.warm(wanted("multi", &[arm64()])).await;
    assert_eq!(job.state, WarmState::Done);
    let far = &job.progress;
    // The index, the image, what belongs to it.
    assert_eq!((far.manifests, far.blobs, far.blobs_named), (3, 4, 4));
    let layers = (multi.arm64.layer.len() + multi.attestation.layer.len()) as u64;
    assert!(far.bytes_fetched == far.bytes_named && far.bytes_named > layers, "{far:?}");
    let asked = world.fake.asked();
    assert_eq!(asked.manifests, 3);
    assert!(asked.blobs.contains_key(&multi.arm64.layer_digest));
    assert!(!asked.blobs.contains_key(&multi.amd64.layer_digest));
    // Again: the tag is asked about, and nothing is fetched.
    world.fake.reset();
    let again = world.warm(wanted("multi", &[arm64()])).await;
    assert_eq!((again.progress.bytes_fetched, again.progress.blobs), (0, 4));
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests, asked.blobs.len()), (1, 0, 0));
    // All of it is here now.
    world.fake.set(Fault::Down);
    for digest in [multi.arm64.layer_digest, Digest::sha256(&multi.arm64.config)] {
        assert!(world.registry.blob(&access(APP), &digest).await.unwrap().is_some());
    }
    let stale = world.warm(wanted("multi", &[arm64()])).await;
    assert!(stale.state == WarmState::Done && stale.progress.stale.is_some(), "{stale:?}");
}

#[tokio::test]
async fn who_asks_for_an_image_on_its_way_joins() {
    let world = World::new();
    let gate = world.fake.close_gate();
    let begin = || world.registry.begin_warming(&admin(), wanted("latest", &[])).unwrap().unwrap();
    let (first, second) = (begin(), begin());
    assert_eq!(first, second);
    gate.add_permits(1000);
    world.until(|| world.job(first).state.is_over()).await;
    assert_eq!(world.job(first).state, WarmState::Done);
    assert!(world.fake.asked().blobs.values().all(|fetches| fetches.len() == 1));
    assert_ne!(begin(), first, "what is asked for later is looked at anew");
}

#[tokio::test]
async fn what_can_not_be_had_says_why() {
    let world = World::new();
    world.publish_multi();
    assert!(reason(&world.warm(wanted("none", &[])).await).contains("has no none"));
    let other = Platform { os: "plan9".to_owned(), ..arm64() };
    assert!(reason(&world.warm(wanted("multi", &[other])).await).contains("none of these platforms"));
    world.fake.set(Fault::Down);
    assert!(reason(&world.warm(wanted("latest", &[])).await).contains("upstream"));
    world.registry.set_upstreams(larder_core::Upstreams::default());
    let refused = world.registry.begin_warming(&admin(), wanted("latest", &[])).unwrap_err();
    assert!(refused.to_string().contains("below no upstream's name"), "{refused}");
}

#[tokio::test]
async fn near_the_end_of_a_rate_limit_and_offline_nothing_is_fetched_ahead() {
    let world = World::new();
    world.fake.state.lock().unwrap().allowance = Allowance::Scarce;
    assert!(reason(&world.warm(wanted("latest", &[])).await).contains("rate limit is nearly spent"));
    // A client gets it all the same, and then its blobs cost nothing.
    assert!(world.tag("latest").await.unwrap().is_some());
    assert_eq!(world.warm(wanted("latest", &[])).await.state, WarmState::Done);
    world.publish_multi();
    world.fake.state.lock().unwrap().allowance = Allowance::Spent { renews_in: Duration::from_secs(9) };
    world.fake.reset();
    assert!(reason(&world.warm(wanted("multi", &[])).await).contains("rate limit is nearly spent"));
    world.fake.state.lock().unwrap().allowance = Allowance::Plenty;
    let offline = UpstreamSettings { offline: true, ..settings() };
    world.registry.set_upstreams(upstreams(&world.fake, offline));
    assert!(reason(&world.warm(wanted("multi", &[])).await).contains("offline"));
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests, asked.blobs.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_list_is_fetched_by_itself_again_and_again_and_what_is_pinned_stays() {
    let world = World::new();
    let second = image(5, 5000);
    world.publish(APP, Some("second"), &second);
    let entry = |tag: &str, is_pinned| WarmEntry {
        image: wanted(tag, &[]),
        every: Some(Duration::from_millis(50)),
        is_pinned,
    };
    world.registry.set_warm_list(vec![entry("latest", true), entry("second", false)]);
    let stop = CancellationToken::new();
    let maintaining = tokio::spawn({
        let (registry, stop) = (world.registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    let done = |tag: &str| {
        let jobs = world.registry.warming(&admin());
        let of_tag = jobs.iter().filter(|job| job.image.reference.to_string() == tag);
        of_tag.filter(|job| job.state == WarmState::Done).count()
    };
    world.until(|| done("latest") >= 3 && done("second") >= 3).await;
    assert!(world.fake.asked().blobs.values().all(|fetches| fetches.len() == 1), "nothing is fetched twice");
    // Only the pinned one is left, and what moved to a changed list comes at once.
    let third = image(6, 5000);
    world.publish(APP, Some("third"), &third);
    world.registry.set_warm_list(vec![entry("latest", true), entry("third", false)]);
    world.until(|| done("third") >= 1).await;
    stop.cancel();
    maintaining.await.unwrap();
    world.registry.set_cache_limits(CacheLimits { max_size: Some(1), ..CacheLimits::default() });
    let gone = world.registry.evict().await.unwrap();
    let mut tags: Vec<String> = gone.iter().flat_map(|each| &each.tags).map(ToString::to_string).collect();
    tags.sort();
    assert_eq!(tags, ["second", "third"]);
    let status = world.registry.cache_status(10).await.unwrap();
    assert_eq!(status.held[0].held_by.as_deref(), Some("library/app:latest"));
}
