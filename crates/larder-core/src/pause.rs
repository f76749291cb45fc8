//! Maintenance: nothing below the data directory changes until it ends, and pulls go on.
//!
//! Whatever changes files holds a [`Change`] while it does: a push from its first byte to its acknowledgement, a fill, a
//! deletion that the collector looks at, an eviction. Maintenance gives out no further ones and counts those that are
//! still held; when there are none left, a copy of the directory is one of a single moment.
//!
//! It lives in memory. A file that tells of it would be in the very copy that is made, and what is restored from
//! that would refuse its first push; so a restart ends it, and says so. What is to outlive one is the configuration's
//! `storage.maintenance.readonly`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use larder_oci::AdminAccess;

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 200;

/// Whether changes may be made, and how many are.
#[derive(Clone, Default)]
pub(crate) struct Pause(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    paused: Option<Paused>,
    changes: usize,
}

#[derive(Clone)]
struct Paused {
    since: SystemTime,
    reason: Arc<str>,
}

/// The right to change files, until it is dropped.
#[must_use = "maintenance counts a change as long as this is held"]
pub(crate) struct Change(Pause);

/// How far maintenance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceState {
    /// Since when, and why; `None` if there is none.
    pub on: Option<(SystemTime, Arc<str>)>,
    /// Changes that are under way: pushes, fills, what the collector takes. Under maintenance they end and become fewer.
    pub changes: usize,
}

impl Pause {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a change.
    ///
    /// # Errors
    /// Maintenance is on.
    pub(crate) fn begin(&self) -> Result<Change, RegistryError> {
        let mut state = self.state();
        if let Some(paused) = &state.paused {
            return Err(RegistryError::Maintenance { reason: Arc::clone(&paused.reason), pulling: false });
        }
        state.changes += 1;
        drop(state);
        Ok(Change(self.clone()))
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.0.state().changes -= 1;
    }
}

impl Inner {
    /// The right to change files on nobody's behalf; `None` while there is maintenance.
    pub(crate) fn begin_change(&self) -> Option<Change> {
        self.pause.begin().ok()
    }
}

impl Registry {
    /// Lets no further change begin, and says how many are under way. Called again it keeps its beginning and takes
    /// the new reason.
    pub fn begin_maintenance(&self, access: &AdminAccess, reason: &str) -> MaintenanceState {
        let reason: String = reason.chars().filter(|each| !each.is_control()).take(LONGEST_REASON).collect();
        let mut state = self.inner.pause.state();
        let since = state.paused.as_ref().map_or_else(self.inner.environment.now, |paused| paused.since);
        tracing::info!(%reason, changes = state.changes, "maintenance: no further change begins, pulls go on");
        state.paused = Some(Paused { since, reason: reason.into() });
        drop(state);
        self.maintenance_state(access)
    }

    /// Changes may begin again.
    pub fn end_maintenance(&self, access: &AdminAccess) -> MaintenanceState {
        if self.inner.pause.state().paused.take().is_some() {
            tracing::info!("maintenance has ended");
        }
        self.maintenance_state(access)
    }

    /// Whether there is maintenance, and what is under way.
    pub fn maintenance_state(&self, _: &AdminAccess) -> MaintenanceState {
        let state = self.inner.pause.state();
        let on = state.paused.as_ref().map(|paused| (paused.since, Arc::clone(&paused.reason)));
        MaintenanceState { on, changes: state.changes }
    }

    /// Why nothing is taken in right now, if that is maintenance.
    pub fn maintenance_reason(&self) -> Option<Arc<str>> {
        self.inner.pause.state().paused.as_ref().map(|paused| Arc::clone(&paused.reason))
    }
}
