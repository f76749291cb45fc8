use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::Fingerprint;

/// Lets those who ask the same go one after the other, so that all but the first find the answer. There are
/// no more flights than requests that are being answered.
#[derive(Default)]
pub(super) struct Flights {
    flights: Mutex<HashMap<Fingerprint, Flight>>,
}

#[derive(Default)]
struct Flight {
    passengers: usize,
    seat: Arc<AsyncMutex<()>>,
}

/// A place in a flight; dropping it gives it up.
pub(super) struct Ticket {
    flights: Arc<Flights>,
    fingerprint: Fingerprint,
    seat: Arc<AsyncMutex<()>>,
}

/// The seat of whoever finds out; dropping it passes it on.
pub(super) struct Seat {
    _guard: OwnedMutexGuard<()>,
    _ticket: Ticket,
}

impl Flights {
    pub(super) fn board(self: &Arc<Self>, fingerprint: Fingerprint) -> Ticket {
        let mut flights = self.lock();
        let flight = flights.entry(fingerprint).or_default();
        flight.passengers += 1;
        Ticket { flights: Arc::clone(self), fingerprint, seat: Arc::clone(&flight.seat) }
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
    pub(super) async fn seat(self) -> Seat {
        let guard = Arc::clone(&self.seat).lock_owned().await;
        Seat { _guard: guard, _ticket: self }
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
