use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::without_triggers;

/// Without them nothing would be counted any more, and nobody would be told.
#[test]
fn triggers_come_back_however_the_work_ends() {
    let connection = Connection::open_in_memory().unwrap();
    let are_on = || connection.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER).unwrap();
    without_triggers(&connection, || {
        assert!(!are_on());
        Ok(())
    })
    .unwrap();
    assert!(are_on());
    without_triggers(&connection, || connection.execute("no SQL", [])).unwrap_err();
    assert!(are_on());
    let work = || without_triggers::<()>(&connection, || panic!("in the middle"));
    catch_unwind(AssertUnwindSafe(work)).unwrap_err();
    assert!(are_on());
}
