//! Pushes that are judged by quotas; that the sums are right, `usage` holds.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_storage::hook::{DiskHook, Mutation};

use super::*;
use crate::{Exceeded, Limited, QuotaRule, Removal};

fn quota(pattern: &str, bytes: Option<u64>, tags: Option<u64>) -> QuotaRule {
    let repositories = vec![pattern.parse().unwrap()];
    QuotaRule { place: pattern.into(), repositories, bytes, tags, copies: false }
}

/// All of the same length, and nothing but themselves.
fn numbered(number: usize) -> Vec<u8> {
    image(&format!("{number:04}"))
}

fn size() -> u64 {
    numbered(0).len() as u64
}

fn try_to_put(store: &MetaStore, repository: &str, bytes: &[u8], tags: &[&str]) -> Result<(), Exceeded> {
    match put_if(store, repository, bytes, tags, Precondition::Always) {
        PutOutcome::Stored => Ok(()),
        PutOutcome::QuotaExceeded(exceeded) => Err(exceeded),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pushes_to_several_repositories_at_once_never_exceed_a_quota_together() {
    const FIT: u64 = 7;
    for (bytes, tags) in [(Some(FIT * size() + size() / 2), None), (None, Some(FIT))] {
        let root = scratch();
        let store = open(root.path());
        store.set_quotas(&[quota("team/**", bytes, tags), quota("**", Some(1 << 40), None)]);
        let pushed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        let repository = format!("team/{thread}");
                        let push = |number: &usize| {
                            let bytes = numbered(thread * 100 + number);
                            try_to_put(store, &repository, &bytes, &[&format!("t{number}")]).is_ok()
                        };
                        (0..5).filter(push).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(pushed as u64, FIT, "no more than fit, and no fewer");
        let usage = &store.quota_usages().unwrap()[0];
        assert_eq!((usage.bytes, usage.tags), (FIT * size(), FIT));
        // Whatever was denied has left nothing behind that counts.
        assert!(try_to_put(&store, "elsewhere", &numbered(999), &["t"]).is_ok());
    }
}

#[test]
fn what_is_there_already_costs_nothing_and_what_goes_makes_room() {
    let root = scratch();
    let store = open(root.path());
    store.set_quotas(&[quota("team/**", Some(2 * size()), Some(2))]);
    try_to_put(&store, "team/a", &numbered(1), &["v1"]).unwrap();
    try_to_put(&store, "team/a", &numbered(2), &["latest"]).unwrap();
    // The quota is full: a move of a tag, the same again, and the same elsewhere without a tag.
    try_to_put(&store, "team/a", &numbered(1), &["latest"]).unwrap();
    try_to_put(&store, "team/a", &numbered(1), &["v1", "latest"]).unwrap();
    try_to_put(&store, "team/b", &numbered(1), &[]).unwrap();
    let place = "team/**".into();
    assert_eq!(
        try_to_put(&store, "team/b", &numbered(3), &[]).unwrap_err(),
        Exceeded { place, limited: Limited::Bytes, used: 2 * size(), wanted: size(), limit: 2 * size() }
    );
    let denied = try_to_put(&store, "team/b", &numbered(1), &["v1", "v2"]).unwrap_err();
    assert_eq!((denied.limited, denied.used, denied.wanted), (Limited::Tags, 2, 2));
    assert_eq!(denied.to_string(), "quota exceeded: 2 tags of 2, this needs 2 more (team/**)");

    let mut removal = Removal::default();
    let note = |noted: &Removal| {
        removal = noted.clone();
        Ok::<(), crate::MetaError>(())
    };
    let second = Digest::sha256(&numbered(2));
    store.delete_manifest_noting(&name("team/a"), &second, note).unwrap();
    try_to_put(&store, "team/b", &numbered(3), &[]).unwrap();
    // What was deleted can be undone, also if that is more than may be there; then nothing more comes.
    store.restore(&name("team/a"), &removal).unwrap();
    let usage = store.quota_usages().unwrap().remove(0);
    assert_eq!((usage.bytes, usage.percent()), (3 * size(), 150));
    let denied = try_to_put(&store, "team/b", &numbered(4), &[]).unwrap_err();
    assert_eq!((denied.used, denied.wanted), (3 * size(), size()));
    try_to_put(&store, "team/a", &numbered(3), &["latest"]).unwrap();
}

#[test]
fn what_was_there_before_a_restart_counts_also_without_an_index() {
    let root = scratch();
    let store = open(root.path());
    put(&store, "team/a", &numbered(1), &["v1"]);
    drop(store);
    remove_index(root.path());
    let store = open(root.path());
    store.set_quotas(&[quota("team/*", Some(size()), None)]);
    store.know_quotas(&name("team/b")).unwrap();
    let denied = try_to_put(&store, "team/b", &numbered(2), &["v1"]).unwrap_err();
    assert_eq!(denied.used, size());
    let blob = Digest::sha256(b"a blob");
    assert!(store.room_for_blob(&name("team/b"), &blob, 1).unwrap().is_some());
    assert_eq!(store.room_for_blob(&name("team/b"), &Digest::sha256(&numbered(1)), size()).unwrap(), None);
    assert_eq!(store.room_for_blob(&name("other"), &blob, 1).unwrap(), None);
}

/// Fails the next mutation once it is told to.
#[derive(Default)]
struct FailsOnce(AtomicBool);

impl DiskHook for FailsOnce {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let is_link = format!("{mutation:?}").contains("_manifests");
        if is_link && self.0.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("the disk fails"));
        }
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

#[test]
fn a_push_that_fails_gives_back_what_it_had_reserved() {
    let root = scratch();
    let fails = Arc::new(FailsOnce::default());
    let disk = Arc::new(Disk::open_with(root.path(), Some(fails.clone())).unwrap());
    let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
    store.set_quotas(&[quota("**", Some(size()), Some(1))]);
    let bytes = numbered(1);
    let content = store.blobs.put(&Digest::sha256(&bytes), &bytes).unwrap();
    let put = PutManifest {
        repository: &name("a"),
        content: &content,
        manifest: &Manifest::parse(&bytes, None).unwrap(),
        tags: &[tag("v1")],
        precondition: Precondition::Always,
        immutable: &[],
    };
    fails.0.store(true, Ordering::SeqCst);
    assert!(store.put_manifest(&put).is_err());
    assert!(!fails.0.load(Ordering::SeqCst), "it failed where it should");
    try_to_put(&store, "b", &numbered(2), &["v1"]).unwrap();
}
