use larder_oci::{Digest, RepoName};

use crate::error::MetaError;
use crate::store::MetaStore;

/// Everything that the index knows of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryContents {
    /// What its tags point at.
    pub tagged: Vec<Digest>,
    /// Its manifests, each with what it is about.
    pub manifests: Vec<(Digest, Option<Digest>)>,
    /// What its manifests are made of: manifest, part.
    pub parts: Vec<(Digest, Digest)>,
    /// Its blobs, each with the content's digest where that is another one.
    pub blobs: Vec<(Digest, Option<Digest>)>,
    /// A manifest that can't be read, if there is one: then what the repository needs isn't known.
    pub damaged: Option<Digest>,
}

impl MetaStore {
    /// Everything that a repository holds, from its index rows.
    pub fn contents(&self, repository: &RepoName) -> Result<RepositoryContents, MetaError> {
        self.reconcile(repository)?;
        Ok(RepositoryContents {
            tagged: self.index.tag_rows(repository)?.into_iter().map(|row| row.digest).collect(),
            manifests: self.index.manifests_and_subjects(repository)?,
            parts: self.index.all_parts(repository)?,
            blobs: self.index.blob_targets(repository)?.into_iter().collect(),
            damaged: self.unreadable.damaged_in(repository),
        })
    }
}
