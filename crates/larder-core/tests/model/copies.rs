//! Loss of power while copies of other registries come and people push: what was pushed is never taken for a copy, which
//! would be evicted, or asked about and moved.
//!
//! More: `LARDER_LOSSES=1000000 LARDER_SEED=7 cargo test -p larder-core --test model copies`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use larder_meta::{CachedOutcome, MetaStore, Origin, Precondition, PutCachedManifest, PutManifest};
use larder_oci::{Digest, Manifest, RepoName, Tag};
use larder_storage::{Blobs, Disk};

use crate::support::chance::Chance;
use crate::support::journal::{Journal, Left};
use crate::support::script::{APP, image};
use crate::support::world::scratch;

/// In a build.
const LOSSES: u64 = 1000;

/// Losses of one sequence.
const OF_ONE: u64 = 50;

const STEPS: usize = 24;
const TAGS: [&str; 2] = ["latest", "v1"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Blob { is_pushed: bool, blob: usize },
    Manifest { is_pushed: bool, manifest: usize, tag: Option<&'static str> },
    DeleteTag(&'static str),
}

/// What there is, and whether somebody pushed it.
#[derive(Clone, Debug, Default)]
struct State {
    blobs: BTreeMap<Digest, bool>,
    manifests: BTreeMap<Digest, bool>,
    tags: BTreeMap<&'static str, (Digest, bool)>,
}

struct Things {
    blobs: Vec<Bytes>,
    manifests: Vec<Bytes>,
}

fn things() -> Things {
    let blobs: Vec<Bytes> = ["{}", "one", "two"].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
    let manifests = vec![image(&blobs[0], &[&blobs[1]], None), image(&blobs[0], &[&blobs[2]], None)];
    Things { blobs, manifests }
}

fn repository() -> RepoName {
    APP.parse().unwrap()
}

fn open(disk: Disk) -> (Blobs, MetaStore) {
    let disk = Arc::new(disk);
    let blobs = Blobs::new(Arc::clone(&disk));
    (blobs.clone(), MetaStore::open(disk, blobs).unwrap())
}

fn step(chance: &mut Chance, things: &Things) -> Step {
    let is_pushed = chance.below(2) == 0;
    match chance.below(8) {
        0..=2 => Step::Blob { is_pushed, blob: chance.below(things.blobs.len()) },
        3..=6 => {
            let tag = (chance.below(4) > 0).then(|| chance.of(&TAGS));
            Step::Manifest { is_pushed, manifest: chance.below(things.manifests.len()), tag }
        }
        _ => Step::DeleteTag(chance.of(&TAGS)),
    }
}

fn run(step: Step, things: &Things, (blobs, meta): &(Blobs, MetaStore), state: &mut State) {
    match step {
        Step::Blob { is_pushed, blob } => {
            let bytes = &things.blobs[blob];
            let digest = Digest::sha256(bytes);
            let content = blobs.put(&digest, bytes).unwrap();
            if is_pushed {
                meta.link_blob(&repository(), &content).unwrap();
            } else {
                meta.link_cached_blob(&repository(), &content).unwrap();
            }
            *state.blobs.entry(digest).or_default() |= is_pushed;
        }
        Step::Manifest { is_pushed, manifest, tag } => {
            let bytes = &things.manifests[manifest];
            let (digest, manifest) = (Digest::sha256(bytes), Manifest::parse(bytes, None).unwrap());
            let content = blobs.put(&digest, bytes).unwrap();
            let parsed: Option<Tag> = tag.map(|tag| tag.parse().unwrap());
            let repository = &repository();
            if is_pushed {
                let tags: Vec<Tag> = parsed.into_iter().collect();
                let (manifest, precondition) = (&manifest, Precondition::Always);
                let put = PutManifest {
                    repository,
                    content: &content,
                    manifest,
                    tags: &tags,
                    precondition,
                    immutable: &[],
                };
                meta.put_manifest(&put).unwrap();
            } else {
                let put = PutCachedManifest {
                    repository,
                    content: &content,
                    manifest: &manifest,
                    tag: parsed.as_ref(),
                };
                let outcome = meta.put_cached_manifest(&put).unwrap();
                let is_taken =
                    tag.is_some_and(|tag| state.tags.get(tag).is_some_and(|(_, is_pushed)| *is_pushed));
                assert_eq!(outcome == CachedOutcome::TagIsPushed, is_taken, "{step:?} in {state:?}");
                if is_taken {
                    return;
                }
            }
            *state.manifests.entry(digest).or_default() |= is_pushed;
            state.tags.extend(tag.map(|tag| (tag, (digest, is_pushed))));
        }
        Step::DeleteTag(tag) => {
            let was_there = meta.delete_tag(&repository(), &tag.parse().unwrap()).unwrap();
            assert_eq!(was_there, state.tags.remove(tag).is_some(), "{step:?}");
        }
    }
}

fn is_pushed(origin: Option<Origin>) -> Option<bool> {
    origin.map(|origin| origin == Origin::Pushed)
}

/// Who pushed is believed to have pushed: a copy may count as pushed, and never the other way round.
fn check(root: &Path, states: [&State; 2], things: &Things, about: &str) {
    let (_, meta) = open(Disk::open(root).unwrap());
    for tag in TAGS {
        let name: Tag = tag.parse().unwrap();
        let target = meta.tag(&repository(), &name).unwrap();
        let may = states.map(|state| state.tags.get(tag).copied());
        assert!(
            may.iter().any(|may| may.map(|(digest, _)| digest) == target),
            "{about}: {tag} is {target:?} of {may:?}"
        );
        let Some(target) = target else { continue };
        assert!(
            meta.manifest(&repository(), &target).unwrap().is_some(),
            "{about}: {tag} lacks its manifest"
        );
        if may.iter().flatten().filter(|(digest, _)| *digest == target).all(|(_, is_pushed)| *is_pushed) {
            let origin = is_pushed(meta.tag_origin(&repository(), &name).unwrap());
            assert_eq!(origin, Some(true), "{about}: {tag} was pushed and counts as a copy; {may:?}");
        }
    }
    for bytes in &things.manifests {
        let digest = Digest::sha256(bytes);
        let found = meta.manifest_origin(&repository(), &digest).unwrap();
        certain(
            states.map(|state| state.manifests.get(&digest).copied()),
            is_pushed(found),
            &format!("{about}: {digest}"),
        );
    }
    for bytes in &things.blobs {
        let digest = Digest::sha256(bytes);
        let found = meta.blob_origin(&repository(), &digest).unwrap();
        certain(
            states.map(|state| state.blobs.get(&digest).copied()),
            is_pushed(found),
            &format!("{about}: {bytes:?}"),
        );
    }
}

/// What is there in both states is there; what was pushed in both counts as pushed.
fn certain(may: [Option<bool>; 2], found: Option<bool>, about: &str) {
    assert!(may.map(|may| may.is_some()).contains(&found.is_some()), "{about} is {found:?} of {may:?}");
    if may == [Some(true); 2] {
        assert_eq!(found, Some(true), "{about} was pushed and counts as a copy");
    }
}

#[test]
fn a_loss_of_power_makes_no_copy_of_what_was_pushed() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, losses) = (number("LARDER_SEED", 1), number("LARDER_LOSSES", LOSSES));
    let things = things();
    for sequence in first..first + losses.div_ceil(OF_ONE) {
        let (root, mut chance) = (scratch(), Chance(sequence));
        let journal = Arc::new(Journal::new(root.path()));
        let mut moments = vec![(0, None, State::default())];
        {
            let store = open(Disk::open_with(root.path(), Some(journal.clone())).unwrap());
            let mut state = State::default();
            for _ in 0..STEPS {
                let step = step(&mut chance, &things);
                run(step, &things, &store, &mut state);
                moments.push((journal.length(), Some(step), state.clone()));
            }
        }
        for _ in 0..OF_ONE {
            let (left, count) = (chance.of(&Left::ALL), 1 + chance.below(journal.length()));
            let lost = scratch();
            journal.lose_power(count, left, &mut chance, lost.path());
            let ended = moments.iter().rposition(|(mutations, ..)| *mutations <= count).unwrap();
            let (mutations, _, before) = &moments[ended];
            let (_, step, after) =
                moments.get(ended + 1).filter(|_| count > *mutations).unwrap_or(&moments[ended]);
            let about =
                format!("sequence {sequence}, {left:?} left, lost after mutation {count} in {step:?}");
            check(lost.path(), [before, after], &things, &about);
        }
    }
}
