//! What the collector takes away and what it leaves.

use std::path::Path;

use bytes::Bytes;
use larder_core::{Collected, ManifestPush, Precondition, Registry, RegistryError, Run};
use larder_oci::{Digest, Reference};

use crate::support::check::check_names;
use crate::support::script::{APP, OTHER, image};
use crate::support::world::{access, admin, open, runtime, scratch, upload};

const NOW: Run = Run { now: true, sweep: false };
const SWEEP: Run = Run { now: true, sweep: true };

async fn collect(registry: &Registry, run: Run) -> Result<Collected, RegistryError> {
    registry.collect(&admin(), run).await
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn digest(content: &Bytes) -> Digest {
    Digest::sha256(content)
}

/// An image of this config and these layers, with its blobs, under tags or its digest.
async fn push(registry: &Registry, repository: &str, layers: &[&Bytes], tags: &[&str]) -> Bytes {
    let config = bytes("{}");
    for blob in layers.iter().copied().chain([&config]) {
        upload(registry, repository, blob, &digest(blob)).await.unwrap();
    }
    let manifest = image(&config, layers, None);
    put(registry, repository, &manifest, tags).await.unwrap();
    manifest
}

async fn put(
    registry: &Registry,
    repository: &str,
    manifest: &Bytes,
    tags: &[&str],
) -> Result<(), RegistryError> {
    let push = ManifestPush {
        reference: Reference::Digest(digest(manifest)),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: None,
        bytes: manifest.clone(),
        precondition: Precondition::Always,
    };
    registry.push_manifest(&access(repository), push).await.map(|_| ())
}

fn index_of(children: &[&Bytes]) -> Bytes {
    let children: Vec<String> = children
        .iter()
        .map(|child| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}"#,
                digest(child),
                child.len()
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        children.join(",")
    )
    .into()
}

async fn delete(registry: &Registry, repository: &str, reference: &str) {
    registry.delete_manifest(&access(repository), &reference.parse().unwrap()).await.unwrap();
}

async fn has_manifest(registry: &Registry, repository: &str, manifest: &Bytes) -> bool {
    let reference = Reference::Digest(digest(manifest));
    registry.manifest(&access(repository), &reference).await.unwrap().is_some()
}

async fn has_blob(registry: &Registry, repository: &str, blob: &Bytes) -> bool {
    registry.blob(&access(repository), &digest(blob)).await.unwrap().is_some()
}

/// Every file of content.
fn contents(root: &Path) -> usize {
    let mut open = vec![root.join("docker/registry/v2/blobs")];
    let mut found = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found += 1;
            }
        }
    }
    found
}

/// Makes every file look a year old.
fn age(root: &Path) {
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(365 * 24 * 3600);
    let mut open = vec![root.join("docker")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                std::fs::File::options()
                    .write(true)
                    .open(entry.path())
                    .unwrap()
                    .set_modified(long_ago)
                    .unwrap();
            }
        }
    }
}

#[test]
fn a_deleted_tag_gives_back_what_hung_on_it_alone() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let (base, one, two) = (bytes("base"), bytes("one"), bytes("second"));
        let first = push(&registry, APP, &[&base, &one], &["v1"]).await;
        let second = push(&registry, APP, &[&base, &two], &["v2"]).await;
        delete(&registry, APP, "v1").await;
        assert_eq!(collect(&registry, Run::default()).await.unwrap(), Collected::default(), "not so soon");
        assert!(has_manifest(&registry, APP, &first).await, "in its grace time it is there by its digest");
        let collected = collect(&registry, NOW).await.unwrap();
        assert_eq!((collected.manifests, collected.links, collected.contents), (1, 1, 2));
        assert_eq!(collected.bytes, (first.len() + one.len()) as u64);
        assert!(!has_manifest(&registry, APP, &first).await);
        assert!(!has_blob(&registry, APP, &one).await);
        for blob in [&base, &two, &bytes("{}")] {
            assert!(has_blob(&registry, APP, blob).await);
        }
        assert!(has_manifest(&registry, APP, &second).await);
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default(), "once is enough");
        check_names(root.path());
    });
}

#[test]
fn a_tag_that_moves_leaves_the_manifest_that_it_pointed_at() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let first = push(&registry, APP, &[&bytes("one")], &["latest"]).await;
        push(&registry, APP, &[&bytes("two")], &["latest"]).await;
        age(root.path());
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default());
        assert!(has_manifest(&registry, APP, &first).await);
    });
}

