//! Blobs that can't be kept are passed on, and leave nothing behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder_core::{BlobContent, CacheLimits, RegistryError, UpstreamFailure};
use larder_oci::{Actor, AdminAccess, ByteRange};
use larder_storage::Disk;
use larder_storage::hook::{DiskHook, Mutation};

use super::fake::{CHUNK, Fake, Fault};
use super::world::{APP, World, image, open_on, read, read_range, settings, upstreams};

/// A disk on which no link of a blob fits while it is full, though content does.
#[derive(Default)]
struct NoLinks(AtomicBool);

impl DiskHook for NoLinks {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let path = match mutation {
            Mutation::CreateDirectory(path) | Mutation::CreateFile(path) => path,
            _ => return Ok(usize::MAX),
        };
        if self.0.load(Ordering::SeqCst) && path.components().any(|part| part.as_os_str() == "_layers") {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

/// A disk with so many bytes free.
struct Full(AtomicU64);

impl DiskHook for Full {
    fn before(&self, _: Mutation<'_>) -> io::Result<usize> {
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}

    fn free(&self) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst))
    }
}

/// A layer is longer than all that is free.
fn on_a_full_disk(length: usize) -> (World, Arc<Full>) {
    let (root, full) = (tempfile::tempdir().unwrap(), Arc::new(Full(AtomicU64::new(length as u64 - 1))));
    let disk = Disk::open_with(root.path(), Some(Arc::clone(&full) as Arc<dyn DiskHook>)).unwrap();
    let (registry, fake) = (open_on(Arc::new(disk)), Fake::new());
    registry.set_upstreams(upstreams(&fake, settings()));
    let world = World { root, registry, fake, image: image(1, length) };
    world.publish(APP, Some("latest"), &world.image.clone());
    (world, full)
}

/// Nothing may be written: what is asked for is passed on.
fn in_maintenance(length: usize) -> World {
    let world = World::with(settings(), length);
    world.registry.begin_maintenance(&AdminAccess::granted_by_policy(Actor::Anonymous), "");
    world
}

