//! What must not be taken away at this moment.
//!
//! The collector takes away what nothing refers to. Three kinds of clients rely on such a thing all the same:
//!
//! - A push between two steps: its bytes are published and not yet linked, or its references were looked at and its
//!   manifest isn't written yet. It *holds* what it works on, for as long as the work takes.
//! - A client that was told "that is here", by an answer to HEAD, an upload or a mount, and pushes a manifest that
//!   names it later. It was *promised*: for the grace time; and for as long as somebody is at work in that
//!   repository, if his uploads leave no gap of a grace time, but not beyond a day.
//! - A client that asks while the collector takes the thing away. It waits until it is gone, and is told that it is.
//!
//! Promises are in memory only. A start promises everything for a grace time instead.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use larder_oci::{Digest, RepoName};

/// A promise ends after this however long the push takes: docker gives up a single layer after an hour.
const LONGEST_PROMISE: Duration = Duration::from_secs(24 * 3600);

/// Promises that are remembered. When they are more, all that were made are kept for another grace time instead: at
/// about a hundred bytes each this stays below 100 MB.
const MOST_PROMISES: usize = 1_000_000;

/// What can be taken away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    /// A repository's link to a blob or manifest.
    Link(RepoName, Digest),
    /// Content.
    Content(Digest),
}

pub(crate) struct Fence {
    state: Mutex<State>,
    reopened: Condvar,
}

struct State {
    grace: Duration,
    held: HashMap<Thing, usize>,
    promised: HashMap<RepoName, Promises>,
    promises: usize,
    /// Until then nothing goes: there was a start, or more promises than are remembered.
    all_until: Option<Instant>,
    closed: HashSet<Thing>,
}

struct Promises {
    last_active: Instant,
    made: HashMap<Digest, Instant>,
}

/// Keeps things from being taken away until it is dropped.
pub(crate) struct Hold<'a> {
    fence: &'a Fence,
    things: Vec<Thing>,
}

/// Things that nobody can rely on until it is dropped: whoever wants to waits.
pub(crate) struct Closing<'a> {
    fence: &'a Fence,
    things: Mutex<Vec<Thing>>,
    regardless: bool,
}

impl Fence {
    /// A fence that lets nothing go before one grace time is over.
    pub(crate) fn new(grace: Duration) -> Fence {
        let state = State {
            grace,
            held: HashMap::new(),
            promised: HashMap::new(),
            promises: 0,
            all_until: Some(Instant::now() + grace),
            closed: HashSet::new(),
        };
        Fence { state: Mutex::new(state), reopened: Condvar::new() }
    }

    /// Holds these things, waiting for what is being taken away right now.
    pub(crate) fn hold(&self, things: Vec<Thing>) -> Hold<'_> {
        let mut state = self.wait_until_open(&things);
        for thing in &things {
            *state.held.entry(thing.clone()).or_default() += 1;
        }
        Hold { fence: self, things }
    }

    /// Promises that the repository's link stays, if it is there: call this before looking. Waits for what is being
    /// taken away right now.
    pub(crate) fn promise(&self, repository: &RepoName, digest: &Digest) {
        let thing = [Thing::Link(repository.clone(), *digest)];
        self.wait_until_open(&thing).promise(repository, digest);
    }

    /// As [`promise`](Fence::promise), if that takes no waiting; else `false`.
    pub(crate) fn try_promise(&self, repository: &RepoName, digest: &Digest) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let is_open = !state.closed.contains(&Thing::Link(repository.clone(), *digest));
        if is_open {
            state.promise(repository, digest);
        }
        is_open
    }

    /// Somebody is at work in this repository: what he was promised goes on to count.
    pub(crate) fn note_activity(&self, repository: &RepoName) {
        if let Some(promises) = self.lock().promised.get_mut(repository) {
            promises.last_active = Instant::now();
        }
    }

    /// Begins to take things away. `regardless` of promises means: of what is held only.
    pub(crate) fn closing(&self, regardless: bool) -> Closing<'_> {
        Closing { fence: self, things: Mutex::default(), regardless }
    }

    /// When the promise that covers everything ends, if it hasn't.
    pub(crate) fn all_promised_until(&self) -> Option<Instant> {
        self.lock().all_until.filter(|until| *until > Instant::now())
    }

    /// Forgets promises that have ended.
    pub(crate) fn tidy(&self) {
        let mut state = self.lock();
        let (now, grace) = (Instant::now(), state.grace);
        state.promised.retain(|_, promises| {
            let last_active = promises.last_active;
            promises.made.retain(|_, made| counts(*made, last_active, now, grace));
            !promises.made.is_empty()
        });
        state.promises = state.promised.values().map(|promises| promises.made.len()).sum();
    }

    fn wait_until_open(&self, things: &[Thing]) -> MutexGuard<'_, State> {
        let state = self.lock();
        self.reopened
            .wait_while(state, |state| things.iter().any(|thing| state.closed.contains(thing)))
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a promise still counts.
fn counts(made: Instant, last_active: Instant, now: Instant, grace: Duration) -> bool {
    let since = |moment: Instant| now.saturating_duration_since(moment);
    since(made) < grace || (since(last_active) < grace && since(made) < LONGEST_PROMISE.max(grace))
}

impl State {
    fn promise(&mut self, repository: &RepoName, digest: &Digest) {
        let now = Instant::now();
        if self.promises >= MOST_PROMISES {
            self.all_until = Some(now + self.grace);
            self.promised.clear();
            self.promises = 0;
        }
        let promises = self
            .promised
            .entry(repository.clone())
            .or_insert_with(|| Promises { last_active: now, made: HashMap::new() });
        promises.last_active = now;
        if promises.made.insert(*digest, now).is_none() {
            self.promises += 1;
        }
    }

    fn is_promised(&self, thing: &Thing) -> bool {
        let now = Instant::now();
        if self.all_until.is_some_and(|until| until > now) {
            return true;
        }
        // Content is kept by the link that was promised.
        let Thing::Link(repository, digest) = thing else { return false };
        self.promised.get(repository).is_some_and(|promises| {
            let made = promises.made.get(digest);
            made.is_some_and(|made| counts(*made, promises.last_active, now, self.grace))
        })
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.fence.lock();
        for thing in &self.things {
            if let Some(count) = state.held.get_mut(thing) {
                *count -= 1;
                if *count == 0 {
                    state.held.remove(thing);
                }
            }
        }
    }
}

impl Closing<'_> {
    /// Whether this may be taken away; then nobody can rely on it until the closing is dropped.
    pub(crate) fn close(&self, thing: Thing) -> bool {
        let mut state = self.fence.lock();
        if state.held.contains_key(&thing) || (!self.regardless && state.is_promised(&thing)) {
            return false;
        }
        state.closed.insert(thing.clone());
        self.things.lock().unwrap_or_else(PoisonError::into_inner).push(thing);
        true
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = self.fence.lock();
        for thing in self.things.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            state.closed.remove(thing);
        }
        drop(state);
        self.fence.reopened.notify_all();
    }
}

#[cfg(test)]
mod tests;
