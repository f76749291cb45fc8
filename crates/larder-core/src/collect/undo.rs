use std::sync::Arc;

use larder_meta::{Removal, Restored};
use larder_oci::{Access, Digest, Manifest, Push, Reference, RepoName, Tag};

use crate::collect::{Removed, Thing};
use crate::error::RegistryError;
use crate::events::{Event, Reporting};
use crate::registry::{Inner, Registry};

/// A deletion that was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The deletion.
    pub removed: Arc<Removed>,
    /// The tags that point where they did.
    pub tags: Vec<Tag>,
    /// Tags that exist again by now and point elsewhere; they were left alone.
    pub taken: Vec<(Tag, Digest)>,
}

impl Registry {
    /// Undoes a deletion of this repository; durable when this returns.
    ///
    /// # Errors
    /// Its grace time is over, or it has been undone already.
    pub async fn undo(&self, access: &Access<Push>, id: u64) -> Result<Undone, RegistryError> {
        let (repository, reporting) = (access.repository().clone(), self.reporting(access));
        self.asking_the_index(move |inner| {
            let _change = inner.require_writable()?;
            let removals = &inner.collector.removals;
            let too_late = || RegistryError::UndoTooLate { repository: repository.clone(), id };
            let removed = removals.take(id).ok_or_else(too_late)?;
            if removed.repository != repository {
                removals.put_off(id, std::time::Duration::ZERO);
                return Err(too_late());
            }
            match inner.restore(&repository, &removed.what) {
                Ok(Restored::Done { tags, taken }) => {
                    removals.undone(id)?;
                    inner.report_restored(&repository, &removed.what, &tags, &reporting)?;
                    Ok(Undone { removed, tags, taken })
                }
                Ok(Restored::Gone(_)) => {
                    removals.put_off(id, std::time::Duration::ZERO);
                    Err(too_late())
                }
                Err(error) => {
                    removals.put_off(id, std::time::Duration::ZERO);
                    Err(error)
                }
            }
        })
        .await
    }
}

impl Inner {
    fn restore(&self, repository: &RepoName, what: &Removal) -> Result<Restored, RegistryError> {
        let tagged = what.tags.iter().filter_map(|tag| tag.digest);
        let digests = what.manifest.into_iter().chain(what.blob).chain(tagged);
        let things =
            digests.flat_map(|digest| [Thing::Link(repository.clone(), digest), Thing::Content(digest)]);
        let _hold = self.collector.fence.hold(things.collect());
        Ok(self.meta.restore(repository, what)?)
    }

    /// To whoever follows the events, what is there again was pushed.
    fn report_restored(
        &self,
        repository: &RepoName,
        what: &Removal,
        tags: &[Tag],
        reporting: &Reporting,
    ) -> Result<(), RegistryError> {
        if let Some(digest) = what.blob {
            let size = self.blobs.find(&digest)?.map_or(0, |content| content.size());
            return reporting.changed(repository, || vec![Event::BlobPushed { digest, size }]);
        }
        let Some(digest) = what.manifest.or_else(|| what.tags.first().and_then(|tag| tag.digest)) else {
            return Ok(());
        };
        let Some(stored) = self.manifest(repository, &Reference::Digest(digest))? else { return Ok(()) };
        let Ok(manifest) = Manifest::parse_stored(&stored.bytes) else { return Ok(()) };
        let size = stored.bytes.len() as u64;
        let pushed = |tag| Event::ManifestPushed { manifest: &manifest, digest, size, tag };
        reporting.changed(repository, || match tags {
            [] => vec![pushed(None)],
            tags => tags.iter().map(|tag| pushed(Some(tag))).collect(),
        })
    }
}
