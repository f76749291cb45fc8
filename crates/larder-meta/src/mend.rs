//! Mending what an [`Inspector`] found, where the files themselves say what they meant.

use larder_oci::{RepoName, Role};

use crate::error::MetaError;
use crate::inspect::{Fault, Inspector};
use crate::layout;
use crate::store::MetaStore;

impl MetaStore {
    /// Mends a fault; durable when this returns. `false` if the files don't say how, or it is gone.
    ///
    /// The fault is looked at again under the repository's lock: somebody may have pushed meanwhile.
    pub fn mend(&self, name: &RepoName, fault: &Fault) -> Result<bool, MetaError> {
        let inspector = Inspector::new(&self.disk, &self.blobs);
        let state = self.repositories.get(name);
        let _excluded = state.exclude();
        let (path, digest) = match fault {
            Fault::Link { path, holds, meant: Some(digest) } => {
                let Some(bytes) = self.disk.read(path, u64::MAX)? else { return Ok(false) };
                let now = String::from_utf8_lossy(&bytes);
                let is_still = now.starts_with(holds.as_str()) || now.len() as u64 > layout::LONGEST_LINK;
                if !is_still || now == digest.to_string() {
                    return Ok(false);
                }
                (path.clone(), *digest)
            }
            Fault::TagWithoutManifest { tag, digest, content_is_there: true } => {
                if self.tag(name, tag)? != Some(*digest) || !inspector.is_manifest(digest)? {
                    return Ok(false);
                }
                (layout::revision_link(name, digest), *digest)
            }
            Fault::NotLinked { manifest, role, digest } => {
                if self.manifest(name, manifest)?.is_none() || self.blobs.find(digest)?.is_none() {
                    return Ok(false);
                }
                let is_manifest = *role == Role::Child && inspector.is_manifest(digest)?;
                let link = if is_manifest {
                    layout::revision_link(name, digest)
                } else {
                    layout::layer_link(name, digest)
                };
                (link, *digest)
            }
            Fault::Link { meant: None, .. } | Fault::TagWithoutManifest { .. } | Fault::Upload { .. } => {
                return Ok(false);
            }
        };
        self.change_files(name, &state, || Ok(self.disk.put(&path, digest.to_string().as_bytes())?))?;
        // Its rows were made from what the files said before.
        self.doubt(&state);
        Ok(true)
    }

    /// Takes note that content has gone from the store: what these repositories' rows say of it doesn't hold any more.
    pub fn content_is_gone<'a>(&self, repositories: impl IntoIterator<Item = &'a RepoName>) {
        for name in repositories {
            self.doubt(&self.repositories.get(name));
        }
    }

    /// An inspector of this store's files.
    pub fn inspector(&self) -> Inspector<'_> {
        Inspector::new(&self.disk, &self.blobs)
    }
}
