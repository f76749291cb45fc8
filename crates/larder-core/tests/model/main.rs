//! The registry against a model of itself, on a disk that fails, stops and forgets.
//!
//! `support/` holds the model: what a script of pushes and deletes must leave behind, hooks that break
//! the disk, and the checks. Each other file breaks the registry in one way.

#![expect(
    clippy::disallowed_methods,
    reason = "tests stand in for the policy and disturb the directory from outside"
)]

#[cfg(test)]
mod collecting;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod emptied;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod out_of_sight;
#[cfg(test)]
mod pausing;
#[cfg(test)]
mod planning;
#[cfg(test)]
mod power;
#[cfg(test)]
mod purging;
#[cfg(test)]
mod races;
#[cfg(test)]
mod recent;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod syncs;
