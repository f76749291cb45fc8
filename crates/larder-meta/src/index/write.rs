//! Rows that come and go. None is ever replaced: what is counted along are insertions and deletions.

use larder_oci::{Digest, Tag};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::rows::{Changes, ManifestRow, TagRow, blob_of};

/// The rows that changes bring to a repository.
pub(super) fn insert_all(transaction: &Transaction<'_>, id: i64, changes: &Changes) -> rusqlite::Result<()> {
    changes.manifests.iter().try_for_each(|row| insert_manifest(transaction, id, row))?;
    changes.tags.iter().try_for_each(|row| insert_tag(transaction, id, row))?;
    changes
        .blobs
        .iter()
        .try_for_each(|(digest, target)| insert_blob(transaction, id, digest, target.as_ref()))
}

pub(super) fn insert_blob(
    transaction: &Transaction<'_>,
    id: i64,
    digest: &Digest,
    target: Option<&Digest>,
) -> rusqlite::Result<()> {
    for query in [
        "DELETE FROM blobs WHERE digest = ?1 AND repository = ?2 AND target IS NOT ?3",
        "INSERT INTO blobs (digest, repository, target) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    ] {
        transaction.prepare_cached(query)?.execute(params![blob_of(digest), id, target.map(blob_of)])?;
    }
    Ok(())
}

pub(super) fn delete_blob(transaction: &Transaction<'_>, id: i64, digest: &Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM blobs WHERE digest = ?1 AND repository = ?2")?
        .execute(params![blob_of(digest), id])
        .map(|_| ())
}

pub(super) fn insert_tag(transaction: &Transaction<'_>, id: i64, row: &TagRow) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO tags (repository, name, digest, modified, inode, copied) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, modified = excluded.modified,
             inode = excluded.inode, copied = excluded.copied",
        )?
        .execute(params![id, row.tag.as_str(), blob_of(&row.digest), row.modified, row.inode, row.copied])
        .map(|_| ())
}

pub(super) fn delete_tag(transaction: &Transaction<'_>, id: i64, tag: &Tag) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM tags WHERE repository = ?1 AND name = ?2")?
        .execute(params![id, tag.as_str()])
        .map(|_| ())
}

pub(super) fn insert_manifest(
    transaction: &Transaction<'_>,
    id: i64,
    row: &ManifestRow,
) -> rusqlite::Result<()> {
    let known: Option<bool> = transaction
        .prepare_cached("SELECT copied FROM manifests WHERE repository = ?1 AND digest = ?2")?
        .query_row(params![id, blob_of(&row.digest)], |row| row.get(0))
        .optional()?;
    // What a manifest is made of, its digest says: the rows can't be others.
    if known == Some(row.copied) {
        return Ok(());
    }
    delete_manifest(transaction, id, &row.digest)?;
    transaction
        .prepare_cached(
            "INSERT INTO manifests (repository, digest, size, subject, artifact_type, descriptor, copied)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            blob_of(&row.digest),
            row.size,
            row.subject.as_ref().map(blob_of),
            row.artifact_type,
            row.descriptor,
            row.copied
        ])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO edges (repository, parent, child, role, copied) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?;
    for (role, child) in &row.edges {
        insert.execute(params![id, blob_of(&row.digest), blob_of(child), role, row.copied])?;
    }
    Ok(())
}

pub(super) fn delete_manifest(
    transaction: &Transaction<'_>,
    id: i64,
    digest: &Digest,
) -> rusqlite::Result<()> {
    for query in [
        "DELETE FROM edges WHERE repository = ?1 AND parent = ?2",
        "DELETE FROM manifests WHERE repository = ?1 AND digest = ?2",
    ] {
        transaction.prepare_cached(query)?.execute(params![id, blob_of(digest)])?;
    }
    Ok(())
}
