//! Quotas: how much some repositories may hold together (`larder-meta/src/quotas.rs` counts and judges).
//!
//! A manifest is what counts, so it is judged where it is put. A blob is turned away already where it can be told that no
//! manifest could ever name it: so nobody uploads for hours to be refused at the end.

use larder_meta::{Exceeded, MetaError, QuotaRule, QuotaUsage};
use larder_oci::{Access, Digest, Push, RepoName};

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// What is said of a quota that is so full, in percent.
pub const NEARLY_FULL: u64 = 90;

impl Registry {
    /// Sets the quotas, from here on. What is there already stays. Blocks, and looks at everything that the repositories
    /// of a new rule hold.
    pub fn set_quotas(&self, rules: &[QuotaRule]) {
        self.inner.meta.set_quotas(rules);
    }

    /// How it stands with every quota, in the order of the rules. After a start some may be told too low, until the
    /// background pass has read their repositories.
    pub async fn quotas(&self) -> Result<Vec<QuotaUsage>, RegistryError> {
        self.blocking(|inner| Ok(inner.meta.quota_usages()?)).await
    }

    /// The same, at once; blocks.
    pub fn quotas_now(&self) -> Result<Vec<QuotaUsage>, RegistryError> {
        Ok(self.inner.meta.quota_usages()?)
    }

    /// Turns away a blob of this length that is about to be uploaded, if a quota has no room for it.
    pub async fn room_for_blob(
        &self,
        access: &Access<Push>,
        digest: &Digest,
        size: u64,
    ) -> Result<(), RegistryError> {
        let (repository, digest) = (access.repository().clone(), *digest);
        self.blocking(move |inner| inner.room_for_blob(&repository, &digest, size)).await
    }
}

impl Inner {
    /// Makes sure that what the repository's quotas have counted is all that there is. What can't be read denies nothing.
    pub(crate) fn know_quotas(&self, repository: &RepoName) {
        if let Err(error) = self.meta.know_quotas(repository) {
            tracing::warn!(
                %repository, %error, cause = ?std::error::Error::source(&error),
                "a repository of a quota could not be read; what it holds may not be counted"
            );
        }
    }

    pub(crate) fn room_for_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), RegistryError> {
        self.know_quotas(repository);
        match self.meta.room_for_blob(repository, digest, size) {
            Ok(None) => Ok(()),
            Ok(Some(exceeded)) => Err(exceeded_in(repository, exceeded)),
            // As with manifests: without an index nobody is denied.
            Err(MetaError::Index { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn exceeded_in(repository: &RepoName, exceeded: Exceeded) -> RegistryError {
    RegistryError::QuotaExceeded { repository: repository.clone(), exceeded: Box::new(exceeded) }
}
