//! Fetching an image ahead: its manifests, for the platforms that are wanted, and then its blobs.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use larder_oci::{
    Descriptor, Digest, Manifest, ManifestContent, NameError, Reference, ReferenceError, RepoName,
};
use tokio::task::JoinSet;

use crate::error::RegistryError;
use crate::pull::StoredManifest;
use crate::registry::Registry;
use crate::upstream::{Allowance, UpstreamFailure};
use crate::upstreams::UpstreamRepository;

/// The manifests that one image may be made of: those of an index with all its platforms and attestations, and more.
const MOST_MANIFESTS: usize = 1000;

/// Blobs of one image that are fetched at once, as docker does. Clients go before: upstreams let only so many at once.
const BLOBS_AT_ONCE: usize = 3;

/// Says which manifest a manifest in an index belongs to: BuildKit's attestations.
const BELONGS_TO: &str = "vnd.docker.reference.digest";

/// A platform, as an image index names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `arm64`.
    pub architecture: String,
    /// Such as `v8`; `None`: whichever.
    pub variant: Option<String>,
}

/// An image that is fetched ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WarmImage {
    /// Its repository, by its name here.
    pub repository: RepoName,
    /// Its tag or digest.
    pub reference: Reference,
    /// For which platforms; empty: for all that it has.
    pub platforms: Vec<Platform>,
}

/// How far an image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmProgress {
    /// Manifests that are here.
    pub manifests: usize,
    /// Blobs that are here.
    pub blobs: usize,
    /// Blobs that the manifests name.
    pub blobs_named: usize,
    /// What of them had to be fetched, in bytes.
    pub bytes_fetched: u64,
    /// The length of all of them, in bytes.
    pub bytes_named: u64,
    /// The upstream gave no answer about the tag, so this is the copy at hand; for this reason.
    pub stale: Option<Arc<str>>,
}

/// Why an image is not wholly here.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// No upstream stands behind such a name.
    #[error(
        "{0} is below no upstream's name: write it as it is called here, such as docker.io/library/nginx:1"
    )]
    NoUpstream(RepoName),
    /// The upstream has no such image.
    #[error("the upstream has no {0}")]
    NoImage(Reference),
    /// It is for other platforms.
    #[error("the image is for none of these platforms")]
    NoSuchPlatform,
    /// Something that it is made of isn't there.
    #[error("the upstream lacks {0}, which the image is made of")]
    Incomplete(Digest),
    /// An upstream gave no answer, or the disk refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl fmt::Display for WarmImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Reference::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Reference::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = NoPlatform;

    fn from_str(text: &str) -> Result<Platform, NoPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
            _ => return Err(NoPlatform(text.to_owned())),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(NoPlatform(text.to_owned()));
        }
        Ok(Platform { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
    }
}

/// What is written isn't a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform; write linux/arm64, linux/arm/v7, or all")]
pub struct NoPlatform(String);

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    /// Its repository.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its tag or digest.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// An image as people write it: `nginx`, `ghcr.io/owner/app:2`, `nginx:1@sha256:…`, of which the digest counts. Without
/// either it is `latest`.
pub fn parse_image(text: &str) -> Result<(RepoName, Reference), NoImage> {
    let (name, reference) = match text.split_once('@') {
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => text.rsplit_once(':').unwrap_or((text, "latest")),
    };
    Ok((name.parse()?, reference.parse()?))
}

impl Platform {
    fn is_wanted(&self, wanted: &[Platform]) -> bool {
        wanted.iter().any(|each| {
            each.os == self.os
                && each.architecture == self.architecture
                && (each.variant.is_none() || each.variant == self.variant)
        })
    }
}

impl Registry {
    /// Fetches an image and waits until all of it is here. Nothing that is here is fetched again, and of an upstream
    /// whose rate limit nears its end nothing at all: what is left is for clients.
    ///
    /// # Cancel safety
    ///
    /// What has arrived stays; a blob that is arriving goes on.
    pub(super) async fn warm(
        &self,
        image: &WarmImage,
        progress: &(dyn Fn(&WarmProgress) + Send + Sync),
    ) -> Result<WarmProgress, WarmError> {
        let WarmImage { repository, reference, platforms } = image;
        let Some(source) = self.upstream_of(repository) else {
            return Err(WarmError::NoUpstream(repository.clone()));
        };
        let mut far = WarmProgress { manifests: 1, ..WarmProgress::default() };
        let top = self.manifest_ahead(&source, repository, reference).await?;
        let (top, stale) = top.ok_or_else(|| WarmError::NoImage(reference.clone()))?;
        far.stale = stale;
        let (mut open, mut blobs) = (vec![top], HashMap::new());
        while let Some(manifest) = open.pop() {
            for child in parts(&manifest, platforms, &mut blobs)? {
                if far.manifests >= MOST_MANIFESTS {
                    break;
                }
                let child_reference = Reference::Digest(child);
                let found = self.manifest_ahead(&source, repository, &child_reference).await?;
                let (found, _) = found.ok_or(WarmError::Incomplete(child))?;
                far.manifests += 1;
                open.push(found);
            }
            far.blobs_named = blobs.len();
            far.bytes_named = blobs.values().sum();
            progress(&far);
        }
        self.blobs_ahead(&source, repository, blobs, &mut far, progress).await?;
        self.until_kept(repository).await;
        Ok(far)
    }

