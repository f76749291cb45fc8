use std::time::Duration;

use larder_core::{Allowance, Freshness, FreshnessRule, TagPattern, UpstreamFailure, UpstreamSettings};
use tokio::time::Instant;

use super::fake::Fault;
use super::world::{APP, World, image, settings};

const MINUTE: Duration = Duration::from_secs(60);

fn fresh_for(freshness: Freshness) -> UpstreamSettings {
    UpstreamSettings { fresh_for: freshness, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_asked_about_once_per_window_and_fetched_only_when_it_moved() {
    let world = World::with(fresh_for(Freshness::For(MINUTE)), 1000);
    world.tag("latest").await.unwrap().unwrap();
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests), (0, 1), "nothing is at hand that a HEAD could spare");
    for _ in 0..3 {
        world.tag("latest").await.unwrap().unwrap();
    }
    assert_eq!(world.fake.asked(), asked);
    tokio::time::advance(MINUTE).await;
    world.tag("latest").await.unwrap().unwrap();
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests), (1, 1));
    let next = image(2, 1000);
    world.publish(APP, Some("latest"), &next);
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, world.image.digest, "within the window");
    tokio::time::advance(MINUTE).await;
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, next.digest);
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_second_tag_of_an_image_at_hand_costs_no_get() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    world.publish(APP, Some("1.0"), &world.image);
    assert_eq!(world.tag("1.0").await.unwrap().unwrap().digest, world.image.digest);
    let asked = world.fake.asked();
    assert_eq!((asked.heads, asked.manifests), (1, 1));
    let tag = world.registry.meta().tag(&APP.parse().unwrap(), &"1.0".parse().unwrap()).unwrap();
    assert_eq!(tag, Some(world.image.digest));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_tells_no_digest_is_believed_by_the_bytes() {
    let world = World::new();
    world.fake.state.lock().unwrap().says_digest = false;
    for _ in 0..2 {
        assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, world.image.digest);
    }
    let next = image(2, 1000);
    world.publish(APP, Some("latest"), &next);
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, next.digest);
}

#[tokio::test(start_paused = true)]
async fn a_chosen_tag_is_never_asked_about_again() {
    let rule = FreshnessRule {
        repositories: None,
        tags: TagPattern::Like("late*".to_owned()),
        fresh_for: Freshness::ForEver,
    };
    let world = World::with(UpstreamSettings { freshness: vec![rule], ..settings() }, 1000);
    world.tag("latest").await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(365 * 86_400)).await;
    world.fake.reset();
    world.tag("latest").await.unwrap().unwrap();
    assert_eq!(world.fake.asked().heads, 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_holds_up_one_client_and_not_the_next() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    world.fake.set(Fault::BlackHole);
    let begun = Instant::now();
    assert!(world.tag("latest").await.unwrap().unwrap().copy.is_some());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    for _ in 0..10 {
        assert!(world.tag("latest").await.unwrap().unwrap().copy.is_some());
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(world.fake.asked().heads, 1, "the question that hangs is the only one");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_for_its_client_serves_the_next_one() {
    let world = World::with(fresh_for(Freshness::For(Duration::ZERO)), 1000);
    world.tag("latest").await.unwrap().unwrap();
    let next = image(2, 1000);
    world.publish(APP, Some("latest"), &next);
    world.fake.set(Fault::Slow(Duration::from_secs(3)));
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, world.image.digest);
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.fake.set(Fault::None);
    world
        .until(|| world.registry.meta().manifest(&APP.parse().unwrap(), &next.digest).unwrap().is_some())
        .await;
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, next.digest);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_copy_is_counted_from_the_upstreams_last_word() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    world.fake.set(Fault::Fails(UpstreamFailure::Failed { status: 503 }));
    let copy = world.tag("latest").await.unwrap().unwrap().copy.unwrap();
    // The clock of ages is the wall's, which this test doesn't move.
    assert!(copy.age < MINUTE, "{copy:?}");
    assert!(copy.why.reason.contains("a fault of the test"), "{copy:?}");
    assert_eq!(world.registry.cache_counts().stale, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_spent_with_care() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    world.fake.reset();
    world.publish(APP, Some("other"), &image(2, 1000));
    let allow = |allowance| world.fake.state.lock().unwrap().allowance = allowance;
    allow(Allowance::Scarce);
    assert!(world.tag("latest").await.unwrap().unwrap().copy.is_some());
    assert_eq!(world.fake.asked(), super::fake::Asked::default(), "what is at hand costs nothing");
    allow(Allowance::Spent { renews_in: Duration::from_secs(77) });
    assert!(world.tag("latest").await.unwrap().unwrap().copy.is_some());
    let error = world.tag("other").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(77)));
    assert_eq!(world.fake.asked(), super::fake::Asked::default(), "at zero nobody asks");
    allow(Allowance::Scarce);
    assert!(world.tag("other").await.unwrap().is_some(), "what isn't at hand may still ask near the end");
}

#[tokio::test(start_paused = true)]
async fn offline_serves_what_is_here_and_asks_nobody() {
    let world = World::new();
    world.pull().await;
    world.fake.reset();
    let offline = UpstreamSettings { offline: true, ..settings() };
    world.registry.set_upstreams(super::world::upstreams(&world.fake, offline));
    world.publish(APP, Some("other"), &image(2, 1000));
    assert!(world.tag("latest").await.unwrap().unwrap().copy.is_some());
    assert!(world.layer().await.unwrap().is_some());
    assert!(world.tag("other").await.is_err());
    assert!(world.by_digest(image(2, 1000).digest).await.is_err());
    assert_eq!(world.fake.asked(), super::fake::Asked::default());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_the_upstream_removed_is_kept_unless_the_operator_says_otherwise() {
    for keeps in [true, false] {
        let world = World::with(UpstreamSettings { keeps_removed_tags: keeps, ..settings() }, 1000);
        world.tag("latest").await.unwrap().unwrap();
        world.fake.set(Fault::Empty);
        let pulled = world.tag("latest").await.unwrap();
        assert_eq!(pulled.is_some(), keeps);
        assert!(pulled.is_none_or(|pulled| pulled.copy.is_some()));
        assert!(world.by_digest(world.image.digest).await.unwrap().is_some(), "its bytes are still here");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_was_missing_appears_within_seconds() {
    let world = World::new();
    assert!(world.tag("new").await.unwrap().is_none());
    assert!(world.tag("new").await.unwrap().is_none());
    let asked = world.fake.asked();
    assert_eq!(asked.heads + asked.manifests, 1);
    world.publish(APP, Some("new"), &image(2, 1000));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(world.tag("new").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_copy_is_fetched_again() {
    let world = World::new();
    world.pull().await;
    let damage = |digest: &larder_oci::Digest| {
        let hex = digest.hex();
        let path =
            world.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let config = larder_oci::Digest::sha256(&world.image.config);
    damage(&world.image.digest);
    damage(&config);
    // What was read a moment ago is not read again.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(world.by_digest(world.image.digest).await.unwrap().unwrap().bytes, world.image.manifest);
    let blob = world.registry.blob(&super::world::access(APP), &config).await.unwrap().unwrap();
    assert_eq!(super::world::read(&blob).await.unwrap(), world.image.config);
}
