//! How much there is.

use std::collections::HashMap;

use larder_oci::{Algorithm, Digest};
use rusqlite::params;

use super::Index;
use super::holdings::sum;
use super::rows::{blobs_between, digest_column};
use crate::counts::{Counts, KnownContent};
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
    pub(crate) fn known_contents(
        &self,
        algorithm: Algorithm,
        first_byte: u8,
    ) -> Result<HashMap<Digest, KnownContent>, MetaError> {
        let (first, end) = blobs_between(algorithm, first_byte);
        let known = self.rows(
            "SELECT c.digest, c.size,
             (SELECT COUNT(*) FROM edges INDEXED BY edges_by_child WHERE child = c.digest AND role <> 2)
             + (SELECT COUNT(*) FROM manifests INDEXED BY manifests_by_digest WHERE digest = c.digest)
             FROM contents c WHERE c.digest >= ?1 AND c.digest < ?2",
            params![first, end],
            |row| {
                let size = Some(sum(row, 1)?).filter(|size| *size > 0);
                Ok((digest_column(row, 0)?, KnownContent { size, times_named: sum(row, 2)? }))
            },
        )?;
        Ok(known.into_iter().collect())
    }
}
