//! The first count of a repository that is new to the index: all at once, where the triggers of `holdings` would go row by
//! row and cost three times as much as the rows.
//!
//! It is the same arithmetic. What a repository brings that nobody held before is its own, and new to everything; what one
//! other held alone is that one's own no longer.

use larder_oci::Digest;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, params};

use super::holdings::{column, set_sizes};
use super::rows::{Changes, blob_of};
use super::write::insert_all;

/// Whether the index knows nothing that the repository holds, so that nothing of it has been counted.
pub(super) fn is_new(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM holdings WHERE repository = ?1)
             AND NOT EXISTS (SELECT 1 FROM tags WHERE repository = ?1)",
        )?
        .query_row([id], |row| row.get(0))
}

/// Adds the rows of a repository that [is new](is_new), and counts them. Lengths of what others hold, too, are left to the
/// triggers.
pub(super) fn fill(transaction: &Transaction<'_>, id: i64, changes: &Changes) -> rusqlite::Result<()> {
    let left = without_triggers(transaction, || {
        insert_all(transaction, id, changes)?;
        HOLD.iter().try_for_each(|step| transaction.prepare_cached(step)?.execute([id]).map(drop))?;
        let left = set_own_sizes(transaction, changes)?;
        SUM.iter().try_for_each(|step| transaction.prepare_cached(step)?.execute([id]).map(drop))?;
        Ok(left)
    })?;
    set_sizes(transaction, &left)
}

/// Triggers are switched for the connection, of which there is one that writes, and its lock is held.
fn without_triggers<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    let _off = Off(connection);
    work()
}

/// Triggers that are off. They come back however the work ends: without them the next sums would be wrong in silence.
struct Off<'c>(&'c Connection);

impl Drop for Off<'_> {
    fn drop(&mut self) {
        // It only sets a flag of the open connection.
        if let Err(error) = self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true) {
            tracing::error!(%error, "the index can't count any more what is kept; restart the registry");
        }
    }
}

/// Of what nobody else holds: it is in no sum yet. Gives the others.
fn set_own_sizes(transaction: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<Vec<(Digest, u64)>> {
    let mut update =
        transaction.prepare_cached("UPDATE contents SET size = ?2 WHERE digest = ?1 AND holders = 1")?;
    let manifests =
        changes.manifests.iter().map(|row| (row.digest, u64::try_from(row.size).unwrap_or_default()));
    let mut left = Vec::new();
    for (digest, size) in manifests.chain(changes.sizes.iter().copied()) {
        if update.execute(params![blob_of(&digest), column(size)])? == 0 {
            left.push((digest, size));
        }
    }
    Ok(left)
}

/// From the rows of the repository `?1` to who holds what.
const HOLD: [&str; 3] = [
    "INSERT INTO holdings (digest, repository, refs, named, pushed)
     SELECT digest, ?1, sum(refs), sum(named), sum(pushed) FROM
       (SELECT digest, 1 AS refs, 0 AS named, 0 AS pushed
            FROM blobs INDEXED BY blobs_by_repository WHERE repository = ?1
        UNION ALL SELECT target, 1, 0, 0
            FROM blobs INDEXED BY blobs_by_repository WHERE repository = ?1 AND target IS NOT NULL
        UNION ALL SELECT digest, 1, 1, NOT copied FROM manifests WHERE repository = ?1
        UNION ALL SELECT child, 1, 1, NOT copied FROM edges WHERE repository = ?1)
     GROUP BY digest",
    // Who held something alone does so no longer.
    "UPDATE usage SET own = own - shared.size FROM
       (SELECT other.repository AS repository, sum(c.size) AS size
        FROM holdings h INDEXED BY holdings_by_repository
        CROSS JOIN contents c ON c.digest = h.digest AND c.holders = 1
        CROSS JOIN holdings other ON other.digest = h.digest AND other.repository <> ?1
        WHERE h.repository = ?1 GROUP BY other.repository) AS shared
     WHERE usage.repository = shared.repository",
    "INSERT INTO contents (digest, size, holders)
     SELECT digest, 0, 1 FROM holdings INDEXED BY holdings_by_repository WHERE repository = ?1
     ON CONFLICT (digest) DO UPDATE SET holders = holders + 1",
];

/// From there to the sums.
const SUM: [&str; 4] = [
    "UPDATE usage SET (bytes, own) =
       (SELECT coalesce(sum(c.size), 0), coalesce(sum(CASE c.holders WHEN 1 THEN c.size ELSE 0 END), 0)
        FROM holdings h INDEXED BY holdings_by_repository CROSS JOIN contents c ON c.digest = h.digest
        WHERE h.repository = ?1),
     tags = (SELECT count(*) FROM tags WHERE repository = ?1)
     WHERE repository = ?1",
    "UPDATE everything SET bytes = bytes + (SELECT own FROM usage WHERE repository = ?1)",
    "INSERT INTO shares (digest, quota, holders)
     SELECT h.digest, q.id, 1 FROM members m JOIN quotas q ON q.id = m.quota
     JOIN holdings h INDEXED BY holdings_by_repository ON h.repository = m.repository
     WHERE m.repository = ?1 AND (CASE q.copies WHEN 1 THEN h.named ELSE h.pushed END) > 0
     ON CONFLICT (digest, quota) DO UPDATE SET holders = holders + 1",
    // What no other member has that counts is new to the quota.
    "UPDATE quotas SET
     used = used + (SELECT coalesce(sum(c.size), 0)
        FROM holdings h INDEXED BY holdings_by_repository
        CROSS JOIN shares s ON s.digest = h.digest AND s.quota = quotas.id AND s.holders = 1
        CROSS JOIN contents c ON c.digest = h.digest
        WHERE h.repository = ?1 AND (CASE quotas.copies WHEN 1 THEN h.named ELSE h.pushed END) > 0),
     tags = tags + (SELECT count(*) FROM tags t WHERE t.repository = ?1 AND (quotas.copies OR NOT t.copied))
     WHERE id IN (SELECT quota FROM members WHERE repository = ?1)",
];

#[cfg(test)]
mod tests;
