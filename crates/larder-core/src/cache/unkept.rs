//! Manifests that have come from an upstream and are not yet on the disk.
//!
//! A client has its manifest as soon as it has been hashed and understood: that a copy is kept is promised to nobody,
//! and the dozen syncs that keeping it durably takes may each wait for a disk that is busy with layers. Until the copy is
//! in its place, whoever asks for it is served from here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_oci::{Reference, RepoName, Tag};
use tokio::sync::Notify;

use crate::pull::StoredManifest;
use crate::registry::Registry;

/// How many names may wait at once, of manifests that are up to 4 MiB long. Beyond that their clients wait for the disk.
const MOST_UNKEPT: usize = 64;

type Key = (RepoName, Reference);

/// Manifests on their way to the disk, by all the names that they are asked for by.
#[derive(Default)]
pub(super) struct Unkept {
    manifests: Mutex<HashMap<Key, Arc<StoredManifest>>>,
    kept: Notify,
}

/// Lets a manifest be served from memory, as long as this is held.
pub(super) struct Keeping {
    registry: Registry,
    keys: Vec<Key>,
}

impl Unkept {
    pub(super) fn of(&self, repository: &RepoName, reference: &Reference) -> Option<Arc<StoredManifest>> {
        let manifests = self.manifests();
        if manifests.is_empty() {
            return None;
        }
        manifests.get(&(repository.clone(), reference.clone())).cloned()
    }

    /// Whether there is any of this repository.
    pub(super) fn has_of(&self, repository: &RepoName) -> bool {
        self.manifests().keys().any(|(name, _)| name == repository)
    }

    /// Waits until none of this repository's that are here now is left.
    pub(super) async fn until_kept(&self, repository: &RepoName) {
        loop {
            let kept = self.kept.notified();
            tokio::pin!(kept);
            // From here on no end is missed.
            kept.as_mut().enable();
            if !self.has_of(repository) {
                return;
            }
            kept.await;
        }
    }

    fn manifests(&self) -> MutexGuard<'_, HashMap<Key, Arc<StoredManifest>>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeping {
    /// `None` if too many wait already.
    pub(super) fn begin(
        registry: &Registry,
        repository: &RepoName,
        tag: Option<Tag>,
        manifest: &Arc<StoredManifest>,
    ) -> Option<Keeping> {
        let mut manifests = registry.inner.cache.unkept.manifests();
        if manifests.len() >= MOST_UNKEPT {
            return None;
        }
        let references = std::iter::once(Reference::Digest(manifest.digest)).chain(tag.map(Reference::Tag));
        let keys: Vec<Key> = references.map(|reference| (repository.clone(), reference)).collect();
        manifests.extend(keys.iter().map(|key| (key.clone(), Arc::clone(manifest))));
        let registry = registry.unreported();
        Some(Keeping { registry, keys })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let unkept = &self.registry.inner.cache.unkept;
        let mut manifests = unkept.manifests();
        for key in &self.keys {
            manifests.remove(key);
        }
        drop(manifests);
        unkept.kept.notify_waiters();
    }
}
