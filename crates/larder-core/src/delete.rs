use larder_meta::{Removal, RemovedTag};
use larder_oci::{Access, Actor, Delete, Digest, Reference, RepoName};

use crate::error::RegistryError;
use crate::events::{Event, Reporting};
use crate::registry::{Inner, Registry};

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
            let deleting = Deleting { repository: &repository, actor: &actor, reporting: &reporting };
            let rules = inner.retention_rules();
            let may = |removal: &Removal| {
                for RemovedTag { tag, digest, .. } in &removal.tags {
                    if let (Some(rule), Some(current)) = (rules.immutable_by(&repository, tag), *digest) {
                        let (repository, tag) = (repository.clone(), tag.clone());
                        return Err(RegistryError::TagImmutable { repository, tag, current, rule });
                    }
                }
                Ok(true)
            };
            if inner.delete(&deleting, &reference, may)? {
                return Ok(());
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

/// Where something is deleted, who does it, and who is told.
pub(crate) struct Deleting<'a> {
    pub(crate) repository: &'a RepoName,
    pub(crate) actor: &'a Actor,
    pub(crate) reporting: &'a Reporting,
}

impl Inner {
    /// Removes a tag, or a manifest with its tags, if `may` says so of what would go; it is asked under the repository's
    /// lock. `false` if there was nothing, or it said no.
    pub(crate) fn delete(
        &self,
        deleting: &Deleting<'_>,
        reference: &Reference,
        may: impl FnOnce(&Removal) -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        let Deleting { repository, actor, reporting } = *deleting;
        let note = |removal: &Removal| -> Result<(), Stopped> {
            if !may(removal)? {
                return Err(Stopped::Refused);
            }
            Ok(self.note_removal(repository, actor, removal)?)
        };
        let outcome = match reference {
            Reference::Tag(tag) => {
                let is_gone = self.meta.delete_tag_noting(repository, tag, note);
                is_gone.map(|is_gone| is_gone.then(|| (None, vec![tag.clone()])))
            }
            Reference::Digest(digest) => {
                let tags = self.meta.delete_manifest_noting(repository, digest, note);
                tags.map(|tags| tags.map(|tags| (Some(*digest), tags)))
            }
        };
        let (manifest, tags) = match outcome {
            Ok(Some(gone)) => gone,
            Ok(None) | Err(Stopped::Refused) => return Ok(false),
            Err(Stopped::Failed(error)) => return Err(error),
        };
        let events = || {
            let tags = tags.iter().map(|tag| Event::TagDeleted { tag });
            manifest.map(|digest| Event::ManifestDeleted { digest }).into_iter().chain(tags).collect()
        };
        reporting.changed(repository, events)?;
        Ok(true)
    }
}

/// Why a deletion didn't happen.
enum Stopped {
    Refused,
    Failed(RegistryError),
}

impl<E: Into<RegistryError>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped::Failed(error.into())
    }
}
