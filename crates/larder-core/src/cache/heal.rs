//! Fetching again what a look at the disk has found damaged and moved away: the repositories' upstreams still have it.
//!
//! A pull would fetch it all the same. This is for whoever pulls next when the upstream is down.

use std::time::Duration;

use larder_meta::Origin;
use larder_oci::{Digest, Reference, RepoName};
use tokio::time::Instant;

use crate::error::RegistryError;
use crate::registry::Registry;
use crate::upstreams::UpstreamRepository;

/// How often is looked whether a blob has come. It isn't waited for as a reader waits: it may come slowly.
const LOOK: Duration = Duration::from_millis(200);

/// What a repository has lost, by its links.
enum Lost {
    Manifest,
    Blob,
    /// It isn't known as a copy: nobody but who pushed it has it for certain.
    NoCopy,
}

impl Registry {
    /// Has content that is gone from the store fetched again, for each of these repositories whose copy it was. Waits for
    /// nothing; what can't be fetched now, the next pull asks for.
    pub(crate) fn fetch_again(&self, digest: Digest, held_by: &[RepoName]) {
        let is_asked = |name: &&RepoName| self.upstream_of(name).is_some_and(|it| !it.settings.offline);
        let repositories: Vec<RepoName> = held_by.iter().filter(is_asked).cloned().collect();
        if repositories.is_empty() {
            return;
        }
        let registry = self.for_nobody();
        self.inner.cache.tasks.spawn(async move {
            let cache = &registry.inner.cache;
            // One after the other: a disk that fails may have damaged thousands.
            let _turn = cache.healing.lock().await;
            let mut is_healed = false;
            for repository in repositories {
                if cache.stop.is_cancelled() {
                    return;
                }
                match registry.fetch_again_for(&repository, digest).await {
                    Ok(true) => {
                        // Once, for however many repositories it is.
                        if !std::mem::replace(&mut is_healed, true) {
                            registry.inner.verification.was_healed();
                        }
                        tracing::info!(%repository, %digest, "what was damaged was fetched again");
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(
                        %repository, %digest, %error,
                        "what is damaged can't be fetched again now; the next pull asks for it"
                    ),
                }
            }
        });
    }

    /// Whether it has come.
    async fn fetch_again_for(&self, repository: &RepoName, digest: Digest) -> Result<bool, RegistryError> {
        let Some(source) = self.upstream_of(repository) else { return Ok(false) };
        let name = repository.clone();
        let lost = self
            .blocking(move |inner| {
                let is_copy = |origin| matches!(origin, Some(Origin::Cached { .. }));
                Ok(match inner.meta.manifest_origin(&name, &digest)? {
                    origin if is_copy(origin) => Lost::Manifest,
                    _ if is_copy(inner.meta.blob_origin(&name, &digest)?) => Lost::Blob,
                    _ => Lost::NoCopy,
                })
            })
            .await?;
        match lost {
            Lost::Manifest => {
                let reference = Reference::Digest(digest);
                Ok(Box::pin(self.manifest_or_fetch(&source, repository, &reference)).await?.is_some())
            }
            Lost::Blob => Box::pin(self.fetch_blob_unread(&source, repository, &digest)).await,
            Lost::NoCopy => Ok(false),
        }
    }

    /// Has a blob fetched that no client waits for, and gives whether it is here when its fill has ended.
    async fn fetch_blob_unread(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let cache = &self.inner.cache;
        let deadline = Instant::now() + source.settings.miss_budget;
        if self.join_fill(source, repository, digest, deadline).await?.is_none() {
            return Ok(false);
        }
        while cache.fills.is_running(digest) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.stored_blob(repository, digest).await?.is_some())
    }
}
