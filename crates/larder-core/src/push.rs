use std::collections::HashSet;

use bytes::Bytes;
use larder_meta::{Precondition, PutManifest, PutOutcome};
use larder_oci::{Access, Digest, Manifest, MediaType, Pull, Push, Reference, RepoName, Role, Tag};
use larder_storage::Verified;

use crate::collect::Thing;
use crate::error::{MissingReference, RegistryError};
use crate::events::{Event, Reporting};
use crate::quota::exceeded_in;
use crate::registry::{Inner, Registry};

/// The longest manifest that is taken in, in bytes: what registry:2 allows and what the OCI
/// Distribution Specification asks for ("Pushing Manifests").
pub const LONGEST_MANIFEST: usize = 4 << 20;

/// How many repositories are looked at to find a blob that is to be mounted without `from`. The
/// first one that may be pulled from is as good as any; a miss only costs the client an upload.
const MOUNT_CANDIDATES: usize = 32;

/// A manifest that a client pushes.
#[derive(Clone)]
pub struct ManifestPush {
    /// What it is pushed as.
    pub reference: Reference,
    /// Further tags that are to point at it.
    pub tags: Vec<Tag>,
    /// The Content-Type of the request, if it had one.
    pub media_type: Option<MediaType>,
    /// The bytes, stored exactly so.
    pub bytes: Bytes,
    /// What must hold of each tag.
    pub precondition: Precondition,
}

/// A manifest that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// Its digest.
    pub digest: Digest,
    /// The manifest that it is about, if it says so.
    pub subject: Option<Digest>,
}

impl Registry {
    /// Stores a manifest and moves its tags; durable when this returns.
    pub async fn push_manifest(
        &self,
        access: &Access<Push>,
        push: ManifestPush,
    ) -> Result<PushedManifest, RegistryError> {
        let again = push.clone();
        match self.try_to_push_manifest(access, push).await {
            Err(RegistryError::ReferencesUnknown { repository, missing }) => {
                // Their client may have left them out because it was told that the upstream has them.
                if self.fetch_references(&repository, &missing).await? {
                    return self.try_to_push_manifest(access, again).await;
                }
                Err(RegistryError::ReferencesUnknown { repository, missing })
            }
            outcome => outcome,
        }
    }

    async fn try_to_push_manifest(
        &self,
        access: &Access<Push>,
        push: ManifestPush,
    ) -> Result<PushedManifest, RegistryError> {
        let (repository, reporting) = (access.repository().clone(), self.reporting(access));
        self.blocking(move |inner| inner.push_manifest(&repository, push, &reporting)).await
    }

    /// Makes a blob of another repository one of this repository, without moving bytes. `false` if
    /// that can't be done: then the client uploads it.
    pub async fn mount(
        &self,
        access: &Access<Push>,
        from: &Access<Pull>,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let (to, from, digest) = (access.repository().clone(), from.repository().clone(), *digest);
        let reporting = self.reporting(access);
        self.blocking(move |inner| {
            let _change = inner.require_writable()?;
            let Some(size) = inner.mount(&to, &from, &digest)? else { return Ok(false) };
            reporting.changed(&to, || vec![Event::BlobMounted { from: &from, digest, size }])?;
            Ok(true)
        })
        .await
    }

