//! Who has been wrong how often, and what that costs him.
//!
//! Counted are wrong passwords for one user from one neighbourhood. A few are free: people mistype, and robots have
//! old passwords. Each further one makes the next wait twice as long. Nobody else waits: not the other users of the
//! same household, not the same user from elsewhere, and not whoever sends a password that was right lately
//! (he isn't asked here). So guessing locks nobody out, and yet gets no further than about one guess a minute.
//!
//! The same wrong password again is no further guess: the caller remembers it, and a robot with an old
//! one repeats it for days.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Fingerprint;
use super::turns::Lane;
use crate::origin::Neighbourhood;

/// Wrong passwords that cost nothing.
pub(super) const FREE: u32 = 5;

/// One wrong password is forgotten in each of these.
pub(super) const FORGETTING: Duration = Duration::from_secs(60);

/// The longest pause between two guesses: as long as containers/image waits at most when it is told to.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Wrong passwords from one neighbourhood, for whichever users, that make it a noisy one.
const NOISY: u32 = 10;

/// The most users and neighbourhoods that are counted: each some 100 bytes. Who is wrong with ever new names pushes
/// out those who were wrong least often, not those who are being guessed at.
pub(super) const MOST_COUNTED: usize = 8_192;

/// A user, asked for from a neighbourhood.
pub(super) type Pair = Fingerprint;

#[derive(Default)]
pub(super) struct Guesses {
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    pairs: HashMap<Pair, Score>,
    neighbourhoods: HashMap<Neighbourhood, Score>,
}

#[derive(Clone, Copy)]
struct Score {
    /// Wrong ones up to the last, less what was forgotten by then.
    wrong: u32,
    /// When the last one was.
    last: SystemTime,
    /// Passwords that wait for their check or are being checked.
    open: u32,
}

/// A password that is to be checked, for this pair. Counts as a guess until it is known to be right or wrong.
pub(super) struct Guess {
    guesses: Arc<Guesses>,
    pair: Pair,
    neighbourhood: Neighbourhood,
}

impl Guesses {
    /// Lets somebody try, or says how long he has to wait before.
    pub(super) fn admit(
        self: &Arc<Self>,
        pair: Pair,
        neighbourhood: Neighbourhood,
        now: SystemTime,
    ) -> Result<Guess, Duration> {
        const UNTIL_THE_OTHERS_ARE_CHECKED: Duration = Duration::from_secs(1);
        let mut counted = self.lock();
        let score = entry(&mut counted.pairs, pair, now);
        let wrong = score.wrong_by(now);
        // All who are being checked may turn out to be wrong: otherwise a thousand at once would all be free.
        if score.open > 0 && wrong.saturating_add(score.open) >= FREE {
            return Err(UNTIL_THE_OTHERS_ARE_CHECKED);
        }
        let since = now.duration_since(score.last).unwrap_or_default();
        match pause(wrong).checked_sub(since) {
            Some(rest) if !rest.is_zero() => Err(rest),
            _ => {
                score.open += 1;
                Ok(Guess { guesses: Arc::clone(self), pair, neighbourhood })
            }
        }
    }

    /// Where a password from there, that isn't known to be anybody's, waits for its check.
    pub(super) fn lane(&self, neighbourhood: Neighbourhood, now: SystemTime) -> Lane {
        let mut counted = self.lock();
        let wrong = counted.neighbourhoods.get_mut(&neighbourhood).map_or(0, |score| score.wrong_by(now));
        if wrong >= NOISY { Lane::Noisy } else { Lane::Quiet }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        let counted = self.lock();
        counted.pairs.len().max(counted.neighbourhoods.len())
    }
}

impl Guess {
    /// It was wrong.
    pub(super) fn was_wrong(self, now: SystemTime) {
        let mut counted = self.guesses.lock();
        entry(&mut counted.pairs, self.pair, now).add(now);
        entry(&mut counted.neighbourhoods, self.neighbourhood, now).add(now);
    }

    /// It was right: who knows the password may mistype it again.
    pub(super) fn was_right(self, now: SystemTime) {
        entry(&mut self.guesses.lock().pairs, self.pair, now).wrong = 0;
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        let mut counted = self.guesses.lock();
        if let Some(score) = counted.pairs.get_mut(&self.pair) {
            score.open = score.open.saturating_sub(1);
            if score.open == 0 && score.wrong == 0 {
                counted.pairs.remove(&self.pair);
            }
        }
    }
}

impl Score {
    fn wrong_by(&mut self, now: SystemTime) -> u32 {
        match now.duration_since(self.last) {
            Ok(since) => {
                let forgotten = since.as_secs() / FORGETTING.as_secs();
                self.wrong.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
            }
            // The clock was set back. It must not lengthen a pause by hours.
            Err(_) => {
                self.last = now;
                self.wrong
            }
        }
    }

    fn add(&mut self, now: SystemTime) {
        self.wrong = self.wrong_by(now).saturating_add(1);
        self.last = now;
    }
}

/// How long after the last of so many wrong passwords the next may come.
pub(super) fn pause(wrong: u32) -> Duration {
    let Some(beyond) = wrong.checked_sub(FREE) else { return Duration::ZERO };
    Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST_PAUSE)
}

/// The score of this key. Of a full table, a quarter of those whose scores matter least make room.
fn entry<K: Hash + Eq + Copy>(scores: &mut HashMap<K, Score>, key: K, now: SystemTime) -> &mut Score {
    if scores.len() >= MOST_COUNTED && !scores.contains_key(&key) {
        let mut by_weight: Vec<_> = scores
            .iter_mut()
            .filter(|(_, score)| score.open == 0)
            .map(|(key, score)| (score.wrong_by(now), score.last, *key))
            .collect();
        by_weight.sort_unstable_by_key(|(wrong, last, _)| (*wrong, *last));
        for (.., key) in by_weight.into_iter().take(MOST_COUNTED / 4) {
            scores.remove(&key);
        }
    }
    scores.entry(key).or_insert(Score { wrong: 0, last: now, open: 0 })
}

#[cfg(test)]
mod tests;
