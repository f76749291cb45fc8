//! Keeping what was fetched within bounds.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use larder_core::{CacheLimits, Environment, Evicted, Keep, KeptImages, Run, TagPattern, WhyEvicted};
use larder_oci::{Digest, Reference};
use larder_storage::Disk;
use larder_storage::hook::{DiskHook, Mutation};
use tokio_util::sync::CancellationToken;

use super::fake::{Fake, Fault};
use super::world::{APP, Image, World, access, image, open_in, read, settings, upstreams};

/// Hours that the clock of this test's thread is ahead. Tests run on threads of their own, which the registry's
/// blocking threads aren't: so the clock is one for all, and each test uses its own files alone.
static AHEAD: AtomicU64 = AtomicU64::new(0);

pub(crate) fn now() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600 * AHEAD.load(Ordering::SeqCst))
}

/// One at a time: they share the clock.
static CLOCK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn world() -> (tokio::sync::MutexGuard<'static, ()>, World) {
    let clock = CLOCK.lock().await;
    let mut world = World::with(settings(), 10_000);
    let placeholder = tempfile::tempdir().unwrap();
    drop(std::mem::replace(&mut world.registry, super::world::open(placeholder.path())));
    world.registry = open_in(world.root.path(), Environment { now, ..Environment::system() });
    world.registry.set_upstreams(upstreams(&world.fake, settings()));
    (clock, world)
}

pub(crate) fn pass(hours: u64) {
    AHEAD.fetch_add(hours, Ordering::SeqCst);
}

impl World {
    async fn fetch(&self, repository: &str, tag: &str, image: &Image) {
        self.publish(repository, Some(tag), image);
        let reference = Reference::Tag(tag.parse().unwrap());
        self.registry.manifest(&access(repository), &reference).await.unwrap().unwrap();
        for bytes in [&image.config, &image.layer] {
            let blob =
                self.registry.blob(&access(repository), &Digest::sha256(bytes)).await.unwrap().unwrap();
            assert_eq!(&read(&blob).await.unwrap(), bytes);
        }
        self.until(|| self.registry.cache_counts().fills == 0).await;
        // A client has the manifest a moment before it is kept.
        self.registry.until_kept(&repository.parse().unwrap()).await;
    }

    async fn evict(&self, limits: CacheLimits) -> Vec<Evicted> {
        self.registry.set_cache_limits(limits);
        self.registry.evict().await.unwrap()
    }

    fn has_content(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])).exists()
    }
}

fn unused_for(hours: u32) -> CacheLimits {
    CacheLimits { unused_for: Some(HOUR * hours), ..CacheLimits::default() }
}

