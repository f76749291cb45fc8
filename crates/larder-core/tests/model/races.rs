//! The collector against pushes of the very layers that it would take away.
//!
//! More rounds: `LARDER_ROUNDS=10000 cargo test -p larder-core --test model races`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::{Environment, ManifestPush, Precondition, Registry, RegistryError, Run};
use larder_oci::{Digest, Reference};

use crate::support::check::rebuilt_index;
use crate::support::script::{APP, OTHER, image};
use crate::support::world::{access, admin, bytes_of, scratch, settings, upload};

const ROUNDS_IN_A_BUILD: usize = 150;
const PUSHERS: usize = 4;

/// What promises are tested with: short enough that they end during the test.
const GRACE: Duration = Duration::from_millis(40);

fn rounds() -> usize {
    std::env::var("LARDER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_IN_A_BUILD)
}

fn layers() -> [Bytes; 4] {
    ["{}", "base", "one", "two"].map(|text| Bytes::from_static(text.as_bytes()))
}

fn open(root: &std::path::Path, grace: Duration) -> Registry {
    let mut settings = settings();
    settings.collection.grace = grace;
    Registry::open(root, settings, Environment::system()).unwrap()
}

/// As a client does: look, upload what isn't there, push the manifest.
///
/// Gives how long ago the client was told of the first blob when it pushed its manifest, and what came of that.
async fn push(
    registry: &Registry,
    repository: &str,
    layer: &Bytes,
    tag: &str,
) -> (Duration, Result<(), RegistryError>) {
    let [config, base, ..] = layers();
    let began = Instant::now();
    for blob in [&config, &base, layer] {
        let digest = Digest::sha256(blob);
        registry.promise(&access::<larder_oci::Pull>(repository), &digest).await.unwrap();
        let mounted = registry.blob(&access(repository), &digest).await.unwrap().is_some()
            || registry.mount(&access(repository), &access(APP), &digest).await.unwrap();
        if !mounted {
            upload(registry, repository, blob, &digest).await.unwrap();
        }
    }
    let manifest = image(&config, &[&base, layer], None);
    let push = ManifestPush {
        reference: Reference::Tag(tag.parse().unwrap()),
        tags: Vec::new(),
        media_type: None,
        bytes: manifest,
        precondition: Precondition::Always,
    };
    let outcome = registry.push_manifest(&access(repository), push).await.map(|_| ());
    (began.elapsed(), outcome)
}

/// Whatever tag there is, its image is whole.
async fn check(registry: &Registry, round: usize) {
    let [config, base, one, two] = layers();
    for repository in [APP, OTHER] {
        for number in 0..PUSHERS {
            let reference = Reference::Tag(format!("t{number}").parse().unwrap());
            let Some(found) = registry.manifest(&access(repository), &reference).await.unwrap() else {
                continue;
            };
            let layer = if found.digest == Digest::sha256(&image(&config, &[&base, &one], None)) {
                &one
            } else {
                &two
            };
            for blob in [&config, &base, layer] {
                let there = registry.blob(&access(repository), &Digest::sha256(blob)).await.unwrap();
                let there =
                    there.unwrap_or_else(|| panic!("round {round}: {repository}:t{number} lacks {blob:?}"));
                assert_eq!(&bytes_of(&there), blob);
            }
        }
    }
}

/// One round; the collector runs all the while.
async fn one_round(registry: &Registry, round: usize, run: Run, promises_count: bool) {
    let stop = Arc::new(AtomicBool::new(false));
    let collector = tokio::spawn({
        let (registry, stop) = (registry.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::SeqCst) {
                registry.collect(&admin(), run).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|number| {
            let registry = registry.clone();
            tokio::spawn(async move {
                let repository = if (number + round).is_multiple_of(2) { APP } else { OTHER };
                let [_, _, one, two] = layers();
                let layer = if (number / 2 + round).is_multiple_of(2) { one } else { two };
                let tag = format!("t{number}");
                // Its image goes, and comes again at once.
                let reference: Reference = tag.parse().unwrap();
                match registry.delete_manifest(&access(repository), &reference).await {
                    Ok(()) | Err(RegistryError::ManifestUnknown { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                loop {
                    match push(&registry, repository, &layer, &tag).await {
                        (_, Ok(())) => break,
                        (took, Err(RegistryError::ReferencesUnknown { missing, .. })) => {
                            let broken = promises_count && took < GRACE;
                            assert!(
                                !broken,
                                "round {round}: told of {missing:?} and {took:?} later it is gone"
                            );
                        }
                        (_, Err(error)) => panic!("{error:?}"),
                    }
                }
                let found = registry.manifest(&access(repository), &reference).await.unwrap();
                assert!(found.is_some(), "round {round}: {repository}:{tag} was acknowledged and is gone");
            })
        })
        .collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    collector.await.unwrap();
    check(registry, round).await;
}

fn race(grace: Duration, run: Run, promises_count: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let root = scratch();
    runtime.block_on(async {
        let registry = open(root.path(), grace);
        for round in 0..rounds() {
            one_round(&registry, round, run, promises_count).await;
        }
        let kept = registry.meta().index_snapshot().unwrap();
        assert_eq!(kept.rows, rebuilt_index(registry.meta().root()).rows);
    });
}

#[test]
fn no_push_loses_a_layer_to_a_collector_that_waits_for_nothing() {
    race(Duration::from_secs(3600), Run { now: true, sweep: false }, false);
}

#[test]
fn no_client_misses_what_it_was_told_of_within_the_grace_time() {
    race(GRACE, Run::default(), true);
}
