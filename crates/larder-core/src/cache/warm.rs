//! Fetching an image ahead.

use std::sync::Arc;

use larder_oci::{Access, Digest, Manifest, ManifestContent, Pull, Reference, RepoName};

use crate::error::RegistryError;
use crate::pull::StoredManifest;
use crate::registry::Registry;
use crate::upstreams::UpstreamRepository;

/// The manifests that one image may be made of: those of an index with all its platforms and attestations, and more.
const MOST_MANIFESTS: usize = 1000;

/// A platform, as an image index names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `arm64`.
    pub architecture: String,
    /// Such as `v8`; `None`: whichever.
    pub variant: Option<String>,
}

/// How far an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmProgress {
    /// Manifests that are here.
    pub manifests: usize,
    /// Blobs that are here.
    pub blobs: usize,
    /// Blobs that the manifests name.
    pub blobs_named: usize,
}

impl Registry {
    /// Fetches an image, with the platforms given or else all of them, and waits until all of it is here. `None` if there
    /// is no such image.
    pub async fn warm(
        &self,
        access: &Access<Pull>,
        reference: &Reference,
        platforms: &[Platform],
        progress: &(dyn Fn(WarmProgress) + Send + Sync),
    ) -> Result<Option<WarmProgress>, RegistryError> {
        let repository = access.repository();
        let Some(top) = self.manifest(access, reference).await? else { return Ok(None) };
        let source = self.upstream_of(repository);
        let mut far = WarmProgress { manifests: 1, ..WarmProgress::default() };
        let (mut open, mut blobs) = (vec![Arc::clone(&top.manifest)], Vec::new());
        while let Some(manifest) = open.pop() {
            for child in parts(&manifest, platforms, &mut blobs) {
                if far.manifests >= MOST_MANIFESTS {
                    break;
                }
                if let Some(found) = self.manifest(access, &Reference::Digest(child)).await? {
                    far.manifests += 1;
                    open.push(Arc::clone(&found.manifest));
                }
            }
            far.blobs_named = blobs.len();
            progress(far);
        }
        for digest in blobs {
            if self.have_blob(source.as_ref(), repository, &digest).await? {
                far.blobs += 1;
            }
            progress(far);
        }
        Ok(Some(far))
    }

    async fn have_blob(
        &self,
        source: Option<&UpstreamRepository>,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        if self.stored_blob(repository, digest).await?.is_some() {
            return Ok(true);
        }
        match source {
            Some(source) if !source.settings.offline => {
                Box::pin(self.fetch_blob_whole(source, repository, digest)).await
            }
            Some(_) | None => Ok(false),
        }
    }
}

/// The manifests that this one names and that are wanted; the blobs that it names are added to the list.
fn parts(manifest: &StoredManifest, platforms: &[Platform], blobs: &mut Vec<Digest>) -> Vec<Digest> {
    let Ok(parsed) = Manifest::parse_stored(&manifest.bytes) else { return Vec::new() };
    match parsed.content {
        ManifestContent::Image { config, layers } => {
            let kept = layers.iter().filter(|layer| !layer.media_type.is_non_distributable());
            for digest in std::iter::once(config.digest).chain(kept.map(|layer| layer.digest)) {
                if !blobs.contains(&digest) {
                    blobs.push(digest);
                }
            }
            Vec::new()
        }
        ManifestContent::Index { manifests } => {
            let wanted = platforms_of(&manifest.bytes);
            manifests
                .iter()
                .zip(wanted.into_iter().chain(std::iter::repeat(None)))
                .filter(|(_, platform)| {
                    platforms.is_empty() || platform.as_ref().is_some_and(|each| is_wanted(each, platforms))
                })
                .map(|(child, _)| child.digest)
                .collect()
        }
    }
}

fn is_wanted(platform: &Platform, wanted: &[Platform]) -> bool {
    wanted.iter().any(|each| {
        each.os == platform.os
            && each.architecture == platform.architecture
            && (each.variant.is_none() || each.variant == platform.variant)
    })
}

/// The platforms that an index names, in its order.
fn platforms_of(bytes: &[u8]) -> Vec<Option<Platform>> {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let children = document.get("manifests").and_then(serde_json::Value::as_array);
    let platform = |child: &serde_json::Value| {
        let named = child.get("platform")?;
        let text = |key| named.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        Some(Platform { os: text("os")?, architecture: text("architecture")?, variant: text("variant") })
    };
    children.map(|children| children.iter().map(platform).collect()).unwrap_or_default()
}
