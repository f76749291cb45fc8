//! When keys were last used: kept in memory, and written down by whoever asks now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::file::KeyId;
use crate::error::AuthError;

/// When each key was last used, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastUses(BTreeMap<KeyId, u64>);

#[derive(Default)]
pub(super) struct LastUse(Mutex<State>);

#[derive(Default)]
struct State {
    uses: LastUses,
    has_changed: bool,
}

impl LastUse {
    pub(super) fn after(uses: LastUses) -> LastUse {
        LastUse(Mutex::new(State { uses, has_changed: false }))
    }

    pub(super) fn note(&self, id: KeyId, now: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.uses.0.insert(id, now);
        state.has_changed |= before != Some(now);
    }

    pub(super) fn if_changed(&self) -> Option<LastUses> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.has_changed).then(|| state.uses.clone())
    }
}

impl LastUses {
    /// When this key was last used.
    pub fn of(&self, id: KeyId) -> Option<u64> {
        self.0.get(&id).copied()
    }

    /// For the file that keeps them.
    ///
    /// Errors: [`AuthError::Broken`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuthError> {
        let uses: BTreeMap<String, u64> = self.0.iter().map(|(id, at)| (id.to_string(), *at)).collect();
        serde_json::to_vec(&uses).map_err(|error| AuthError::Broken {
            doing: "writing the keys' last use",
            source: Box::new(error),
        })
    }
}

/// From the file that keeps them. It is only for people to look at: one that can't be read is as good as none.
pub fn parse_last_uses(content: &[u8]) -> LastUses {
    let uses: BTreeMap<String, u64> = serde_json::from_slice(content).unwrap_or_default();
    LastUses(uses.into_iter().filter_map(|(id, at)| Some((id.parse().ok()?, at))).collect())
}
