#![expect(clippy::disallowed_methods, reason = "tests damage what lies on the disk")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_meta::Precondition;
use larder_oci::{Access, Actor, Digest, Operation, RepoName};
use larder_storage::{Blobs, Disk};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Collection, Environment, ManifestPush, Registry, Settings, UploadPurging};

pub(crate) struct World {
    pub(crate) root: TempDir,
    pub(crate) registry: Registry,
    pub(crate) runtime: tokio::runtime::Runtime,
}

pub(crate) fn access<Op: Operation>(repository: &str) -> Access<Op> {
    Access::granted_by_policy(repository.parse().unwrap(), Actor::Anonymous)
}

fn settings() -> Settings {
    let upload_purging = UploadPurging {
        enabled: false,
        age: Duration::from_secs(3600),
        interval: Duration::from_secs(3600),
        dry_run: false,
    };
    let collection = Collection { enabled: true, grace: Duration::ZERO, unreferenced: Duration::ZERO };
    Settings { deletes: true, read_only: false, upload_purging, collection }
}

impl World {
    pub(crate) fn new() -> World {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let registry = Registry::open(root.path(), settings(), Environment::system()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        World { root, registry, runtime }
    }

    fn upload(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        self.runtime.block_on(async {
            let push = access(repository);
            let started = self.registry.start_upload(&push, None).await.unwrap();
            let mut writer = self.registry.write_upload(&push, started.id, None).await.unwrap();
            writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
            writer.finish(&digest).await.unwrap();
        });
        digest
    }

    /// Pushes an image with a config and a layer of its own; gives its manifest's digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, mark: &str) -> Digest {
        let config = self.upload(repository, format!("{{\"{mark}\":1}}").as_bytes());
        let layer = self.upload(repository, format!("layer {mark}").as_bytes());
        let kind = "application/vnd.oci.image";
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json","digest":"{config}","size":1}},"layers":[{{"mediaType":"{kind}.layer.v1.tar","digest":"{layer}","size":1}}]}}"#
        );
        let push = ManifestPush {
            reference: tag.parse().unwrap(),
            tags: vec![],
            media_type: None,
            bytes: text.into(),
            precondition: Precondition::Always,
        };
        self.runtime.block_on(self.registry.push_manifest(&access(repository), push)).unwrap().digest
    }

    pub(crate) fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.path().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// A whole pass in the server.
    fn verify(&self, repair: bool) -> VerifyReport {
        let inner = &self.registry.inner;
        let place = Place { disk: &inner.disk, blobs: &inner.blobs, meta: Some(&inner.meta) };
        run(place, Pass::new(SystemTime::now(), repair))
    }
}

pub(crate) fn run(place: Place<'_>, mut pass: Pass) -> VerifyReport {
    while pass.step(place, SystemTime::now(), &mut |_| ControlFlow::Continue(())).unwrap() != Stage::Finished
    {
    }
    pass.report
}

fn flip(path: &Path, at: prop::sample::Index, bit: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = bytes.len();
    bytes[at.index(length)] ^= 1 << bit;
    std::fs::write(path, &bytes).unwrap();
}

#[test]
fn a_damaged_layer_is_moved_away_named_with_its_image_and_mended_by_a_push() {
    let world = World::new();
    let manifest = world.push("team/app", "1", "one");
    world.push("other", "2", "two");
    assert!(world.verify(false).is_clean());
    let layer = Digest::sha256(b"layer one");
    std::fs::write(world.data(&layer), b"layer 0ne").unwrap();
    let report = world.verify(false);
    let [blob] = &report.damaged[..] else { panic!("{report:?}") };
    assert_eq!(
        (blob.digest, &blob.repositories[..]),
        (layer, &["team/app".parse::<RepoName>().unwrap()][..])
    );
    assert!(!world.data(&layer).try_exists().unwrap());
    assert_eq!(std::fs::read(world.root.path().join(blob.moved_to.as_ref().unwrap())).unwrap(), b"layer 0ne");
    let [image] = &report.broken[..] else { panic!("{report:?}") };
    assert_eq!(image.names(), format!("team/app:1 ({manifest})"));
    assert_eq!(image.lacks[0].why, "damaged");
    world.upload("team/app", b"layer one");
    assert!(world.verify(false).is_clean());
}