#[test]
fn an_index_takes_along_the_platforms_that_nothing_else_needs() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let amd = push(&registry, APP, &[&bytes("amd")], &[]).await;
        let arm = push(&registry, APP, &[&bytes("arm")], &["arm"]).await;
        let shared = push(&registry, APP, &[&bytes("shared")], &[]).await;
        let index = index_of(&[&amd, &arm, &shared]);
        put(&registry, APP, &index, &["v1"]).await.unwrap();
        let other = index_of(&[&shared]);
        put(&registry, APP, &other, &["v2"]).await.unwrap();
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default());
        delete(&registry, APP, "v1").await;
        collect(&registry, NOW).await.unwrap();
        assert!(!has_manifest(&registry, APP, &index).await);
        assert!(!has_manifest(&registry, APP, &amd).await && !has_blob(&registry, APP, &bytes("amd")).await);
        assert!(has_manifest(&registry, APP, &arm).await, "it has a tag");
        assert!(has_manifest(&registry, APP, &shared).await, "another index needs it");
        assert!(has_blob(&registry, APP, &bytes("shared")).await);
    });
}

#[test]
fn signatures_go_with_what_they_are_about_and_not_before() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let (config, layer) = (bytes("{}"), bytes("signature"));
        let signed = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        upload(&registry, APP, &layer, &digest(&layer)).await.unwrap();
        let signature = image(&config, &[&layer], Some(&signed));
        put(&registry, APP, &signature, &[]).await.unwrap();
        let early = image(&config, &[&layer], Some(&bytes("pushed before what it is about")));
        put(&registry, APP, &early, &[]).await.unwrap();
        age(root.path());
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default());
        delete(&registry, APP, "v1").await;
        collect(&registry, NOW).await.unwrap();
        assert!(!has_manifest(&registry, APP, &signed).await);
        assert!(!has_manifest(&registry, APP, &signature).await);
        assert!(has_manifest(&registry, APP, &early).await);
        assert!(has_blob(&registry, APP, &layer).await, "the other one is made of it");
    });
}

#[test]
fn content_goes_with_its_last_repository() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        push(&registry, OTHER, &[&bytes("one")], &["v1"]).await;
        delete(&registry, APP, &digest(&one).to_string()).await;
        let collected = collect(&registry, NOW).await.unwrap();
        assert_eq!((collected.links, collected.contents), (2, 0), "the other repository has the same image");
        assert!(!has_blob(&registry, APP, &bytes("one")).await);
        assert!(
            has_manifest(&registry, OTHER, &one).await && has_blob(&registry, OTHER, &bytes("one")).await
        );
        delete(&registry, OTHER, "v1").await;
        assert_eq!(collect(&registry, NOW).await.unwrap().contents, 3);
        assert_eq!(contents(root.path()), 0);
    });
}

#[test]
fn what_was_pushed_again_stays_also_without_a_tag() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        delete(&registry, APP, "v1").await;
        put(&registry, APP, &one, &[]).await.unwrap();
        collect(&registry, NOW).await.unwrap();
        assert!(has_manifest(&registry, APP, &one).await && has_blob(&registry, APP, &bytes("one")).await);
    });
}

#[test]
fn a_crash_before_the_collector_came_loses_no_deletion_and_a_note_without_deletion_does_no_harm() {
    let root = scratch();
    let one = runtime().block_on(async {
        let registry = open(root.path());
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        delete(&registry, APP, "v1").await;
        one
    });
    // As if the process had died between the note and the deletion.
    let kept = scratch();
    std::fs::create_dir_all(kept.path().join("larder")).unwrap();
    std::fs::rename(root.path().join("larder/removals"), kept.path().join("larder/removals")).unwrap();
    runtime().block_on(async {
        let registry = open(kept.path());
        push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        collect(&registry, NOW).await.unwrap();
        assert!(has_manifest(&registry, APP, &one).await && has_blob(&registry, APP, &bytes("one")).await);
    });
    // As if it had died right after the deletion.
    let again = scratch();
    let one = runtime().block_on(async {
        let registry = open(again.path());
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        delete(&registry, APP, "v1").await;
        one
    });
    runtime().block_on(async {
        let registry = open(again.path());
        assert_eq!(registry.removed(&admin()).len(), 1);
        assert_eq!(collect(&registry, NOW).await.unwrap().contents, 3);
        assert!(!has_manifest(&registry, APP, &one).await);
        assert!(registry.removed(&admin()).is_empty());
    });
}

