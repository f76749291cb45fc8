//! A stop or a crash in the middle of a fill.

use std::path::PathBuf;

use super::fake::{CHUNK, Fault};
use super::world::{World, open, read, settings, upstreams};

impl World {
    fn arriving(&self) -> PathBuf {
        let hex = self.image.layer_digest.hex();
        self.root.path().join(format!("larder/fills/sha256-{hex}"))
    }

    /// The process ends, and another one begins.
    async fn restart(mut self) -> World {
        self.registry.stop_fetching().await;
        let root = self.root.path().to_owned();
        let placeholder = tempfile::tempdir().unwrap();
        drop(std::mem::replace(&mut self.registry, open(placeholder.path())));
        self.registry = open(&root);
        self.registry.set_upstreams(upstreams(&self.fake, settings()));
        self
    }
}

/// A world whose layer has arrived by half.
async fn half_way() -> World {
    let world = World::with(settings(), 20 * CHUNK);
    let gate = world.fake.close_gate();
    let blob = world.layer().await.unwrap().unwrap();
    gate.add_permits(10);
    let arrived = || std::fs::metadata(world.arriving()).is_ok_and(|file| file.len() >= 10 * CHUNK as u64);
    world.until(arrived).await;
    drop(blob);
    *world.fake.gate.lock().unwrap() = None;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_goes_on_where_the_last_process_stopped() {
    let world = half_way().await.restart().await;
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    let offsets = &world.fake.asked().blobs[&world.image.layer_digest];
    assert_eq!(offsets.as_slice(), [0, 10 * CHUNK as u64]);
    world.until_stored(&world.image.layer_digest).await;
    assert!(!world.arriving().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_fill_are_cut_when_the_process_stops() {
    let world = World::with(settings(), 20 * CHUNK);
    let _gate = world.fake.close_gate();
    let blob = world.layer().await.unwrap().unwrap();
    let reading = tokio::spawn(async move { read(&blob).await });
    world.registry.stop_fetching().await;
    assert!(reading.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_loss_of_power_made_of_the_bytes_is_never_served_as_whole() {
    for (what, leaves) in [("holes", 10 * CHUNK), ("too much", 30 * CHUNK), ("exactly as much", 20 * CHUNK)] {
        let world = half_way().await.restart().await;
        std::fs::write(world.arriving(), vec![0; leaves]).unwrap();
        let first = match world.layer().await {
            Ok(Some(blob)) => read(&blob).await.ok(),
            Ok(None) => panic!("{what}: the upstream has it"),
            Err(_) => None,
        };
        assert!(first.is_none_or(|bytes| bytes == world.image.layer), "{what}: wrong bytes as a whole");
        world.until(|| world.registry.cache_counts().fills == 0).await;
        let blob = world.layer().await.unwrap().unwrap();
        assert_eq!(read(&blob).await.unwrap(), world.image.layer, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_arrived_as_a_whole_only_needs_the_upstreams_word() {
    let world = half_way().await.restart().await;
    std::fs::write(world.arriving(), &world.image.layer).unwrap();
    world.fake.reset();
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    let asked = world.fake.asked();
    assert_eq!((asked.sizes, asked.blobs.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_asks_nobody_and_all_that_was_pulled_is_served_without_the_upstream() {
    let world = World::new();
    world.pull().await;
    world.fake.reset();
    let world = world.restart().await;
    assert_eq!(world.fake.asked(), super::fake::Asked::default());
    world.fake.set(Fault::Down);
    let pulled = world.tag("latest").await.unwrap().unwrap();
    assert_eq!((pulled.bytes.clone(), pulled.copy.is_some()), (world.image.manifest.clone(), true));
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
}
