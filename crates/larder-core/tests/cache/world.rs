//! A registry in front of the fake.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{
    Arrived, Blob, BlobContent, Collection, Environment, Freshness, Growing, ManifestPush, Precondition,
    PulledManifest, Registry, RegistryError, Settings, UploadPurging, UpstreamPlace, UpstreamSettings,
    Upstreams,
};
use larder_oci::{Access, Actor, ByteRange, Digest, MediaType, Operation, Reference};
use larder_storage::Disk;
use tempfile::TempDir;

use super::fake::Fake;

pub(crate) const APP: &str = "library/app";

pub(crate) struct World {
    pub(crate) root: TempDir,
    pub(crate) registry: Registry,
    pub(crate) fake: Arc<Fake>,
    pub(crate) image: Image,
}

/// An image that the upstream has as `library/app:latest`.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) layer: Bytes,
    pub(crate) layer_digest: Digest,
    pub(crate) config: Bytes,
    pub(crate) manifest: Bytes,
    pub(crate) digest: Digest,
}

pub(crate) fn open(root: &Path) -> Registry {
    open_in(root, Environment::system())
}

pub(crate) fn open_in(root: &Path, environment: Environment) -> Registry {
    Registry::open(root, registry_settings(), environment).unwrap()
}

pub(crate) fn open_on(disk: Arc<Disk>) -> Registry {
    Registry::on(disk, registry_settings(), Environment::system()).unwrap()
}

pub(crate) fn registry_settings() -> Settings {
    let upload_purging = UploadPurging {
        enabled: false,
        age: Duration::from_secs(3600),
        interval: Duration::from_secs(3600),
        dry_run: false,
    };
    let collection =
        Collection { enabled: true, grace: Duration::ZERO, unreferenced: Duration::from_secs(24 * 3600) };
    Settings { deletes: true, read_only: false, upload_purging, collection }
}

/// Tags are asked about at every pull, unless a test says otherwise.
pub(crate) fn settings() -> UpstreamSettings {
    UpstreamSettings {
        freshness: Vec::new(),
        fresh_for: Freshness::For(Duration::ZERO),
        ..UpstreamSettings::default()
    }
}

pub(crate) fn upstreams(fake: &Arc<Fake>, settings: UpstreamSettings) -> Upstreams {
    Upstreams::new([UpstreamPlace {
        prefix: None,
        has_library: false,
        upstream: Arc::clone(fake) as _,
        settings: Arc::new(settings),
    }])
}

/// Bytes that differ from one seed to the next and from place to place.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u8::try_from(state >> 56).unwrap()
        })
        .collect()
}

