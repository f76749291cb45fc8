//! What a push, a pull and a delete do to the disk must not depend on how many tags there are.
//!
//! The questions to the index, at a hundred thousand entries, are counted in `larder-meta`; here the
//! registry's own operations are, each with all its steps, among tags that were really pushed.

use std::sync::Arc;

use bytes::Bytes;
use larder_core::{ManifestPush, Page, Precondition, Registry, Run};
use larder_oci::{Digest, Reference, Tag};

use crate::support::hooks::{Kind, Recorder};
use crate::support::script::{Step, image};
use crate::support::world::{access, admin, open, open_with, runtime, scratch, upload};

const REPOSITORY: &str = "library/app";

const FEW_AND_MANY: [usize; 2] = [100, 10_000];

/// Tags that are pushed at once while the registry is filled.
const AT_ONCE: usize = 100;

static CONFIG: Bytes = Bytes::from_static(b"{}");
static LAYERS: [Bytes; 2] = [Bytes::from_static(b"1"), Bytes::from_static(b"2")];

fn one() -> Bytes {
    image(&CONFIG, &[&LAYERS[0]], None)
}

fn two() -> Bytes {
    image(&CONFIG, &[&LAYERS[1]], None)
}

/// The blobs of both images, and `size` tags of the first.
async fn fill(registry: &Registry, size: usize) {
    for blob in LAYERS.iter().chain([&CONFIG]) {
        upload(registry, REPOSITORY, blob, &Digest::sha256(blob)).await.unwrap();
    }
    let tags: Vec<Tag> = (0..size).map(|number| format!("t{number:06}").parse().unwrap()).collect();
    for tags in tags.chunks(AT_ONCE) {
        let push = ManifestPush {
            reference: Reference::Digest(Digest::sha256(&one())),
            tags: tags.to_vec(),
            media_type: None,
            bytes: one(),
            precondition: Precondition::Always,
        };
        registry.push_manifest(&access(REPOSITORY), push).await.unwrap();
    }
}

fn changes() -> [(&'static str, Step); 8] {
    let manifest = |bytes, tags| Step::Manifest { repository: REPOSITORY, bytes, tags };
    let digest = Digest::sha256(&two());
    let (content, layer) = (LAYERS[1].clone(), Digest::sha256(&LAYERS[1]));
    let mount = Step::Mount { from: REPOSITORY, to: "library/other", content: LAYERS[0].clone() };
    [
        ("a tag moves", manifest(two(), &["t000050"])),
        ("a tag moves back", manifest(one(), &["t000050"])),
        ("a new tag", manifest(two(), &["new"])),
        ("a tag is deleted", Step::DeleteTag { repository: REPOSITORY, tag: "t000051" }),
        ("a manifest is deleted", Step::DeleteManifest { repository: REPOSITORY, digest }),
        ("a blob is mounted", mount),
        ("a blob is deleted", Step::DeleteBlob { repository: REPOSITORY, digest: layer }),
        ("a blob is pushed", Step::Upload { repository: REPOSITORY, content, digest: layer }),
    ]
}

/// Every step on the disk of each operation, in order.
async fn steps(registry: &Registry, recorder: &Recorder, size: usize) -> Vec<(&'static str, Vec<Kind>)> {
    let page = || Page { after: Some(format!("t{:06}", size / 2)), limit: 20 };
    let tagged = Reference::Tag("t000050".parse().unwrap());
    recorder.take();
    let kinds = || recorder.take().into_iter().map(|(kind, _)| kind).collect();
    let mut steps = Vec::new();
    for (what, change) in changes() {
        change.run(registry, &mut None).await.unwrap();
        steps.push((what, kinds()));
    }
    assert!(registry.manifest(&access(REPOSITORY), &tagged).await.unwrap().is_some());
    assert_eq!(registry.tags(&access(REPOSITORY), page()).await.unwrap().items.len(), 20);
    assert_eq!(kinds(), [], "pulls and lists change nothing");
    steps
}

#[test]
fn what_a_change_does_to_the_disk_does_not_depend_on_the_number_of_tags() {
    let [few, many] = FEW_AND_MANY.map(|size| {
        let (root, recorder) = (scratch(), Arc::new(Recorder::default()));
        runtime().block_on(async { fill(&open(root.path()), size).await });
        // Opened again, so that neither remembers a directory as durable. How many are remembered is
        // limited, and with many tags the limit was met.
        runtime().block_on(async { steps(&open_with(root.path(), recorder.clone()), &recorder, size).await })
    });
    for (few, many) in few.iter().zip(&many) {
        assert!(!few.1.is_empty(), "{} was not seen", few.0);
        assert_eq!(few, many);
    }
}

/// In a build; more by `LARDER_SIZES=1000,10000,100000 cargo test -p larder-core --test model one_deletion -- --nocapture`.
const SIZES: &str = "100,1000";

fn numbered(number: usize) -> Bytes {
    let mut manifest: serde_json::Value = serde_json::from_slice(&one()).unwrap();
    manifest["annotations"] = serde_json::json!({ "number": number.to_string() });
    serde_json::to_vec(&manifest).unwrap().into()
}

/// What each kind of step was done how often.
fn counted(recorder: &Recorder) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for (kind, _) in recorder.take() {
        *counts.entry(format!("{kind:?}")).or_default() += 1;
    }
    counts
}

#[test]
fn what_the_collector_does_for_one_deletion_does_not_depend_on_the_number_of_manifests() {
    let sizes = std::env::var("LARDER_SIZES").unwrap_or_else(|_| SIZES.to_owned());
    let mut costs = Vec::new();
    for size in sizes.split(',').map(|size| size.parse::<usize>().unwrap()) {
        let (root, recorder) = (scratch(), Arc::new(Recorder::default()));
        runtime().block_on(async {
            let registry = open_with(root.path(), recorder.clone());
            for blob in LAYERS.iter().chain([&CONFIG]) {
                upload(&registry, REPOSITORY, blob, &Digest::sha256(blob)).await.unwrap();
            }
            for number in 0..size {
                let (bytes, tag) = (numbered(number), format!("t{number:06}"));
                let push = ManifestPush {
                    reference: Reference::Tag(tag.parse().unwrap()),
                    tags: Vec::new(),
                    media_type: None,
                    bytes,
                    precondition: Precondition::Always,
                };
                registry.push_manifest(&access(REPOSITORY), push).await.unwrap();
                recorder.take();
            }
            let last = Step::Manifest { repository: REPOSITORY, bytes: two(), tags: &["last"] };
            last.run(&registry, &mut None).await.unwrap();
            // Once after a start everything is compared with its files.
            registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
            recorder.take();
            Step::DeleteTag { repository: REPOSITORY, tag: "last" }.run(&registry, &mut None).await.unwrap();
            let deletion = counted(&recorder);
            let begun = std::time::Instant::now();
            let collected = registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
            let took = begun.elapsed();
            let collection = counted(&recorder);
            assert_eq!((collected.manifests, collected.links, collected.contents), (1, 1, 2));
            println!(
                "{size} manifests: the deletion {deletion:?}, its collection {collection:?} in {took:?}"
            );
            costs.push((deletion, collection));
        });
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "it grows: {costs:?}");
}
