use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How soon a limit that was raised is noticed while all places are taken.
const RECHECK: Duration = Duration::from_secs(1);

/// How many connections there are, and whose.
#[derive(Default)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    /// Waits until fewer places are taken than the limit, which may change meanwhile. For one task.
    pub(crate) async fn wait(&self, limit: impl Fn() -> usize) {
        while self.taken() >= limit() {
            let _ = tokio::time::timeout(RECHECK, self.freed.notified()).await;
        }
    }

    /// A place, unless this client has as many as one may have.
    pub(crate) fn take(self: &Arc<Places>, client: IpAddr, most: usize) -> Option<Place> {
        let client = counted_as(client);
        let mut taken = self.lock();
        let of_client = taken.by_client.entry(client).or_default();
        if *of_client >= most {
            return None;
        }
        *of_client += 1;
        taken.all += 1;
        Some(Place { places: Arc::clone(self), client })
    }

    /// How many there are.
    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            *of_client = of_client.saturating_sub(1);
            if *of_client == 0 {
                taken.by_client.remove(&self.client);
            }
        }
        drop(taken);
        self.places.freed.notify_one();
    }
}

/// Whoever has one IPv6 address has the whole /64.
pub(crate) fn counted_as(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            const NETWORK: u128 = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
        }
    }
}

#[cfg(test)]
mod tests;
