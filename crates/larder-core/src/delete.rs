use larder_meta::Removal;
use larder_oci::{Access, Delete, Digest, Reference};

use crate::error::RegistryError;
use crate::events::Event;
use crate::registry::Registry;

impl Registry {
    /// Removes a tag, or a manifest with every tag that points at it; durable when this returns. The
    /// bytes stay for the grace time, in which it can be undone, and until the collector comes.
    pub async fn delete_manifest(
        &self,
        access: &Access<Delete>,
        reference: &Reference,
    ) -> Result<(), RegistryError> {
        let (repository, reference) = (access.repository().clone(), reference.clone());
        let reporting = self.reporting(access);
        let actor = access.actor().clone();
        self.asking_the_index(move |inner| {
            let _change = inner.require_deletes()?;
            let note = |removal: &Removal| inner.note_removal(&repository, &actor, removal);
            match &reference {
                Reference::Tag(tag) if inner.meta.delete_tag_noting(&repository, tag, note)? => {
                    return reporting.changed(&repository, || vec![Event::TagDeleted { tag }]);
                }
                Reference::Digest(digest) => {
                    if let Some(tags) = inner.meta.delete_manifest_noting(&repository, digest, note)? {
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
        let actor = access.actor().clone();
        self.blocking(move |inner| {
            let _change = inner.require_deletes()?;
            let note = |removal: &Removal| inner.note_removal(&repository, &actor, removal);
            if inner.meta.unlink_blob_noting(&repository, &digest, note)? {
                reporting.changed(&repository, || vec![Event::BlobDeleted { digest }])
            } else {
                Err(RegistryError::BlobUnknown { repository, digest })
            }
        })
        .await
    }
}
