//! What durability costs: every sync is counted, so that one too many shows, and one too few as well.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use larder_core::Registry;
use larder_oci::{Algorithm, Digest};
use larder_storage::hook::{DiskHook, Mutation};

use crate::support::hooks::{Kind, Recorder};
use crate::support::script::{Step, image};
use crate::support::world::{open_with, runtime, scratch, upload};

const REPOSITORY: &str = "library/app";

/// File syncs and directory syncs since the last call.
fn syncs(recorder: &Recorder) -> (usize, usize) {
    let seen = recorder.take();
    let count = |wanted: Kind| seen.iter().filter(|(kind, _)| *kind == wanted).count();
    (count(Kind::SyncFile), count(Kind::SyncDirectory))
}

async fn push_blob(registry: &Registry, content: &str) {
    let content = Bytes::copy_from_slice(content.as_bytes());
    upload(registry, REPOSITORY, &content, &Digest::sha256(&content)).await.unwrap();
}

async fn push_manifest(registry: &Registry, bytes: &Bytes, tags: &'static [&'static str]) {
    let step = Step::Manifest { repository: REPOSITORY, bytes: bytes.clone(), tags };
    step.run(registry, &mut None).await.unwrap();
}

#[test]
fn a_push_makes_exactly_the_syncs_that_it_needs() {
    let (root, recorder) = (scratch(), Arc::new(Recorder::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), recorder.clone());
        // The content's file; the root and five directories down to its shard, the shard, its directory.
        // Then the link's file, and repositories/library/app/_layers/sha256/<hex>, each in its parent,
        // and the link in its own.
        push_blob(&registry, "{}").await;
        assert_eq!(syncs(&recorder), (2, 15), "the first blob of a new registry");
        // Shard, content's directory, content; link's directory, link.
        push_blob(&registry, "1").await;
        assert_eq!(syncs(&recorder), (2, 5), "a further blob");
        // All directories are known; what they name is synced again.
        push_blob(&registry, "1").await;
        assert_eq!(syncs(&recorder), (2, 2), "the same blob again");

        let config = Bytes::from_static(b"{}");
        let (one, two) = (image(&config, &[], None), image(&config, &[&Bytes::from_static(b"1")], None));
        push_manifest(&registry, &one, &["latest"]).await;
        // Content 3, revision 5, the tag's history 6 less the directory that names both, the tag 2.
        assert_eq!(syncs(&recorder), (4, 15), "the first manifest and tag");
        push_manifest(&registry, &two, &["latest"]).await;
        assert_eq!(syncs(&recorder), (4, 8), "a tag that moves to a new manifest");
        push_manifest(&registry, &one, &["latest"]).await;
        assert_eq!(syncs(&recorder), (4, 4), "a tag that moves back");
        push_manifest(&registry, &one, &[]).await;
        assert_eq!(syncs(&recorder), (2, 2), "a manifest by its digest, once more");
        Step::DeleteTag { repository: REPOSITORY, tag: "latest" }.run(&registry, &mut None).await.unwrap();
        assert_eq!(
            syncs(&recorder),
            (1, 4),
            "a deleted tag, and the first note of a deletion: its directory, its file"
        );
        let digest = Digest::of(Algorithm::Sha256, &one);
        Step::DeleteManifest { repository: REPOSITORY, digest }.run(&registry, &mut None).await.unwrap();
        assert_eq!(syncs(&recorder), (1, 1), "a note, and a deleted manifest without tags");
        let digest = Digest::sha256(b"1");
        Step::DeleteBlob { repository: REPOSITORY, digest }.run(&registry, &mut None).await.unwrap();
        assert_eq!(syncs(&recorder), (1, 1), "a note, and a deleted blob");
    });
}

/// Counts directory syncs; the first one of the layers' directory is held back until as many pushes
/// as `pushes` have come so far that they need it too.
struct Crowd {
    pushes: usize,
    arrived: AtomicUsize,
    syncs: AtomicUsize,
}

impl Crowd {
    fn is_the_shared_directory(path: &Path) -> bool {
        path.ends_with(format!("{REPOSITORY}/_layers/sha256"))
    }
}

impl DiskHook for Crowd {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        if let Mutation::SyncDirectory(path) = mutation
            && Crowd::is_the_shared_directory(path)
        {
            while self.arrived.load(Ordering::SeqCst) < self.pushes {
                std::thread::yield_now();
            }
            // Whoever has made its directory is about to ask for the sync.
            for _ in 0..1000 {
                std::thread::yield_now();
            }
        }
        Ok(usize::MAX)
    }

    fn after(&self, mutation: Mutation<'_>) {
        match mutation {
            Mutation::SyncDirectory(_) => {
                self.syncs.fetch_add(1, Ordering::SeqCst);
            }
            Mutation::CreateDirectory(path) if path.parent().is_some_and(Crowd::is_the_shared_directory) => {
                self.arrived.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

#[test]
fn many_pushes_at_once_share_syncs() {
    const PUSHES: usize = 16;
    const SINGLE: usize = 5;
    let root = scratch();
    let crowd =
        Arc::new(Crowd { pushes: PUSHES + 1, arrived: AtomicUsize::new(PUSHES), syncs: AtomicUsize::new(0) });
    runtime().block_on(async {
        let registry = open_with(root.path(), crowd.clone());
        push_blob(&registry, "the first makes the directories").await;
        crowd.arrived.store(1, Ordering::SeqCst);
        crowd.syncs.store(0, Ordering::SeqCst);
        let pushes: Vec<_> = (0..PUSHES)
            .map(|number| {
                let registry = registry.clone();
                tokio::spawn(async move { push_blob(&registry, &format!("content {number}")).await })
            })
            .collect();
        for push in pushes {
            push.await.unwrap();
        }
    });
    let syncs = crowd.syncs.load(Ordering::SeqCst);
    assert!(syncs < PUSHES * SINGLE, "{PUSHES} pushes at once made {syncs} directory syncs");
    assert!(syncs >= PUSHES * 3, "{syncs}: a directory of one's own can't be shared");
}
