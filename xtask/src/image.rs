//! Makes small, real images: random layers from a seed, so that the same arguments give the same bytes.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::failure::{Context, Result, fail};
use crate::random::Random;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// A manifest or index with all that it needs.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) manifest: Blob,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) children: Vec<Image>,
    pub(crate) architecture: &'static str,
}

impl Blob {
    pub(crate) fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), media_type: media_type.to_owned(), bytes }
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

impl Image {
    /// An image of one architecture, with a layer of each size (in bytes).
    pub(crate) fn single(seed: u64, architecture: &'static str, sizes: &[usize]) -> Self {
        let (config, layers) = config_and_layers(seed, architecture, sizes);
        let layer_descriptors: Vec<Value> = layers.iter().map(Blob::descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": layer_descriptors,
        });
        let manifest = Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes());
        let blobs = std::iter::once(config).chain(layers).collect();
        Self { manifest, blobs, children: Vec::new(), architecture }
    }

    /// An index over one image for each architecture.
    pub(crate) fn index(seed: u64, architectures: &[&'static str], sizes: &[usize]) -> Self {
        let children = architectures.iter().zip(seed..).map(|(arch, seed)| Self::single(seed, arch, sizes));
        Self::index_of(children.collect())
    }

    pub(crate) fn index_of(children: Vec<Self>) -> Self {
        let manifests: Vec<Value> = children
            .iter()
            .map(|child| {
                let mut descriptor = child.manifest.descriptor();
                if let Some(fields) = descriptor.as_object_mut() {
                    fields.insert(
                        "platform".into(),
                        json!({ "architecture": child.architecture, "os": "linux" }),
                    );
                }
                descriptor
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        let manifest = Blob::new(OCI_INDEX, index.to_string().into_bytes());
        Self { manifest, blobs: Vec::new(), children, architecture: "" }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The same image under a manifest of other JSON: `change` edits the parsed manifest.
    pub(crate) fn with_manifest(mut self, media_type: &str, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut manifest: Value = serde_json::from_slice(&self.manifest.bytes)?;
        change(&mut manifest);
        self.manifest = Blob::new(media_type, manifest.to_string().into_bytes());
        Ok(self)
    }

    /// Every blob below, children's first.
    pub(crate) fn all_blobs(&self) -> Vec<&Blob> {
        self.children.iter().flat_map(Self::all_blobs).chain(&self.blobs).collect()
    }

    /// Every manifest, children first and itself last: the order in which they can be pushed.
    pub(crate) fn all_manifests(&self) -> Vec<&Blob> {
        self.children.iter().flat_map(Self::all_manifests).chain([&self.manifest]).collect()
    }

    /// The child that this machine's container engines choose, or itself.
    pub(crate) fn for_this_machine(&self) -> &Self {
        self.children.iter().find(|child| child.architecture == native_architecture()).unwrap_or(self)
    }

    /// Writes an OCI layout with this one image under a tag.
    pub(crate) fn write_layout(&self, dir: &Path, tag: &str) -> Result {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        for blob in self.all_blobs().into_iter().chain(self.all_manifests()) {
            let name = blob.digest.strip_prefix("sha256:").context("a sha256 digest")?;
            fs::write(blobs.join(name), &blob.bytes)?;
        }
        let mut descriptor = self.manifest.descriptor();
        if let Some(fields) = descriptor.as_object_mut() {
            fields.insert("annotations".into(), json!({ "org.opencontainers.image.ref.name": tag }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
        fs::write(dir.join("index.json"), index.to_string())?;
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }
}

/// Sets a field of the object that a JSON pointer names; nothing happens where there is no such object.
pub(crate) fn set(json: &mut Value, object: &str, field: &str, value: Value) {
    if let Some(fields) = json.pointer_mut(object).and_then(Value::as_object_mut) {
        fields.insert(field.to_owned(), value);
    }
}

/// A config and gzipped layers, each a tar file of one random file.
pub(crate) fn config_and_layers(seed: u64, architecture: &str, sizes: &[usize]) -> (Blob, Vec<Blob>) {
    let mut random = Random::new(seed);
    let mut diff_ids = Vec::new();
    let mut layers = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let tar = tar_of(&format!("file-{seed}-{number}"), &random.bytes(*size));
        diff_ids.push(sha256(&tar));
        layers.push(Blob::new(OCI_LAYER, gzip_stored(&tar)));
    }
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["/none"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    (Blob::new(OCI_CONFIG, config.to_string().into_bytes()), layers)
}

/// Reads a layout that a client wrote: every blob that its first manifest reaches must be there and hash to its
/// name. Returns that manifest's digest.
pub(crate) fn check_layout(dir: &Path) -> Result<String> {
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json"))?)?;
    let digest =
        index.pointer("/manifests/0/digest").and_then(Value::as_str).context("index.json's digest")?;
    check_layout_manifest(dir, digest)?;
    Ok(digest.to_owned())
}

fn check_layout_manifest(dir: &Path, digest: &str) -> Result {
    let manifest: Value = serde_json::from_slice(&layout_blob(dir, digest)?)?;
    let (manifests, blobs) = references(&manifest);
    for child in manifests {
        check_layout_manifest(dir, &child)?;
    }
    for blob in blobs {
        layout_blob(dir, &blob)?;
    }
    Ok(())
}

fn layout_blob(dir: &Path, digest: &str) -> Result<Vec<u8>> {
    let path = dir.join("blobs").join(digest.replace(':', "/"));
    let bytes = fs::read(&path).context(path.display())?;
    check_digest(digest, &bytes)?;
    Ok(bytes)
}

/// The digests that a manifest names: manifests, and blobs (its config first). The `manifests` of a BuildKit cache
/// are blobs, as their media types say.
pub(crate) fn references(manifest: &Value) -> (Vec<String>, Vec<String>) {
    let manifest_types = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
    let list = |field: &str| manifest.get(field).and_then(Value::as_array).into_iter().flatten();
    for descriptor in manifest.get("config").into_iter().chain(list("layers")).chain(list("manifests")) {
        let text = |field: &str| descriptor.get(field).and_then(Value::as_str).unwrap_or_default();
        let names = if manifest_types.contains(&text("mediaType")) { &mut manifests } else { &mut blobs };
        names.push(text("digest").to_owned());
    }
    (manifests, blobs)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// Fails unless the bytes hash to the digest.
pub(crate) fn check_digest(digest: &str, bytes: &[u8]) -> Result {
    let got = if digest.starts_with("sha512:") { sha512(bytes) } else { sha256(bytes) };
    if got != digest {
        fail!("{} bytes that should be {digest} hash to {got}", bytes.len());
    }
    Ok(())
}

pub(crate) fn native_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar archive of one file, as POSIX ustar.
fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(512);
    let field = |header: &mut Vec<u8>, text: &str, width: usize| {
        header.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    };
    field(&mut header, name, 100);
    field(&mut header, "0000644", 8);
    field(&mut header, "0000000", 8);
    field(&mut header, "0000000", 8);
    field(&mut header, &format!("{:011o}", content.len()), 12);
    field(&mut header, "00000000000", 12);
    let before_checksum = header.len();
    field(&mut header, "        ", 8);
    field(&mut header, "0", 1);
    field(&mut header, "", 100);
    header.extend(b"ustar\x0000");
    header.resize(512, 0);
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let checksum = format!("{checksum:06o}\0 ");
    header.splice(before_checksum..before_checksum + 8, checksum.bytes());
    let mut tar = header;
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// gzip with stored blocks only: random bytes don't compress, and this needs no compressor.
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        gzip.push(u8::from(blocks.peek().is_none()));
        gzip.extend(length.to_le_bytes());
        gzip.extend((!length).to_le_bytes());
        gzip.extend_from_slice(block);
    }
    gzip.extend(crc32(bytes).to_le_bytes());
    gzip.extend((bytes.len() as u32).to_le_bytes());
    gzip
}

fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        let mut table = [0_u32; 256];
        for (entry, number) in table.iter_mut().zip(0_u32..) {
            *entry =
                (0..8).fold(number, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 });
        }
        table
    });
    let table = *TABLE;
    !bytes.iter().fold(!0_u32, |crc, byte| {
        let entry = table.get(((crc ^ u32::from(*byte)) & 0xff) as usize).copied().unwrap_or_default();
        (crc >> 8) ^ entry
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_one_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_same_seed_gives_the_same_image() {
        let image = || Image::index(7, &["amd64", "arm64"], &[1000, 70_000]).manifest.digest;
        assert_eq!(image(), image());
    }
}
