use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::Fingerprint;
use crate::error::AuthError;

/// The most different questions in flight or waiting. At 60 ms a run on two cores the last of them waits
/// 15 s, which is as long as docker does.
pub(super) const MOST_FLIGHTS: usize = 500;

/// Lets those who ask the same go one after the other, so that all but the first find the answer.
#[derive(Default)]
pub(super) struct Flights {
    flights: Mutex<HashMap<Fingerprint, Flight>>,
}

#[derive(Default)]
struct Flight {
    passengers: usize,
    turn: Arc<AsyncMutex<()>>,
}

/// A place in a flight; dropping it gives it up.
pub(super) struct Ticket {
    flights: Arc<Flights>,
    fingerprint: Fingerprint,
    turn: Arc<AsyncMutex<()>>,
}

/// The right to find out; dropping it passes it on.
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
    _ticket: Ticket,
}

impl Flights {
    pub(super) fn board(self: &Arc<Self>, fingerprint: Fingerprint) -> Result<Ticket, AuthError> {
        let mut flights = self.lock();
        if flights.len() >= MOST_FLIGHTS && !flights.contains_key(&fingerprint) {
            return Err(AuthError::TooManyLogins);
        }
        let flight = flights.entry(fingerprint).or_default();
        flight.passengers += 1;
        Ok(Ticket { flights: Arc::clone(self), fingerprint, turn: Arc::clone(&flight.turn) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Ticket {
    /// Waits for the passengers before.
    ///
    /// # Cancel safety
    ///
    /// Whoever leaves while waiting has only given up the place.
    pub(super) async fn turn(self) -> Turn {
        let guard = Arc::clone(&self.turn).lock_owned().await;
        Turn { _guard: guard, _ticket: self }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get_mut(&self.fingerprint) {
            flight.passengers = flight.passengers.saturating_sub(1);
            if flight.passengers == 0 {
                flights.remove(&self.fingerprint);
            }
        }
    }
}
