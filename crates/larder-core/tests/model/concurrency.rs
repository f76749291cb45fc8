//! Many clients at once in one repository: whatever order it comes to, the files hold together and the
//! index agrees with them.

use bytes::Bytes;
use larder_core::{Page, Registry, RegistryError};
use larder_oci::{Digest, Manifest, Reference};

use crate::support::check::{check_index, rebuilt_index};
use crate::support::script::{APP, OTHER, Step, Universe, image};
use crate::support::world::{access, bytes_of, open, scratch, upload};

const ROUNDS: u64 = 40;
const CLIENTS: u64 = 6;
const STEPS_EACH: u64 = 12;

/// A small generator (SplitMix64), so that a round can be run again by its number.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

fn step(chance: &mut Chance, blobs: &[Bytes], manifests: &[Bytes]) -> Step {
    const TAGS: [&[&str]; 4] = [&["v1"], &["v2", "latest"], &["latest"], &[]];
    match chance.below(9) {
        0 | 1 => {
            let content = chance.of(blobs);
            Step::Upload { repository: APP, digest: Digest::sha256(&content), content }
        }
        2..=5 => Step::Manifest { repository: APP, bytes: chance.of(manifests), tags: chance.of(&TAGS) },
        6 => Step::DeleteTag { repository: APP, tag: chance.of(&["v1", "v2", "latest"]) },
        7 => Step::DeleteManifest { repository: APP, digest: Digest::sha256(&chance.of(manifests)) },
        _ => Step::DeleteBlob { repository: APP, digest: Digest::sha256(&chance.of(&blobs[1..])) },
    }
}

/// Between others, everything may be gone that a step builds on; it must not fail in another way.
fn is_a_lost_race(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::ManifestUnknown { .. }
            | RegistryError::BlobUnknown { .. }
            | RegistryError::ReferencesUnknown { .. }
    )
}

#[test]
fn clients_at_once_leave_files_and_index_that_agree() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for round in 0..ROUNDS {
        runtime.block_on(one_round(round));
    }
}

async fn one_round(round: u64) {
    let root = scratch();
    let registry = open(root.path());
    let blobs = [Bytes::from_static(b"{}"), Bytes::from_static(b"layer"), Bytes::from_static(b"other")];
    let one = image(&blobs[0], &[], None);
    let manifests =
        [one.clone(), image(&blobs[0], &[&blobs[1]], None), image(&blobs[0], &[&blobs[2]], Some(&one))];
    upload(&registry, APP, &blobs[0], &Digest::sha256(&blobs[0])).await.unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let mut chance = Chance(round * 1000 + client);
            let steps: Vec<Step> = (0..STEPS_EACH).map(|_| step(&mut chance, &blobs, &manifests)).collect();
            let registry = registry.clone();
            tokio::spawn(async move {
                for step in steps {
                    if let Err(error) = step.run(&registry, &mut None).await {
                        assert!(is_a_lost_race(&error), "{step:?} failed: {error:?}");
                    }
                    read_along(&registry, &step).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    check_round(&registry, &manifests).await;
}

/// Listings in the middle of everything make the index be used, and reconciled, while it changes.
async fn read_along(registry: &Registry, step: &Step) {
    match step {
        Step::Upload { digest, .. } => {
            if let Some(blob) = registry.blob(&access(APP), digest).await.unwrap() {
                bytes_of(&blob);
            }
        }
        Step::DeleteTag { .. } => match registry.tags(&access(APP), Page { after: None, limit: 10 }).await {
            Ok(_) | Err(RegistryError::RepositoryUnknown { .. }) => {}
            Err(error) => panic!("{error:?}"),
        },
        _ => {}
    }
}

async fn check_round(registry: &Registry, manifests: &[Bytes]) {
    let listing = match registry.tags(&access(APP), Page { after: None, limit: 10 }).await {
        Ok(listing) => listing.items,
        Err(RegistryError::RepositoryUnknown { .. }) => Vec::new(),
        Err(error) => panic!("{error:?}"),
    };
    for tag in ["v1", "v2", "latest"] {
        let target = registry.meta().tag(&APP.parse().unwrap(), &tag.parse().unwrap()).unwrap();
        let found = registry.manifest(&access(APP), &Reference::Tag(tag.parse().unwrap())).await.unwrap();
        assert_eq!(found.map(|manifest| manifest.digest), target, "{tag} has lost its manifest");
        assert_eq!(listing.contains(&tag.to_owned()), target.is_some(), "{tag}");
    }
    for bytes in manifests {
        let subject = Manifest::parse(bytes, None).unwrap().subject;
        let digest = Digest::sha256(bytes);
        let there = registry.manifest(&access(APP), &Reference::Digest(digest)).await.unwrap().is_some();
        if let Some(subject) = subject {
            let page = Page { after: None, limit: 10 };
            let listed = registry.referrers(&access(APP), &subject.digest, Vec::new(), page).await.unwrap();
            assert_eq!(listed.items.iter().any(|descriptor| descriptor.digest == digest), there);
        }
    }
    // Kept through the round, not read afterwards: the rows are compared as they are.
    let kept = registry.meta().index_snapshot().unwrap();
    assert_eq!(kept.rows, rebuilt_index(registry.meta().root()).rows);
    check_index(registry, &Universe::new());
}

#[test]
fn a_blob_mounted_while_it_is_deleted_is_there_or_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let root = scratch();
        let registry = open(root.path());
        let content = Bytes::from_static(b"content");
        let digest = Digest::sha256(&content);
        for _ in 0..50 {
            upload(&registry, APP, &content, &digest).await.unwrap();
            let mount = tokio::spawn({
                let registry = registry.clone();
                async move { registry.mount(&access(OTHER), &access(APP), &digest).await.unwrap() }
            });
            let delete = tokio::spawn({
                let registry = registry.clone();
                async move { registry.delete_blob(&access(APP), &digest).await }
            });
            delete.await.unwrap().unwrap();
            let mounted = mount.await.unwrap();
            let there = registry.blob(&access(OTHER), &digest).await.unwrap();
            assert_eq!(there.is_some(), mounted);
            there.iter().for_each(|blob| drop(bytes_of(blob)));
            let _ = registry.delete_blob(&access(OTHER), &digest).await;
        }
    });
}
