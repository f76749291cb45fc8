//! How much there is, by the index.

use larder_oci::Digest;

use crate::error::MetaError;
use crate::store::MetaStore;

/// How much there is of what has a row in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Repositories that the catalog shows.
    pub repositories: u64,
    /// Tags of all of them.
    pub tags: u64,
    /// Manifests, each in as many repositories as it is.
    pub manifests: u64,
}

impl MetaStore {
    /// What the index holds right now, without looking at a file. Costs a pass over the narrowest tree of three tables: no more than
    /// a millisecond for 10,000 tags.
    pub fn counts(&self) -> Result<Counts, MetaError> {
        self.index.counts()
    }

    /// How many images name this content: manifests that are made of it, in whatever repository, and repositories that hold it
    /// as a manifest. Two look-ups in the index.
    pub fn times_named(&self, digest: &Digest) -> Result<u64, MetaError> {
        self.index.times_named(digest)
    }
}