pub(crate) fn image(seed: u64, layer_length: usize) -> Image {
    let layer = noise(seed, layer_length);
    let config = Bytes::from(format!("{{\"seed\":{seed}}}"));
    let blob = |kind: &str, bytes: &Bytes| serde_json::json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let (layer_digest, digest) = (Digest::sha256(&layer), Digest::sha256(&manifest));
    Image { layer, layer_digest, config, manifest, digest }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(settings(), 300_000)
    }

    pub(crate) fn with(settings: UpstreamSettings, layer_length: usize) -> World {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (registry, fake) = (open(root.path()), Fake::new());
        registry.set_upstreams(upstreams(&fake, settings));
        let image = image(1, layer_length);
        let world = World { root, registry, fake, image };
        world.publish(APP, Some("latest"), &world.image.clone());
        world
    }

    /// Gives the upstream an image.
    pub(crate) fn publish(&self, repository: &str, tag: Option<&str>, image: &Image) {
        self.fake.put_blob(repository, &image.layer);
        self.fake.put_blob(repository, &image.config);
        self.fake.put_manifest(repository, tag, &image.manifest);
    }

    pub(crate) async fn tag(&self, tag: &str) -> Result<Option<PulledManifest>, RegistryError> {
        self.manifest(&Reference::Tag(tag.parse().unwrap())).await
    }

    pub(crate) async fn by_digest(&self, digest: Digest) -> Result<Option<PulledManifest>, RegistryError> {
        self.manifest(&Reference::Digest(digest)).await
    }

    /// Pulls it, and waits until it is kept: a client has it a moment before.
    async fn manifest(&self, reference: &Reference) -> Result<Option<PulledManifest>, RegistryError> {
        let pulled = self.registry.manifest(&access(APP), reference).await;
        self.registry.until_kept(&APP.parse().unwrap()).await;
        pulled
    }

    pub(crate) async fn layer(&self) -> Result<Option<Blob>, RegistryError> {
        self.registry.blob(&access(APP), &self.image.layer_digest).await
    }

    /// Pulls all of the image.
    pub(crate) async fn pull(&self) {
        assert_eq!(self.tag("latest").await.unwrap().unwrap().bytes, self.image.manifest);
        let config = Digest::sha256(&self.image.config);
        for (digest, bytes) in
            [(config, self.image.config.clone()), (self.image.layer_digest, self.image.layer.clone())]
        {
            let blob = self.registry.blob(&access(APP), &digest).await.unwrap().unwrap();
            assert_eq!(read(&blob).await.unwrap(), bytes);
            self.until_stored(&digest).await;
        }
    }

    /// Waits until a blob has been put in its place: its readers have all of it a moment before.
    pub(crate) async fn until_stored(&self, digest: &Digest) {
        self.until(|| self.registry.meta().blob(&APP.parse().unwrap(), digest).unwrap().is_some()).await;
        self.until(|| self.registry.cache_counts().fills == 0).await;
    }

    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        // By a clock that doesn't stand still; longer than anything takes on a loaded machine.
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_secs(60) {
            if holds() {
                return;
            }
            // Lets blocking threads get on, also where the clock stands still.
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        panic!("what is waited for never came");
    }

    pub(crate) async fn push(&self, repository: &str, tag: &str, image: &Image) {
        for bytes in [&image.layer, &image.config] {
            self.upload(repository, bytes).await;
        }
        let push = ManifestPush {
            reference: Reference::Tag(tag.parse().unwrap()),
            tags: Vec::new(),
            media_type: None,
            bytes: image.manifest.clone(),
            precondition: Precondition::Always,
        };
        self.registry.push_manifest(&access(repository), push).await.unwrap();
    }

    pub(crate) async fn upload(&self, repository: &str, bytes: &Bytes) {
        let push = access(repository);
        let started = self.registry.start_upload(&push, None).await.unwrap();
        let mut writer = self.registry.write_upload(&push, started.id, None).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        writer.finish(&Digest::sha256(bytes)).await.unwrap();
    }
}

pub(crate) fn access<Op: Operation>(repository: &str) -> Access<Op> {
    Access::granted_by_policy(repository.parse().unwrap(), Actor::Anonymous)
}

/// All of a blob, as the HTTP body would read it.
pub(crate) async fn read(blob: &Blob) -> io::Result<Vec<u8>> {
    let size = blob.content.size();
    read_range(blob, ByteRange { start: 0, end: size }).await
}

pub(crate) async fn read_range(blob: &Blob, range: ByteRange) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.length()).unwrap();
    match &blob.content {
        BlobContent::Memory(bytes) => Ok(bytes[usize::try_from(range.start).unwrap()..][..length].to_vec()),
        BlobContent::File { file, .. } => {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        }
        BlobContent::Growing(growing) => read_growing(growing, range).await,
        BlobContent::Upstream { .. } => panic!("only its length is known"),
    }
}

pub(crate) async fn read_growing(growing: &Arc<Growing>, mut range: ByteRange) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while range.length() > 0 {
        match growing.wait(range).await? {
            Arrived::Until(end) => {
                assert!(end > range.start && end <= range.end);
                let mut bytes = vec![0; usize::try_from(end - range.start).unwrap()];
                let (file, readable) = growing.at_hand()?.unwrap();
                assert!(readable >= end);
                file.read_exact_at(&mut bytes, range.start)?;
                all.extend(bytes);
                range.start = end;
            }
            Arrived::Bytes(bytes) => {
                all.extend(&bytes);
                range.start += bytes.len() as u64;
            }
        }
    }
    Ok(all)
}