    /// As [`mount`](Registry::mount), from whatever repository holds the blob and may be pulled from.
    pub async fn mount_from_any(
        &self,
        access: &Access<Push>,
        digest: &Digest,
        may_pull: impl Fn(&RepoName) -> Option<Access<Pull>>,
    ) -> Result<bool, RegistryError> {
        let (to, digest) = (access.repository().clone(), *digest);
        let candidates = self
            .blocking(move |inner| {
                let _change = inner.require_writable()?;
                // Without an index nobody is known to have it: then the client uploads.
                let mut candidates =
                    inner.meta.repositories_with_blob(&digest, MOUNT_CANDIDATES).unwrap_or_else(|error| {
                        tracing::warn!(%digest, %error, "the index can't tell where a blob is");
                        Vec::new()
                    });
                // A blob that is here already needs no other repository.
                candidates.retain(|name| *name != to);
                candidates.insert(0, to);
                Ok(candidates)
            })
            .await?;
        for candidate in candidates {
            if let Some(from) = may_pull(&candidate)
                && self.mount(access, &from, &digest).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Inner {
    pub(crate) fn push_manifest(
        &self,
        repository: &RepoName,
        push: ManifestPush,
        reporting: &Reporting,
    ) -> Result<PushedManifest, RegistryError> {
        let _change = self.require_writable()?;
        if push.bytes.len() > LONGEST_MANIFEST {
            return Err(RegistryError::ManifestTooLarge { limit: LONGEST_MANIFEST });
        }
        let manifest = Manifest::parse(&push.bytes, push.media_type.as_ref())?;
        let mut tags = push.tags;
        let digest = match push.reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => {
                tags.push(tag);
                Digest::sha256(&push.bytes)
            }
        };
        let mut seen = HashSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        // The digest is compared before anything else is said about the content.
        let found = Digest::of(digest.algorithm(), &push.bytes);
        if found != digest {
            return Err(RegistryError::DigestMismatch { expected: digest, found });
        }
        // From the first look until the manifest names them, nothing takes them away.
        let things = manifest.references().map(|(_, part)| Thing::Link(repository.clone(), part.digest));
        let own = [Thing::Link(repository.clone(), digest), Thing::Content(digest)];
        let _hold = self.collector.fence.hold(things.chain(own).collect());
        let missing = self.missing_references(repository, &manifest)?;
        if !missing.is_empty() {
            return Err(RegistryError::ReferencesUnknown { repository: repository.clone(), missing });
        }
        let rules = self.retention_rules();
        let is_immutable = |tag: &&Tag| rules.immutable_by(repository, tag).is_some();
        let immutable: Vec<Tag> = tags.iter().filter(is_immutable).cloned().collect();
        self.know_quotas(repository);
        let content = self.blobs.put(&digest, &push.bytes)?;
        let outcome = self.meta.put_manifest(&PutManifest {
            repository,
            content: &content,
            manifest: &manifest,
            tags: &tags,
            precondition: push.precondition,
            immutable: &immutable,
        })?;
        match outcome {
            PutOutcome::Stored => {
                let pushed = |tag| Event::ManifestPushed {
                    manifest: &manifest,
                    digest,
                    size: push.bytes.len() as u64,
                    tag,
                };
                reporting.changed(repository, || match tags.as_slice() {
                    [] => vec![pushed(None)],
                    tags => tags.iter().map(|tag| pushed(Some(tag))).collect(),
                })?;
                Ok(PushedManifest { digest, subject: manifest.subject.map(|subject| subject.digest) })
            }
            PutOutcome::Immutable { tag, current } => {
                let rule = rules.immutable_by(repository, &tag).unwrap_or_default();
                Err(RegistryError::TagImmutable { repository: repository.clone(), tag, current, rule })
            }
            PutOutcome::QuotaExceeded(exceeded) => Err(exceeded_in(repository, exceeded)),
            PutOutcome::PreconditionFailed { tag, current } => {
                Err(RegistryError::PreconditionFailed { tag, current })
            }
        }
    }

    /// What the manifest is made of and the repository lacks. The subject may be missing: it may be
    /// pushed later (OCI Distribution Specification, "Push").
    fn missing_references(
        &self,
        repository: &RepoName,
        manifest: &Manifest,
    ) -> Result<Vec<MissingReference>, RegistryError> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for (role, descriptor) in manifest.references() {
            let elsewhere = role == Role::Layer && descriptor.media_type.is_non_distributable();
            if seen.insert(descriptor.digest)
                && !elsewhere
                && !self.reaches(repository, &descriptor.digest)?
            {
                missing.push(MissingReference { role, digest: descriptor.digest });
            }
        }
        Ok(missing)
    }

    /// Whether the repository can serve this content, as a blob or as a manifest. Either will do for
    /// every role: BuildKit's cache is an index of blobs.
    fn reaches(&self, repository: &RepoName, digest: &Digest) -> Result<bool, RegistryError> {
        for content in [self.meta.blob(repository, digest)?, self.meta.manifest(repository, digest)?]
            .into_iter()
            .flatten()
        {
            // registry:2's garbage collection removes content and leaves the link.
            if self.blobs.find(&content)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The mounted blob's length, or `None` if it can't be mounted.
    fn mount(&self, to: &RepoName, from: &RepoName, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        self.collector.fence.promise(to, digest);
        let things = vec![Thing::Link(from.clone(), *digest), Thing::Content(*digest)];
        let _hold = self.collector.fence.hold(things);
        // An alias (registry:2's sha512 blobs) is not mounted: the link would name another digest.
        if self.meta.blob(from, digest)? != Some(*digest) {
            return Ok(None);
        }
        let Some(content): Option<Verified> = self.blobs.find(digest)? else { return Ok(None) };
        self.meta.link_blob(to, &content)?;
        Ok(Some(content.size()))
    }
}
