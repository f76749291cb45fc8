//! Whose password is checked next.
//!
//! A check takes a core for a while, so a flood of wrong passwords could make everybody else wait. Hence three
//! lanes, of which the first that has somebody goes first, and in each lane the neighbourhoods take turns, so
//! that however many wait in one, each other one waits for one check of it at a time.
//!
//! Nobody waits for longer than clients do: who has waited for [`PATIENCE`] is told to come back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::AuthError;
use crate::origin::Neighbourhood;

/// The longest wait. docker gives a login 15 s in all, and a check of a dear hash takes a second or two of them.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The most who wait in one lane. A place costs some 200 bytes, and the connection that it stands for.
pub(super) const MOST_IN_LANE: usize = 256;

/// The most who wait in one lane from one neighbourhood: more than a fleet of robots behind one address after a
/// restart, and at 60 ms a check all of them are through in four seconds.
pub(super) const MOST_OF_NEIGHBOURHOOD: usize = 64;

/// Which claim a password has to be checked soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// It was right lately: whoever sends it has known it before.
    Familiar,
    /// Nothing is known against where it comes from.
    Quiet,
    /// Where it comes from has sent several wrong ones lately. These take half the cores at most.
    Noisy,
}

/// Hands out the right to check a password.
pub(super) struct Turns {
    state: Mutex<State>,
}

/// The right to check a password, or the place of one who waits for it; dropping it passes it on.
pub(super) struct Turn {
    turns: Arc<Turns>,
    lane: Lane,
    neighbourhood: Neighbourhood,
    number: u64,
}

struct State {
    free: usize,
    noisy: usize,
    most_noisy: usize,
    next_number: u64,
    familiar: Queue,
    quiet: Queue,
    noisy_ones: Queue,
}

#[derive(Default)]
struct Queue {
    waiting: usize,
    by_neighbourhood: HashMap<Neighbourhood, VecDeque<(u64, oneshot::Sender<()>)>>,
    /// Those of whom somebody waits, the next one first.
    round: VecDeque<Neighbourhood>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Turns {
        let state = State {
            free: at_once,
            noisy: 0,
            most_noisy: (at_once / 2).max(1),
            next_number: 0,
            familiar: Queue::default(),
            quiet: Queue::default(),
            noisy_ones: Queue::default(),
        };
        Turns { state: Mutex::new(state) }
    }

    /// Waits for a turn.
    ///
    /// Errors: [`AuthError::TooManyLogins`] if too many wait already, or after [`PATIENCE`].
    ///
    /// # Cancel safety
    ///
    /// Whoever leaves while waiting has only given up the place.
    pub(super) async fn take(
        self: &Arc<Self>,
        lane: Lane,
        neighbourhood: Neighbourhood,
    ) -> Result<Turn, AuthError> {
        let (sender, receiver) = oneshot::channel();
        let turn = {
            let mut state = self.lock();
            state.next_number += 1;
            let number = state.next_number;
            state.queue(lane).push(neighbourhood, number, sender)?;
            state.call();
            Turn { turns: Arc::clone(self), lane, neighbourhood, number }
        };
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(())) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(AuthError::TooManyLogins),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let mut state = self.lock();
        [Lane::Familiar, Lane::Quiet, Lane::Noisy].map(|lane| state.queue(lane).waiting).into_iter().sum()
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }
}

impl State {
    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Familiar => &mut self.familiar,
            Lane::Quiet => &mut self.quiet,
            Lane::Noisy => &mut self.noisy_ones,
        }
    }

    /// Calls in as many as there are cores for.
    fn call(&mut self) {
        while self.free > 0 {
            let next = match self.familiar.pop().or_else(|| self.quiet.pop()) {
                Some(next) => next,
                None if self.noisy < self.most_noisy => {
                    let Some(next) = self.noisy_ones.pop() else { return };
                    self.noisy += 1;
                    next
                }
                None => return,
            };
            self.free -= 1;
            // Who has left meanwhile gives it back when the place is dropped: it is not in the queue any more.
            let _ = next.send(());
        }
    }
}

impl Queue {
    fn push(
        &mut self,
        neighbourhood: Neighbourhood,
        number: u64,
        sender: oneshot::Sender<()>,
    ) -> Result<(), AuthError> {
        let of_neighbourhood = self.by_neighbourhood.get(&neighbourhood).map_or(0, VecDeque::len);
        if self.waiting >= MOST_IN_LANE || of_neighbourhood >= MOST_OF_NEIGHBOURHOOD {
            return Err(AuthError::TooManyLogins);
        }
        if of_neighbourhood == 0 {
            self.round.push_back(neighbourhood);
        }
        self.by_neighbourhood.entry(neighbourhood).or_default().push_back((number, sender));
        self.waiting += 1;
        Ok(())
    }

    /// The one who has waited longest in the neighbourhood whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        let neighbourhood = self.round.pop_front()?;
        let queue = self.by_neighbourhood.get_mut(&neighbourhood)?;
        let (_, sender) = queue.pop_front()?;
        if queue.is_empty() {
            self.by_neighbourhood.remove(&neighbourhood);
        } else {
            self.round.push_back(neighbourhood);
        }
        self.waiting = self.waiting.saturating_sub(1);
        Some(sender)
    }

    /// Whether this one was still waiting.
    fn remove(&mut self, neighbourhood: Neighbourhood, number: u64) -> bool {
        let Some(queue) = self.by_neighbourhood.get_mut(&neighbourhood) else { return false };
        let Some(at) = queue.iter().position(|(each, _)| *each == number) else { return false };
        queue.remove(at);
        if queue.is_empty() {
            self.by_neighbourhood.remove(&neighbourhood);
            self.round.retain(|each| *each != neighbourhood);
        }
        self.waiting = self.waiting.saturating_sub(1);
        true
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if state.queue(self.lane).remove(self.neighbourhood, self.number) {
            return;
        }
        state.free += 1;
        if self.lane == Lane::Noisy {
            state.noisy = state.noisy.saturating_sub(1);
        }
        state.call();
    }
}

#[cfg(test)]
mod tests;
