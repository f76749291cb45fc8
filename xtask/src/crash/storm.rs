//! One worker of the storm: changes names that are its own, in repositories and with blobs that it shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::crash::ledger::{self, Ledger, Name, acknowledged, sent};
use crate::failure::{Context, Result, fail};
use crate::http::Body;
use crate::image::{self, Image, OCI_MANIFEST};
use crate::random::Random;
use crate::registry::{Registry, STYLES};
use crate::server::Program;

const REPOSITORIES: [&str; 4] = ["storm/a", "storm/b", "storm/b/nested", "other"];
const TAGS: u64 = 6;
/// Blobs whose bytes all workers push, so that the same content is published by several at once.
const SHARED_SEEDS: u64 = 5;

pub(super) struct Worker {
    number: u64,
    seed: u64,
    count: u64,
    random: Random,
    program: Program,
    /// Manifests that an index names: never deleted, so that every index stays whole.
    children: BTreeSet<Name>,
    /// What hangs on a manifest: an index's platforms, what is attached to it.
    hanging: BTreeMap<Name, Vec<Name>>,
    pub(super) ledger: Ledger,
    pub(super) acknowledged: u64,
}

impl Worker {
    pub(super) fn new(number: u64, seed: u64, program: Program) -> Self {
        let random = Random::new(seed.wrapping_mul(1000) + number);
        let (children, hanging, ledger) = (BTreeSet::new(), BTreeMap::new(), Ledger::default());
        Self { number, seed, count: 0, random, program, children, hanging, ledger, acknowledged: 0 }
    }

    /// Works until the registry is killed. An error before that is a complaint.
    pub(super) fn run(&mut self, registry: &Registry, killed: &AtomicBool) -> Option<String> {
        loop {
            if let Err(failure) = self.change(registry) {
                return (!killed.load(Ordering::SeqCst)).then(|| failure.to_string());
            }
            if killed.load(Ordering::SeqCst) {
                return None;
            }
        }
    }

    fn change(&mut self, registry: &Registry) -> Result {
        let repository = *self.random.pick(&REPOSITORIES).context("a repository")?;
        match self.random.below(100) {
            0..55 => self.push(registry, repository),
            55..70 => self.move_tag(registry, repository),
            70..78 if self.program == Program::Larder => self.delete_tag(registry, repository),
            78..84 => self.delete_manifest(registry, repository),
            84..92 => self.lone_blob(registry, repository),
            92..96 => self.abandon(registry, repository),
            _ => self.attach(registry, repository),
        }
    }

    fn hang(&mut self, repository: &str, on: &str, name: Name) {
        self.hanging.entry((repository.to_owned(), on.to_owned())).or_default().push(name);
    }

