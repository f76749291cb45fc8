//! What is served: a directory in distribution's layout, written file by file, because pushing ten thousand
//! manifests would take longer than all measuring.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::stand::Who;
use crate::failure::{Context, Result};
use crate::image::{Blob, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::places::Ring;
use crate::process::Run;
use crate::random::Random;

pub(super) const REPOSITORY: &str = "bench";
pub(super) const TAG: &str = "latest";

/// The layers of the full run, smallest first: (what the table calls it, bytes).
pub(super) const LAYERS: &[(&str, usize)] =
    &[("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("8 MiB", 8 << 20), ("200 MiB", 200 << 20)];

/// One image whose layers have the sizes that are asked for.
pub(super) struct Fixture {
    /// The storage directory. Servers get [copies](Self::copy_for) of it.
    dir: PathBuf,
    pub(super) manifest: Blob,
    pub(super) layers: Vec<Layer>,
    /// A piece of the middle of the largest layer.
    pub(super) range: Range,
}

/// A layer, without the bytes: these are on disk.
pub(super) struct Layer {
    pub(super) title: &'static str,
    pub(super) digest: String,
    pub(super) length: u64,
}

pub(super) struct Range {
    pub(super) digest_of_layer: String,
    pub(super) first: u64,
    pub(super) length: u64,
    pub(super) digest: String,
}

impl Fixture {
    /// Writes the image; layers larger than `largest` bytes are left out.
    pub(super) fn write(ring: &Ring, largest: usize) -> Result<Self> {
        const RANGE_BYTES: usize = 64 << 10;
        let dir = ring.make_dir("fixture")?;
        let mut layers = Vec::new();
        let mut descriptors = Vec::new();
        let mut range = None;
        for ((title, bytes), seed) in LAYERS.iter().zip(1..).filter(|((_, bytes), _)| *bytes <= largest) {
            let blob = Blob::new(OCI_LAYER, Random::new(seed).bytes(*bytes));
            let first = (blob.bytes.len() / 2).saturating_sub(RANGE_BYTES / 2);
            let piece =
                blob.bytes.get(first..(first + RANGE_BYTES).min(blob.bytes.len())).unwrap_or_default();
            range = Some(Range {
                digest_of_layer: blob.digest.clone(),
                first: first as u64,
                length: piece.len() as u64,
                digest: crate::image::sha256(piece),
            });
            descriptors.push(blob.descriptor());
            write_blob(&dir, &blob)?;
            write_layer_link(&dir, REPOSITORY, &blob.digest)?;
            layers.push(Layer { title, length: blob.bytes.len() as u64, digest: blob.digest });
        }
        let config = Blob::new(OCI_CONFIG, b"{\"architecture\":\"amd64\",\"os\":\"linux\"}".to_vec());
        write_blob(&dir, &config)?;
        write_layer_link(&dir, REPOSITORY, &config.digest)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": descriptors,
        });
        let manifest = Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes());
        write_blob(&dir, &manifest)?;
        write_revision(&dir, REPOSITORY, &manifest.digest)?;
        write_tag(&dir, REPOSITORY, TAG, &manifest.digest)?;
        Ok(Self { dir, manifest, layers, range: range.context("a layer")? })
    }

    /// What this server serves it from.
    pub(super) fn copy_for(&self, who: Who, to: &Path) -> Result {
        if who == Who::Nginx { self.copy_as_files(to) } else { copy(&self.dir, to) }
    }

    /// Where a blob's bytes are.
    pub(super) fn path(&self, digest: &str) -> Result<PathBuf> {
        blob_path(&self.dir, digest)
    }

    /// The same content as plain files whose paths are the registry's URLs, for nginx.
    fn copy_as_files(&self, to: &Path) -> Result {
        let (blobs, manifests) = (to.join("v2/bench/blobs"), to.join("v2/bench/manifests"));
        fs::create_dir_all(&blobs)?;
        fs::create_dir_all(&manifests)?;
        for layer in &self.layers {
            fs::hard_link(blob_path(&self.dir, &layer.digest)?, blobs.join(&layer.digest))?;
        }
        for name in [TAG, &self.manifest.digest] {
            fs::write(manifests.join(name), &self.manifest.bytes)?;
        }
        Ok(())
    }
}

/// Copies a storage directory by hard links: no server writes into a blob, and the page cache is everybody's.
pub(super) fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    Run::new("cp").arg("-al").arg(from.join(".")).arg(to).ok().map(drop)
}

fn root(dir: &Path) -> PathBuf {
    dir.join("docker/registry/v2")
}

fn blob_path(dir: &Path, digest: &str) -> Result<PathBuf> {
    let hex = digest.strip_prefix("sha256:").context("a sha256 digest")?;
    let first = hex.get(..2).context("a digest's first byte")?;
    Ok(root(dir).join("blobs/sha256").join(first).join(hex).join("data"))
}

fn write_file(path: &Path, content: &[u8]) -> Result {
    fs::create_dir_all(path.parent().context("a file's directory")?)?;
    fs::write(path, content).context(path.display())
}

pub(super) fn write_blob(dir: &Path, blob: &Blob) -> Result {
    write_file(&blob_path(dir, &blob.digest)?, &blob.bytes)
}

fn write_link(dir: &Path, repository: &str, below: &str, digest: &str) -> Result {
    let path = root(dir).join("repositories").join(repository).join(below).join("link");
    write_file(&path, digest.as_bytes())
}

pub(super) fn write_layer_link(dir: &Path, repository: &str, digest: &str) -> Result {
    write_link(dir, repository, &format!("_layers/{}", digest.replace(':', "/")), digest)
}

pub(super) fn write_revision(dir: &Path, repository: &str, digest: &str) -> Result {
    write_link(dir, repository, &format!("_manifests/revisions/{}", digest.replace(':', "/")), digest)
}

pub(super) fn write_tag(dir: &Path, repository: &str, tag: &str, digest: &str) -> Result {
    let below = format!("_manifests/tags/{tag}");
    write_link(dir, repository, &format!("{below}/current"), digest)?;
    write_link(dir, repository, &format!("{below}/index/{}", digest.replace(':', "/")), digest)
}
