use std::sync::{Arc, PoisonError, RwLock};

use super::Policy;

/// The policy in force, which can be replaced while requests are being answered: each of them is decided by
/// the one that it found.
#[derive(Clone)]
pub(crate) struct CurrentPolicy(Arc<RwLock<Arc<Policy>>>);

impl CurrentPolicy {
    pub(crate) fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

impl From<Policy> for CurrentPolicy {
    fn from(policy: Policy) -> CurrentPolicy {
        CurrentPolicy(Arc::new(RwLock::new(Arc::new(policy))))
    }
}
