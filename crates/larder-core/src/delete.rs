use larder_oci::{Access, Delete, Digest, Reference};

use crate::error::RegistryError;
use crate::events::Event;
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
        let reporting = self.reporting(access);
        self.asking_the_index(move |inner| {
            inner.require_deletes()?;
            match &reference {
                Reference::Tag(tag) if inner.meta.delete_tag(&repository, tag)? => {
                    return reporting.changed(&repository, || vec![Event::TagDeleted { tag }]);
                }
                Reference::Digest(digest) => {
                    if let Some(tags) = inner.meta.delete_manifest(&repository, digest)? {
                        return reporting.changed(&repository, || {
                            let tags = tags.iter().map(|tag| Event::TagDeleted { tag });
                            std::iter::once(Event::ManifestDeleted { digest: *digest }).chain(tags).collect()
                        });
                    }
                }
                Reference::Tag(_) => {}
            }
            Err(RegistryError::ManifestUnknown { repository, reference })
        })
        .await
    }

    /// Takes a blob out of a repository; durable when this returns. Other repositories keep it.
    pub async fn delete_blob(&self, access: &Access<Delete>, digest: &Digest) -> Result<(), RegistryError> {
        let (repository, digest, reporting) = (access.repository().clone(), *digest, self.reporting(access));
        self.blocking(move |inner| {
            inner.require_deletes()?;
            if inner.meta.unlink_blob(&repository, &digest)? {
                reporting.changed(&repository, || vec![Event::BlobDeleted { digest }])
            } else {
                Err(RegistryError::BlobUnknown { repository, digest })
            }
        })
        .await
    }
}
