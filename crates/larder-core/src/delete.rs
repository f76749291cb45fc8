use larder_oci::{Access, Delete, Digest, Reference};

use crate::error::RegistryError;
use crate::registry::Registry;

impl Registry {
    /// Removes a tag, or a manifest with every tag that points at it; durable when this returns. The
    /// bytes stay until they are collected.
    pub async fn delete_manifest(
        &self,
        access: &Access<Delete>,
        reference: &Reference,
    ) -> Result<(), RegistryError> {
        let (repository, reference) = (access.repository().clone(), reference.clone());
        self.asking_the_index(move |inner| {
            inner.require_deletes()?;
            let removed = match &reference {
                Reference::Tag(tag) => inner.meta.delete_tag(&repository, tag)?,
                Reference::Digest(digest) => inner.meta.delete_manifest(&repository, digest)?.is_some(),
            };
            if removed { Ok(()) } else { Err(RegistryError::ManifestUnknown { repository, reference }) }
        })
        .await
    }

    /// Takes a blob out of a repository; durable when this returns. Other repositories keep it.
    pub async fn delete_blob(&self, access: &Access<Delete>, digest: &Digest) -> Result<(), RegistryError> {
        let (repository, digest) = (access.repository().clone(), *digest);
        self.blocking(move |inner| {
            inner.require_deletes()?;
            if inner.meta.unlink_blob(&repository, &digest)? {
                Ok(())
            } else {
                Err(RegistryError::BlobUnknown { repository, digest })
            }
        })
        .await
    }
}
