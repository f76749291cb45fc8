//! A directory in which registry:2 was a cache.

use larder_core::{CacheLimits, Registry};
use larder_oci::Digest;

use super::world::{APP, World, image};

fn state(world: &World, image: &super::world::Image) -> String {
    let entry = |digest: &Digest, kind: u8| {
        let key = format!("{APP}@{digest}");
        format!(
            r#""{key}":{{"Key":"{key}","ExpiryData":"2026-11-30T10:00:00.123456789Z","EntryType":{kind}}}"#
        )
    };
    let text = format!(
        "{{{},{},{}}}",
        entry(&image.digest, 1),
        entry(&image.layer_digest, 0),
        entry(&Digest::sha256(&image.config), 0)
    );
    std::fs::write(world.root.path().join("scheduler-state.json"), &text).unwrap();
    text
}

async fn is_refreshed(world: &World, registry: &Registry) -> bool {
    let next = image(77, 1000);
    world.publish(APP, Some("latest"), &next);
    let tag = larder_oci::Reference::Tag("latest".parse().unwrap());
    registry.manifest(&super::world::access(APP), &tag).await.unwrap().unwrap().digest == next.digest
}

#[tokio::test]
async fn what_registry_2_had_fetched_is_a_copy_and_what_people_pushed_is_not() {
    let world = World::new();
    // On disk, what registry:2 fetched looks like what was pushed.
    world.push(APP, "latest", &world.image.clone()).await;
    let mine = image(5, 1000);
    world.push(APP, "mine", &mine).await;
    state(&world, &world.image);
    assert_eq!(world.registry.adopt_copies().await.unwrap(), 4, "a manifest, its tag, two blobs");
    assert_eq!(world.registry.adopt_copies().await.unwrap(), 0, "once");
    assert!(is_refreshed(&world, &world.registry).await);
    assert_eq!(world.tag("mine").await.unwrap().unwrap().digest, mine.digest);
    // It was used just now, however old its files are: nothing goes because it was taken over.
    world.registry.set_cache_limits(CacheLimits {
        unused_for: Some(std::time::Duration::from_secs(3600)),
        ..CacheLimits::default()
    });
    assert!(world.registry.evict().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_state_or_with_a_broken_one_all_counts_as_pushed() {
    for text in [None, Some("{\"library/app@sha256:"), Some("[]"), Some("{}")] {
        let world = World::new();
        world.push(APP, "latest", &world.image.clone()).await;
        if let Some(text) = text {
            std::fs::write(world.root.path().join("scheduler-state.json"), text).unwrap();
        }
        assert_eq!(world.registry.adopt_copies().await.unwrap(), 0, "{text:?}");
        assert!(!is_refreshed(&world, &world.registry).await, "{text:?}");
    }
}
