//! An index is believed only if it is the one that this program makes, whatever it says of its version.

use super::*;

fn filled(root: &Path) -> MetaStore {
    let store = open(root);
    store.reconcile_all(&AtomicBool::new(false)).unwrap();
    store
}

/// What an index says that is built from nothing.
fn rebuilt(root: &Path) -> Vec<String> {
    for entry in std::fs::read_dir(root.join("larder")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("index.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    filled(root).index_snapshot().unwrap().rows
}

/// So a build between two releases may have made it, under the version that was released later.
#[test]
fn an_index_with_other_tables_than_its_version_says_is_filled_anew_and_keeps_what_no_file_says() {
    let altered = [
        "DROP TRIGGER manifest_added",
        "DROP TRIGGER edge_removed",
        "DROP TRIGGER content_sized; CREATE TRIGGER content_sized AFTER UPDATE OF size ON contents BEGIN
            UPDATE everything SET bytes = bytes + new.size; END",
        "CREATE TRIGGER strange AFTER INSERT ON tags BEGIN UPDATE usage SET tags = 7; END",
        "CREATE TRIGGER \"odd \"\" name\" AFTER INSERT ON accesses BEGIN UPDATE usage SET tags = 7; END",
        "ALTER TABLE usage ADD COLUMN more INTEGER",
        "DROP INDEX edges_by_child",
        "CREATE TABLE further (id INTEGER PRIMARY KEY)",
    ];
    for altered in altered {
        let root = scratch();
        let store = open(root.path());
        let kept = put(&store, "app", &image("1"), &["v1"]);
        let gone = put(&store, "app", &image("2"), &["v2"]);
        store.index.alter(altered);
        // What comes now is counted in another way, or not at all.
        put(&store, "app", &image("3"), &["v3"]);
        put(&store, "other", &image("1"), &["v1"]);
        store.delete_manifest(&name("app"), &gone).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        store.note_accesses(&[crate::AccessTime { repository: name("app"), digest: kept, at }]).unwrap();
        drop(store);
        let store = filled(root.path());
        assert_eq!(store.index.accesses(&name("app")).unwrap().get(&kept), Some(&1000), "{altered}");
        let rows = store.index_snapshot().unwrap().rows;
        drop(store);
        assert_eq!(rows, rebuilt(root.path()), "{altered}");
    }
}

#[test]
fn an_index_whose_kept_tables_are_others_or_that_is_newer_is_built_from_nothing() {
    for altered in [
        "ALTER TABLE accesses ADD COLUMN more INTEGER",
        "ALTER TABLE repositories RENAME COLUMN listed TO shown",
        "DROP TABLE pulls_known; CREATE TABLE pulls_known (since TEXT)",
        "PRAGMA user_version = 5",
        "PRAGMA user_version = 2",
    ] {
        let root = scratch();
        let store = open(root.path());
        put(&store, "app", &image("1"), &["v1"]);
        let rows = store.index_snapshot().unwrap().rows;
        drop(store);
        let path = root.path().join("larder/index.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(altered).unwrap();
        assert_eq!(filled(root.path()).index_snapshot().unwrap().rows, rows, "{altered}");
        assert!(path.with_extension("db.unusable").exists(), "{altered}");
    }
}

#[test]
fn an_index_that_is_as_it_should_be_is_taken_as_it_is() {
    let root = scratch();
    let store = open(root.path());
    put(&store, "app", &image("1"), &["v1"]);
    // No recount would say so.
    store.index.alter("UPDATE usage SET own = 12345");
    drop(store);
    let rows = open(root.path()).index_snapshot().unwrap().rows;
    assert!(rows.iter().any(|row| row.contains("own=12345")), "{rows:?}");
}
