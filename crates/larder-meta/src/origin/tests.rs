#![expect(clippy::disallowed_methods, reason = "tests disturb the directory from outside")]

use std::fs::File;
use std::sync::Arc;

use larder_storage::{Blobs, Disk};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Precondition, PutManifest};

struct World {
    root: TempDir,
    store: MetaStore,
    repository: RepoName,
}

fn world() -> World {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let disk = Arc::new(Disk::open(root.path()).unwrap());
    let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
    World { root, store, repository: "library/app".parse().unwrap() }
}

fn image(mark: u8) -> Vec<u8> {
    let config = Digest::sha256(&[mark]);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[]}}"#
    )
    .into_bytes()
}

fn latest() -> Tag {
    "latest".parse().unwrap()
}

impl World {
    fn content(&self, bytes: &[u8]) -> Verified {
        self.store.blobs.put(&Digest::sha256(bytes), bytes).unwrap()
    }

    fn cache(&self, mark: u8, tag: Option<&Tag>) -> CachedOutcome {
        let bytes = image(mark);
        let (content, manifest) = (self.content(&bytes), Manifest::parse(&bytes, None).unwrap());
        let put =
            PutCachedManifest { repository: &self.repository, content: &content, manifest: &manifest, tag };
        self.store.put_cached_manifest(&put).unwrap()
    }

    fn push(&self, mark: u8, tags: &[Tag]) {
        let bytes = image(mark);
        let (content, manifest) = (self.content(&bytes), Manifest::parse(&bytes, None).unwrap());
        self.store
            .put_manifest(&PutManifest {
                repository: &self.repository,
                content: &content,
                manifest: &manifest,
                tags,
                precondition: Precondition::Always,
                immutable: &[],
            })
            .unwrap();
    }

    fn tag_is_cached(&self, tag: &Tag) -> Option<bool> {
        let origin = self.store.tag_origin(&self.repository, tag).unwrap();
        origin.map(|origin| origin != Origin::Pushed)
    }

    fn target(&self) -> Option<Digest> {
        self.store.tag(&self.repository, &latest()).unwrap()
    }

    fn link(&self) -> std::path::PathBuf {
        self.root.path().join(layout::tag_current(&self.repository, &latest()))
    }
}

#[test]
fn a_copy_is_known_as_one_until_somebody_pushes_it() {
    let world = world();
    assert_eq!(world.tag_is_cached(&latest()), None);
    assert_eq!(world.cache(1, Some(&latest())), CachedOutcome::Stored);
    assert_eq!(world.tag_is_cached(&latest()), Some(true));
    assert!(!world.store.has_pushed(&world.repository).unwrap());
    let digest = Digest::sha256(&image(1));
    let of_manifest = || world.store.manifest_origin(&world.repository, &digest).unwrap();
    assert!(matches!(of_manifest(), Some(Origin::Cached { .. })));
    world.push(1, &[latest()]);
    assert_eq!(world.tag_is_cached(&latest()), Some(false));
    assert_eq!(of_manifest(), Some(Origin::Pushed));
    assert!(world.store.has_pushed(&world.repository).unwrap());
}

#[test]
fn whether_somebody_has_pushed_is_looked_for_once_until_something_changes() {
    let world = world();
    for number in 0..20 {
        world.cache(number, Some(&latest()));
    }
    assert!(!world.store.has_pushed(&world.repository).unwrap());
    // What nobody looks at is not missed: the answer that is known counts.
    let revisions = world.root.path().join(layout::revisions(&world.repository, Algorithm::Sha256));
    let elsewhere = world.root.path().join("elsewhere");
    std::fs::rename(&revisions, &elsewhere).unwrap();
    std::fs::write(&revisions, b"no directory").unwrap();
    assert!(!world.store.has_pushed(&world.repository).unwrap());
    std::fs::remove_file(&revisions).unwrap();
    std::fs::rename(&elsewhere, &revisions).unwrap();
    world.push(3, &[]);
    assert!(world.store.has_pushed(&world.repository).unwrap(), "a change is seen at once");
}

#[test]
fn a_pushed_tag_is_never_moved_by_an_upstream() {
    let world = world();
    world.push(1, &[latest()]);
    assert_eq!(world.cache(2, Some(&latest())), CachedOutcome::TagIsPushed);
    assert_eq!(world.target(), Some(Digest::sha256(&image(1))));
    assert_eq!(world.store.manifest(&world.repository, &Digest::sha256(&image(2))).unwrap(), None);
    assert_eq!(world.cache(2, None), CachedOutcome::Stored, "by digest nothing of the tag's is touched");
}

#[test]
fn a_copied_tag_moves_and_keeps_its_history() {
    let world = world();
    for mark in [1, 2] {
        assert_eq!(world.cache(mark, Some(&latest())), CachedOutcome::Stored);
    }
    assert_eq!(world.target(), Some(Digest::sha256(&image(2))));
    assert_eq!(world.store.tag_history(&world.repository, &latest()).unwrap().len(), 2);
    assert_eq!(world.tag_is_cached(&latest()), Some(true));
}

#[test]
fn a_link_that_another_program_has_written_since_counts_as_pushed() {
    let world = world();
    world.cache(1, Some(&latest()));
    std::fs::write(world.link(), Digest::sha256(&image(1)).to_string()).unwrap();
    // A clock that ticks coarsely may not have moved on.
    let later = SystemTime::now() + Duration::from_secs(1);
    File::options().write(true).open(world.link()).unwrap().set_modified(later).unwrap();
    assert_eq!(world.tag_is_cached(&latest()), Some(false));
}

