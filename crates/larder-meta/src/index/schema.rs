use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::holdings;

/// Changes whenever the tables do; an index of another version is thrown away and built again.
const VERSION: i64 = 4;

/// An index of this version is emptied and filled again from the files, and keeps what no file says: when things were
/// last asked for. So is one of the present version with other tables, indexes or triggers than this program makes: it was
/// made by a build between two releases, or changed by hand, and what it has counted can't be believed.
const EMPTIED_VERSION: i64 = 3;

/// What an emptied index keeps.
const KEPT: [&str; 3] = ["repositories", "accesses", "pulls_known"];

/// How long a connection waits for another one's transaction.
const BUSY: Duration = Duration::from_secs(30);

/// Those that an emptied index keeps.
const KEPT_TABLES: &str = "
    CREATE TABLE repositories (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        -- Whether the catalog shows it: it has, or has had, a blob or a manifest, as in registry:2.
        listed INTEGER NOT NULL
    );
    CREATE INDEX repositories_listed ON repositories (name) WHERE listed = 1;

    -- The one thing here that no file says: when manifests, and blobs that were fetched from an upstream, were last asked
    -- for, in seconds since 1970. Lost with the index, a copy counts as last asked for when it was fetched, and everything
    -- else as when the index was made (`pulls_known`).
    CREATE TABLE accesses (
        repository INTEGER NOT NULL,
        digest BLOB NOT NULL,
        accessed INTEGER NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
";

/// Those that are filled from the files of each repository.
const TABLES: &str = "
    -- A digest is a byte for its algorithm and the hash.
    CREATE TABLE tags (
        repository INTEGER NOT NULL,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        -- Of the link file: another one means that somebody else has moved the tag.
        modified INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        -- Whether it was fetched from an upstream.
        copied INTEGER NOT NULL,
        PRIMARY KEY (repository, name)
    ) WITHOUT ROWID;
    CREATE INDEX tags_by_digest ON tags (repository, digest);

    CREATE TABLE manifests (
        repository INTEGER NOT NULL,
        digest BLOB NOT NULL,
        size INTEGER NOT NULL,
        -- The rest only for manifests that have a subject; the descriptor is what a referrers list shows.
        subject BLOB,
        artifact_type TEXT,
        descriptor TEXT,
        copied INTEGER NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE INDEX referrers ON manifests (repository, subject, digest) WHERE subject IS NOT NULL;
    CREATE INDEX referrers_by_type ON manifests (repository, subject, artifact_type, digest)
        WHERE subject IS NOT NULL;

    CREATE INDEX manifests_by_digest ON manifests (digest);

    CREATE TABLE edges (
        repository INTEGER NOT NULL,
        parent BLOB NOT NULL,
        child BLOB NOT NULL,
        role INTEGER NOT NULL,
        -- Whether the parent was fetched from an upstream.
        copied INTEGER NOT NULL,
        PRIMARY KEY (repository, parent, child, role)
    ) WITHOUT ROWID;
    CREATE INDEX edges_by_child ON edges (child, repository);

    CREATE TABLE blobs (
        digest BLOB NOT NULL,
        repository INTEGER NOT NULL,
        -- The content's digest where it isn't this one: registry:2 keeps a sha512 blob as an alias of its sha256.
        target BLOB,
        PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_target ON blobs (target) WHERE target IS NOT NULL;
    CREATE INDEX blobs_by_repository ON blobs (repository, digest);
";

/// Made also in an index that is there already: what it holds is no reason to lose the rest.
const LATER_TABLES: &str = "
    -- Since when accesses are noted: what was asked for before isn't known.
    CREATE TABLE IF NOT EXISTS pulls_known (only_row INTEGER PRIMARY KEY CHECK (only_row = 0), since INTEGER NOT NULL);
";

/// Every table with a `repository` column.
pub(super) const TABLES_OF_A_REPOSITORY: [&str; 5] = ["tags", "manifests", "edges", "blobs", "accesses"];

/// Everything that the index says, without numbers that depend on the order of events.
pub(super) const SNAPSHOT: [&str; 9] = [
    "SELECT 'repository ' || name || ' listed=' || listed FROM repositories",
    "SELECT 'tag ' || r.name || ':' || t.name || ' ' || hex(digest) || ' ' || modified || ' ' || inode || ' ' || copied
     FROM tags t JOIN repositories r ON id = repository",
    "SELECT 'manifest ' || name || ' ' || hex(digest) || ' ' || size || ' ' || coalesce(hex(subject), '-')
     || ' ' || coalesce(artifact_type, '-') || ' ' || coalesce(descriptor, '-') || ' ' || copied
     FROM manifests JOIN repositories ON id = repository",
    "SELECT 'edge ' || name || ' ' || hex(parent) || ' ' || role || ' ' || hex(child)
     FROM edges JOIN repositories ON id = repository",
    "SELECT 'blob ' || name || ' ' || hex(digest) || ' ' || coalesce(hex(target), '-')
     FROM blobs JOIN repositories ON id = repository",
    "SELECT 'content ' || hex(digest) || ' ' || size || ' holders=' || holders FROM contents",
    "SELECT 'holding ' || name || ' ' || hex(digest) || ' ' || refs || ' ' || named || ' ' || pushed
     FROM holdings JOIN repositories ON id = repository",
    "SELECT 'usage ' || name || ' ' || bytes || ' own=' || own || ' tags=' || tags
     FROM usage JOIN repositories ON id = repository",
    "SELECT 'everything ' || bytes FROM everything WHERE bytes > 0",
];

/// Opens the index for writing, and says where it is. One that is damaged or of another version is
/// set aside or replaced: all of it can be read again from the files. Where no file can be written,
/// on a full or read-only disk, it is kept in memory: pulls don't need it, so they must not wait for it.
pub(super) fn open_or_replace(path: &Path) -> rusqlite::Result<(Connection, PathBuf)> {
    let first = match open_writer(path) {
        Ok(connection) => return Ok((connection, path.to_owned())),
        Err(error) => error,
    };
    let damaged = matches!(
        first.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    );
    if damaged {
        tracing::warn!(
            path = %path.display(), error = %first,
            "the index is damaged; it is set aside and built again from the files"
        );
        set_aside(path);
        if let Ok(connection) = open_writer(path) {
            return Ok((connection, path.to_owned()));
        }
    }
    tracing::error!(
        path = %path.display(), error = %first,
        "the index can't be written; it is kept in memory until the next start. Is the disk full?"
    );
    open_in_memory()
}

/// An index that goes with the process.
pub(super) fn open_in_memory() -> rusqlite::Result<(Connection, PathBuf)> {
    static MEMORIES: AtomicU64 = AtomicU64::new(0);
    let number = MEMORIES.fetch_add(1, Ordering::Relaxed);
    let memory = PathBuf::from(format!("file:larder-index-{number}?mode=memory&cache=shared"));
    open_writer(&memory).map(|connection| (connection, memory))
}

fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    #[cfg(test)]
    super::work::watch(&connection);
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let prepare = match version {
        0 => Some(KEPT_TABLES.to_owned()),
        VERSION | EMPTIED_VERSION => {
            connection.execute_batch(LATER_TABLES)?;
            let (own, made) = (own_objects()?, objects(&connection)?);
            if version == VERSION && made == own {
                return Ok(connection);
            }
            let (kept, other): (Vec<&Object>, Vec<&Object>) = made
                .iter()
                .partition(|object| KEPT.contains(&object.table.as_str()) && object.kind != "trigger");
            // A table that is kept has to be the one that is meant.
            if !own
                .iter()
                .filter(|object| KEPT.contains(&object.name.as_str()))
                .all(|own| kept.contains(&own))
            {
                return open_another(connection, path);
            }
            tracing::info!(path = %path.display(), "the index is of another build; it is filled again from the files");
            Some(other.into_iter().map(Object::drop).collect())
        }
        _ => return open_another(connection, path),
    };
    if let Some(prepare) = prepare {
        let (tables, counts) = (TABLES, holdings::tables());
        connection.execute_batch(&format!(
            "BEGIN; {prepare} {tables} {counts} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    connection.execute_batch(LATER_TABLES)?;
    Ok(connection)
}

fn open_another(connection: Connection, path: &Path) -> rusqlite::Result<Connection> {
    drop(connection);
    set_aside(path);
    open_writer(path)
}

/// A table, an index or a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    kind: String,
    name: String,
    /// The table that it belongs to.
    table: String,
    /// What has made it, without comments and with single spaces.
    statement: String,
}

impl Object {
    fn drop(&self) -> String {
        match self.kind.as_str() {
            // It goes with its table.
            "index" if !KEPT.contains(&self.table.as_str()) => String::new(),
            kind => format!("DROP {kind} IF EXISTS \"{}\"; ", self.name.replace('"', "\"\"")),
        }
    }
}

/// All that an index has, triggers first: they are dropped before the tables that they would count in.
fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut query = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
         ORDER BY type DESC, name",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let sql: String = row.get(3)?;
        let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        let statement = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, statement })
    };
    query.query_map([], read)?.collect()
}

/// Those that this program makes.
fn own_objects() -> rusqlite::Result<Vec<Object>> {
    let connection = Connection::open_in_memory()?;
    let counts = holdings::tables();
    connection.execute_batch(&format!("{KEPT_TABLES} {TABLES} {counts} {LATER_TABLES}"))?;
    objects(&connection)
}

pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    #[cfg(test)]
    super::work::watch(&connection);
    connection.busy_timeout(BUSY)?;
    // Counts only for an index in memory, whose readers would else be turned away during a write.
    connection.pragma_update(None, "read_uncommitted", true)?;
    Ok(connection)
}

/// Moves an index that can't be used out of the way, with its journals. What can't be moved is
/// reported by the open that follows.
#[expect(clippy::disallowed_methods, reason = "the index is derived: its files need no durable rename")]
pub(super) fn set_aside(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = |extra: &str| {
            let mut text = path.as_os_str().to_owned();
            text.push(suffix);
            text.push(extra);
            PathBuf::from(text)
        };
        let _ = std::fs::rename(name(""), name(".unusable"));
    }
}
