//! Repositories that hold nothing any more: the catalog forgets them, and no push is in their way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_core::{Environment, ManifestPush, Precondition, Registry, RegistryError, Run};
use larder_meta::Page;
use larder_oci::{Actor, CatalogAccess, Digest, Reference};

use crate::support::check::rebuilt_index;
use crate::support::hooks::{Fault, Stop, Trouble};
use crate::support::script::image;
use crate::support::world::{access, admin, bytes_of, open, runtime, scratch, settings, upload};

const NOW: Run = Run { now: true, sweep: false };
const SWEEP: Run = Run { now: true, sweep: true };
const CONFIG: Bytes = Bytes::from_static(b"{}");

/// An image of one layer, under a tag.
async fn push(registry: &Registry, repository: &str, layer: &Bytes) -> Result<Digest, RegistryError> {
    for blob in [&CONFIG, layer] {
        upload(registry, repository, blob, &Digest::sha256(blob)).await?;
    }
    let bytes = image(&CONFIG, &[layer], None);
    let digest = Digest::sha256(&bytes);
    let push = ManifestPush {
        reference: tag(),
        tags: Vec::new(),
        media_type: None,
        bytes,
        precondition: Precondition::Always,
    };
    registry.push_manifest(&access(repository), push).await.map(|_| digest)
}

fn tag() -> Reference {
    "v1".parse().unwrap()
}

async fn delete(registry: &Registry, repository: &str) {
    registry.delete_manifest(&access(repository), &tag()).await.unwrap();
}

async fn catalog(registry: &Registry) -> Vec<String> {
    let access = CatalogAccess::granted_by_policy(Actor::Anonymous);
    let page = Page { after: None, limit: 100 };
    registry.catalog(&access, page).await.unwrap().items
}

async fn is_whole(registry: &Registry, repository: &str, layer: &Bytes) {
    registry.manifest(&access(repository), &tag()).await.unwrap().expect("the tag");
    for blob in [&CONFIG, layer] {
        let found = registry.blob(&access(repository), &Digest::sha256(blob)).await.unwrap().expect("a blob");
        assert_eq!(&bytes_of(&found), blob);
    }
}

fn directory(root: &Path, repository: &str) -> std::path::PathBuf {
    root.join("docker/registry/v2/repositories").join(repository)
}

fn layer() -> Bytes {
    Bytes::from_static(b"layer")
}

#[test]
fn the_catalog_forgets_a_repository_with_its_last_image_and_knows_it_again() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        for repository in ["team/app", "team/app/below", "lone/one"] {
            push(&registry, repository, &layer()).await.unwrap();
        }
        delete(&registry, "team/app").await;
        delete(&registry, "lone/one").await;
        assert_eq!(catalog(&registry).await.len(), 3, "so long the deletion can be undone");
        assert_eq!(registry.collect(&admin(), NOW).await.unwrap().repositories, 2);
        assert_eq!(catalog(&registry).await, ["team/app/below"]);
        assert!(!directory(root.path(), "lone").exists());
        assert!(!directory(root.path(), "team/app/_layers").exists());
        is_whole(&registry, "team/app/below", &layer()).await;
        let page = Page { after: None, limit: 10 };
        assert!(matches!(
            registry.tags(&access("team/app"), page).await,
            Err(RegistryError::RepositoryUnknown { .. })
        ));
        push(&registry, "lone/one", &layer()).await.unwrap();
        is_whole(&registry, "lone/one", &layer()).await;
        assert_eq!(catalog(&registry).await, ["lone/one", "team/app/below"]);
        assert_eq!(registry.meta().index_snapshot().unwrap().rows, rebuilt_index(root.path()).rows);
    });
}

#[test]
fn what_an_upload_still_needs_stays() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        push(&registry, "team/app", &layer()).await.unwrap();
        delete(&registry, "team/app").await;
        let started = registry.start_upload(&access("team/app"), None).await.unwrap();
        assert_eq!(registry.collect(&admin(), NOW).await.unwrap().repositories, 0, "somebody uploads");
        let mut writer = registry.write_upload(&access("team/app"), started.id, None).await.unwrap();
        writer.write(layer()).await.unwrap();
        writer.finish(&Digest::sha256(&layer())).await.unwrap();
        assert_eq!(catalog(&registry).await, ["team/app"]);
        registry.delete_blob(&access("team/app"), &Digest::sha256(&layer())).await.unwrap();
        assert_eq!(registry.collect(&admin(), NOW).await.unwrap().repositories, 1);
        assert!(catalog(&registry).await.is_empty());
    });
}

/// As registry:2 leaves it: directories, and nothing in them.
#[test]
fn a_sweep_takes_what_another_program_has_emptied_once_it_is_old() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let layers = directory(root.path(), "old/app/_layers/sha256");
        std::fs::create_dir_all(&layers).unwrap();
        std::fs::create_dir_all(directory(root.path(), "old/app/_manifests/tags")).unwrap();
        std::fs::create_dir_all(directory(root.path(), "old/app/_uploads")).unwrap();
        let dated = |time: SystemTime| {
            for part in ["_layers/sha256", "_layers", "_manifests/tags", "_manifests", "_uploads"] {
                let path = directory(root.path(), "old/app").join(part);
                std::fs::File::open(path).unwrap().set_modified(time).unwrap();
            }
        };
        // Such a run takes a grace time for over: what is younger than that comes later than it.
        dated(SystemTime::now() + Duration::from_secs(3600));
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().repositories, 0, "it is young");
        assert_eq!(catalog(&registry).await, ["old/app"]);
        dated(SystemTime::now() - Duration::from_secs(7200));
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().repositories, 1);
        assert!(catalog(&registry).await.is_empty());
        assert!(!directory(root.path(), "old").exists());
    });
}

