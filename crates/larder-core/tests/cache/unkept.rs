//! A manifest is answered before the disk has it.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use larder_core::{Freshness, UpstreamSettings};
use larder_oci::{Digest, Reference};
use larder_storage::Disk;
use larder_storage::hook::{DiskHook, Mutation};

use super::fake::{Fake, Fault};
use super::world::{APP, World, access, image, open_on, settings, upstreams};

/// A disk whose syncs take until somebody lets them through.
#[derive(Default)]
struct Busy {
    is_through: Mutex<bool>,
    through: Condvar,
}

impl DiskHook for Busy {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        if let Mutation::SyncFile(_) = mutation {
            drop(self.through.wait_while(self.is_through.lock().unwrap(), |through| !*through).unwrap());
        }
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_does_not_wait_for_a_busy_disk_and_is_fetched_once_all_the_same() {
    let (root, busy) = (tempfile::tempdir().unwrap(), Arc::new(Busy::default()));
    let disk = Disk::open_with(root.path(), Some(Arc::clone(&busy) as Arc<dyn DiskHook>)).unwrap();
    let (registry, fake) = (open_on(Arc::new(disk)), Fake::new());
    let fresh_for = Freshness::For(Duration::from_secs(3600));
    registry.set_upstreams(upstreams(&fake, UpstreamSettings { fresh_for, ..settings() }));
    let world = World { root, registry, fake, image: image(1, 1000) };
    world.publish(APP, Some("latest"), &world.image.clone());
    let (pull, tag) = (access(APP), Reference::Tag("latest".parse().unwrap()));
    for reference in [&tag, &Reference::Digest(world.image.digest), &tag, &tag] {
        let pulled = world.registry.manifest(&pull, reference).await.unwrap().unwrap();
        assert_eq!(pulled.bytes, world.image.manifest);
    }
    let config = Digest::sha256(&world.image.config);
    let head = world.registry.blob_head(&access(APP), &config).await.unwrap();
    assert!(head.is_some(), "the repository counts as one that holds copies");
    assert_eq!((world.fake.asked().manifests, world.fake.asked().heads), (1, 0));
    *busy.is_through.lock().unwrap() = true;
    busy.through.notify_all();
    world.registry.stop_fetching().await;
    world.fake.set(Fault::Down);
    let stored = world.by_digest(world.image.digest).await.unwrap().unwrap();
    assert_eq!(stored.bytes, world.image.manifest, "it is kept in the end");
    assert!(world.registry.manifest(&pull, &tag).await.unwrap().is_some());
}
