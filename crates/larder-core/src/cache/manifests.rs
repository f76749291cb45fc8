//! Fetching one manifest.

use std::sync::Arc;

use larder_meta::{CachedOutcome, PutCachedManifest};
use larder_oci::{Digest, Manifest, Reference, RepoName, Tag, stored_media_type};

use super::unkept::Keeping;
use crate::collect::Thing;
use crate::error::RegistryError;
use crate::pull::StoredManifest;
use crate::registry::{Inner, Registry};
use crate::upstream::UpstreamFailure;
use crate::upstreams::UpstreamRepository;

/// What a question about a manifest came to.
#[derive(Clone)]
pub(super) enum Answer {
    /// What is at hand is what the upstream has.
    Same,
    /// This is what it has; it is here now, unless the disk refused it.
    Fetched(Arc<StoredManifest>),
    /// It has no such manifest.
    Missing,
    /// It gave no answer.
    Failed(Arc<RegistryError>),
}

/// A question about one manifest.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) registry: Registry,
    pub(super) source: UpstreamRepository,
    pub(super) repository: RepoName,
    pub(super) reference: Reference,
    /// What the tag points at here.
    pub(super) at_hand: Option<Digest>,
}

impl Asking {
    pub(super) async fn ask(&self) -> Answer {
        let stop = self.registry.inner.cache.stop.cancelled();
        let asked = tokio::select! {
            asked = self.ask_upstream() => asked,
            () = stop => Err(self.source.error(UpstreamFailure::Cut, "Larder is stopping").into()),
        };
        asked.unwrap_or_else(|error| {
            tracing::warn!(
                repository = %self.repository, reference = %self.reference, upstream = self.source.upstream.name(),
                %error, cause = ?std::error::Error::source(&error), copy_at_hand = self.at_hand.is_some(),
                "an upstream gave no answer about a manifest"
            );
            Answer::Failed(Arc::new(error))
        })
    }

    async fn ask_upstream(&self) -> Result<Answer, RegistryError> {
        let UpstreamRepository { upstream, repository, .. } = &self.source;
        if let Some(manifest) = self.come_meanwhile().await? {
            return Ok(Answer::Fetched(manifest));
        }
        let mut wanted = self.reference.clone();
        // A HEAD costs nothing of Docker Hub's rate limit and may spare the GET. Where nothing is at hand that it could
        // be spared by, it would only be one more wait.
        if let Reference::Tag(_) = &self.reference
            && self.has_manifests().await?
        {
            let Some(head) = upstream.head_manifest(repository, &self.reference).await? else {
                return Ok(Answer::Missing);
            };
            if let Some(digest) = head.digest {
                if self.at_hand == Some(digest) {
                    return Ok(Answer::Same);
                }
                if let Some(manifest) = self.take_from_hand(digest).await? {
                    return Ok(Answer::Fetched(manifest));
                }
                // By digest: the tag may move in between.
                wanted = Reference::Digest(digest);
            }
        }
        let Some(fetched) = upstream.manifest(repository, &wanted).await? else { return Ok(Answer::Missing) };
        self.registry.inner.cache.counters.fetched(fetched.bytes.len() as u64);
        let digest = match wanted {
            Reference::Digest(digest) => digest,
            Reference::Tag(_) => Digest::sha256(&fetched.bytes),
        };
        let found = Digest::of(digest.algorithm(), &fetched.bytes);
        if found != digest {
            return Err(
                self.garbled(&format!("the manifest that it sent hashes to {found}, not to {digest}"))
            );
        }
        let Ok(manifest) = Manifest::parse_stored(&fetched.bytes) else {
            return Err(self.garbled("what it sent is no manifest that Larder knows"));
        };
        let Some(media_type) = stored_media_type(&fetched.bytes) else {
            return Err(self.garbled("what it sent is no manifest that Larder knows"));
        };
        if self.at_hand == Some(digest) {
            return Ok(Answer::Same);
        }
        let stored = Arc::new(StoredManifest { digest, media_type, bytes: fetched.bytes, file: None });
        if self.at_hand.is_none()
            && let Some(keeping) = Keeping::begin(&self.registry, &self.repository, self.tag(), &stored)
        {
            let (asking, kept) = (self.clone(), Arc::clone(&stored));
            self.registry.inner.cache.tasks.spawn(async move {
                // What can't be kept has been logged.
                let _ = asking.keep(kept, manifest).await;
                drop(keeping);
            });
            return Ok(Answer::Fetched(stored));
        }
        self.keep(Arc::clone(&stored), manifest).await
    }

