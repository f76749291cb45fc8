//! What SQLite does for a question or a change, counted; and what a test needs to make an index large.

use std::cell::RefCell;
use std::collections::BTreeSet;

use larder_oci::{Digest, RepoName};
use rusqlite::trace::{StmtRef, TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

use super::{Index, insert_blob, repository_id, schema};
use crate::error::MetaError;

/// What was done since the last [`take`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Instructions of SQLite's virtual machine. Moving to a row or on to the next is one, however many
    /// rows there are; so they count the rows that are looked at.
    pub(crate) steps: i64,
    /// Rows that were passed by in a scan of a whole table.
    pub(crate) scanned: i64,
    /// Sorts, and indexes made for one statement: both read everything before the first row comes.
    pub(crate) sorted: i64,
    /// The statements that ran.
    pub(crate) statements: BTreeSet<String>,
}

thread_local! {
    // Statements run on the thread that asks, so tests beside this one are not counted.
    static WORK: RefCell<Work> = RefCell::default();
}

/// Counts from here on what the connection does.
pub(super) fn watch(connection: &Connection) {
    let events = TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE;
    connection.trace_v2(events, Some(note));
}

/// What this thread's statements have done since the last call.
pub(crate) fn take() -> Work {
    WORK.take()
}

fn note(event: TraceEvent<'_>) {
    WORK.with_borrow_mut(|work| match event {
        // A statement that is kept prepared counts on and on: what it had before it began is taken off.
        // The call of a trigger, which is a part of the statement at hand.
        TraceEvent::Stmt(_, text) if text.starts_with("--") => {}
        TraceEvent::Stmt(statement, _) => {
            work.add(&statement, -1);
            if !work.statements.contains(statement.sql().as_ref()) {
                work.statements.insert(statement.sql().into_owned());
            }
        }
        TraceEvent::Profile(statement, _) => work.add(&statement, 1),
        _ => {}
    });
}

impl Work {
    fn add(&mut self, statement: &StmtRef<'_>, sign: i64) {
        let count = |status| sign * i64::from(statement.get_status(status));
        self.steps += count(StatementStatus::VmStep);
        self.scanned += count(StatementStatus::FullscanStep);
        self.sorted += count(StatementStatus::Sort) + count(StatementStatus::AutoIndex);
    }
}

impl Index {
    /// How SQLite goes about a statement, a line for each table.
    pub(crate) fn plan(&self, statement: &str) -> Vec<String> {
        let reader = schema::open_reader(&self.path).unwrap();
        let mut explain = reader.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let mut rows = explain.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get(3).unwrap());
        }
        lines
    }

    /// Adds many repositories in one transaction; whether each is listed, and a blob that it holds.
    pub(crate) fn add_repositories(
        &self,
        repositories: impl Iterator<Item = (RepoName, bool, Option<Digest>)>,
    ) -> Result<(), MetaError> {
        self.write(|transaction| {
            for (name, listed, blob) in repositories {
                let id = repository_id(transaction, &name, listed)?;
                blob.iter().try_for_each(|digest| insert_blob(transaction, id, digest, None))?;
            }
            Ok(())
        })
    }

    /// Changes the tables themselves, to see that a test notices.
    pub(crate) fn alter(&self, statements: &str) {
        self.write(|transaction| transaction.execute_batch(statements)).unwrap();
    }
}