/// What a stop at a step of the collector leaves is whole or empty, and the next run takes the rest.
#[test]
fn a_stop_or_a_fault_at_any_step_leaves_what_the_next_run_takes() {
    for at in 1.. {
        let stop = Arc::new(Stop::at(at));
        let stopped = broken_off(stop.clone(), || stop.stopped());
        let fault = Arc::new(Fault::at(at, Trouble::Io));
        let hit = broken_off(fault.clone(), || fault.hit().is_some());
        if !stopped && !hit {
            assert!(at > 10, "only {at} steps: the collector or the hook is broken");
            break;
        }
    }
}

fn broken_off(hook: Arc<dyn larder_storage::hook::DiskHook>, is_broken: impl Fn() -> bool) -> bool {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        push(&registry, "gone/app", &layer()).await.unwrap();
        push(&registry, "stays/app", &Bytes::from_static(b"another")).await.unwrap();
        delete(&registry, "gone/app").await;
    });
    let before = runtime();
    before.block_on(async {
        // Opening writes, too, and what a stop does to that is told elsewhere.
        let disk = larder_storage::Disk::open_with(root.path(), Some(hook));
        let Ok(disk) = disk else { return };
        let registry = Registry::on(Arc::new(disk), settings(), Environment::system());
        if let Ok(registry) = registry {
            let _ = registry.collect(&admin(), NOW).await;
        }
    });
    drop(before);
    let broken = is_broken();
    runtime().block_on(async {
        let registry = open(root.path());
        is_whole(&registry, "stays/app", &Bytes::from_static(b"another")).await;
        registry.collect(&admin(), SWEEP).await.unwrap();
        assert_eq!(catalog(&registry).await, ["stays/app"]);
        is_whole(&registry, "stays/app", &Bytes::from_static(b"another")).await;
        assert_eq!(registry.meta().index_snapshot().unwrap().rows, rebuilt_index(root.path()).rows);
        push(&registry, "gone/app", &layer()).await.unwrap();
        is_whole(&registry, "gone/app", &layer()).await;
    });
    broken
}

/// Each push is the first into a repository that is just taken away, with neighbours above, below and beside it.
#[test]
fn a_push_into_a_repository_that_just_goes_is_never_refused_or_torn() {
    let rounds: usize = std::env::var("LARDER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let repositories = ["a", "a/b", "a/b/c", "a/d"];
    let root = scratch();
    let mut settings = settings();
    // What is deleted leaves at once, and nobody but this test looks for what is empty.
    settings.collection.enabled = false;
    let registry = Registry::open(root.path(), settings, Environment::system()).unwrap();
    let stop = AtomicBool::new(false);
    let gone = std::thread::scope(|scope| {
        let removers: Vec<_> = repositories
            .iter()
            .map(|repository| {
                let (meta, name, stop) = (registry.meta(), repository.parse().unwrap(), &stop);
                scope.spawn(move || {
                    let mut gone = 0;
                    while !stop.load(Ordering::SeqCst) {
                        gone += usize::from(meta.remove_if_empty(&name, None).unwrap());
                        std::thread::yield_now();
                    }
                    gone
                })
            })
            .collect();
        let pushers: Vec<_> = repositories
            .iter()
            .map(|repository| {
                let (registry, root) = (registry.clone(), root.path());
                scope.spawn(move || runtime().block_on(push_and_empty(&registry, root, repository, rounds)))
            })
            .collect();
        let pushed: Vec<_> = pushers.into_iter().map(|pusher| pusher.join()).collect();
        stop.store(true, Ordering::SeqCst);
        pushed.into_iter().for_each(|pushed| pushed.unwrap());
        removers.into_iter().map(|remover| remover.join().unwrap()).sum::<usize>()
    });
    assert!(gone >= rounds / 2 * repositories.len(), "{gone} were empty: the test is worth nothing");
    runtime().block_on(async {
        for repository in repositories {
            is_whole(&registry, repository, &layer_of(repository)).await;
        }
        assert_eq!(catalog(&registry).await, repositories);
    });
    assert_eq!(registry.meta().index_snapshot().unwrap().rows, rebuilt_index(root.path()).rows);
}

fn layer_of(repository: &str) -> Bytes {
    Bytes::from(format!("the layer of {repository}"))
}

/// Every other time the repository is gone when the push begins; else it may just be going.
async fn push_and_empty(registry: &Registry, root: &Path, repository: &str, rounds: usize) {
    let layer = layer_of(repository);
    for round in 0..=rounds {
        let pushed = push(registry, repository, &layer).await;
        let digest = pushed.unwrap_or_else(|error| panic!("round {round}, {repository}: {error:?}"));
        is_whole(registry, repository, &layer).await;
        if round == rounds {
            return;
        }
        registry.delete_manifest(&access(repository), &Reference::Digest(digest)).await.unwrap();
        for blob in [&CONFIG, &layer] {
            registry.delete_blob(&access(repository), &Digest::sha256(blob)).await.unwrap();
        }
        while round % 2 == 0 && directory(root, repository).join("_layers").exists() {
            tokio::task::yield_now().await;
        }
    }
}
