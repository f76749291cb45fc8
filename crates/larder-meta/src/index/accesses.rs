use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use larder_oci::{Digest, RepoName};
use rusqlite::params;

use super::Index;
use super::rows::{blob_of, digest_column};
use crate::copies::AccessTime;
use crate::error::MetaError;

/// Whether an access is of something that its repository no longer holds.
macro_rules! is_gone {
    () => {
        "NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.repository = accesses.repository
                     AND manifests.digest = accesses.digest)
         AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.repository = accesses.repository
                         AND blobs.digest = accesses.digest)"
    };
}

impl Index {
    pub(crate) fn note_accesses(&self, accesses: &[AccessTime]) -> Result<(), MetaError> {
        self.write(|transaction| {
            // No repository begins to exist by being asked.
            let mut insert = transaction.prepare_cached(
                "INSERT INTO accesses (repository, digest, accessed)
                 SELECT id, ?2, ?3 FROM repositories WHERE name = ?1
                 ON CONFLICT DO UPDATE SET accessed = max(accessed, excluded.accessed)",
            )?;
            for access in accesses {
                let seconds = access.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                insert.execute(params![access.repository.as_str(), blob_of(&access.digest), seconds])?;
            }
            Ok(())
        })
    }

    /// When what of a repository was last asked for, in seconds since 1970.
    pub(crate) fn accesses(&self, repository: &RepoName) -> Result<HashMap<Digest, i64>, MetaError> {
        let rows = self.rows(
            "SELECT digest, accessed FROM accesses JOIN repositories ON id = repository WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, row.get(1)?)),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Forgets when these were last asked for: they are gone.
    pub(crate) fn forget_accesses(&self, repository: &RepoName, digests: &[Digest]) -> Result<(), MetaError> {
        self.write(|transaction| {
            let mut delete = transaction.prepare_cached(
                "DELETE FROM accesses WHERE digest = ?2
                 AND repository = (SELECT id FROM repositories WHERE name = ?1)",
            )?;
            digests.iter().try_for_each(|digest| {
                delete.execute(params![repository.as_str(), blob_of(digest)]).map(|_| ())
            })
        })
    }

    /// Forgets when these were last asked for, those of them that the repository no longer holds.
    pub(crate) fn forget_gone(&self, repository: &RepoName, digests: &[Digest]) -> Result<(), MetaError> {
        self.write(|transaction| {
            let mut delete = transaction.prepare_cached(concat!(
                "DELETE FROM accesses WHERE digest = ?2
                 AND repository = (SELECT id FROM repositories WHERE name = ?1) AND ",
                is_gone!()
            ))?;
            digests.iter().try_for_each(|digest| {
                delete.execute(params![repository.as_str(), blob_of(digest)]).map(|_| ())
            })
        })
    }

    /// The same of all that the repository no longer holds. Looks at each of its accesses.
    pub(crate) fn forget_all_gone(&self, repository: &RepoName) -> Result<(), MetaError> {
        self.write(|transaction| {
            let query = concat!(
                "DELETE FROM accesses WHERE repository = (SELECT id FROM repositories WHERE name = ?1) AND ",
                is_gone!()
            );
            transaction.prepare_cached(query)?.execute([repository.as_str()]).map(|_| ())
        })
    }

    /// How many are of things that are gone, in all repositories.
    pub(crate) fn count_gone(&self) -> Result<u64, MetaError> {
        let query = concat!("SELECT count(*) FROM accesses WHERE ", is_gone!());
        let counts: Vec<i64> = self.rows(query, [], |row| row.get(0))?;
        Ok(counts.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or_default())
    }

    /// Since when accesses are noted here: `now`, if nobody has asked before.
    pub(crate) fn pulls_known_since(&self, now: SystemTime) -> Result<SystemTime, MetaError> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let since: i64 = self.write(|transaction| {
            transaction.execute(
                "INSERT INTO pulls_known (only_row, since) VALUES (0, ?1) ON CONFLICT DO NOTHING",
                [i64::try_from(seconds).unwrap_or(i64::MAX)],
            )?;
            transaction.query_row("SELECT since FROM pulls_known", [], |row| row.get(0))
        })?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(since).unwrap_or_default()))
    }
}