fn tags(evicted: &[Evicted]) -> Vec<String> {
    evicted.iter().flat_map(|each| &each.tags).map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_nobody_asks_for_goes_with_its_bytes_and_what_is_used_stays() {
    let (_clock, world) = world().await;
    let (old, used) = (image(11, 5000), image(12, 5000));
    world.fetch(APP, "old", &old).await;
    world.fetch(APP, "used", &used).await;
    pass(100);
    world.registry.manifest(&access(APP), &Reference::Tag("used".parse().unwrap())).await.unwrap();
    pass(100);
    let gone = world.evict(unused_for(168)).await;
    assert_eq!(tags(&gone), ["old"]);
    assert_eq!((gone[0].why, gone[0].digest), (WhyEvicted::Unused, old.digest));
    assert_eq!(gone[0].bytes, (old.layer.len() + old.config.len() + old.manifest.len()) as u64);
    for (image, is_there) in [(&old, false), (&used, true)] {
        for digest in [image.digest, image.layer_digest, Digest::sha256(&image.config)] {
            assert_eq!(world.has_content(&digest), is_there);
        }
    }
    // It comes again when it is asked for.
    world.fetch(APP, "old", &old).await;
    assert_eq!(world.registry.cache_counts().evicted, 1);
}

#[tokio::test]
async fn a_layer_that_another_image_needs_never_goes() {
    let (_clock, world) = world().await;
    let base = image(21, 5000);
    // The same layer below another config, in the same repository, in another one, and in a pushed image.
    let with_other_config = |seed| {
        let mut other = image(seed, 1);
        let text = String::from_utf8(other.manifest.to_vec()).unwrap();
        let text = text.replace(&other.layer_digest.to_string(), &base.layer_digest.to_string());
        other.manifest = text.into();
        other.digest = Digest::sha256(&other.manifest);
        (other.layer, other.layer_digest) = (base.layer.clone(), base.layer_digest);
        other
    };
    for place in ["same", "other", "pushed"] {
        let second = with_other_config(22);
        world.fetch(APP, "first", &base).await;
        pass(200);
        let repository = match place {
            "same" => APP,
            "other" => "library/second",
            _ => "team/mine",
        };
        if place == "pushed" {
            world.push(repository, "2", &second).await;
        } else {
            world.fetch(repository, "2", &second).await;
        }
        let gone = world.evict(unused_for(168)).await;
        assert_eq!(tags(&gone), ["first"], "{place}");
        assert!(world.has_content(&base.layer_digest), "{place}");
        world.fake.set(Fault::Down);
        let blob = world.registry.blob(&access(repository), &base.layer_digest).await.unwrap().unwrap();
        assert_eq!(read(&blob).await.unwrap(), base.layer, "{place}");
        world.fake.set(Fault::None);
        pass(200);
        let gone = world.evict(unused_for(168)).await;
        assert_eq!(tags(&gone).is_empty(), place == "pushed", "{place}");
    }
}

#[tokio::test]
async fn pushed_content_never_goes() {
    let (_clock, world) = world().await;
    let (mine, over) = (image(31, 5000), image(32, 5000));
    world.push("team/mine", "1", &mine).await;
    world.fetch(APP, "taken-over", &over).await;
    world.push(APP, "taken-over", &over).await;
    pass(10_000);
    let tight = CacheLimits { max_size: Some(0), min_free: Some(u64::MAX), ..unused_for(1) };
    assert_eq!(tags(&world.evict(tight).await), Vec::<String>::new());
    for image in [&mine, &over] {
        assert!(world.has_content(&image.layer_digest) && world.has_content(&image.digest));
    }
}

#[tokio::test]
async fn the_least_recently_used_goes_until_the_rest_fits() {
    let (_clock, world) = world().await;
    for seed in 41..45 {
        world.fetch(APP, &format!("v{seed}"), &image(seed, 10_000)).await;
        pass(1);
    }
    world.registry.manifest(&access(APP), &Reference::Tag("v41".parse().unwrap())).await.unwrap();
    let status = world.registry.cache_status(20).await.unwrap();
    assert_eq!(status.stock.images, 4);
    assert!(status.stock.bytes > 40_000 && status.stock.bytes < 45_000, "{}", status.stock.bytes);
    let next: Vec<_> = status.next.iter().flat_map(|each| &each.tags).map(ToString::to_string).collect();
    assert_eq!(next, ["v42", "v43", "v44", "v41"]);
    let limits = CacheLimits { max_size: Some(25_000), ..CacheLimits::default() };
    let gone = world.evict(limits.clone()).await;
    assert_eq!(tags(&gone), ["v42", "v43"]);
    assert!(gone.iter().all(|each| each.why == WhyEvicted::TooLarge));
    assert!(world.evict(limits).await.is_empty());
    let status = world.registry.cache_status(1).await.unwrap();
    assert_eq!((status.stock.images, status.evicted.len(), status.next.len()), (2, 2, 1));
    assert_eq!(status.counts.evicted_by_reason, [0, 2, 0]);
    assert!(status.stock.bytes <= 25_000);
    assert_eq!(world.registry.cache_stock(), Some(status.stock));
    // A disk that is too full takes the rest.
    let floor = CacheLimits { min_free: Some(u64::MAX), ..CacheLimits::default() };
    assert_eq!(tags(&world.evict(floor).await), ["v44", "v41"]);
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept() {
    let (_clock, world) = world().await;
    world.fetch(APP, "1.0", &image(51, 1000)).await;
    world.fetch(APP, "latest", &image(52, 1000)).await;
    world.fetch("library/base", "1", &image(53, 1000)).await;
    pass(1000);
    let keep = vec![
        Keep { repositories: "library/base".parse().unwrap(), images: KeptImages::All },
        Keep {
            repositories: "**".parse().unwrap(),
            images: KeptImages::Tagged(TagPattern::Like("1.*".to_owned())),
        },
    ];
    let keep_one =
        Keep { repositories: APP.parse().unwrap(), images: KeptImages::Digest(image(52, 1000).digest) };
    let all = [keep.as_slice(), &[keep_one]].concat();
    assert_eq!(tags(&world.evict(CacheLimits { keep: all, ..unused_for(1) }).await), [""; 0]);
    world.registry.set_cache_limits(CacheLimits { keep: keep.clone(), ..unused_for(2000) });
    let status = world.registry.cache_status(10).await.unwrap();
    let held: Vec<_> = status.held.iter().flat_map(|each| each.held_by.clone()).collect();
    assert_eq!((status.stock.images, status.stock.held), (3, 2));
    assert!(
        held.len() == 2 && held.iter().any(|by| by == "library/base") && held.iter().any(|by| by == "**:1.*")
    );
    let [next] = status.next.as_slice() else { panic!("one that goes: {:?}", status.next) };
    assert_eq!((next.tags[0].as_str(), next.unused_at), ("latest", Some(next.last_access + 2000 * HOUR)));
    assert_eq!(tags(&world.evict(CacheLimits { keep, ..unused_for(1) }).await), ["latest"]);
}

#[tokio::test]
async fn when_something_was_last_used_survives_a_restart() {
    let (_clock, mut world) = world().await;
    world.fetch(APP, "used", &image(61, 1000)).await;
    pass(100);
    world.registry.manifest(&access(APP), &Reference::Tag("used".parse().unwrap())).await.unwrap();
    world.registry.stop_fetching().await;
    let placeholder = tempfile::tempdir().unwrap();
    drop(std::mem::replace(&mut world.registry, super::world::open(placeholder.path())));
    world.registry = open_in(world.root.path(), Environment { now, ..Environment::system() });
    pass(100);
    assert!(world.evict(unused_for(168)).await.is_empty());
    pass(100);
    assert_eq!(tags(&world.evict(unused_for(168)).await), ["used"]);
    let left = world
        .registry
        .collect(
            &larder_oci::AdminAccess::granted_by_policy(larder_oci::Actor::Anonymous),
            Run { now: true, sweep: true },
        )
        .await
        .unwrap();
    assert_eq!((left.contents, left.links), (0, 0), "nothing is left for the sweep: {left:?}");
}

#[tokio::test]
async fn a_bound_counts_as_soon_as_it_is_set_and_when_it_is_reached() {
    let (_clock, world) = world().await;
    let stop = CancellationToken::new();
    let maintaining = tokio::spawn({
        let (registry, stop) = (world.registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    for seed in 71..74 {
        world.fetch(APP, &format!("v{seed}"), &image(seed, 10_000)).await;
        pass(1);
    }
    // Three are here: one too many.
    world.registry.set_cache_limits(CacheLimits { max_size: Some(25_000), ..CacheLimits::default() });
    world.until(|| world.registry.cache_counts().evicted == 1).await;
    // The fourth is one too many again, and nobody says so.
    world.fetch(APP, "v74", &image(74, 10_000)).await;
    world.until(|| world.registry.cache_counts().evicted == 2).await;
    let status = world.registry.cache_status(10).await.unwrap();
    assert_eq!(tags(&status.evicted), ["v72", "v71"]);
    assert!(status.stock.bytes <= 25_000 && status.stock.images == 2, "{:?}", status.stock);
    stop.cancel();
    maintaining.await.unwrap();
}

/// A disk on which content that has its name waits for being durable until somebody lets it through.
#[derive(Default)]
struct SlowSyncs {
    is_slow: Mutex<bool>,
    waits: AtomicBool,
    through: Condvar,
}

impl DiskHook for SlowSyncs {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        if let Mutation::SyncDirectory(path) = mutation
            && path.components().any(|part| part.as_os_str() == "blobs")
        {
            let is_slow = self.is_slow.lock().unwrap();
            self.waits.store(*is_slow, Ordering::SeqCst);
            drop(self.through.wait_while(is_slow, |slow| *slow).unwrap());
        }
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

impl SlowSyncs {
    fn let_through(&self) {
        *self.is_slow.lock().unwrap() = false;
        self.through.notify_all();
    }
}

/// Lets all through, also when the test fails: its runtime waits for whoever waits here.
struct LetThrough(Arc<SlowSyncs>);

impl Drop for LetThrough {
    fn drop(&mut self) {
        self.0.let_through();
    }
}

/// In that moment a look finds it neither among what arrives nor among what is here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_put_in_its_place_during_a_look_counts_soon_after() {
    let (root, slow) = (tempfile::tempdir().unwrap(), Arc::new(SlowSyncs::default()));
    let disk = Disk::open_with(root.path(), Some(Arc::clone(&slow) as Arc<dyn DiskHook>)).unwrap();
    let _through = LetThrough(Arc::clone(&slow));
    let (registry, fake) = (super::world::open_on(Arc::new(disk)), Fake::new());
    registry.set_upstreams(upstreams(&fake, settings()));
    let world = World { root, registry, fake, image: image(80, 10_000) };
    for seed in [81, 82] {
        world.fetch(APP, &format!("v{seed}"), &image(seed, 10_000)).await;
    }
    *slow.is_slow.lock().unwrap() = true;
    world.publish(APP, None, &world.image);
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    world.until(|| slow.waits.load(Ordering::SeqCst)).await;

    world.registry.set_cache_limits(CacheLimits { max_size: Some(25_000), ..CacheLimits::default() });
    let stop = CancellationToken::new();
    let maintaining = tokio::spawn({
        let (registry, stop) = (world.registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    world.until(|| world.registry.cache_stock().is_some_and(|stock| stock.images == 2)).await;
    assert_eq!(world.registry.cache_counts().evicted, 0);
    slow.let_through();
    world.until(|| world.registry.cache_counts().evicted == 1).await;
    stop.cancel();
    maintaining.await.unwrap();
}

/// Every file of the data directory, with its length and its last change.
fn files(directory: &std::path::Path) -> Vec<(std::path::PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, is_directory) =
            entry.map(|entry| (entry.path(), entry.file_type().unwrap().is_dir())).unwrap();
        if is_directory {
            found.extend(files(&path));
        } else {
            let stat = path.metadata().unwrap();
            found.push((path, stat.len(), stat.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn pulls_of_what_is_here_write_nothing_until_their_times_are_written_down_together() {
    let (_clock, world) = world().await;
    let used = image(81, 1000);
    world.fetch(APP, "used", &used).await;
    world.registry.cache_status(1).await.unwrap();
    let before = files(world.root.path());
    // Times are kept by the second.
    pass(1);
    for _ in 0..500 {
        world
            .registry
            .manifest(&access(APP), &Reference::Tag("used".parse().unwrap()))
            .await
            .unwrap()
            .unwrap();
        world.registry.blob(&access(APP), &used.layer_digest).await.unwrap().unwrap();
    }
    assert_eq!(files(world.root.path()), before);
    // What was gathered is written when it is asked for.
    world.registry.cache_status(1).await.unwrap();
    assert_ne!(files(world.root.path()), before);
}