fn range(start: usize, end: usize) -> ByteRange {
    ByteRange { start: start as u64, end: end as u64 }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_served_all_the_same_and_each_reader_has_his_own() {
    let world = in_maintenance(10 * CHUNK + 7);
    for _ in 0..2 {
        let blob = world.layer().await.unwrap().unwrap();
        assert_eq!(blob.content.size(), world.image.layer.len() as u64);
        assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    }
    assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], [0, 0]);
    assert!(world.registry.meta().blob(&APP.parse().unwrap(), &world.image.layer_digest).unwrap().is_none());
    assert_eq!(world.registry.cache_counts().fills, 0);
    let blob = world.layer().await.unwrap().unwrap();
    let bytes = read_range(&blob, range(3 * CHUNK + 1, 5 * CHUNK)).await.unwrap();
    assert_eq!(bytes, world.image.layer[3 * CHUNK + 1..5 * CHUNK]);
    let bytes = read_range(&blob, range(10, 20)).await.unwrap();
    assert_eq!(bytes, world.image.layer[10..20]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_goes_on_where_it_was() {
    for knows_ranges in [true, false] {
        let world = in_maintenance(10 * CHUNK);
        world.fake.state.lock().unwrap().knows_ranges = knows_ranges;
        world.fake.set(if knows_ranges { Fault::CutInHalf } else { Fault::CutAfter(6 * CHUNK) });
        let blob = world.layer().await.unwrap().unwrap();
        if knows_ranges {
            assert_eq!(read(&blob).await.unwrap(), world.image.layer);
        } else {
            assert_eq!(read_range(&blob, range(0, 6 * CHUNK)).await.unwrap(), world.image.layer[..6 * CHUNK]);
            world.fake.set(Fault::None);
            let rest = read_range(&blob, range(6 * CHUNK, 10 * CHUNK)).await.unwrap();
            assert_eq!(rest, world.image.layer[6 * CHUNK..]);
        }
        assert!(world.fake.asked().blobs[&world.image.layer_digest].len() > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_never_come_to_their_end() {
    for fault in [Fault::Corrupt, Fault::CutAtOnce, Fault::Stalls] {
        let world = in_maintenance(3 * CHUNK);
        world.fake.set(fault);
        let blob = world.layer().await.unwrap().unwrap();
        let ended = read(&blob).await;
        assert!(ended.is_err(), "{fault:?}: {} bytes", ended.unwrap().len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_is_named_and_one_without_the_blob_is_believed() {
    let world = in_maintenance(CHUNK);
    world.fake.set(Fault::Down);
    let failed = world.layer().await.unwrap_err();
    let is_upstream =
        matches!(&failed, RegistryError::Upstream(error) if error.failure == UpstreamFailure::Unreachable);
    assert!(is_upstream, "{failed:?}");
    world.fake.set(Fault::None);
    world.fake.state.lock().unwrap().says_length = false;
    let failed = world.layer().await.unwrap_err();
    assert!(matches!(failed, RegistryError::Maintenance { pulling: true, .. }), "{failed:?}");
    world.fake.set(Fault::Empty);
    assert!(world.layer().await.unwrap().is_none());
    let world = in_maintenance(CHUNK);
    let key = (APP.to_owned(), world.image.layer_digest);
    world.fake.state.lock().unwrap().blobs.insert(key, bytes::Bytes::new());
    let failed = world.layer().await.unwrap_err();
    let is_garbled =
        matches!(&failed, RegistryError::Upstream(error) if error.failure == UpstreamFailure::Garbled);
    assert!(is_garbled, "no bytes are not the blob: {failed:?}");
}

/// Content whose link doesn't fit would hold the very room that is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_no_link_could_be_written_to_goes_at_once_or_with_its_manifest() {
    for has_manifest in [false, true] {
        let (root, full) = (tempfile::tempdir().unwrap(), Arc::new(NoLinks::default()));
        let disk = Disk::open_with(root.path(), Some(Arc::clone(&full) as Arc<dyn DiskHook>)).unwrap();
        let (registry, fake) = (open_on(Arc::new(disk)), Fake::new());
        registry.set_upstreams(upstreams(&fake, settings()));
        let world = World { root, registry, fake, image: image(1, 300_000) };
        world.publish(APP, Some("latest"), &world.image.clone());
        if has_manifest {
            assert!(world.tag("latest").await.unwrap().is_some());
        }
        full.0.store(true, Ordering::SeqCst);
        let blob = world.layer().await.unwrap().unwrap();
        assert!(matches!(blob.content, BlobContent::Growing(_)));
        assert_eq!(read(&blob).await.unwrap(), world.image.layer);
        world.until(|| world.registry.cache_counts().fills == 0).await;
        let hex = world.image.layer_digest.hex();
        let path =
            world.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        if has_manifest {
            assert!(path.exists(), "the manifest needs it");
            world.registry.set_cache_limits(CacheLimits { max_size: Some(0), ..CacheLimits::default() });
            let gone = world.registry.evict().await.unwrap();
            let bytes = (world.image.layer.len() + world.image.manifest.len()) as u64;
            assert_eq!(gone.iter().map(|each| each.bytes).collect::<Vec<_>>(), [bytes]);
        }
        assert!(!path.exists(), "content without a link holds the room");
        full.0.store(false, Ordering::SeqCst);
        world.registry.set_cache_limits(CacheLimits::default());
        world.pull().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_fill_finds_no_room_its_answer_is_the_readers_and_the_upstream_is_asked_once() {
    let (world, full) = on_a_full_disk(40 * CHUNK);
    for reader in 1..=3 {
        let blob = world.layer().await.unwrap().unwrap();
        assert_eq!(read(&blob).await.unwrap(), world.image.layer);
        assert_eq!(world.fake.asked().blobs[&world.image.layer_digest], vec![0; reader]);
    }
    world.fake.set(Fault::CutInHalf);
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer, "it goes on where it was cut");
    world.fake.set(Fault::Corrupt);
    let blob = world.layer().await.unwrap().unwrap();
    assert!(read(&blob).await.is_err(), "wrong bytes never come to their end");
    world.fake.set(Fault::None);
    world.until(|| world.registry.cache_counts().fills == 0).await;
    full.0.store(u64::MAX, Ordering::SeqCst);
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    world.until_stored(&world.image.layer_digest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_on_a_full_disk_asks_once_for_each_reader_at_most() {
    const READERS: usize = 16;
    let (world, _full) = on_a_full_disk(40 * CHUNK);
    let world = Arc::new(world);
    let readers = (0..READERS).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let blob = world.layer().await.unwrap().unwrap();
            assert_eq!(read(&blob).await.unwrap(), world.image.layer);
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    let asked = world.fake.asked().blobs[&world.image.layer_digest].clone();
    assert!(asked.len() <= READERS && asked.iter().all(|from| *from == 0), "{asked:?}");
}
