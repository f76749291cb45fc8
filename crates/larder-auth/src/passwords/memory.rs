use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::{Fingerprint, Verdict};

/// Recent answers by the fingerprint of the question, as many and for as long as is said.
pub(super) struct Memory {
    most: usize,
    lifetime: Duration,
    entries: HashMap<Fingerprint, Entry>,
}

struct Entry {
    generation: u64,
    since: SystemTime,
    verdict: Verdict,
}

impl Memory {
    pub(super) fn new(most: usize, lifetime: Duration) -> Memory {
        Memory { most, lifetime, entries: HashMap::new() }
    }

    pub(super) fn recall(
        &self,
        fingerprint: &Fingerprint,
        generation: u64,
        now: SystemTime,
    ) -> Option<Verdict> {
        let entry = self.entries.get(fingerprint)?;
        entry.counts(generation, now, self.lifetime).then(|| entry.verdict.clone())
    }

    pub(super) fn remember(
        &mut self,
        fingerprint: Fingerprint,
        generation: u64,
        now: SystemTime,
        verdict: Verdict,
    ) {
        if self.entries.len() >= self.most && !self.entries.contains_key(&fingerprint) {
            self.make_room(generation, now);
        }
        self.entries.insert(fingerprint, Entry { generation, since: now, verdict });
    }

    /// Walks over all entries, which is nothing beside the bcrypt run that came before it.
    fn make_room(&mut self, generation: u64, now: SystemTime) {
        let lifetime = self.lifetime;
        self.entries.retain(|_, entry| entry.counts(generation, now, lifetime));
        if self.entries.len() < self.most {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    /// An entry from the future was made before the clock was set back; its age can't be told.
    fn counts(&self, generation: u64, now: SystemTime, lifetime: Duration) -> bool {
        self.generation == generation && now.duration_since(self.since).is_ok_and(|age| age < lifetime)
    }
}
