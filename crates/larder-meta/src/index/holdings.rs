//! Who holds how much: kept by triggers, so that no change of a row can pass it by.
//!
//! A repository *holds* content when it has a link to it, a manifest with its digest, or a manifest that is made of it:
//! exactly what keeps the collector from taking it away. `holdings` counts these reasons, `contents` counts the holders,
//! and from the two follow the sums of each repository (`usage`), of everything, and of each quota. A change costs what it
//! touches: its own content, its repository, and where it makes another repository the only holder, that one. Only a repository
//! that is new to the index is counted at once, and not row by row (`bulk.rs`).
//!
//! One thing costs more: when content arrives that was absent, its length is added to everybody who named it before.

use std::collections::HashMap;

use larder_oci::{Digest, RepoName};
use rusqlite::{Transaction, params};

use super::rows::{blob_of, digest_column};
use super::{Index, one_more};
use crate::error::MetaError;
use crate::listing::Listing;

const TABLES: &str = "
    CREATE TABLE contents (
        digest BLOB PRIMARY KEY,
        -- 0 where it isn't here.
        size INTEGER NOT NULL,
        -- Repositories that hold it.
        holders INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE holdings (
        digest BLOB NOT NULL,
        repository INTEGER NOT NULL,
        -- Rows of blobs, manifests and edges.
        refs INTEGER NOT NULL,
        -- Those that are manifests and edges: an upload that no manifest names is none of these.
        named INTEGER NOT NULL,
        -- Those of manifests that were pushed.
        pushed INTEGER NOT NULL,
        PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;
    CREATE INDEX holdings_by_repository ON holdings (repository, digest);

    CREATE TABLE usage (
        repository INTEGER PRIMARY KEY,
        -- Of the content that it holds, each once.
        bytes INTEGER NOT NULL DEFAULT 0,
        -- Of what no other repository holds.
        own INTEGER NOT NULL DEFAULT 0,
        tags INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX usage_by_size ON usage (own, bytes);
    INSERT INTO usage (repository) SELECT id FROM repositories;

    -- Of all content that some repository holds.
    CREATE TABLE everything (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), bytes INTEGER NOT NULL);
    INSERT INTO everything VALUES (0, 0);

    CREATE TABLE quotas (
        id INTEGER PRIMARY KEY,
        -- Which repositories are meant, and whether copies count, too: all that the sums depend on.
        meant TEXT NOT NULL UNIQUE,
        copies INTEGER NOT NULL,
        used INTEGER NOT NULL DEFAULT 0,
        tags INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE members (
        repository INTEGER NOT NULL,
        quota INTEGER NOT NULL,
        PRIMARY KEY (repository, quota)
    ) WITHOUT ROWID;
    CREATE INDEX members_by_quota ON members (quota, repository);
    -- How many members of a quota have content that counts.
    CREATE TABLE shares (
        digest BLOB NOT NULL,
        quota INTEGER NOT NULL,
        holders INTEGER NOT NULL,
        PRIMARY KEY (digest, quota)
    ) WITHOUT ROWID;

    CREATE TRIGGER content_added AFTER INSERT ON contents BEGIN
        UPDATE everything SET bytes = bytes + new.size;
    END;
    CREATE TRIGGER content_removed AFTER DELETE ON contents BEGIN
        UPDATE everything SET bytes = bytes - old.size;
    END;
    CREATE TRIGGER content_sized AFTER UPDATE OF size ON contents WHEN new.size <> old.size BEGIN
        UPDATE everything SET bytes = bytes + new.size - old.size;
        UPDATE usage SET bytes = bytes + new.size - old.size,
            own = own + (CASE new.holders WHEN 1 THEN new.size - old.size ELSE 0 END)
            WHERE repository IN (SELECT repository FROM holdings WHERE digest = new.digest);
        UPDATE quotas SET used = used + new.size - old.size
            WHERE id IN (SELECT quota FROM shares WHERE digest = new.digest);
    END;

    CREATE TRIGGER repository_added AFTER INSERT ON repositories BEGIN
        INSERT INTO usage (repository) VALUES (new.id);
    END;
    CREATE TRIGGER repository_removed AFTER DELETE ON repositories BEGIN
        DELETE FROM usage WHERE repository = old.id;
        DELETE FROM members WHERE repository = old.id;
    END;

    CREATE TRIGGER share_added AFTER INSERT ON shares BEGIN
        UPDATE quotas SET used = used + coalesce((SELECT size FROM contents WHERE digest = new.digest), 0)
            WHERE id = new.quota;
    END;
    CREATE TRIGGER share_removed AFTER DELETE ON shares BEGIN
        UPDATE quotas SET used = used - coalesce((SELECT size FROM contents WHERE digest = old.digest), 0)
            WHERE id = old.quota;
    END;

    CREATE TRIGGER tag_added AFTER INSERT ON tags BEGIN
        UPDATE usage SET tags = tags + 1 WHERE repository = new.repository;
        UPDATE quotas SET tags = tags + 1 WHERE (copies OR NOT new.copied)
            AND id IN (SELECT quota FROM members WHERE repository = new.repository);
    END;
    CREATE TRIGGER tag_removed AFTER DELETE ON tags BEGIN
        UPDATE usage SET tags = tags - 1 WHERE repository = old.repository;
        UPDATE quotas SET tags = tags - 1 WHERE (copies OR NOT old.copied)
            AND id IN (SELECT quota FROM members WHERE repository = old.repository);
    END;
    CREATE TRIGGER tag_changed AFTER UPDATE OF copied ON tags WHEN new.copied <> old.copied BEGIN
        UPDATE quotas SET tags = tags + old.copied - new.copied WHERE NOT copies
            AND id IN (SELECT quota FROM members WHERE repository = new.repository);
    END;

    CREATE TRIGGER holding_added AFTER INSERT ON holdings BEGIN
        INSERT INTO contents (digest, size, holders) VALUES (new.digest, 0, 0) ON CONFLICT (digest) DO NOTHING;
        -- Who held it alone does so no longer.
        UPDATE usage SET own = own - (SELECT size FROM contents WHERE digest = new.digest)
            WHERE repository = (SELECT h.repository FROM contents c JOIN holdings h ON h.digest = c.digest
                WHERE c.digest = new.digest AND c.holders = 1 AND h.repository <> new.repository);
        UPDATE contents SET holders = holders + 1 WHERE digest = new.digest;
        UPDATE usage SET bytes = bytes + (SELECT size FROM contents WHERE digest = new.digest),
            own = own + (SELECT CASE holders WHEN 1 THEN size ELSE 0 END FROM contents WHERE digest = new.digest)
            WHERE repository = new.repository;
        {ADD_SHARES}
    END;
    CREATE TRIGGER holding_changed AFTER UPDATE OF named, pushed ON holdings
        WHEN (new.named > 0) <> (old.named > 0) OR (new.pushed > 0) <> (old.pushed > 0) BEGIN
        {ADD_SHARES_CHANGED}
        {DROP_SHARES_CHANGED}
    END;
    CREATE TRIGGER holding_removed AFTER DELETE ON holdings BEGIN
        {DROP_SHARES}
        UPDATE usage SET bytes = bytes - (SELECT size FROM contents WHERE digest = old.digest),
            own = own - (SELECT CASE holders WHEN 1 THEN size ELSE 0 END FROM contents WHERE digest = old.digest)
            WHERE repository = old.repository;
        UPDATE contents SET holders = holders - 1 WHERE digest = old.digest;
        -- Who holds it alone from here on.
        UPDATE usage SET own = own + (SELECT size FROM contents WHERE digest = old.digest)
            WHERE repository = (SELECT h.repository FROM contents c JOIN holdings h ON h.digest = c.digest
                WHERE c.digest = old.digest AND c.holders = 1);
        DELETE FROM contents WHERE digest = old.digest AND holders = 0;
    END;

    CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN
        INSERT INTO holdings (digest, repository, refs, named, pushed) VALUES (new.digest, new.repository, 1, 0, 0)
            ON CONFLICT (digest, repository) DO UPDATE SET refs = refs + 1;
        INSERT INTO holdings (digest, repository, refs, named, pushed)
            SELECT new.target, new.repository, 1, 0, 0 WHERE new.target IS NOT NULL
            ON CONFLICT (digest, repository) DO UPDATE SET refs = refs + 1;
    END;
    CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN
        UPDATE holdings SET refs = refs - 1
            WHERE digest IN (old.digest, old.target) AND repository = old.repository;
        DELETE FROM holdings WHERE digest IN (old.digest, old.target) AND repository = old.repository AND refs = 0;
    END;

    CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN
        {NAME_ITSELF}
        UPDATE contents SET size = new.size WHERE digest = new.digest AND size <> new.size;
    END;
    CREATE TRIGGER manifest_removed AFTER DELETE ON manifests BEGIN
        {UNNAME_ITSELF}
    END;

    CREATE TRIGGER edge_added AFTER INSERT ON edges BEGIN
        {NAME_CHILD}
    END;
    CREATE TRIGGER edge_removed AFTER DELETE ON edges BEGIN
        {UNNAME_CHILD}
    END;
";

/// A manifest is one more reason to hold what stands in this column of it, or of its edge.
const NAME: &str = "INSERT INTO holdings (digest, repository, refs, named, pushed)
            VALUES (new.{column}, new.repository, 1, 1, NOT new.copied)
            ON CONFLICT (digest, repository)
            DO UPDATE SET refs = refs + 1, named = named + 1, pushed = pushed + excluded.pushed;";

/// It is one no longer.
const UNNAME: &str =
    "UPDATE holdings SET refs = refs - 1, named = named - 1, pushed = pushed - (NOT old.copied)
            WHERE digest = old.{column} AND repository = old.repository;
        DELETE FROM holdings WHERE digest = old.{column} AND repository = old.repository AND refs = 0;";

/// The tables, and the triggers that keep them.
pub(super) fn tables() -> String {
    // Whether a holding counts in the quota `q`.
    let counts = |row: &str| format!("(CASE q.copies WHEN 1 THEN {row}.named ELSE {row}.pushed END) > 0");
    let add = |condition: &str| {
        format!(
            "INSERT INTO shares (digest, quota, holders)
                SELECT new.digest, q.id, 1 FROM members m JOIN quotas q ON q.id = m.quota
                WHERE m.repository = new.repository AND {condition}
                ON CONFLICT (digest, quota) DO UPDATE SET holders = holders + 1;"
        )
    };
    let drop = |condition: &str| {
        format!(
            "UPDATE shares SET holders = holders - 1 WHERE digest = old.digest AND quota IN
                (SELECT q.id FROM members m JOIN quotas q ON q.id = m.quota
                WHERE m.repository = old.repository AND {condition});
            DELETE FROM shares WHERE digest = old.digest AND holders = 0;"
        )
    };
    let (old, new) = (counts("old"), counts("new"));
    TABLES
        .replace("{ADD_SHARES}", &add(&new))
        .replace("{ADD_SHARES_CHANGED}", &add(&format!("{new} AND NOT {old}")))
        .replace("{DROP_SHARES_CHANGED}", &drop(&format!("{old} AND NOT {new}")))
        .replace("{DROP_SHARES}", &drop(&old))
        .replace("{NAME_ITSELF}", &NAME.replace("{column}", "digest"))
        .replace("{NAME_CHILD}", &NAME.replace("{column}", "child"))
        .replace("{UNNAME_ITSELF}", &UNNAME.replace("{column}", "digest"))
        .replace("{UNNAME_CHILD}", &UNNAME.replace("{column}", "child"))
}

/// Says how long content is, as far as some repository holds it.
pub(super) fn set_sizes(transaction: &Transaction<'_>, sizes: &[(Digest, u64)]) -> rusqlite::Result<()> {
    let mut update =
        transaction.prepare_cached("UPDATE contents SET size = ?2 WHERE digest = ?1 AND size <> ?2")?;
    sizes
        .iter()
        .try_for_each(|(digest, size)| update.execute(params![blob_of(digest), column(*size)]).map(drop))
}

pub(super) fn column(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A sum as SQLite keeps it; none is ever below zero.
pub(super) fn sum(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, Option<i64>>(at)?.unwrap_or_default()).unwrap_or_default())
}

/// What a repository takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// Its name.
    pub repository: RepoName,
    /// Bytes of the content that it holds, each once.
    pub bytes: u64,
    /// Those of them that no other repository holds: what would be free without it.
    pub unique: u64,
    /// Its tags.
    pub tags: u64,
}

/// How much content is, and in how many repositories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) size: u64,
    pub(crate) holders: u64,
}

