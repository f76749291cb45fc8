//! The index: SQLite beside the files, derived from them and disposable.
//!
//! Nothing is synced on commit (`synchronous = NORMAL` in WAL mode): a loss of power may take the
//! latest rows but not the file's consistency, and reconciling brings them back.

mod accesses;
mod bulk;
mod counts;
mod holdings;
mod quotas;
mod references;
pub(crate) mod reserve;
mod rows;
mod schema;
mod write;
#[cfg(test)]
pub(crate) mod work;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use larder_oci::{Descriptor, Digest, RepoName, Tag};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::error::MetaError;
use crate::listing::{Listing, Page};

pub use holdings::RepositoryUsage;
pub(crate) use holdings::Weight;
pub(crate) use quotas::Meant;
pub(crate) use rows::{Changes, ManifestRow, TagRow};
use rows::{blob_of, digest_column, optional_digest_column};
use write::{delete_blob, delete_manifest, delete_tag, insert_all, insert_blob, insert_manifest, insert_tag};

/// Read connections that are kept for the next reader; more may be open for a moment.
const IDLE_READERS: usize = 8;

/// The index as sorted text, one line per row: equal for equal content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSnapshot {
    /// One line per row, sorted.
    pub rows: Vec<String>,
}

pub(crate) struct Index {
    path: PathBuf,
    // Closed before the writer: the last one to close folds the journal in, which readers can't.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
    journals: OnceLock<(File, File)>,
}

impl Index {
    /// With too little room on the disk (`has_room`) it is kept in memory.
    pub(crate) fn open(path: &Path, has_room: bool) -> Result<Index, MetaError> {
        let opened = if has_room { schema::open_or_replace(path) } else { schema::open_in_memory() };
        let (writer, path) = opened.map_err(|source| MetaError::Index { path: path.to_owned(), source })?;
        let journals = OnceLock::new();
        Ok(Index { path, writer: Mutex::new(writer), readers: Mutex::default(), journals })
    }

    // Changes of one thing, after its files.