#[test]
fn a_sweep_finds_what_no_deletion_tells_of_once_it_is_old() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        let lone = bytes("its manifest never came");
        upload(&registry, APP, &lone, &digest(&lone)).await.unwrap();
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default(), "it is young");
        age(root.path());
        let collected = collect(&registry, SWEEP).await.unwrap();
        assert_eq!((collected.links, collected.contents, collected.bytes), (1, 1, lone.len() as u64));
        assert!(!has_blob(&registry, APP, &lone).await);
        assert_eq!(contents(root.path()), 3);
    });
}

#[test]
fn registry_2s_old_manifests_keep_their_layers() {
    let root = scratch();
    let layer = bytes("a layer of an old image");
    let old = Bytes::from(format!(
        r#"{{"schemaVersion":1,"name":"app","tag":"v1","fsLayers":[{{"blobSum":"{}"}}],"history":[],"signatures":[]}}"#,
        digest(&layer)
    ));
    let repository = root.path().join("docker/registry/v2/repositories").join(APP);
    let write = |path: std::path::PathBuf, content: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    for content in [&layer, &old] {
        let hex = digest(content).hex();
        let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        write(root.path().join(data), content);
    }
    let link = |digest: Digest| digest.to_string().into_bytes();
    write(repository.join(format!("_layers/sha256/{}/link", digest(&layer).hex())), &link(digest(&layer)));
    write(
        repository.join(format!("_manifests/revisions/sha256/{}/link", digest(&old).hex())),
        &link(digest(&old)),
    );
    write(repository.join("_manifests/tags/v1/current/link"), &link(digest(&old)));
    age(root.path());
    runtime().block_on(async {
        let registry = open(root.path());
        assert_eq!(collect(&registry, SWEEP).await.unwrap(), Collected::default());
        assert!(has_blob(&registry, APP, &layer).await);
    });
}

#[test]
fn a_manifest_that_cannot_be_read_keeps_everything_in_its_repository() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        push(&registry, APP, &[&bytes("two")], &["v2"]).await;
        let hex = digest(&one).hex();
        let data = root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        std::fs::write(&data, vec![b'x'; one.len()]).unwrap();
        age(root.path());
        delete(&registry, APP, "v2").await;
        drop(registry);
    });
    // Read afresh: what the damaged one needs isn't known any more.
    crate::crashes::remove_index(root.path());
    runtime().block_on(async {
        let registry = open(root.path());
        let collected = collect(&registry, SWEEP).await.unwrap();
        assert!(collected.unknown > 0);
        assert_eq!((collected.links, collected.contents), (0, 0));
        for blob in ["one", "two", "{}"] {
            assert!(has_blob(&registry, APP, &bytes(blob)).await, "{blob}");
        }
        // Mended by a push, the deletion's turn has come.
        let one = push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        let collected = collect(&registry, NOW).await.unwrap();
        assert_eq!((collected.unknown, collected.links, collected.contents), (0, 1, 2));
        assert!(has_manifest(&registry, APP, &one).await);
    });
}

#[test]
fn directories_that_look_like_repositories_and_have_no_name_keep_their_content() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        let repositories = root.path().join("docker/registry/v2/repositories");
        let strange = repositories.join("NOT_A_NAME");
        std::fs::create_dir_all(strange.join("_layers/sha256")).unwrap();
        let hex = digest(&bytes("one")).hex();
        std::fs::rename(
            repositories.join(APP).join("_layers/sha256").join(&hex),
            strange.join("_layers/sha256").join(&hex),
        )
        .unwrap();
        age(root.path());
        delete(&registry, APP, "v1").await;
        collect(&registry, SWEEP).await.unwrap();
        assert_eq!(contents(root.path()), 1, "the layer is somebody's");
    });
}

