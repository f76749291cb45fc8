use larder_meta::{Listing, Page};
use larder_oci::{Access, CatalogAccess, Descriptor, Digest, Pull};

use crate::error::RegistryError;
use crate::registry::Registry;

impl Registry {
    /// A page of a repository's tags in byte order.
    pub async fn tags(
        &self,
        access: &Access<Pull>,
        page: Page<String>,
    ) -> Result<Listing<String>, RegistryError> {
        let repository = access.repository().clone();
        self.asking_the_index(move |inner| {
            inner.meta.tags(&repository, &page)?.ok_or(RegistryError::RepositoryUnknown { repository })
        })
        .await
    }

    /// A page of the repositories in byte order.
    pub async fn catalog(
        &self,
        _access: &CatalogAccess,
        page: Page<String>,
    ) -> Result<Listing<String>, RegistryError> {
        self.asking_the_index(move |inner| Ok(inner.meta.catalog(&page)?)).await
    }

    /// A page of the manifests about `subject`, sorted by digest; with types given, of these types only.
    pub async fn referrers(
        &self,
        access: &Access<Pull>,
        subject: &Digest,
        artifact_types: Vec<String>,
        page: Page<Digest>,
    ) -> Result<Listing<Descriptor>, RegistryError> {
        let (repository, subject) = (access.repository().clone(), *subject);
        self.asking_the_index(move |inner| {
            Ok(inner.meta.referrers(&repository, &subject, &artifact_types, &page)?)
        })
        .await
    }
}
