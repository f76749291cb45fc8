//! Answers that lie in memory until their clients have taken them: long lists, manifests that have just come from an
//! upstream. Whoever asks for many and reads none must not take the memory of everybody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::places::counted_as;

/// From so many bytes on an answer counts. Shorter ones are as cheap as the connection that they leave by.
pub(crate) const LONG: usize = 64 << 10;

/// What all of them may hold, in bytes: 64 of the longest lists, which have 4 MiB.
const MOST: usize = 256 << 20;

/// What those for one address may hold, or for one /64 of IPv6: half, as with connections, because a proxy is one address.
const MOST_OF_ONE: usize = MOST / 2;

/// How much is held, and for whom.
#[derive(Default)]
pub(crate) struct LongAnswers {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// Bytes that count until the last reference to any of them is gone.
pub(crate) struct Counted {
    bytes: Bytes,
    _share: Arc<Share>,
}

/// One answer's part of what is held, given back when it is dropped.
pub(crate) struct Share {
    answers: Arc<LongAnswers>,
    client: IpAddr,
    bytes: usize,
}

impl LongAnswers {
    /// Room for an answer of so many bytes, unless too much is held already.
    pub(crate) fn take(self: &Arc<LongAnswers>, client: IpAddr, bytes: usize) -> Option<Share> {
        let client = counted_as(client);
        let mut held = self.lock();
        let of_client = held.by_client.get(&client).copied().unwrap_or_default();
        // The only one is never refused, however long it is.
        if (of_client > 0 && of_client.saturating_add(bytes) > MOST_OF_ONE)
            || (held.all > 0 && held.all.saturating_add(bytes) > MOST)
        {
            return None;
        }
        held.by_client.insert(client, of_client.saturating_add(bytes));
        held.all = held.all.saturating_add(bytes);
        Some(Share { answers: Arc::clone(self), client, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// The same bytes, counted. The connection may hold slices of them longer than the body.
    pub(crate) fn wrap(bytes: Bytes, share: &Arc<Share>) -> Bytes {
        Bytes::from_owner(Counted { bytes, _share: Arc::clone(share) })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.answers.lock();
        held.all = held.all.saturating_sub(self.bytes);
        if let Some(of_client) = held.by_client.get_mut(&self.client) {
            *of_client = of_client.saturating_sub(self.bytes);
            if *of_client == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests;
