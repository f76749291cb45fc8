//! The store against the directory that it keeps, also when somebody else has written there.

#![expect(clippy::disallowed_methods, reason = "tests disturb the directory from outside")]

mod equality;
mod foreign;
mod growth;
mod links;
mod listing;
mod quotas;
mod schema;
mod uploads;
mod usage;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use larder_oci::{Digest, Manifest, RepoName, Tag};
use larder_storage::{Blobs, Disk};
use tempfile::TempDir;

use crate::{MetaStore, Page, Precondition, PutManifest, PutOutcome};

const REPOSITORIES: &str = "docker/registry/v2/repositories";

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(root: &Path) -> MetaStore {
    let disk = Arc::new(Disk::open(root).unwrap());
    MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap()
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn page<T>() -> Page<T> {
    Page { after: None, limit: 1000 }
}

/// An image whose bytes differ by `mark`.
fn image(mark: &str) -> Vec<u8> {
    let config = Digest::sha256(mark.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[]}}"#
    )
    .into_bytes()
}

/// An artifact of a type, about a subject.
fn artifact(kind: &str, subject: &Digest) -> Vec<u8> {
    let config = Digest::sha256(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"{kind}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[],"subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":1}}}}"#
    )
    .into_bytes()
}

/// An index of these manifests; with types, as a referrers list is written.
fn index(children: &[(Digest, Option<&str>)]) -> Vec<u8> {
    let children: Vec<String> = children
        .iter()
        .map(|(digest, kind)| {
            let kind = kind.map(|kind| format!(r#","artifactType":"{kind}""#)).unwrap_or_default();
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1{kind}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        children.join(",")
    )
    .into_bytes()
}

fn put_if(
    store: &MetaStore,
    repository: &str,
    bytes: &[u8],
    tags: &[&str],
    precondition: Precondition,
) -> PutOutcome {
    let content = store.blobs.put(&Digest::sha256(bytes), bytes).unwrap();
    let manifest = Manifest::parse(bytes, None).unwrap();
    let tags: Vec<Tag> = tags.iter().map(|text| tag(text)).collect();
    let repository = &name(repository);
    let put = PutManifest {
        repository,
        content: &content,
        manifest: &manifest,
        tags: &tags,
        precondition,
        immutable: &[],
    };
    store.put_manifest(&put).unwrap()
}

fn put(store: &MetaStore, repository: &str, bytes: &[u8], tags: &[&str]) -> Digest {
    assert_eq!(put_if(store, repository, bytes, tags, Precondition::Always), PutOutcome::Stored);
    Digest::sha256(bytes)
}

fn link(store: &MetaStore, repository: &str, bytes: &[u8]) -> Digest {
    let content = store.blobs.put(&Digest::sha256(bytes), bytes).unwrap();
    store.link_blob(&name(repository), &content).unwrap();
    Digest::sha256(bytes)
}

/// Writes as registry:2 does before 3.1: in place, truncating. `age` tells later writes from earlier
/// ones, which a file system with a coarse clock may not.
fn write_in_place(path: &Path, text: &str, age: Duration) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    set_age(path, age);
}

fn set_age(path: &Path, age: Duration) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn reconcile_all(store: &MetaStore) {
    store.reconcile_all(&AtomicBool::new(false)).unwrap();
}

fn remove_index(root: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(root.join(format!("larder/index.db{suffix}")));
    }
}

/// The rows of an index that is built from nothing: in a copy of the directory, made of hard links so
/// that every file keeps its inode and its times.
fn rebuilt(root: &Path) -> Vec<String> {
    let copy = scratch();
    link_tree(&root.join("docker"), &copy.path().join("docker"));
    let store = open(copy.path());
    reconcile_all(&store);
    store.index_snapshot().unwrap().rows
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

/// Every file below the repositories, relative to them, with its content; sorted.
fn files(root: &Path) -> Vec<(String, String)> {
    let below = root.join(REPOSITORIES);
    let (mut open, mut found) = (vec![below.clone()], Vec::new());
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let relative = path.strip_prefix(&below).unwrap().to_str().unwrap().to_owned();
                found.push((relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// No file's name begins with `_`: registry:2's garbage collection would lose the repository's data.
fn assert_names(root: &Path) {
    for (path, _) in files(root) {
        assert!(!path.rsplit('/').next().unwrap().starts_with('_'), "{path}");
    }
}
