use std::time::Duration;

use larder_oci::{Digest, RepoName, Role};
use tokio::time::Instant;

use super::counters::Counters;
use crate::error::{MissingReference, RegistryError};
use crate::pull::{Blob, BlobContent};
use crate::registry::Registry;
use crate::upstreams::UpstreamRepository;

/// How long a client that pushes a manifest waits for the blobs of it that only the upstream has.
const LONGEST_WAIT_OF_A_PUSH: Duration = Duration::from_secs(300);

impl Registry {
    /// Fetches what a pushed manifest names and its repository lacks: a client doesn't upload what it was told that
    /// the upstream has. `false` if not all of it can be had.
    pub(crate) async fn fetch_references(
        &self,
        repository: &RepoName,
        missing: &[MissingReference],
    ) -> Result<bool, RegistryError> {
        let Some(source) = self.upstream_of(repository) else { return Ok(false) };
        let name = repository.clone();
        let holds_copies = self.inner.cache.unkept.has_of(repository)
            || self.blocking(move |inner| Ok(inner.meta.has_copies(&name)?)).await?;
        let are_blobs = missing.iter().all(|reference| reference.role != Role::Child);
        if !holds_copies || !are_blobs || source.settings.offline {
            return Ok(false);
        }
        let all = async {
            for reference in missing {
                if !self.fetch_blob_whole(&source, repository, &reference.digest).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match tokio::time::timeout(LONGEST_WAIT_OF_A_PUSH, Box::pin(all)).await {
            Ok(fetched) => fetched,
            Err(_) => Ok(false),
        }
    }

    /// A blob of a repository that has an upstream.
    pub(crate) async fn blob_or_fetch(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Blob>, RegistryError> {
        let cache = &self.inner.cache;
        if let Some(blob) = self.stored_blob(repository, digest).await? {
            self.count(|counters| counters.hit(blob.content.size()));
            self.note_access(repository, digest);
            return Ok(Some(blob));
        }
        self.count(Counters::miss);
        if cache.remembered.lacks_blob(repository, digest) {
            return Ok(None);
        }
        if source.settings.offline {
            return Err(source.offline().into());
        }
        let fetched = Box::pin(self.fetch_blob(source, repository, digest)).await?;
        if fetched.is_some() {
            self.note_access(repository, digest);
        } else {
            let until = Instant::now() + source.settings.missing_for;
            cache.remembered.note_missing_blob(repository, digest, until);
        }
        Ok(fetched)
    }

    /// As [`blob_or_fetch`](Registry::blob_or_fetch), for whoever asks only whether it is there and how long it is.
    ///
    /// Mostly that is a client about to push, who asks for each of his layers: an upstream that fails must not fail him,
    /// so to this question alone "not known" is "not here". And it isn't asked at all for a repository that holds
    /// nothing of it.
    pub(crate) async fn blob_or_ask(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Blob>, RegistryError> {
        let cache = &self.inner.cache;
        if let Some(blob) = self.stored_blob(repository, digest).await? {
            self.count(|counters| counters.hit(0));
            return Ok(Some(blob));
        }
        let name = repository.clone();
        let holds_copies = self.inner.cache.unkept.has_of(repository)
            || self.blocking(move |inner| Ok(inner.meta.has_copies(&name)?)).await?;
        if !holds_copies || source.settings.offline || cache.remembered.lacks_blob(repository, digest) {
            return Ok(None);
        }
        let deadline = Instant::now() + source.settings.miss_budget;
        match self.size_upstream(source, repository, digest, deadline).await {
            Ok(Some(Some(size))) => {
                Ok(Some(Blob { digest: *digest, content: BlobContent::Upstream { size } }))
            }
            Ok(Some(None)) => Box::pin(self.fetch_blob(source, repository, digest)).await,
            Ok(None) => {
                let until = Instant::now() + source.settings.missing_for;
                cache.remembered.note_missing_blob(repository, digest, until);
                Ok(None)
            }
            Err(error) => {
                tracing::info!(%repository, %digest, %error, "whether an upstream holds a blob can't be told");
                Ok(None)
            }
        }
    }
}
