//! What was damaged on the disk comes back from the upstream.

use std::path::PathBuf;
use std::time::Duration;

use larder_core::{REQUEST_FILE, UpstreamSettings, VerifySchedule};
use larder_oci::Digest;
use tokio_util::sync::CancellationToken;

use super::fake::Fault;
use super::world::{APP, World, read, settings};

impl World {
    fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Flips a bit in the middle, and looks at everything.
    async fn damage_and_verify(&self, digest: &Digest) {
        let path = self.data(digest);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        std::fs::write(self.root.path().join(REQUEST_FILE), b"").unwrap();
        let (stop, passes) = (CancellationToken::new(), self.registry.verify_counters().passes);
        let schedule = VerifySchedule { every: Duration::ZERO, most_per_second: u64::MAX };
        let verifying = self.registry.verify_regularly(schedule, stop.clone());
        let watching = async {
            while self.registry.verify_counters().passes == passes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        tokio::join!(verifying, watching);
    }

    fn is_sound(&self, digest: &Digest) -> bool {
        std::fs::read(self.data(digest)).is_ok_and(|bytes| Digest::sha256(&bytes) == *digest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_copy_is_fetched_again_before_anybody_asks_for_it() {
    let world = World::new();
    world.pull().await;
    let config = Digest::sha256(&world.image.config);
    for digest in [world.image.layer_digest, config, world.image.digest] {
        world.fake.reset();
        world.damage_and_verify(&digest).await;
        world.until(|| world.is_sound(&digest)).await;
        let asked = world.fake.asked();
        assert_eq!(asked.manifests + asked.blobs.len(), 1, "nothing else is fetched: {asked:?}");
    }
    world.until(|| world.registry.cache_counts().fills == 0).await;
    world.until(|| world.registry.verify_counters().healed == 3).await;
    let counters = world.registry.verify_counters();
    assert_eq!((counters.damaged, counters.set_aside), (3, 3));
    world.fake.set(Fault::Down);
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_copy_that_could_not_be_fetched_again_comes_with_the_next_pull() {
    let world = World::new();
    world.pull().await;
    world.fake.set(Fault::Down);
    world.damage_and_verify(&world.image.layer_digest).await;
    assert!(world.layer().await.is_err(), "nobody is given what is damaged");
    world.fake.set(Fault::None);
    world.until(|| world.registry.cache_counts().fills == 0).await;
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_for_what_was_pushed_nor_by_who_is_offline() {
    for offline in [false, true] {
        let world = World::with(UpstreamSettings { offline, ..settings() }, 300_000);
        world.push(APP, "latest", &world.image).await;
        world.damage_and_verify(&world.image.layer_digest).await;
        world.registry.stop_fetching().await;
        assert_eq!(world.fake.asked(), super::fake::Asked::default());
    }
}