    /// A manifest, fetched if need be, and why it is an old copy if it is.
    async fn manifest_ahead(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<(Arc<StoredManifest>, Option<Arc<str>>)>, RegistryError> {
        if self.stored_manifest(repository, reference).await?.is_none() {
            source.may_fetch_ahead(false)?;
        }
        let found = Box::pin(self.manifest_or_fetch(source, repository, reference)).await?;
        Ok(found.map(|found| (found.manifest, found.copy.map(|copy| copy.why.reason))))
    }

    async fn blobs_ahead(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        blobs: HashMap<Digest, u64>,
        far: &mut WarmProgress,
        progress: &(dyn Fn(&WarmProgress) + Send + Sync),
    ) -> Result<(), WarmError> {
        let (mut waiting, mut running) = (blobs.into_iter(), JoinSet::new());
        loop {
            while running.len() < BLOBS_AT_ONCE
                && let Some((digest, size)) = waiting.next()
            {
                let registry = self.unreported();
                let (source, repository) = (source.clone(), repository.clone());
                running.spawn(async move {
                    let fetched = registry.blob_ahead(&source, &repository, &digest).await;
                    fetched.map(|fetched| if fetched { size } else { 0 })
                });
            }
            // What is left to run when this ends goes with the set; the fills themselves go on.
            match running.join_next().await {
                None => return Ok(()),
                Some(Ok(fetched)) => {
                    far.bytes_fetched += fetched?;
                    far.blobs += 1;
                    progress(far);
                }
                Some(Err(error)) => return Err(RegistryError::Internal(error).into()),
            }
        }
    }

    /// Whether the blob had to be fetched; it is here then.
    async fn blob_ahead(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<bool, WarmError> {
        self.note_access(repository, digest);
        if self.stored_blob(repository, digest).await?.is_some() {
            return Ok(false);
        }
        source.may_fetch_ahead(true)?;
        if Box::pin(self.fetch_blob_whole(source, repository, digest)).await? {
            Ok(true)
        } else {
            Err(WarmError::Incomplete(*digest))
        }
    }
}

impl UpstreamRepository {
    /// Whether something may be fetched that nobody has asked for.
    fn may_fetch_ahead(&self, is_blob: bool) -> Result<(), RegistryError> {
        if self.settings.offline {
            return Err(self.offline().into());
        }
        let retry_after = match self.upstream.allowance(&self.repository) {
            Allowance::Plenty => return Ok(()),
            // Where a limit is counted by pulls, what counts is the manifest, and it is here.
            Allowance::Scarce if is_blob => return Ok(()),
            Allowance::Scarce => None,
            Allowance::Spent { renews_in } => Some(renews_in),
        };
        let words = "its rate limit is nearly spent, and what is left is for what clients ask for";
        Err(self.error(UpstreamFailure::RateLimited { retry_after }, words).into())
    }
}

/// The manifests that this one names and that are wanted; the blobs that it names are added to the list, with their
/// lengths.
fn parts(
    manifest: &StoredManifest,
    platforms: &[Platform],
    blobs: &mut HashMap<Digest, u64>,
) -> Result<Vec<Digest>, WarmError> {
    let Ok(parsed) = Manifest::parse_stored(&manifest.bytes) else { return Ok(Vec::new()) };
    match parsed.content {
        ManifestContent::Image { config, layers } => {
            let kept = layers.into_iter().filter(|layer| !layer.media_type.is_non_distributable());
            blobs.extend(std::iter::once(config).chain(kept).map(|blob| (blob.digest, blob.size)));
            Ok(Vec::new())
        }
        ManifestContent::Index { manifests } => {
            let wanted = wanted(&manifests, &platforms_of(&manifest.bytes), platforms);
            if wanted.is_empty() && !manifests.is_empty() {
                return Err(WarmError::NoSuchPlatform);
            }
            Ok(wanted)
        }
    }
}

/// The children of an index that are for one of these platforms or for none, and what belongs to them.
fn wanted(children: &[Descriptor], named: &HashMap<Digest, Platform>, platforms: &[Platform]) -> Vec<Digest> {
    if platforms.is_empty() {
        return children.iter().map(|child| child.digest).collect();
    }
    let belongs_to = |child: &Descriptor| -> Option<Digest> {
        child.annotations.get(BELONGS_TO).and_then(|text| text.parse().ok())
    };
    let fits = |child: &&Descriptor| match named.get(&child.digest) {
        Some(platform) => platform.is_wanted(platforms),
        None => belongs_to(child).is_none(),
    };
    let mut found: Vec<Digest> = children.iter().filter(fits).map(|child| child.digest).collect();
    for child in children {
        let is_part = belongs_to(child).is_some_and(|about| found.contains(&about));
        if is_part && !found.contains(&child.digest) {
            found.push(child.digest);
        }
    }
    found
}

/// The platforms that an index names.
fn platforms_of(bytes: &[u8]) -> HashMap<Digest, Platform> {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let children = document.get("manifests").and_then(serde_json::Value::as_array);
    let platform = |child: &serde_json::Value| {
        let digest = child.get("digest")?.as_str()?.parse().ok()?;
        let named = child.get("platform")?;
        let text = |key| named.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        Some((
            digest,
            Platform { os: text("os")?, architecture: text("architecture")?, variant: text("variant") },
        ))
    };
    children.map(|children| children.iter().filter_map(platform).collect()).unwrap_or_default()
}
