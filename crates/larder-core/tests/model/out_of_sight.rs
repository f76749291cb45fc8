//! Disks that are not mounted: what can't be looked at is not taken for absent.

use std::path::Path;

use bytes::Bytes;
use larder_core::{ManifestPush, Precondition, Registry, RegistryError, Run};
use larder_oci::{Access, Digest, Pull, Reference};

use crate::support::script::{APP, image};
use crate::support::world::{access, admin, open, runtime, scratch, upload};

const SWEEP: Run = Run { now: true, sweep: true };
const REPOSITORIES: &str = "docker/registry/v2/repositories";

async fn push(registry: &Registry) -> Result<Bytes, RegistryError> {
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from_static(b"layer"));
    for blob in [&config, &layer] {
        upload(registry, APP, blob, &Digest::sha256(blob)).await?;
    }
    let manifest = image(&config, &[&layer], None);
    let push = ManifestPush {
        reference: Reference::Tag("v1".parse().unwrap()),
        tags: Vec::new(),
        media_type: None,
        bytes: manifest.clone(),
        precondition: Precondition::Always,
    };
    registry.push_manifest(&access(APP), push).await?;
    Ok(manifest)
}

async fn pull(registry: &Registry) -> Result<Option<Bytes>, RegistryError> {
    let access: Access<Pull> = access(APP);
    let found = registry.manifest(&access, &Reference::Tag("v1".parse().unwrap())).await?;
    Ok(found.map(|manifest| manifest.bytes.clone()))
}

/// What the log says of it.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Files of content.
fn contents(root: &Path) -> usize {
    let mut open = vec![root.join("docker/registry/v2/blobs")];
    let mut found = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found += 1 }
        }
    }
    found
}

/// A registry whose content is old enough to go, if nobody needed it.
async fn aged(root: &Path) -> Registry {
    let registry = open(root);
    push(&registry).await.unwrap();
    drop(registry);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(365 * 24 * 3600);
    let mut open_directories = vec![root.join("docker")];
    while let Some(directory) = open_directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open_directories.push(path);
            } else {
                std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
            }
        }
    }
    open(root)
}

#[test]
fn content_stays_while_a_link_to_repositories_leads_nowhere() {
    let (root, elsewhere) = (scratch(), scratch());
    runtime().block_on(async {
        let registry = aged(root.path()).await;
        let (place, away) = (root.path().join(REPOSITORIES).join(APP), elsewhere.path().join("disk"));
        std::fs::rename(&place, &away).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("mounted"), &place).unwrap();
        for _ in 0..2 {
            let refused = words(&registry.collect(&admin(), SWEEP).await.unwrap_err());
            assert!(refused.contains("leads nowhere") && refused.contains("remove the link"), "{refused}");
            assert_eq!(contents(root.path()), 3);
        }
        // The disk is mounted: nothing was forgotten.
        std::fs::rename(&away, elsewhere.path().join("mounted")).unwrap();
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().contents, 0);
        assert!(pull(&registry).await.unwrap().is_some());
        // It was meant: the link goes.
        std::fs::remove_file(&place).unwrap();
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().contents, 3);
    });
}

#[test]
fn content_stays_while_there_is_no_directory_of_repositories() {
    let root = scratch();
    runtime().block_on(async {
        let registry = aged(root.path()).await;
        let (place, away) = (root.path().join(REPOSITORIES), root.path().join("away"));
        std::fs::rename(&place, &away).unwrap();
        let refused = words(&registry.collect(&admin(), SWEEP).await.unwrap_err());
        assert!(refused.contains("make an empty directory"), "{refused}");
        assert_eq!(contents(root.path()), 3);
        std::fs::rename(&away, &place).unwrap();
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().contents, 0);
        assert!(pull(&registry).await.unwrap().is_some());
        // As people have always removed everything.
        std::fs::rename(&place, &away).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert_eq!(registry.collect(&admin(), SWEEP).await.unwrap().contents, 3);
    });
}

/// What is pushed into the empty directory that an unmounted disk leaves behind is lost when the disk comes back.
#[test]
fn a_directory_that_took_the_place_of_the_data_directory_takes_nothing_in_and_denies_nothing() {
    let parent = scratch();
    let (place, away) = (parent.path().join("data"), parent.path().join("away"));
    runtime().block_on(async {
        let registry = open(&place);
        let manifest = push(&registry).await.unwrap();
        std::fs::rename(&place, &away).unwrap();
        std::fs::create_dir(&place).unwrap();
        // What was read within the last second is answered from memory.
        let unknown = Reference::Digest(Digest::sha256(b"unknown"));
        let access_to_pull: Access<Pull> = access(APP);
        let told = registry.manifest(&access_to_pull, &unknown).await.unwrap_err();
        assert!(words(&told).contains("could not read"), "{}", words(&told));
        assert!(registry.blob(&access_to_pull, &Digest::sha256(b"unknown")).await.is_err());
        assert!(push(&registry).await.is_err());
        assert!(registry.collect(&admin(), SWEEP).await.is_err());
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "something was written there");
        std::fs::remove_dir(&place).unwrap();
        std::fs::rename(&away, &place).unwrap();
        assert_eq!(pull(&registry).await.unwrap(), Some(manifest));
        push(&registry).await.unwrap();
    });
}