#[test]
fn without_the_lock_nothing_is_changed() {
    let world = World::new();
    world.push("app", "1", "one");
    let layer = Digest::sha256(b"layer one");
    std::fs::write(world.data(&layer), b"layer 0ne").unwrap();
    let disk = Arc::new(Disk::open_for_reading(world.root.path()).unwrap());
    let blobs = Blobs::new(Arc::clone(&disk));
    let place = Place { disk: &disk, blobs: &blobs, meta: None };
    let report = run(place, Pass::new(SystemTime::now(), false));
    assert_eq!((report.damaged.len(), report.broken.len()), (1, 1));
    assert_eq!(report.damaged[0].moved_to, None);
    assert_eq!(std::fs::read(world.data(&layer)).unwrap(), b"layer 0ne");
}

#[test]
fn a_pass_that_was_interrupted_goes_on_where_it_was() {
    let world = World::new();
    for number in 0..20 {
        world.push("app", &format!("t{number}"), &number.to_string());
    }
    let inner = &world.registry.inner;
    let place = Place { disk: &inner.disk, blobs: &inner.blobs, meta: Some(&inner.meta) };
    let mut pass = Pass::new(SystemTime::now(), false);
    let mut steps = 0;
    loop {
        let stage = pass.step(place, SystemTime::now(), &mut |_| ControlFlow::Continue(())).unwrap();
        if stage == Stage::Finished {
            break;
        }
        steps += 1;
        // The process dies after each step.
        pass.save(&inner.disk).unwrap();
        pass = Pass::last(&inner.disk).unwrap().unwrap();
    }
    assert_eq!((pass.report.blobs, pass.report.repositories), (60, 1));
    assert!(pass.report.is_clean());
    assert!(steps < 70, "{steps}");
}

#[test]
fn the_server_makes_a_pass_when_it_is_asked_and_keeps_account_of_it() {
    let world = World::new();
    world.push("app", "1", "one");
    let layer = Digest::sha256(b"layer one");
    std::fs::write(world.data(&layer), b"layer 0ne").unwrap();
    std::fs::write(world.root.path().join(REQUEST_FILE), b"").unwrap();
    world.runtime.block_on(async {
        let stop = CancellationToken::new();
        let schedule = VerifySchedule { every: Duration::ZERO, most_per_second: 1 };
        let verifying = world.registry.verify_regularly(schedule, stop.clone());
        let watching = async {
            while world.registry.verify_counters().passes == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        };
        tokio::join!(verifying, watching);
    });
    let counters = world.registry.verify_counters();
    assert_eq!((counters.blobs, counters.damaged, counters.passes), (3, 1, 1));
    assert_eq!((counters.set_aside, counters.healed), (1, 0), "nobody else has it");
    let pass = Pass::last(&world.registry.inner.disk).unwrap().unwrap();
    assert!(pass.finished.is_some() && pass.repair);
    assert_eq!(pass.report.broken.len(), 1);
}

#[test]
fn repairing_mends_links_and_says_so() {
    let world = World::new();
    world.push("app", "1", "one");
    let link = world.root.path().join("docker/registry/v2/repositories/app/_manifests/tags/1/current/link");
    std::fs::write(&link, b"").unwrap();
    let report = world.verify(false);
    assert!(report.faults[0].mendable && !report.faults[0].mended && !report.is_clean());
    let report = world.verify(true);
    assert!(report.faults[0].mended && report.is_clean(), "{report:?}");
    assert!(world.verify(false).is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_blob_with_a_flipped_bit_is_named_with_the_image_that_it_breaks(
        damaged in prop::collection::btree_map(0..12_usize, (any::<prop::sample::Index>(), 0..8_u32), 1..5)
    ) {
        let world = World::new();
        let mut blobs = Vec::new();
        for number in 0..4 {
            let mark = number.to_string();
            let manifest = world.push("app", &mark, &mark);
            let config = Digest::sha256(format!("{{\"{mark}\":1}}").as_bytes());
            blobs.extend([manifest, config, Digest::sha256(format!("layer {mark}").as_bytes())]);
        }
        let mut expected = Vec::new();
        for (which, (at, bit)) in &damaged {
            flip(&world.data(&blobs[*which]), *at, *bit);
            expected.push(blobs[*which]);
        }
        expected.sort_unstable();
        let report = world.verify(false);
        let named: Vec<Digest> = report.damaged.iter().map(|blob| blob.digest).collect();
        prop_assert_eq!(named, expected);
        let mut images: Vec<Digest> = damaged.keys().map(|which| blobs[which - which % 3]).collect();
        images.sort_unstable();
        images.dedup();
        let broken: Vec<Digest> = report.broken.iter().map(|image| image.digest).collect();
        prop_assert_eq!(broken, images);
    }
}
