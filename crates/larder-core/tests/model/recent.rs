//! Pulls are answered from memory for a moment: never with what a change has ended, and not for longer
//! than that moment with what another program has changed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::{BlobContent, Registry, RegistryError};
use larder_oci::{Digest, Reference};

use crate::support::script::{APP, Step, image};
use crate::support::world::{access, bytes_of, open, runtime, scratch, upload};

fn tag(name: &str) -> Reference {
    Reference::Tag(name.parse().unwrap())
}

async fn pulled(registry: &Registry, reference: &Reference) -> Option<Digest> {
    registry.manifest(&access(APP), reference).await.unwrap().map(|manifest| {
        assert_eq!(Digest::sha256(&manifest.bytes), manifest.digest);
        manifest.digest
    })
}

async fn push(registry: &Registry, bytes: &Bytes, tags: &'static [&'static str]) -> Digest {
    Step::Manifest { repository: APP, bytes: bytes.clone(), tags }.run(registry, &mut None).await.unwrap();
    Digest::sha256(bytes)
}

/// Two images that share their blobs, which are in the repository.
async fn images(registry: &Registry) -> [Bytes; 2] {
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from_static(b"layer"));
    for blob in [&config, &layer] {
        upload(registry, APP, blob, &Digest::sha256(blob)).await.unwrap();
    }
    [image(&config, &[&layer], None), image(&config, &[&layer, &layer], None)]
}

#[test]
fn a_tag_that_was_moved_is_pulled_as_moved_while_others_pull_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let root = scratch();
        let registry = open(root.path());
        let images = images(&registry).await;
        push(&registry, &images[0], &["latest"]).await;
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (registry, done) = (registry.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut pulls = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert!(pulled(&registry, &tag("latest")).await.is_some(), "a move is no deletion");
                        pulls += 1;
                        tokio::task::yield_now().await;
                    }
                    pulls
                })
            })
            .collect();
        for round in 0..200 {
            let moved_to = push(&registry, &images[round % 2], &["latest"]).await;
            assert_eq!(pulled(&registry, &tag("latest")).await, Some(moved_to), "move {round}");
            assert_eq!(pulled(&registry, &tag("latest")).await, Some(moved_to), "again, from memory");
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.await.unwrap() > 0);
        }
    });
}

#[test]
fn what_was_deleted_is_gone_at_once() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let images = images(&registry).await;
        let layer = Digest::sha256(b"layer");
        for _ in 0..20 {
            let digest = push(&registry, &images[0], &["latest", "v1"]).await;
            for reference in [tag("latest"), tag("v1"), Reference::Digest(digest)] {
                assert_eq!(pulled(&registry, &reference).await, Some(digest));
            }
            registry.delete_manifest(&access(APP), &tag("v1")).await.unwrap();
            assert_eq!(pulled(&registry, &tag("v1")).await, None);
            assert_eq!(pulled(&registry, &tag("latest")).await, Some(digest));
            registry.delete_manifest(&access(APP), &Reference::Digest(digest)).await.unwrap();
            assert_eq!(pulled(&registry, &tag("latest")).await, None);
            assert_eq!(pulled(&registry, &Reference::Digest(digest)).await, None);
        }
        assert!(registry.blob(&access(APP), &layer).await.unwrap().is_some());
        registry.delete_blob(&access(APP), &layer).await.unwrap();
        assert!(registry.blob(&access(APP), &layer).await.unwrap().is_none());
    });
}

#[test]
fn what_another_program_changes_is_seen_within_a_moment() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let images = images(&registry).await;
        let [old, new] =
            [push(&registry, &images[0], &["latest"]).await, push(&registry, &images[1], &[]).await];
        assert_eq!(pulled(&registry, &tag("latest")).await, Some(old));
        let tags = root.path().join(format!("docker/registry/v2/repositories/{APP}/_manifests/tags"));
        fs::write(tags.join("latest/current/link"), new.to_string()).unwrap();
        let changed = Instant::now();
        while pulled(&registry, &tag("latest")).await != Some(new) {
            assert!(changed.elapsed() < Duration::from_secs(20), "the tag is never read again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_dir_all(tags.parent().unwrap().parent().unwrap()).unwrap();
        let changed = Instant::now();
        while pulled(&registry, &tag("latest")).await.is_some() {
            assert!(changed.elapsed() < Duration::from_secs(20), "a removed repository is served for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_small_blob_that_is_damaged_is_not_served_and_a_push_mends_it() {
    let root = scratch();
    runtime().block_on(async {
        let content = Bytes::from_static(b"content");
        let digest = Digest::sha256(&content);
        let registry = open(root.path());
        upload(&registry, APP, &content, &digest).await.unwrap();
        let hex = digest.hex();
        let file = root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        fs::write(file, b"CONTENT").unwrap();
        assert!(registry.blob(&access(APP), &digest).await.unwrap().is_none());
        upload(&registry, APP, &content, &digest).await.unwrap();
        let mended = registry.blob(&access(APP), &digest).await.unwrap().unwrap();
        assert_eq!(bytes_of(&mended), &content[..]);
    });
}

#[test]
fn a_large_blob_stays_a_file() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        for (length, is_file) in [(0, false), (64 << 10, false), ((64 << 10) + 1, true)] {
            let content = Bytes::from(vec![7; length]);
            let digest = Digest::sha256(&content);
            upload(&registry, APP, &content, &digest).await.unwrap();
            for _ in 0..2 {
                let blob = registry.blob(&access(APP), &digest).await.unwrap().unwrap();
                assert_eq!(matches!(blob.content, BlobContent::File { .. }), is_file, "{length} bytes");
                assert_eq!(bytes_of(&blob), &content[..]);
            }
        }
        let absent = registry.manifest(&access(APP), &tag("absent")).await;
        assert!(matches!(absent, Ok(None) | Err(RegistryError::RepositoryUnknown { .. })));
    });
}

#[test]
fn the_file_of_a_large_blob_is_opened_once_for_many_and_closed_a_moment_later() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let content = Bytes::from(vec![7; 1 << 20]);
        let digest = Digest::sha256(&content);
        upload(&registry, APP, &content, &digest).await.unwrap();
        let hex = digest.hex();
        let path = root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        let open_ones = || {
            let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
            targets.filter(|target| target.to_string_lossy().contains(&hex)).count()
        };
        for _ in 0..20 {
            assert!(registry.blob(&access(APP), &digest).await.unwrap().is_some());
        }
        // Two if the moment passed in between.
        assert!((1..=2).contains(&open_ones()), "{} files are open for one blob", open_ones());
        fs::remove_file(path).unwrap();
        let removed = Instant::now();
        while open_ones() > 0 {
            assert!(removed.elapsed() < Duration::from_secs(20), "a removed blob is held open for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
