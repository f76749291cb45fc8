//! Who refers to what: the questions of whoever wants to remove something.

use larder_oci::{Digest, RepoName};
use rusqlite::params;

use super::rows::{blob_of, digest_column, optional_digest_column};
use super::{Index, delete_blob, delete_manifest, one_more, repository_id};
use crate::error::MetaError;
use crate::listing::{Listing, Page};

impl Index {
    /// Whether any repository holds this content or has a manifest that is made of it.
    pub(crate) fn is_referred_to(&self, digest: &Digest) -> Result<bool, MetaError> {
        let found = self.rows(
            "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)
             OR EXISTS (SELECT 1 FROM edges WHERE child = ?1)
             OR EXISTS (SELECT 1 FROM manifests INDEXED BY manifests_by_digest WHERE digest = ?1)
             OR EXISTS (SELECT 1 FROM blobs INDEXED BY blobs_by_target WHERE target = ?1)",
            [blob_of(digest)],
            |row| row.get(0),
        )?;
        Ok(found.first().copied().unwrap_or(true))
    }

    /// How much refers to this content: links, manifests of its digest, and manifests that are made of it, in all
    /// repositories; counted no further than `limit`.
    pub(crate) fn references_to(&self, digest: &Digest, limit: u64) -> Result<u64, MetaError> {
        let found: Vec<i64> = self.rows(
            "SELECT count(*) FROM (
                 SELECT 0, repository, digest FROM blobs WHERE digest = ?1
                 UNION ALL
                 SELECT 1, repository, digest FROM blobs INDEXED BY blobs_by_target WHERE target = ?1
                 UNION ALL
                 SELECT 2, repository, digest FROM manifests INDEXED BY manifests_by_digest WHERE digest = ?1
                 UNION ALL
                 SELECT DISTINCT 3, repository, parent FROM edges INDEXED BY edges_by_child WHERE child = ?1
                 LIMIT ?2
             )",
            params![blob_of(digest), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?;
        Ok(found.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or(u64::MAX))
    }

    /// Manifests of the repository that are made of this; at most `limit`.
    pub(crate) fn some_parents(
        &self,
        repository: &RepoName,
        child: &Digest,
        limit: usize,
    ) -> Result<Vec<Digest>, MetaError> {
        self.rows(
            "SELECT DISTINCT parent FROM edges INDEXED BY edges_by_child WHERE child = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1) LIMIT ?3",
            params![repository.as_str(), blob_of(child), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| digest_column(row, 0),
        )
    }

    /// Whether a tag of the repository points at this manifest.
    pub(crate) fn has_tag(&self, repository: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        let found = self.rows(
            "SELECT EXISTS (SELECT 1 FROM tags INDEXED BY tags_by_digest WHERE digest = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1))",
            params![repository.as_str(), blob_of(digest)],
            |row| row.get(0),
        )?;
        Ok(found.first().copied().unwrap_or(true))
    }

    /// What a manifest of the repository is about, if the repository holds that.
    pub(crate) fn subject_there(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Digest>, MetaError> {
        let found = self.rows(
            "SELECT subject.digest FROM repositories
             JOIN manifests own ON own.repository = id AND own.digest = ?2
             JOIN manifests subject ON subject.repository = id AND subject.digest = own.subject
             WHERE name = ?1",
            params![repository.as_str(), blob_of(digest)],
            |row| digest_column(row, 0),
        )?;
        Ok(found.first().copied())
    }

    /// The manifests among what a manifest of the repository is made of; at most `limit`.
    pub(crate) fn parts_that_are_manifests(
        &self,
        repository: &RepoName,
        manifest: &Digest,
        limit: usize,
    ) -> Result<Vec<Digest>, MetaError> {
        self.rows(
            "SELECT DISTINCT child FROM repositories
             JOIN edges ON edges.repository = id AND parent = ?2
             JOIN manifests ON manifests.repository = id AND digest = child
             WHERE name = ?1 ORDER BY child LIMIT ?3",
            params![repository.as_str(), blob_of(manifest), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| digest_column(row, 0),
        )
    }

    pub(crate) fn remove_released(
        &self,
        repository: &RepoName,
        manifests: &[Digest],
        blobs: &[Digest],
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            manifests.iter().try_for_each(|digest| delete_manifest(transaction, id, digest))?;
            blobs.iter().try_for_each(|digest| delete_blob(transaction, id, digest))?;
            let mut forget =
                transaction.prepare_cached("DELETE FROM accesses WHERE repository = ?1 AND digest = ?2")?;
            let gone = manifests.iter().chain(blobs);
            gone.into_iter().try_for_each(|digest| forget.execute(params![id, blob_of(digest)]).map(|_| ()))
        })
    }

    /// The manifests of the repository that its manifests are made of: parent, child.
    pub(crate) fn manifests_in_manifests(
        &self,
        repository: &RepoName,
    ) -> Result<Vec<(Digest, Digest)>, MetaError> {
        self.rows(
            "SELECT DISTINCT parent, child FROM repositories
             JOIN edges ON edges.repository = id
             JOIN manifests ON manifests.repository = id AND digest = child
             WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, digest_column(row, 1)?)),
        )
    }

    /// Manifests of the repository that are about this one; at most `limit`.
    pub(crate) fn attached_to(
        &self,
        repository: &RepoName,
        subject: &Digest,
        limit: usize,
    ) -> Result<Vec<Digest>, MetaError> {
        self.rows(
            "SELECT digest FROM manifests INDEXED BY referrers WHERE subject = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1) ORDER BY digest LIMIT ?3",
            params![repository.as_str(), blob_of(subject), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| digest_column(row, 0),
        )
    }

    /// What a manifest of the repository is made of.
    pub(crate) fn parts(&self, repository: &RepoName, manifest: &Digest) -> Result<Vec<Digest>, MetaError> {
        self.rows(
            "SELECT DISTINCT child FROM edges WHERE parent = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1) ORDER BY child",
            params![repository.as_str(), blob_of(manifest)],
            |row| digest_column(row, 0),
        )
    }

    /// The repository's manifests, each with what it is about.
    pub(crate) fn manifests_and_subjects(
        &self,
        repository: &RepoName,
    ) -> Result<Vec<(Digest, Option<Digest>)>, MetaError> {
        self.rows(
            "SELECT digest, subject FROM manifests JOIN repositories ON id = repository WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, optional_digest_column(row, 1)?)),
        )
    }

    /// What the repository's manifests are made of: manifest, part.
    pub(crate) fn all_parts(&self, repository: &RepoName) -> Result<Vec<(Digest, Digest)>, MetaError> {
        self.rows(
            "SELECT DISTINCT parent, child FROM edges JOIN repositories ON id = repository WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, digest_column(row, 1)?)),
        )
    }

    /// A page of the repository's blobs; beside each whether no manifest is made of it.
    pub(crate) fn blobs_and_use(
        &self,
        repository: &RepoName,
        page: &Page<Digest>,
    ) -> Result<Listing<(Digest, bool)>, MetaError> {
        let after = page.after.as_ref().map(blob_of).unwrap_or_default();
        let blobs = self.rows(
            "SELECT digest, NOT EXISTS (SELECT 1 FROM edges WHERE child = digest AND edges.repository = id)
             FROM repositories JOIN blobs INDEXED BY blobs_by_repository ON blobs.repository = id
             WHERE name = ?1 AND digest > ?2 ORDER BY digest LIMIT ?3",
            params![repository.as_str(), after, one_more(page.limit)],
            |row| Ok((digest_column(row, 0)?, row.get(1)?)),
        )?;
        Ok(Listing::cut(blobs, page.limit))
    }
}
