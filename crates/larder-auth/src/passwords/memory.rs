use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::{Fingerprint, Verdict};

/// The most answers remembered. An entry is some 100 bytes; a thousand different logins within ten minutes
/// is a large company, and one that is forgotten costs one bcrypt run.
pub(super) const MOST_ENTRIES: usize = 1_000;

/// How long an answer counts. Longer would save nothing that is felt; the users file's change ends it at
/// once anyway.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);

/// Recent answers by the fingerprint of the question.
#[derive(Default)]
pub(super) struct Memory {
    entries: HashMap<Fingerprint, Entry>,
}

struct Entry {
    generation: u64,
    since: SystemTime,
    verdict: Verdict,
}

impl Memory {
    pub(super) fn recall(
        &self,
        fingerprint: &Fingerprint,
        generation: u64,
        now: SystemTime,
    ) -> Option<Verdict> {
        let entry = self.entries.get(fingerprint)?;
        entry.counts(generation, now).then(|| entry.verdict.clone())
    }

    pub(super) fn remember(
        &mut self,
        fingerprint: Fingerprint,
        generation: u64,
        now: SystemTime,
        verdict: Verdict,
    ) {
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&fingerprint) {
            self.make_room(generation, now);
        }
        self.entries.insert(fingerprint, Entry { generation, since: now, verdict });
    }

    /// Walks over all entries, which is nothing beside the bcrypt run that came before it.
    fn make_room(&mut self, generation: u64, now: SystemTime) {
        self.entries.retain(|_, entry| entry.counts(generation, now));
        if self.entries.len() < MOST_ENTRIES {
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
    fn counts(&self, generation: u64, now: SystemTime) -> bool {
        self.generation == generation && now.duration_since(self.since).is_ok_and(|age| age < LIFETIME)
    }
}