    /// What an earlier question has brought just before this one began.
    async fn come_meanwhile(&self) -> Result<Option<Arc<StoredManifest>>, RegistryError> {
        if self.at_hand.is_some() {
            return Ok(None);
        }
        if let Some(manifest) = self.registry.inner.cache.unkept.of(&self.repository, &self.reference) {
            return Ok(Some(manifest));
        }
        match &self.reference {
            Reference::Digest(_) => self.registry.sound_manifest(&self.repository, &self.reference).await,
            Reference::Tag(_) => Ok(None),
        }
    }

    fn garbled(&self, what: &str) -> RegistryError {
        self.source.error(UpstreamFailure::Garbled, what).into()
    }

    fn tag(&self) -> Option<Tag> {
        match &self.reference {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        }
    }

    async fn has_manifests(&self) -> Result<bool, RegistryError> {
        if self.at_hand.is_some() {
            return Ok(true);
        }
        let repository = self.repository.clone();
        self.registry.blocking(move |inner| Ok(inner.meta.has_copies(&repository)?)).await
    }

    /// The manifest by another name, if the repository holds it; the tag is moved to it.
    async fn take_from_hand(&self, digest: Digest) -> Result<Option<Arc<StoredManifest>>, RegistryError> {
        let stored = self.registry.sound_manifest(&self.repository, &Reference::Digest(digest)).await?;
        let Some(stored) = stored else { return Ok(None) };
        let Ok(manifest) = Manifest::parse_stored(&stored.bytes) else { return Ok(None) };
        match self.keep(stored, manifest).await? {
            Answer::Fetched(stored) => Ok(Some(stored)),
            Answer::Same | Answer::Missing | Answer::Failed(_) => Ok(None),
        }
    }

    /// Stores it and moves the tag. A disk that refuses is no reason to refuse the client.
    async fn keep(&self, stored: Arc<StoredManifest>, manifest: Manifest) -> Result<Answer, RegistryError> {
        let manifest = Arc::new(manifest);
        let once = |makes_room: bool| {
            let (repository, tag) = (self.repository.clone(), self.tag());
            let (kept, manifest) = (Arc::clone(&stored), Arc::clone(&manifest));
            self.registry.blocking(move |inner| {
                if makes_room {
                    inner.evict_for(kept.bytes.len() as u64)?;
                }
                inner.keep_copy(&repository, tag.as_ref(), &kept, &manifest)
            })
        };
        let outcome = match once(false).await {
            // Other copies make room, as they do for a blob, and one after the other: a change that fails for lack of room
            // makes doubtful what may go.
            Err(error) if error.shortage().is_some() => {
                let _turn = self.registry.inner.cache.making_room.lock().await;
                once(true).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(CachedOutcome::Stored) => Ok(Answer::Fetched(stored)),
            // It was pushed while the upstream was asked.
            Ok(CachedOutcome::TagIsPushed) => Ok(Answer::Same),
            Err(RegistryError::Maintenance { .. }) => Ok(Answer::Fetched(stored)),
            Err(error) => {
                tracing::error!(
                    repository = %self.repository, digest = %stored.digest, %error,
                    cause = ?std::error::Error::source(&error), "a fetched manifest could not be kept; it is served all the same"
                );
                Ok(Answer::Fetched(stored))
            }
        }
    }
}

impl Inner {
    fn keep_copy(
        &self,
        repository: &RepoName,
        tag: Option<&Tag>,
        stored: &StoredManifest,
        manifest: &Manifest,
    ) -> Result<CachedOutcome, RegistryError> {
        let _change = self.pause.begin()?;
        let things = vec![Thing::Content(stored.digest), Thing::Link(repository.clone(), stored.digest)];
        let _hold = self.collector.fence.hold(things);
        let content = self.blobs.put(&stored.digest, &stored.bytes)?;
        let put = PutCachedManifest { repository, content: &content, manifest, tag };
        Ok(self.meta.put_cached_manifest(&put)?)
    }
}
