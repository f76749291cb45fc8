//! What must hold at any time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use larder_core::{Page, Registry, RegistryError};
use larder_meta::{IndexSnapshot, MetaStore};
use larder_oci::{Digest, Manifest, Reference};
use larder_storage::{Blobs, Disk};

use super::script::{Contents, Expected, Universe};
use super::world::{access, bytes_of, scratch};

const ALL: usize = 1000;

/// Everything in `before` and `after` is whole and readable; what is in one only may be there or not;
/// nothing else is there, and what is listed is what is there.
pub(crate) async fn check(registry: &Registry, universe: &Universe, before: &Expected, after: &Expected) {
    let nothing = Contents::default();
    for &repository in &universe.repositories {
        let before = before.repositories.get(repository).unwrap_or(&nothing);
        let after = after.repositories.get(repository).unwrap_or(&nothing);
        check_blobs(registry, universe, repository, before, after).await;
        check_manifests(registry, universe, repository, before, after).await;
        check_tags(registry, universe, repository, before, after).await;
        check_referrers(registry, universe, repository).await;
    }
    let listed: BTreeSet<String> = registry
        .catalog(&larder_oci::CatalogAccess::granted_by_policy(larder_oci::Actor::Anonymous), page())
        .await
        .unwrap()
        .items
        .into_iter()
        .collect();
    for &repository in &universe.repositories {
        let has = |expected: &Expected| {
            expected.repositories.get(repository).is_some_and(|contents| !contents.manifests.is_empty())
        };
        if has(before) && has(after) {
            assert!(listed.contains(repository), "{repository} is not in the catalog {listed:?}");
        }
    }
}

fn page<T>() -> Page<T> {
    Page { after: None, limit: ALL }
}

async fn check_blobs(
    registry: &Registry,
    universe: &Universe,
    repository: &str,
    before: &Contents,
    after: &Contents,
) {
    for (digest, content) in &universe.blobs {
        let found = registry.blob(&access(repository), digest).await.unwrap();
        let may = (before.blobs.contains_key(digest), after.blobs.contains_key(digest));
        match &found {
            Some(blob) => {
                assert_eq!(&bytes_of(blob), content);
                assert_ne!(may, (false, false), "{repository} has the blob {digest} that nobody put there");
            }
            None => assert_ne!(may, (true, true), "{repository} lost the blob {digest}"),
        }
    }
}

async fn check_manifests(
    registry: &Registry,
    universe: &Universe,
    repository: &str,
    before: &Contents,
    after: &Contents,
) {
    for (digest, bytes) in &universe.manifests {
        let found = registry.manifest(&access(repository), &Reference::Digest(*digest)).await.unwrap();
        let may = (before.manifests.contains_key(digest), after.manifests.contains_key(digest));
        match &found {
            Some(manifest) => {
                assert_eq!(&manifest.bytes, bytes);
                assert_ne!(may, (false, false), "{repository} has the manifest {digest} from nowhere");
            }
            None => assert_ne!(may, (true, true), "{repository} lost the manifest {digest}"),
        }
    }
}

async fn check_tags(
    registry: &Registry,
    universe: &Universe,
    repository: &str,
    before: &Contents,
    after: &Contents,
) {
    let mut resolved = BTreeSet::new();
    for &tag in &universe.tags {
        let name = tag.parse().unwrap();
        let target = registry.meta().tag(&repository.parse().unwrap(), &name).unwrap();
        let (before, after) = (before.tags.get(tag), after.tags.get(tag));
        assert!(
            target.as_ref() == before || target.as_ref() == after,
            "{repository}:{tag} points at {target:?}, not at {before:?} or {after:?}"
        );
        let found = registry.manifest(&access(repository), &Reference::Tag(name)).await.unwrap();
        assert_eq!(found.map(|manifest| manifest.digest), target, "{repository}:{tag} has no manifest");
        if target.is_some() {
            resolved.insert(tag.to_owned());
        }
    }
    let listed: BTreeSet<String> = match registry.tags(&access(repository), page()).await {
        Ok(listing) => listing.items.into_iter().collect(),
        Err(RegistryError::RepositoryUnknown { .. }) => BTreeSet::new(),
        Err(error) => panic!("{repository}'s tags can't be listed: {error:?}"),
    };
    assert_eq!(listed, resolved, "{repository}: the tags listed are not the tags there");
}

async fn check_referrers(registry: &Registry, universe: &Universe, repository: &str) {
    for subject in universe.manifests.keys() {
        let mut there = BTreeSet::new();
        for (digest, bytes) in &universe.manifests {
            let about = Manifest::parse(bytes, None).unwrap().subject.map(|subject| subject.digest);
            let by_digest = Reference::Digest(*digest);
            if about == Some(*subject)
                && registry.manifest(&access(repository), &by_digest).await.unwrap().is_some()
            {
                there.insert(*digest);
            }
        }
        let listed = registry.referrers(&access(repository), subject, Vec::new(), page()).await.unwrap();
        let listed: BTreeSet<Digest> = listed.items.iter().map(|descriptor| descriptor.digest).collect();
        assert_eq!(listed, there, "{repository}: the referrers listed are not the referrers there");
    }
}

/// The index says what the files say: it equals one that is built from nothing.
pub(crate) fn check_index(registry: &Registry, universe: &Universe) {
    for repository in &universe.repositories {
        registry.meta().reconcile(&repository.parse().unwrap()).unwrap();
    }
    let kept = registry.meta().index_snapshot().unwrap();
    let rebuilt = rebuilt_index(registry.meta().root());
    assert_eq!(kept.rows, rebuilt.rows, "the index kept (left) is not the index rebuilt (right)");
    check_names(registry.meta().root());
}

/// An index built from the files alone: in a copy of the directory, made of hard links so that every
/// file keeps its inode and its times.
pub(crate) fn rebuilt_index(root: &Path) -> IndexSnapshot {
    let copy = scratch();
    link_tree(&root.join("docker"), &copy.path().join("docker"));
    let disk = Arc::new(Disk::open(copy.path()).unwrap());
    let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
    store.reconcile_all(&AtomicBool::new(false)).unwrap();
    store.index_snapshot().unwrap()
}

fn link_tree(from: &Path, to: &Path) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    std::fs::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else {
            std::fs::hard_link(entry.path(), &target).unwrap();
        }
    }
}

/// No file below `repositories` begins with `_`: registry:2's garbage collection would lose data.
pub(crate) fn check_names(root: &Path) {
    let mut open = vec![root.join("docker/registry/v2/repositories")];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let name = entry.file_name();
                assert!(!name.to_string_lossy().starts_with('_'), "{} is a file", entry.path().display());
            }
        }
    }
}
