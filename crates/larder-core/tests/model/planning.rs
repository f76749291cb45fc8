//! A collection by hand takes what its plan said, to the byte, and nothing that something needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use larder_core::{ManifestPush, Plan, Planning, Precondition, Registry, Run};
use larder_oci::{Digest, Manifest, Reference};

use crate::support::chance::Chance;
use crate::support::script::{image, index};
use crate::support::world::{access, admin, open, runtime, scratch, upload};

const SEEDS: u64 = 60;
const REPOSITORIES: [&str; 3] = ["a/one", "a/two", "b"];

/// Blobs and manifests, children and subjects before what names them.
struct Things {
    blobs: Vec<Bytes>,
    manifests: Vec<Bytes>,
}

fn things() -> Things {
    let blobs: Vec<Bytes> = ["{}", "base", "one", "two", "three"].map(Bytes::from).to_vec();
    let one = image(&blobs[0], &[&blobs[1], &blobs[2]], None);
    let two = image(&blobs[0], &[&blobs[1], &blobs[3]], None);
    let both = index(&[&one, &two]);
    let signature = image(&blobs[0], &[&blobs[4]], Some(&both));
    let of_signature = image(&blobs[0], &[], Some(&signature));
    Things { blobs, manifests: vec![one, two, both, signature, of_signature] }
}

/// Content by its digest, with its length.
fn contents(root: &Path) -> BTreeMap<Digest, u64> {
    let mut found = BTreeMap::new();
    let blobs = root.join("docker/registry/v2/blobs/sha256");
    for shard in std::fs::read_dir(blobs).unwrap() {
        for entry in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let entry = entry.unwrap();
            if let Ok(data) = entry.path().join("data").metadata() {
                let digest = format!("sha256:{}", entry.file_name().to_str().unwrap());
                found.insert(digest.parse().unwrap(), data.len());
            }
        }
    }
    found
}

/// Some of everything in each repository, some of it deleted again.
async fn fill(registry: &Registry, chance: &mut Chance, things: &Things) {
    for repository in REPOSITORIES {
        let manifests = chance.below(things.manifests.len() + 1);
        let blobs = if manifests == 0 { chance.below(things.blobs.len()) } else { things.blobs.len() };
        for blob in &things.blobs[..blobs] {
            upload(registry, repository, blob, &Digest::sha256(blob)).await.unwrap();
        }
        for bytes in &things.manifests[..manifests] {
            let tag = (chance.below(3) == 0).then(|| format!("t{}", chance.below(3)).parse().unwrap());
            let push = ManifestPush {
                reference: Reference::Digest(Digest::sha256(bytes)),
                tags: tag.into_iter().collect(),
                media_type: None,
                bytes: bytes.clone(),
                precondition: Precondition::Always,
            };
            registry.push_manifest(&access(repository), push).await.unwrap();
        }
        for _ in 0..chance.below(3) {
            let reference = match chance.below(2) {
                0 => Reference::Tag(format!("t{}", chance.below(3)).parse().unwrap()),
                _ => {
                    Reference::Digest(Digest::sha256(&things.manifests[chance.below(things.manifests.len())]))
                }
            };
            // Mostly there is nothing of that name.
            drop(registry.delete_manifest(&access(repository), &reference).await);
        }
    }
}

/// All that the repository's tags reach: manifests and blobs, and what is about them.
async fn reached(registry: &Registry, repository: &str, things: &Things) -> BTreeSet<Digest> {
    let mut open: Vec<Digest> = Vec::new();
    for tag in ["t0", "t1", "t2"] {
        let tag = Reference::Tag(tag.parse().unwrap());
        let found = registry.manifest(&access(repository), &tag).await.unwrap();
        open.extend(found.map(|found| found.digest));
    }
    let mut reached = BTreeSet::new();
    while let Some(digest) = open.pop() {
        if !reached.insert(digest) {
            continue;
        }
        // An index's child that was deleted is named by it still, and nothing more.
        let by_digest = Reference::Digest(digest);
        if registry.manifest(&access(repository), &by_digest).await.unwrap().is_none() {
            continue;
        }
        let Some(bytes) = things.manifests.iter().find(|bytes| Digest::sha256(bytes) == digest) else {
            continue;
        };
        open.extend(Manifest::parse_stored(bytes).unwrap().references().map(|(_, part)| part.digest));
        for about in &things.manifests {
            let subject = Manifest::parse_stored(about).unwrap().subject.map(|subject| subject.digest);
            let about = Digest::sha256(about);
            let by_digest = Reference::Digest(about);
            if subject == Some(digest)
                && registry.manifest(&access(repository), &by_digest).await.unwrap().is_some()
            {
                open.push(about);
            }
        }
    }
    reached
}

async fn plan(registry: &Registry, planning: Planning) -> Plan {
    registry.plan_collection(&admin(), planning).await.unwrap()
}

#[test]
fn what_was_planned_is_what_goes_and_nothing_that_is_needed() {
    let things = things();
    for seed in 0..SEEDS {
        for (untagged, young) in [(false, false), (false, true), (true, false), (true, true)] {
            let planning = Planning { untagged, young };
            let (root, mut chance) = (scratch(), Chance(seed));
            runtime().block_on(async {
                let registry = open(root.path());
                fill(&registry, &mut chance, &things).await;
                // Deletions that wait are the collector's own matter, and have tests of their own.
                registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
                let mut needed = BTreeSet::new();
                for repository in REPOSITORIES {
                    needed.extend(reached(&registry, repository, &things).await);
                }
                let before = contents(root.path());
                needed.retain(|digest| before.contains_key(digest));
                let planned = plan(&registry, planning).await;
                let about = format!("seed {seed}, {planning:?}: {planned:?}");
                assert_eq!(contents(root.path()), before, "a plan changes nothing: {about}");
                let going: BTreeMap<Digest, u64> = planned.contents.iter().copied().collect();
                assert_eq!(planned.bytes, going.values().sum::<u64>(), "{about}");
                assert_eq!(planned.needed as usize + going.len(), before.len(), "{about}");

                let collected = registry.collect_all(&admin(), planning).await.unwrap();
                let after = contents(root.path());
                let mut left = before.clone();
                left.retain(|digest, _| !going.contains_key(digest));
                assert_eq!(after, left, "{about}");
                assert_eq!(
                    (collected.contents as usize, collected.bytes),
                    (going.len(), planned.bytes),
                    "{about}"
                );
                assert!(needed.iter().all(|digest| after.contains_key(digest)), "{about}");
                if untagged && young {
                    assert_eq!(
                        after.into_keys().collect::<BTreeSet<_>>(),
                        needed,
                        "all else is gone: {about}"
                    );
                }
                let again = plan(&registry, planning).await;
                assert_eq!((again.manifests, again.blobs, again.contents), Default::default(), "{about}");
            });
        }
    }
}
