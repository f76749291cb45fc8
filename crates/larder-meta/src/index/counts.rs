//! How much there is.

use larder_oci::Digest;

use super::Index;
use super::rows::blob_of;
use crate::counts::Counts;
use crate::error::MetaError;

impl Index {
    pub(crate) fn counts(&self) -> Result<Counts, MetaError> {
        let counted = self.rows(
            "SELECT (SELECT COUNT(*) FROM repositories WHERE listed = 1),
             (SELECT COUNT(*) FROM tags), (SELECT COUNT(*) FROM manifests)",
            [],
            |row| {
                let [repositories, tags, manifests] = [0, 1, 2].map(|column| row.get::<_, i64>(column));
                let count = |number: i64| u64::try_from(number).unwrap_or_default();
                Ok(Counts {
                    repositories: count(repositories?),
                    tags: count(tags?),
                    manifests: count(manifests?),
                })
            },
        )?;
        Ok(counted.first().copied().unwrap_or_default())
    }

    /// An index's entry counts as the manifest that it is, not as a part.
    pub(crate) fn times_named(&self, digest: &Digest) -> Result<u64, MetaError> {
        let counted = self.rows(
            "SELECT (SELECT COUNT(*) FROM edges INDEXED BY edges_by_child WHERE child = ?1 AND role <> 2)
             + (SELECT COUNT(*) FROM manifests INDEXED BY manifests_by_digest WHERE digest = ?1)",
            [blob_of(digest)],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(counted.first().and_then(|number| u64::try_from(*number).ok()).unwrap_or_default())
    }
}
