//! What the repositories of a quota hold together. Which these are, each quota's row says itself, so that a repository
//! joins in the transaction that makes it.

use std::collections::HashSet;

use larder_oci::{Digest, RepoName, RepositoryPattern};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::Index;
use super::holdings::sum;
use super::rows::blob_of;
use crate::error::MetaError;

/// What the sums of a quota depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meant {
    /// The repositories, by sorted patterns; empty: all.
    pub(crate) repositories: Vec<RepositoryPattern>,
    /// Whether what was fetched from upstreams counts, too.
    pub(crate) copies: bool,
}

impl Meant {
    pub(crate) fn matches(&self, name: &RepoName) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|pattern| pattern.matches(name))
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Lets a new repository join the quotas that mean it.
pub(super) fn join(transaction: &Transaction<'_>, id: i64, name: &RepoName) -> rusqlite::Result<()> {
    let mut quotas = transaction.prepare_cached("SELECT id, meant FROM quotas WHERE id > 0 ORDER BY id")?;
    let rows = quotas.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (quota, meant) = row?;
        if serde_json::from_str::<Meant>(&meant).is_ok_and(|meant| meant.matches(name)) {
            transaction
                .prepare_cached("INSERT INTO members (repository, quota) VALUES (?1, ?2)")?
                .execute([id, quota])?;
        }
    }
    Ok(())
}

impl Index {
    /// Counts for these from here on. Those that are counted already go on; for others everything that their repositories
    /// hold is looked at once.
    pub(crate) fn set_quotas(&self, wanted: &[Meant]) -> Result<(), MetaError> {
        let texts: HashSet<String> = wanted.iter().map(Meant::text).collect();
        let known: HashSet<String> =
            self.rows("SELECT meant FROM quotas", [], |row| row.get(0))?.into_iter().collect();
        if texts == known {
            return Ok(());
        }
        self.write(|transaction| {
            for gone in known.difference(&texts) {
                let delete = "SELECT id FROM quotas WHERE meant = ?1";
                transaction.execute(&format!("DELETE FROM shares WHERE quota = ({delete})"), [gone])?;
                transaction.execute(&format!("DELETE FROM members WHERE quota = ({delete})"), [gone])?;
                transaction.execute("DELETE FROM quotas WHERE meant = ?1", [gone])?;
            }
            for meant in wanted.iter().filter(|meant| !known.contains(&meant.text())) {
                begin(transaction, meant)?;
            }
            Ok(())
        })
    }

    /// Bytes and tags that a quota's repositories hold; `None` if it isn't counted.
    pub(crate) fn quota_sums(&self, meant: &Meant) -> Result<Option<(u64, u64)>, MetaError> {
        let sums = self.rows("SELECT used, tags FROM quotas WHERE meant = ?1", [meant.text()], |row| {
            Ok((sum(row, 0)?, sum(row, 1)?))
        })?;
        Ok(sums.first().copied())
    }

    /// Whether some content counts in a quota already.
    pub(crate) fn counts_in(&self, meant: &Meant, digest: &Digest) -> Result<bool, MetaError> {
        let found = self.rows(
            "SELECT 1 FROM quotas JOIN shares ON quota = id WHERE meant = ?1 AND digest = ?2",
            params![meant.text(), blob_of(digest)],
            |_| Ok(()),
        )?;
        Ok(!found.is_empty())
    }
}

fn begin(transaction: &Transaction<'_>, meant: &Meant) -> rusqlite::Result<()> {
    transaction
        .execute("INSERT INTO quotas (meant, copies) VALUES (?1, ?2)", params![meant.text(), meant.copies])?;
    let quota = transaction.last_insert_rowid();
    let mut names = transaction.prepare("SELECT id, name FROM repositories")?;
    let mut join = transaction.prepare("INSERT INTO members (repository, quota) VALUES (?1, ?2)")?;
    for row in names.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))? {
        let (id, name) = row?;
        if name.parse().is_ok_and(|name| meant.matches(&name)) {
            join.execute([id, quota])?;
        }
    }
    // The trigger of a share adds its length.
    transaction.execute(
        "INSERT INTO shares (digest, quota, holders)
         SELECT h.digest, ?1, count(*) FROM members m JOIN holdings h ON h.repository = m.repository
         WHERE m.quota = ?1 AND (CASE ?2 WHEN 1 THEN h.named ELSE h.pushed END) > 0 GROUP BY h.digest",
        params![quota, meant.copies],
    )?;
    transaction.execute(
        "UPDATE quotas SET tags = (SELECT count(*) FROM members m JOIN tags t ON t.repository = m.repository
         WHERE m.quota = ?1 AND (?2 OR NOT t.copied)) WHERE id = ?1",
        params![quota, meant.copies],
    )?;
    Ok(())
}
