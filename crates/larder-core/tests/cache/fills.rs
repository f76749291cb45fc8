use std::time::Duration;

use bytes::Bytes;
use larder_core::BlobContent;
use larder_oci::{ByteRange, Digest, Reference};
use proptest::prelude::*;
use tokio::time::Instant;

use super::fake::{CHUNK, Fault};
use super::world::{APP, World, access, noise, read, read_growing, read_range, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_cost_the_upstream_one_answer_each_whoever_leaves() {
    for the_first_leaves in [false, true] {
        let world = World::with(settings(), 2_000_000);
        let gate = world.fake.close_gate();
        let pull = || {
            let (registry, image) = (world.registry.clone(), world.image.clone());
            async move {
                let tag = Reference::Tag("latest".parse().unwrap());
                let manifest = registry.manifest(&access(APP), &tag).await.unwrap().unwrap();
                assert_eq!(manifest.bytes, image.manifest);
                for (digest, bytes) in
                    [(Digest::sha256(&image.config), &image.config), (image.layer_digest, &image.layer)]
                {
                    let blob = registry.blob(&access(APP), &digest).await.unwrap().unwrap();
                    assert_eq!(&read(&blob).await.unwrap(), bytes);
                }
            }
        };
        let first = tokio::spawn(pull());
        world.until(|| world.registry.cache_counts().fills > 0).await;
        gate.add_permits(20);
        let others: Vec<_> = (0..99).map(|_| tokio::spawn(pull())).collect();
        if the_first_leaves {
            world.until(|| gate.available_permits() == 0).await;
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
        } else {
            gate.add_permits(1000);
            first.await.unwrap();
        }
        gate.add_permits(1000);
        for other in others {
            other.await.unwrap();
        }
        let asked = world.fake.asked();
        assert_eq!(asked.blobs.len(), 2);
        assert!(asked.blobs.values().all(|offsets| *offsets == [0]), "{asked:?}");
        assert_eq!(asked.sizes, 0);
        assert!(asked.manifests <= 1, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_what_has_arrived_while_the_rest_is_on_its_way() {
    let world = World::with(settings(), 10 * CHUNK);
    let gate = world.fake.close_gate();
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(blob.content.size(), 10 * CHUNK as u64, "the length is known before the first byte");
    gate.add_permits(3);
    let range = |start: usize, end: usize| ByteRange { start: start as u64, end: end as u64 };
    let bytes = read_range(&blob, range(0, 3 * CHUNK)).await.unwrap();
    assert_eq!(bytes, world.image.layer[..3 * CHUNK]);
    let joined = world.layer().await.unwrap().unwrap();
    let bytes = read_range(&joined, range(CHUNK, CHUNK + 2)).await.unwrap();
    assert_eq!(bytes, world.image.layer[CHUNK..CHUNK + 2]);
    let head = world.registry.blob_head(&access(APP), &world.image.layer_digest).await.unwrap();
    assert!(
        head.is_none(),
        "a repository that holds nothing of its upstream doesn't ask for a client who may push"
    );
    gate.add_permits(100);
    assert_eq!(read(&joined).await.unwrap(), world.image.layer);
    assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_byte_waits_for_the_hash() {
    let world = World::with(settings(), 5 * CHUNK);
    world.fake.set(Fault::Corrupt);
    // Nothing comes before the client has its answer: it would be told that the blob is garbled instead.
    let gate = world.fake.close_gate();
    let blob = world.layer().await.unwrap().unwrap();
    gate.add_permits(10_000);
    let BlobContent::Growing(growing) = &blob.content else { panic!("{blob:?}") };
    let size = growing.size();
    let read = read_growing(growing, ByteRange { start: 0, end: size }).await;
    assert!(read.is_err(), "nobody gets all bytes of a wrong blob");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_end_of_a_large_blob_does_not_wait_for_it() {
    let world = World::with(settings(), 12 << 20);
    let gate = world.fake.close_gate();
    let blob = world.layer().await.unwrap().unwrap();
    let size = blob.content.size();
    *world.fake.gate.lock().unwrap() = None;
    let end = read_range(&blob, ByteRange { start: size - 50, end: size }).await.unwrap();
    assert_eq!(end, world.image.layer[world.image.layer.len() - 50..]);
    assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], [0, size - 50]);
    gate.add_permits(10_000);
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
}

#[tokio::test(start_paused = true)]
async fn a_head_costs_a_head_and_fetches_nothing() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    let head = || async {
        world
            .registry
            .blob_head(&access(APP), &world.image.layer_digest)
            .await
            .unwrap()
            .unwrap()
            .content
            .size()
    };
    assert_eq!(head().await, world.image.layer.len() as u64);
    let asked = world.fake.asked();
    assert_eq!((asked.sizes, asked.blobs.len()), (1, 0));
    assert_eq!(world.registry.cache_counts().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn to_a_client_who_only_looks_a_failing_upstream_is_no_failure() {
    let world = World::new();
    world.tag("latest").await.unwrap().unwrap();
    world.fake.set(Fault::Down);
    let head = world.registry.blob_head(&access(APP), &world.image.layer_digest).await.unwrap();
    assert!(head.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_unknown_length_is_answered_when_it_is_here() {
    let world = World::new();
    world.fake.state.lock().unwrap().says_length = false;
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    assert_eq!(blob.content.size(), world.image.layer.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_knows_no_ranges_is_read_again_from_the_start() {
    let world = World::new();
    world.fake.state.lock().unwrap().knows_ranges = false;
    world.fake.set(Fault::CutInHalf);
    let blob = world.layer().await.unwrap().unwrap();
    let reading = read(&blob);
    tokio::pin!(reading);
    // It is cut at the same place again and again, until the upstream mends itself.
    tokio::select! {
        biased;
        _ = &mut reading => panic!("half of it can't be all"),
        () = tokio::time::sleep(Duration::from_millis(150)) => world.fake.set(Fault::None),
    }
    assert_eq!(reading.await.unwrap(), world.image.layer);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_sends_crumbs_is_given_up_and_gone_on_with_when_it_is_well() {
    let world = World::with(settings(), 100_000);
    world.fake.set(Fault::CutAfter(50));
    let blob = world.layer().await.unwrap().unwrap();
    assert!(read(&blob).await.is_err(), "the client is told, and doesn't hang on for hours");
    let asked = world.fake.asked().blobs[&world.image.layer_digest].len();
    assert_eq!(asked, 8, "2,000 tries would have brought all of it");
    world.fake.reset();
    world.fake.set(Fault::CutAfter(40_000));
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], [400, 40_400, 80_400]);
}

/// How long, by the test's clock, until nothing is on its way.
async fn time_until_all_is_here(world: &World) -> Duration {
    let begun = Instant::now();
    while world.registry.cache_counts().fills > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_any_more_comes_as_slowly_as_the_operator_says() {
    let seconds = |number| Duration::from_secs(number);
    for (reads, bandwidth, at_least, at_most) in [
        (false, CHUNK as u64, seconds(8), seconds(12)),
        (true, CHUNK as u64, seconds(0), seconds(1)),
        (false, 0, seconds(0), seconds(1)),
    ] {
        let world = World::with(settings(), 10 * CHUNK);
        world.registry.set_background_bandwidth(bandwidth);
        let blob = world.layer().await.unwrap().unwrap();
        let blob = reads.then_some(blob);
        let took = time_until_all_is_here(&world).await;
        assert!(took >= at_least && took <= at_most, "read: {reads}, {bandwidth} bytes a second: {took:?}");
        drop(blob);
        let blob = world.layer().await.unwrap().unwrap();
        assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_to_a_blob_that_is_held_back_has_it_at_full_speed() {
    let world = World::with(settings(), 10 * CHUNK);
    world.registry.set_background_bandwidth(1);
    drop(world.layer().await.unwrap().unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.registry.cache_counts().fills, 1, "at a byte a second it takes two days");
    let begun = Instant::now();
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], [0], "on the same connection");
}

#[tokio::test(start_paused = true)]
async fn an_empty_blob_is_a_blob() {
    let world = World::new();
    let digest = world.fake.put_blob(APP, &Bytes::new());
    let blob = world.registry.blob(&access(APP), &digest).await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), b"");
    world.until_stored(&digest).await;
}

#[tokio::test(start_paused = true)]
async fn content_of_another_repository_is_linked_on_its_own_upstreams_word_alone() {
    let world = World::new();
    world.pull().await;
    world.fake.reset();
    let digest = world.image.layer_digest;
    // Nobody gets at it by its digest through a repository whose upstream doesn't have it.
    assert!(world.registry.blob(&access("library/other"), &digest).await.unwrap().is_none());
    world.fake.put_blob("library/third", &world.image.layer);
    let blob = world.registry.blob(&access("library/third"), &digest).await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    let asked = world.fake.asked();
    assert!(asked.blobs.is_empty(), "nothing is fetched twice: {asked:?}");
    assert_eq!(asked.sizes, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_repositories_share_one_fill_if_both_upstreams_have_the_blob() {
    let world = World::new();
    let digest = world.image.layer_digest;
    world.fake.put_blob("library/other", &world.image.layer);
    let gate = world.fake.close_gate();
    let first = world.layer().await.unwrap().unwrap();
    let second = world.registry.blob(&access("library/other"), &digest).await.unwrap().unwrap();
    assert!(world.registry.blob(&access("library/none"), &digest).await.unwrap().is_none());
    gate.add_permits(1000);
    assert_eq!(read(&first).await.unwrap(), world.image.layer);
    assert_eq!(read(&second).await.unwrap(), world.image.layer);
    world.until_stored(&digest).await;
    let meta = world.registry.meta();
    assert!(meta.blob(&"library/other".parse().unwrap(), &digest).unwrap().is_some());
    assert!(meta.blob(&"library/none".parse().unwrap(), &digest).unwrap().is_none());
    assert_eq!(world.fake.asked().blobs[&digest], [0]);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_lacks_is_asked_for_again_after_a_moment() {
    let world = World::new();
    let content = noise(7, 100);
    let digest = Digest::sha256(&content);
    let found = || async { world.registry.blob(&access(APP), &digest).await.unwrap().is_some() };
    assert!(!found().await);
    assert!(!found().await);
    assert_eq!(world.fake.asked().blobs[&digest], [0]);
    world.fake.put_blob(APP, &content);
    let begun = Instant::now();
    while !found().await {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever breaks off wherever, a reader gets all of the right bytes or an error.
    #[test]
    fn a_reader_gets_the_right_bytes_or_an_error(
        length in 1..100_000_usize,
        faults in proptest::collection::vec(prop_oneof![
            Just(Fault::None), Just(Fault::CutInHalf), Just(Fault::CutAtOnce), Just(Fault::Corrupt),
            Just(Fault::TooLong), Just(Fault::Down),
        ], 1..4),
        knows_ranges in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::with(settings(), length);
            world.fake.state.lock().unwrap().knows_ranges = knows_ranges;
            for fault in faults.into_iter().chain([Fault::None]) {
                world.fake.set(fault);
                if let Ok(Some(blob)) = world.layer().await
                    && let Ok(bytes) = read(&blob).await
                {
                    assert_eq!(bytes, world.image.layer);
                    return;
                }
                world.until(|| world.registry.cache_counts().fills == 0).await;
            }
            panic!("an upstream that works again gives everything");
        });
    }
}