    pub(crate) fn add_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            insert_blob(transaction, id, digest, None)?;
            holdings::set_sizes(transaction, &[(*digest, size)])
        })
    }

    pub(crate) fn remove_blob(&self, repository: &RepoName, digest: &Digest) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            delete_blob(transaction, id, digest)
        })
    }

    /// `sizes` are the lengths of what it is made of.
    pub(crate) fn put_manifest(
        &self,
        repository: &RepoName,
        row: &ManifestRow,
        sizes: &[(Digest, u64)],
        tags: &[TagRow],
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            insert_manifest(transaction, id, row)?;
            holdings::set_sizes(transaction, sizes)?;
            tags.iter().try_for_each(|tag| insert_tag(transaction, id, tag))
        })
    }

    pub(crate) fn remove_tag(&self, repository: &RepoName, tag: &Tag) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            delete_tag(transaction, id, tag)
        })
    }

    pub(crate) fn remove_manifest(
        &self,
        repository: &RepoName,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, true)?;
            tags.iter().try_for_each(|tag| delete_tag(transaction, id, tag))?;
            delete_manifest(transaction, id, digest)
        })
    }

    // Reconciling.

    pub(crate) fn apply(
        &self,
        repository: &RepoName,
        listed: bool,
        changes: &Changes,
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            let id = repository_id(transaction, repository, listed)?;
            transaction.execute("UPDATE repositories SET listed = ?2 WHERE id = ?1", params![id, listed])?;
            if bulk::is_new(transaction, id)? {
                return bulk::fill(transaction, id, changes);
            }
            changes.removed_tags.iter().try_for_each(|tag| delete_tag(transaction, id, tag))?;
            changes
                .removed_manifests
                .iter()
                .try_for_each(|digest| delete_manifest(transaction, id, digest))?;
            changes.removed_blobs.iter().try_for_each(|digest| delete_blob(transaction, id, digest))?;
            insert_all(transaction, id, changes)?;
            holdings::set_sizes(transaction, &changes.sizes)
        })
    }

    /// Adds repositories by name; `true` beside a name means that the catalog lists it.
    pub(crate) fn add_names(&self, names: &[(RepoName, bool)]) -> Result<(), MetaError> {
        self.write(|transaction| {
            names.iter().try_for_each(|(name, listed)| repository_id(transaction, name, *listed).map(|_| ()))
        })
    }

    pub(crate) fn remove_repository(&self, name: &RepoName) -> Result<(), MetaError> {
        self.write(|transaction| {
            let known: Option<i64> = transaction
                .prepare_cached("SELECT id FROM repositories WHERE name = ?1")?
                .query_row([name.as_str()], |row| row.get(0))
                .optional()?;
            let Some(id) = known else { return Ok(()) };
            for table in schema::TABLES_OF_A_REPOSITORY {
                // A row at a time, so that what it counted for is counted down.
                transaction.execute(&format!("DELETE FROM {table} WHERE repository = ?1"), [id])?;
            }
            transaction.execute("DELETE FROM repositories WHERE id = ?1", [id]).map(|_| ())
        })
    }

    /// Whether the repository has a tag, a manifest or a blob.
    pub(crate) fn holds_anything(&self, repository: &RepoName) -> Result<bool, MetaError> {
        let found: Vec<bool> = self.rows(
            "SELECT EXISTS (SELECT 1 FROM tags WHERE repository = repositories.id) OR EXISTS (SELECT 1 FROM manifests WHERE repository = repositories.id)
             OR EXISTS (SELECT 1 FROM blobs WHERE repository = repositories.id) FROM repositories WHERE name = ?1",
            [repository.as_str()],
            |row| row.get(0),
        )?;
        Ok(found.contains(&true))
    }

    pub(crate) fn tag_rows(&self, repository: &RepoName) -> Result<Vec<TagRow>, MetaError> {
        self.rows(
            "SELECT tags.name, digest, modified, inode, copied FROM tags JOIN repositories ON id = repository
             WHERE repositories.name = ?1",
            [repository.as_str()],
            TagRow::read,
        )
    }

    /// The repository's manifests; beside each whether it was fetched from an upstream.
    pub(crate) fn manifest_digests(&self, repository: &RepoName) -> Result<HashMap<Digest, bool>, MetaError> {
        let digests = self.rows(
            "SELECT digest, copied FROM manifests JOIN repositories ON id = repository WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, row.get(1)?)),
        )?;
        Ok(digests.into_iter().collect())
    }

    /// The repository's blobs, each with the content's digest where that is another one.
    pub(crate) fn blob_targets(
        &self,
        repository: &RepoName,
    ) -> Result<HashMap<Digest, Option<Digest>>, MetaError> {
        let blobs = self.rows(
            "SELECT digest, target FROM blobs JOIN repositories ON id = repository WHERE name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, optional_digest_column(row, 1)?)),
        )?;
        Ok(blobs.into_iter().collect())
    }

    // Questions. Each reads a page through an index of its own.

    pub(crate) fn tags(
        &self,
        repository: &RepoName,
        page: &Page<String>,
    ) -> Result<Listing<String>, MetaError> {
        let names = self.rows(
            "SELECT name FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?1)
             AND name > ?2 ORDER BY name LIMIT ?3",
            params![repository.as_str(), page.after.as_deref().unwrap_or_default(), one_more(page.limit)],
            |row| row.get(0),
        )?;
        Ok(Listing::cut(names, page.limit))
    }

    pub(crate) fn tags_of(&self, repository: &RepoName, digest: &Digest) -> Result<Vec<Tag>, MetaError> {
        let names: Vec<String> = self.rows(
            "SELECT name FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?1)
             AND digest = ?2 ORDER BY name",
            params![repository.as_str(), blob_of(digest)],
            |row| row.get(0),
        )?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn some_tags_of(
        &self,
        repository: &RepoName,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<Tag>, MetaError> {
        let names: Vec<String> = self.rows(
            "SELECT name FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?1)
             AND digest = ?2 ORDER BY name LIMIT ?3",
            params![repository.as_str(), blob_of(digest), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn catalog(&self, page: &Page<String>) -> Result<Listing<String>, MetaError> {
        let names = self.rows(
            "SELECT name FROM repositories WHERE listed = 1 AND name > ?1 ORDER BY name LIMIT ?2",
            params![page.after.as_deref().unwrap_or_default(), one_more(page.limit)],
            |row| row.get(0),
        )?;
        Ok(Listing::cut(names, page.limit))
    }

    pub(crate) fn all_names(&self) -> Result<Vec<RepoName>, MetaError> {
        let names: Vec<String> =
            self.rows("SELECT name FROM repositories ORDER BY name", [], |row| row.get(0))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn repositories_with_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepoName>, MetaError> {
        let names: Vec<String> = self.rows(
            "SELECT name FROM blobs JOIN repositories ON id = repository WHERE digest = ?1 LIMIT ?2",
            params![blob_of(digest), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn parents(&self, repository: &RepoName, child: &Digest) -> Result<Vec<Digest>, MetaError> {
        self.rows(
            "SELECT DISTINCT parent FROM edges WHERE child = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1) ORDER BY parent",
            params![repository.as_str(), blob_of(child)],
            |row| digest_column(row, 0),
        )
    }

    pub(crate) fn referrers(
        &self,
        repository: &RepoName,
        subject: &Digest,
        artifact_types: &[String],
        page: &Page<Digest>,
    ) -> Result<Listing<Descriptor>, MetaError> {
        let after = page.after.as_ref().map(blob_of).unwrap_or_default();
        let limit = one_more(page.limit);
        // Left to choose, SQLite goes through all of the repository's manifests in their own order.
        let mut found = Vec::new();
        if artifact_types.is_empty() {
            found = self.rows(
                "SELECT descriptor FROM manifests INDEXED BY referrers WHERE subject = ?2 AND digest > ?3
                 AND repository = (SELECT id FROM repositories WHERE name = ?1) ORDER BY digest LIMIT ?4",
                params![repository.as_str(), blob_of(subject), after, limit],
                rows::descriptor,
            )?;
        }
        for kind in artifact_types.iter().collect::<HashSet<_>>() {
            found.extend(self.rows(
                "SELECT descriptor FROM manifests INDEXED BY referrers_by_type
                 WHERE subject = ?2 AND digest > ?3 AND artifact_type = ?5
                 AND repository = (SELECT id FROM repositories WHERE name = ?1) ORDER BY digest LIMIT ?4",
                params![repository.as_str(), blob_of(subject), after, limit, kind],
                rows::descriptor,
            )?);
        }
        let mut descriptors: Vec<Descriptor> = found.into_iter().flatten().collect();
        descriptors.sort_by_key(|descriptor| descriptor.digest);
        Ok(Listing::cut(descriptors, page.limit))
    }

    /// Whether the repository's manifest `digest` names `subject` as its subject.
    pub(crate) fn is_referrer(
        &self,
        repository: &RepoName,
        subject: &Digest,
        digest: &Digest,
    ) -> Result<bool, MetaError> {
        let found = self.rows(
            "SELECT 1 FROM manifests WHERE digest = ?3 AND subject = ?2
             AND repository = (SELECT id FROM repositories WHERE name = ?1)",
            params![repository.as_str(), blob_of(subject), blob_of(digest)],
            |_| Ok(()),
        )?;
        Ok(!found.is_empty())
    }

    pub(crate) fn snapshot(&self) -> Result<IndexSnapshot, MetaError> {
        let mut lines = Vec::new();
        for query in schema::SNAPSHOT {
            lines.extend(self.rows(query, [], |row| row.get::<_, String>(0))?);
        }
        lines.sort();
        Ok(IndexSnapshot { rows: lines })
    }

    // The connections.

    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, MetaError> {
        let mut writer = lock(&self.writer);
        let run = || -> rusqlite::Result<T> {
            let transaction = writer.transaction()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| self.failed(source))
    }

    fn rows<T>(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, MetaError> {
        let idle = lock(&self.readers).pop();
        let run = || -> rusqlite::Result<Vec<T>> {
            let reader = match idle {
                Some(reader) => reader,
                None => schema::open_reader(&self.path)?,
            };
            let rows = reader.prepare_cached(query)?.query_map(parameters, read)?.collect();
            let mut readers = lock(&self.readers);
            if readers.len() < IDLE_READERS {
                readers.push(reader);
            }
            rows
        };
        run().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> MetaError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        if matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) {
            // Pulls and pushes go on without it; the next start builds a new one.
            tracing::error!(
                path = %self.path.display(), error = %source,
                "the index is damaged and is set aside; restart to have it built again from the files"
            );
            schema::set_aside(&self.path);
        }
        MetaError::Index { path: self.path.clone(), source }
    }
}

/// The repository's number; a new one if it has none yet. Once listed it stays so until its
/// directory is gone, as in registry:2.
fn repository_id(transaction: &Transaction<'_>, name: &RepoName, listed: bool) -> rusqlite::Result<i64> {
    let known: Option<(i64, bool)> = transaction
        .prepare_cached("SELECT id, listed FROM repositories WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((id, already)) => {
            if listed && !already {
                transaction.execute("UPDATE repositories SET listed = 1 WHERE id = ?1", [id])?;
            }
            Ok(id)
        }
        None => {
            transaction.execute(
                "INSERT INTO repositories (name, listed) VALUES (?1, ?2)",
                params![name.as_str(), listed],
            )?;
            let id = transaction.last_insert_rowid();
            quotas::join(transaction, id, name)?;
            Ok(id)
        }
    }
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
