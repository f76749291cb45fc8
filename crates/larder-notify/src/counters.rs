use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One endpoint's numbers since the start, for a metrics page. The first four are distribution's
/// (`registry_notifications_events_total`), `statuses` its `registry_notifications_status_total`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSnapshot {
    /// The endpoint's name.
    pub name: String,
    /// Events that were queued.
    pub events: u64,
    /// Events that the endpoint took.
    pub successes: u64,
    /// Requests that the endpoint answered with an error.
    pub failures: u64,
    /// Requests that got no answer.
    pub errors: u64,
    /// Answers by their status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Events that wait now.
    pub pending: u64,
    /// Events that were forgotten because the queue was full.
    pub dropped: u64,
    /// Events that were set aside because the endpoint refused them for a day.
    pub refused: u64,
}

/// What is counted; a snapshot adds the name and what waits.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<EndpointSnapshot>);

impl Counters {
    pub(crate) fn count(&self, change: impl FnOnce(&mut EndpointSnapshot)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn snapshot(&self) -> EndpointSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
