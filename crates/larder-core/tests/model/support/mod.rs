//! The model, the hooks and the checks.

pub(crate) mod chance;
pub(crate) mod check;
pub(crate) mod hooks;
pub(crate) mod journal;
pub(crate) mod power;
pub(crate) mod script;
pub(crate) mod world;