#[test]
fn a_client_that_was_told_of_a_blob_finds_it_and_what_a_push_works_on_stays() {
    let root = scratch();
    let settings = || {
        let mut settings = crate::support::world::settings();
        settings.collection.grace = std::time::Duration::from_millis(200);
        settings
    };
    runtime().block_on(async {
        let environment = larder_core::Environment::system();
        let registry = Registry::open(root.path(), settings(), environment).unwrap();
        let layer = bytes("one");
        push(&registry, APP, &[&layer], &["v1"]).await;
        delete(&registry, APP, "v1").await;
        // The start's own promise and the deletion's grace time end.
        while collect(&registry, Run::default()).await.unwrap().promised == 0 {
            registry.promise(&access::<larder_oci::Pull>(APP), &digest(&layer)).await.unwrap();
            assert!(has_blob(&registry, APP, &layer).await, "it was promised");
            tokio::task::yield_now().await;
        }
        assert!(has_blob(&registry, APP, &layer).await);
        let config = bytes("{}");
        upload(&registry, APP, &config, &digest(&config)).await.unwrap();
        let manifest = image(&config, &[&layer], None);
        put(&registry, APP, &manifest, &["v2"]).await.unwrap();
        collect(&registry, NOW).await.unwrap();
        assert!(has_manifest(&registry, APP, &manifest).await && has_blob(&registry, APP, &layer).await);
    });
}

#[test]
fn a_deletion_is_undone_with_its_history_until_the_collector_has_come() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let (app, latest): (larder_oci::RepoName, larder_oci::Tag) =
            (APP.parse().unwrap(), "latest".parse().unwrap());
        let first = push(&registry, APP, &[&bytes("one")], &["latest"]).await;
        let second = push(&registry, APP, &[&bytes("two")], &["latest", "v2"]).await;
        let history = registry.meta().history_entries(&app, &latest).unwrap();
        assert_eq!(history.len(), 2);
        delete(&registry, APP, "latest").await;
        delete(&registry, APP, &digest(&second).to_string()).await;
        let removed = registry.removed(&admin());
        assert_eq!(removed.len(), 2);
        // The manifest first: the tag pointed at it.
        for each in &removed {
            registry.undo(&access(APP), each.id).await.unwrap();
        }
        assert_eq!(registry.meta().tag(&app, &latest).unwrap(), Some(digest(&second)));
        assert_eq!(registry.meta().history_entries(&app, &latest).unwrap(), history);
        assert_eq!(registry.meta().tag(&app, &"v2".parse().unwrap()).unwrap(), Some(digest(&second)));
        collect(&registry, NOW).await.unwrap();
        for image in [&first, &second] {
            assert!(has_manifest(&registry, APP, image).await);
        }
        assert!(has_blob(&registry, APP, &bytes("two")).await);
        delete(&registry, APP, "v2").await;
        let id = registry.removed(&admin())[0].id;
        collect(&registry, NOW).await.unwrap();
        let outcome = registry.undo(&access(APP), id).await;
        assert!(matches!(outcome, Err(RegistryError::UndoTooLate { .. })), "{outcome:?}");
        crate::support::check::check_index(&registry, &crate::support::script::Universe::new());
    });
}

#[test]
fn a_tag_that_was_pushed_again_is_left_alone_by_an_undo() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        push(&registry, APP, &[&bytes("one")], &["v1"]).await;
        delete(&registry, APP, "v1").await;
        let second = push(&registry, APP, &[&bytes("two")], &["v1"]).await;
        let id = registry.removed(&admin())[0].id;
        let undone = registry.undo(&access(APP), id).await.unwrap();
        assert_eq!(undone.taken, [("v1".parse().unwrap(), digest(&second))]);
        let other = registry.undo(&access(OTHER), id).await;
        assert!(matches!(other, Err(RegistryError::UndoTooLate { .. })));
    });
}

#[test]
fn a_deletion_keeps_what_an_earlier_one_that_can_be_undone_shares_with_it() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open(root.path());
        let first = push(&registry, APP, &[&bytes("base"), &bytes("one")], &["v1"]).await;
        let second = push(&registry, APP, &[&bytes("base"), &bytes("two")], &["v2"]).await;
        for image in [&first, &second] {
            delete(&registry, APP, &digest(image).to_string()).await;
        }
        let [later, earlier] = &registry.removed(&admin())[..] else { panic!() };
        registry.undo(&access(APP), earlier.id).await.unwrap();
        collect(&registry, NOW).await.unwrap();
        assert!(registry.undo(&access(APP), later.id).await.is_err());
        for blob in ["base", "one", "{}"] {
            assert!(has_blob(&registry, APP, &bytes(blob)).await, "{blob}");
        }
        assert!(!has_blob(&registry, APP, &bytes("two")).await);
    });
}