impl Index {
    /// How long content is, if some repository holds it and it is known to have another length.
    pub(crate) fn note_size(&self, digest: &Digest, size: u64) -> Result<(), MetaError> {
        let differs = self.rows(
            "SELECT 1 FROM contents WHERE digest = ?1 AND size <> ?2",
            params![blob_of(digest), column(size)],
            |_| Ok(()),
        )?;
        if differs.is_empty() {
            return Ok(());
        }
        self.write(|transaction| set_sizes(transaction, &[(*digest, size)]))
    }

    /// The content that a repository holds, and its length.
    pub(crate) fn sizes_held(&self, repository: &RepoName) -> Result<HashMap<Digest, u64>, MetaError> {
        Ok(self.weights(repository)?.into_iter().map(|(digest, weight)| (digest, weight.size)).collect())
    }

    /// The content that a repository holds.
    pub(crate) fn weights(&self, repository: &RepoName) -> Result<HashMap<Digest, Weight>, MetaError> {
        let rows = self.rows(
            "SELECT c.digest, c.size, c.holders FROM repositories r
             JOIN holdings h INDEXED BY holdings_by_repository ON h.repository = r.id
             JOIN contents c ON c.digest = h.digest WHERE r.name = ?1",
            [repository.as_str()],
            |row| Ok((digest_column(row, 0)?, Weight { size: sum(row, 1)?, holders: sum(row, 2)? })),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Bytes of all content that some repository holds.
    pub(crate) fn bytes_held(&self) -> Result<u64, MetaError> {
        let rows = self.rows("SELECT bytes FROM everything WHERE only_row = 0", [], |row| sum(row, 0))?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    /// The repositories that would free most, most first.
    pub(crate) fn largest_repositories(&self, limit: usize) -> Result<Listing<RepositoryUsage>, MetaError> {
        let found = self.rows(
            "SELECT r.name, u.bytes, u.own, u.tags FROM usage u INDEXED BY usage_by_size
             CROSS JOIN repositories r ON r.id = u.repository WHERE u.own >= 0
             ORDER BY u.own DESC, u.bytes DESC, u.repository DESC LIMIT ?1",
            [one_more(limit)],
            usage,
        )?;
        // Those that hold nothing come last.
        let found = found.into_iter().flatten().filter(|each| each.bytes > 0 || each.tags > 0).collect();
        Ok(Listing::cut(found, limit))
    }

    /// What one repository takes; `None` if there is none of this name.
    pub(crate) fn usage_of(&self, repository: &RepoName) -> Result<Option<RepositoryUsage>, MetaError> {
        let found = self.rows(
            "SELECT r.name, u.bytes, u.own, u.tags FROM repositories r JOIN usage u ON u.repository = r.id
             WHERE r.name = ?1",
            [repository.as_str()],
            usage,
        )?;
        Ok(found.into_iter().flatten().next())
    }

    /// What the repositories at and below this name take, each.
    pub(crate) fn usage_below(&self, prefix: &RepoName) -> Result<Vec<RepositoryUsage>, MetaError> {
        let (first, end) = below(prefix);
        let mut found: Vec<RepositoryUsage> = self
            .rows(
                "SELECT r.name, u.bytes, u.own, u.tags FROM repositories r JOIN usage u ON u.repository = r.id
                 WHERE r.name >= ?1 AND r.name < ?2",
                [&first, &end],
                usage,
            )?
            .into_iter()
            .flatten()
            .collect();
        found.extend(self.usage_of(prefix)?);
        Ok(found)
    }

    /// What the repositories at and below this name take together, and what of it no other one holds. Costs what is in
    /// them.
    pub(crate) fn bytes_below(&self, prefix: &RepoName) -> Result<(u64, u64), MetaError> {
        let (first, end) = below(prefix);
        let rows = self.rows(
            "SELECT sum(c.size), sum(CASE WHEN held.times = c.holders THEN c.size ELSE 0 END) FROM
               (SELECT h.digest AS digest, count(*) AS times FROM repositories r
                JOIN holdings h INDEXED BY holdings_by_repository ON h.repository = r.id
                WHERE r.name = ?3 OR (r.name >= ?1 AND r.name < ?2) GROUP BY h.digest) held
             JOIN contents c ON c.digest = held.digest",
            params![first, end, prefix.as_str()],
            |row| Ok((sum(row, 0)?, sum(row, 1)?)),
        )?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    /// Repositories beside this one that hold some content, at most `limit`.
    pub(crate) fn other_holders(
        &self,
        repository: &RepoName,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepoName>, MetaError> {
        let names: Vec<String> = self.rows(
            "SELECT r.name FROM holdings h JOIN repositories r ON r.id = h.repository
             WHERE h.digest = ?1 AND r.name <> ?2 LIMIT ?3",
            params![blob_of(digest), repository.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

/// The names below a name are those between these two.
fn below(prefix: &RepoName) -> (String, String) {
    // `0` comes after `/`.
    (format!("{prefix}/"), format!("{prefix}0"))
}

fn usage(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<RepositoryUsage>> {
    let name: String = row.get(0)?;
    let Ok(repository) = name.parse() else { return Ok(None) };
    Ok(Some(RepositoryUsage { repository, bytes: sum(row, 1)?, unique: sum(row, 2)?, tags: sum(row, 3)? }))
}