    /// What hangs on a manifest alone is the collector's from here on, itself included.
    fn let_go(&mut self, repository: &str, digest: &str) {
        let mut open = vec![(repository.to_owned(), digest.to_owned())];
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            ledger::may_go(&mut self.ledger.manifests, &name);
            open.extend(self.hanging.get(&name).into_iter().flatten().cloned());
            if !seen.insert(name) {
                return;
            }
        }
    }

    fn next_seed(&mut self) -> u64 {
        self.count += 1;
        self.seed.wrapping_mul(1_000_000_000) + self.number * 10_000_000 + self.count * 4
    }

    fn tag(&mut self) -> String {
        format!("w{}-{}", self.number, self.random.below(TAGS))
    }

    /// Layers small and large; sometimes the very bytes that other workers push as well.
    fn new_image(&mut self) -> Image {
        let large = self.random.below(12) == 0;
        let size = self.random.below(if large { 2_000_000 } else { 60_000 }) as usize;
        match self.random.below(4) {
            0 => Image::index(self.next_seed(), &["amd64", "arm64"], &[size / 2]),
            1 => {
                let shared = self.random.below(SHARED_SEEDS);
                let (config, layers) = image::config_and_layers(shared, "amd64", &[40_000]);
                let mut image = Image::single(self.next_seed(), "amd64", &[size]);
                let annotation = self.next_seed();
                image.blobs = std::iter::once(config).chain(layers).collect();
                let descriptors: Vec<_> = image.blobs.iter().map(image::Blob::descriptor).collect();
                let changed = image.clone().with_manifest(OCI_MANIFEST, |manifest| {
                    image::set(manifest, "", "config", descriptors.first().cloned().unwrap_or_default());
                    image::set(manifest, "", "layers", json!(descriptors.get(1..).unwrap_or_default()));
                    image::set(manifest, "", "annotations", json!({ "ring": annotation.to_string() }));
                });
                changed.unwrap_or(image)
            }
            _ => Image::single(self.next_seed(), "amd64", &[size, 100]),
        }
    }

    fn push_blobs(&mut self, registry: &Registry, repository: &str, image: &Image) -> Result {
        for blob in image.all_blobs() {
            let style = *self.random.pick(&STYLES).context("a style")?;
            registry.push_blob(repository, &blob.digest, &blob.bytes, style)?;
            self.acknowledged += 1;
        }
        for child in image.children.iter().flat_map(Image::all_manifests) {
            let name = (repository.to_owned(), child.digest.clone());
            self.hang(repository, image.digest(), name.clone());
            self.children.insert(name);
            self.put(registry, repository, &child.digest, child)?;
        }
        Ok(())
    }

    /// Puts a manifest under a tag or its digest, keeping the ledger.
    fn put(
        &mut self,
        registry: &Registry,
        repository: &str,
        reference: &str,
        manifest: &image::Blob,
    ) -> Result {
        let by_digest = (repository.to_owned(), manifest.digest.clone());
        let by_tag: Option<Name> =
            (!reference.contains(':')).then(|| (repository.to_owned(), reference.to_owned()));
        sent(&mut self.ledger.manifests, &by_digest, Some(manifest.digest.clone()));
        if let Some(tag) = &by_tag {
            sent(&mut self.ledger.tags, tag, Some(manifest.digest.clone()));
        }
        registry.put_manifest(repository, reference, manifest)?;
        acknowledged(&mut self.ledger.manifests, &by_digest);
        if let Some(tag) = &by_tag {
            acknowledged(&mut self.ledger.tags, tag);
        }
        self.acknowledged += 1;
        Ok(())
    }

    fn push(&mut self, registry: &Registry, repository: &str) -> Result {
        let image = self.new_image();
        self.push_blobs(registry, repository, &image)?;
        let tag = self.tag();
        let reference = if self.random.below(6) == 0 { image.manifest.digest.clone() } else { tag };
        self.put(registry, repository, &reference, &image.manifest)
    }

    /// A manifest of this worker's that is there for certain.
    fn own_manifest(&mut self, repository: &str) -> Option<String> {
        let there: Vec<String> = self
            .ledger
            .manifests
            .iter()
            .filter(|((known, _), fate)| known == repository && fate.now().is_some())
            .map(|((_, digest), _)| digest.clone())
            .collect();
        self.random.pick(&there).cloned()
    }

    fn move_tag(&mut self, registry: &Registry, repository: &str) -> Result {
        let Some(digest) = self.own_manifest(repository) else { return Ok(()) };
        let served = registry.manifest(repository, &digest)?;
        let served = served.context(format!("{repository}@{digest}, acknowledged and not deleted"))?;
        let tag = self.tag();
        self.put(registry, repository, &tag, &image::Blob::new(&served.media_type, served.bytes))
    }

    fn delete_tag(&mut self, registry: &Registry, repository: &str) -> Result {
        let name = (repository.to_owned(), self.tag());
        if self.ledger.tags.get(&name).is_none_or(|fate| fate.now().is_none()) {
            return Ok(());
        }
        let target = self.ledger.tags.get(&name).and_then(|fate| fate.now()).cloned();
        self.let_go(repository, target.as_deref().unwrap_or_default());
        sent(&mut self.ledger.tags, &name, None);
        expect_202(registry, &format!("/v2/{repository}/manifests/{}", name.1))?;
        acknowledged(&mut self.ledger.tags, &name);
        self.acknowledged += 1;
        Ok(())
    }

    /// Takes the tags that stand for it along.
    fn delete_manifest(&mut self, registry: &Registry, repository: &str) -> Result {
        let Some(digest) = self.own_manifest(repository) else { return Ok(()) };
        let name = (repository.to_owned(), digest.clone());
        if self.children.contains(&name) {
            return Ok(());
        }
        let tags: Vec<Name> = self
            .ledger
            .tags
            .iter()
            .filter(|((known, _), fate)| known == repository && fate.now() == Some(&digest))
            .map(|(name, _)| name.clone())
            .collect();
        self.let_go(repository, &digest);
        sent(&mut self.ledger.manifests, &name, None);
        for tag in &tags {
            sent(&mut self.ledger.tags, tag, None);
        }
        expect_202(registry, &format!("/v2/{repository}/manifests/{digest}"))?;
        acknowledged(&mut self.ledger.manifests, &name);
        for tag in &tags {
            acknowledged(&mut self.ledger.tags, tag);
        }
        self.acknowledged += 1;
        Ok(())
    }

    fn lone_blob(&mut self, registry: &Registry, repository: &str) -> Result {
        let size = self.random.below(30_000) as usize;
        let bytes = Random::new(self.next_seed()).bytes(size + 16);
        let digest = image::sha256(&bytes);
        let name = (repository.to_owned(), digest.clone());
        let style = *self.random.pick(&STYLES).context("a style")?;
        sent(&mut self.ledger.blobs, &name, Some(digest.clone()));
        registry.push_blob(repository, &digest, &bytes, style)?;
        acknowledged(&mut self.ledger.blobs, &name);
        self.acknowledged += 1;
        if self.random.below(2) == 0 {
            sent(&mut self.ledger.blobs, &name, None);
            expect_202(registry, &format!("/v2/{repository}/blobs/{digest}"))?;
            acknowledged(&mut self.ledger.blobs, &name);
            self.acknowledged += 1;
        }
        Ok(())
    }

    fn abandon(&mut self, registry: &Registry, repository: &str) -> Result {
        let bytes = self.random.bytes(20_000);
        let upload = registry.append(&registry.begin_upload(repository)?, 0, &bytes)?;
        if self.random.below(2) == 0 {
            registry
                .http
                .send("DELETE", &upload, &[], Body::Whole(&[]))?
                .expect("the cancelled upload", &[204])?;
        }
        Ok(())
    }

    /// An artifact with one of the worker's manifests as its subject.
    fn attach(&mut self, registry: &Registry, repository: &str) -> Result {
        let Some(subject) = self.own_manifest(repository) else { return Ok(()) };
        let size = registry.manifest(repository, &subject)?.context("an acknowledged manifest")?.bytes.len();
        let artifact =
            Image::single(self.next_seed(), "amd64", &[200]).with_manifest(OCI_MANIFEST, |manifest| {
                image::set(manifest, "", "artifactType", json!("application/vnd.ring.note"));
                image::set(
                    manifest,
                    "",
                    "subject",
                    json!({ "mediaType": OCI_MANIFEST, "digest": subject, "size": size }),
                );
            })?;
        self.hang(repository, &subject, (repository.to_owned(), artifact.digest().to_owned()));
        self.ledger.subjects.insert((repository.to_owned(), subject));
        self.push_blobs(registry, repository, &artifact)?;
        self.put(registry, repository, artifact.digest(), &artifact.manifest)
    }
}

fn expect_202(registry: &Registry, path: &str) -> Result {
    match registry.delete(path)? {
        202 => Ok(()),
        status => fail!("DELETE {path} answered {status}"),
    }
}