#[test]
fn an_archive_that_keeps_whole_seconds_keeps_what_is_a_copy() {
    let world = world();
    world.cache(1, Some(&latest()));
    let modified = std::fs::metadata(world.link()).unwrap().modified().unwrap();
    let whole = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let at = |seconds| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(world.link()).unwrap().set_modified(time).unwrap();
    };
    at(whole);
    assert_eq!(world.tag_is_cached(&latest()), Some(true));
    at(whole + 1);
    assert_eq!(world.tag_is_cached(&latest()), Some(false));
}

#[test]
fn a_tag_whose_manifest_is_gone_may_be_fetched_again() {
    let world = world();
    world.push(1, &[latest()]);
    let digest = Digest::sha256(&image(1));
    let link = layout::revision_link(&world.repository, &digest);
    std::fs::remove_file(world.root.path().join(link)).unwrap();
    assert_eq!(world.cache(2, Some(&latest())), CachedOutcome::Stored);
    assert_eq!(world.tag_is_cached(&latest()), Some(true));
}

#[test]
fn a_blob_that_is_here_already_stays_what_it_is() {
    let world = world();
    let (content, digest) = (world.content(b"layer"), Digest::sha256(b"layer"));
    let origin = || world.store.blob_origin(&world.repository, &digest).unwrap();
    world.store.link_cached_blob(&world.repository, &content).unwrap();
    assert!(matches!(origin(), Some(Origin::Cached { .. })));
    world.store.link_blob(&world.repository, &content).unwrap();
    assert_eq!(origin(), Some(Origin::Pushed));
    world.store.link_cached_blob(&world.repository, &content).unwrap();
    assert_eq!(origin(), Some(Origin::Pushed));
    world.store.unlink_blob(&world.repository, &digest).unwrap();
    assert_eq!(origin(), None);
}

#[test]
fn what_another_cache_kept_is_known_as_copies_with_the_tags_that_point_at_it() {
    let world = world();
    let (other, layer) = ("other".parse::<Tag>().unwrap(), world.content(b"layer"));
    world.push(1, &[latest()]);
    world.push(2, std::slice::from_ref(&other));
    world.store.link_blob(&world.repository, &layer).unwrap();
    let adopted = Adopted {
        manifests: HashSet::from([Digest::sha256(&image(1)), Digest::sha256(b"gone")]),
        blobs: HashSet::from([*layer.digest()]),
    };
    assert_eq!(world.store.adopt_copies(&world.repository, &adopted).unwrap(), 3);
    assert_eq!(world.tag_is_cached(&latest()), Some(true));
    assert_eq!(world.tag_is_cached(&other), Some(false));
    let blob = world.store.blob_origin(&world.repository, layer.digest()).unwrap();
    assert!(matches!(blob, Some(Origin::Cached { .. })));
    assert_eq!(world.store.adopt_copies(&world.repository, &adopted).unwrap(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Push { mark: u8, tag: usize },
    Cache { mark: u8, tag: usize },
    DeleteTag { tag: usize },
    DeleteManifest { mark: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_u8, 0..2_usize).prop_map(|(mark, tag)| Step::Push { mark, tag }),
        (0..3_u8, 0..2_usize).prop_map(|(mark, tag)| Step::Cache { mark, tag }),
        (0..2_usize).prop_map(|tag| Step::DeleteTag { tag }),
        (0..3_u8).prop_map(|mark| Step::DeleteManifest { mark }),
    ];
    proptest::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_sequence_each_tag_is_what_was_last_done_to_it_and_pushes_win(steps in steps()) {
        let world = world();
        let tags = [latest(), "other".parse::<Tag>().unwrap()];
        let mut expected: [Option<(u8, bool)>; 2] = [None, None];
        for step in steps {
            match step {
                Step::Push { mark, tag } => {
                    world.push(mark, &tags[tag..=tag]);
                    expected[tag] = Some((mark, false));
                }
                Step::Cache { mark, tag } => {
                    let outcome = world.cache(mark, Some(&tags[tag]));
                    let is_pushed = expected[tag].is_some_and(|(_, cached)| !cached);
                    prop_assert_eq!(outcome == CachedOutcome::TagIsPushed, is_pushed);
                    if !is_pushed {
                        expected[tag] = Some((mark, true));
                    }
                }
                Step::DeleteTag { tag } => {
                    world.store.delete_tag(&world.repository, &tags[tag]).unwrap();
                    expected[tag] = None;
                }
                Step::DeleteManifest { mark } => {
                    world.store.delete_manifest(&world.repository, &Digest::sha256(&image(mark))).unwrap();
                    for each in &mut expected {
                        *each = each.filter(|(of, _)| *of != mark);
                    }
                }
            }
            for (tag, expected) in tags.iter().zip(&expected) {
                prop_assert_eq!(world.tag_is_cached(tag), expected.map(|(_, cached)| cached));
                let target = world.store.tag(&world.repository, tag).unwrap();
                prop_assert_eq!(target, expected.map(|(mark, _)| Digest::sha256(&image(mark))));
            }
        }
        // What the index was told is what the files say.
        let kept = world.store.index_snapshot().unwrap();
        let World { root, store, .. } = world;
        drop(store);
        std::fs::remove_file(root.path().join(layout::INDEX)).unwrap();
        let disk = Arc::new(Disk::open(root.path()).unwrap());
        let rebuilt = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
        rebuilt.reconcile_all(&std::sync::atomic::AtomicBool::new(false)).unwrap();
        prop_assert_eq!(rebuilt.index_snapshot().unwrap(), kept);
    }
}
