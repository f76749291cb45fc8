//! The URLs of one upstream: which to ask first, by what was measured of each.
//!
//! The operator's order counts until something better is known. One that fails rests, the longer the more often it
//! fails in a row, and goes last meanwhile; one that is measured to answer at least twice as fast as one before it
//! overtakes it. Smaller differences are noise and change nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base_url::BaseUrl;
use crate::challenge::Challenge;
use crate::rate_limit::RateLimit;

/// The first rest of one that fails; each further failure in a row doubles it.
const FIRST_REST: Duration = Duration::from_secs(2);

/// The longest rest. It is tried again after it, or when every other has failed too.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// How long an account is passed over whose password isn't believed.
const REJECTED_REST: Duration = Duration::from_secs(300);

/// How much better a later one must be to overtake.
const FAR_BETTER: f64 = 2.0;

/// What a ranking by time is about, in bytes: between a manifest and a large layer.
const TYPICAL: f64 = (4 << 20) as f64;

/// How much a new measurement counts against what was measured before.
const NEWS: f64 = 0.3;

/// Transfers below this many bytes say nothing about throughput.
const TELLING: u64 = 256 << 10;

/// When one that wasn't asked for so long is measured by a small question.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

pub(crate) struct Mirror {
    pub(crate) base: BaseUrl,
    pub(crate) host: String,
    state: Mutex<MirrorState>,
}

#[derive(Default)]
pub(crate) struct MirrorState {
    failures: u32,
    rests_until: Option<Instant>,
    /// Seconds until the headers of an answer.
    first_byte: Option<f64>,
    /// Bytes a second.
    throughput: Option<f64>,
    measured: Option<Instant>,
    /// The last failure, in words.
    pub(crate) last_failure: Option<String>,
    /// How it wants to be told who we are, if it has said so.
    pub(crate) challenge: Option<Challenge>,
    /// Of each account.
    pub(crate) standings: Vec<Standing>,
}

/// How an account stands here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) rate_limit: RateLimit,
    /// Its password isn't believed, and isn't tried before this.
    pub(crate) rejected_until: Option<Instant>,
    /// When it was last used, to take turns.
    used: Option<Instant>,
}

/// What is known of one, for people.
#[derive(Clone, Debug)]
pub(crate) struct MirrorMeasure {
    pub(crate) resting: Option<Duration>,
    pub(crate) first_byte: Option<f64>,
    pub(crate) throughput: Option<f64>,
}

impl Mirror {
    pub(crate) fn new(base: BaseUrl, accounts: usize) -> Mirror {
        let state = MirrorState { standings: vec![Standing::default(); accounts], ..MirrorState::default() };
        Mirror { host: base.host_and_port(), base, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, MirrorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer's headers came, this long after it was asked.
    pub(crate) fn answered(&self, took: Duration, now: Instant) {
        let mut state = self.state();
        (state.failures, state.rests_until, state.measured) = (0, None, Some(now));
        state.first_byte = Some(smooth(state.first_byte, took.as_secs_f64()));
    }

    /// So many bytes of a body came in this time.
    pub(crate) fn delivered(&self, bytes: u64, took: Duration) {
        if bytes < TELLING || took.is_zero() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = bytes as f64 / took.as_secs_f64();
        let mut state = self.state();
        state.throughput = Some(smooth(state.throughput, rate));
    }

    /// It gave no answer, or broke one off.
    pub(crate) fn failed(&self, words: &str, now: Instant) {
        let mut state = self.state();
        let rest = FIRST_REST.saturating_mul(1 << state.failures.min(16)).min(LONGEST_REST);
        state.failures = state.failures.saturating_add(1);
        (state.rests_until, state.measured) = (Some(now + rest), Some(now));
        state.last_failure = Some(words.to_owned());
    }

    /// Whether nobody has heard of it for so long that it is time to ask.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_old =
            state.measured.is_none_or(|measured| now.saturating_duration_since(measured) >= FORGOTTEN_AFTER);
        if is_old {
            // Whoever is told so asks; nobody else needs to.
            state.measured = Some(now);
        }
        is_old
    }

    pub(crate) fn measure(&self, now: Instant) -> MirrorMeasure {
        let state = self.state();
        let resting = state.rests_until.filter(|until| *until > now).map(|until| until - now);
        MirrorMeasure { resting, first_byte: state.first_byte, throughput: state.throughput }
    }

    /// This account's password isn't believed.
    pub(crate) fn reject(&self, account: usize, now: Instant) {
        if let Some(standing) = self.state().standings.get_mut(account) {
            standing.rejected_until = Some(now + REJECTED_REST);
        }
    }

    /// Changes what is known of an account.
    pub(crate) fn standing<T>(&self, account: usize, change: impl FnOnce(&mut Standing) -> T) -> Option<T> {
        self.state().standings.get_mut(account).map(change)
    }
}

impl Standing {
    /// Smaller is better: believed before rejected, with much left before with little, and in turns.
    pub(crate) fn rank(&self, now: Instant) -> (bool, u8, Option<Instant>) {
        use larder_core::Allowance;
        let rejected = self.is_rejected(now);
        let left = match self.rate_limit.allowance(now) {
            Allowance::Plenty => 0,
            Allowance::Scarce => 1,
            Allowance::Spent { .. } => 2,
        };
        (rejected, left, self.used)
    }

    pub(crate) fn is_rejected(&self, now: Instant) -> bool {
        self.rejected_until.is_some_and(|until| until > now)
    }

    pub(crate) fn is_used(&mut self, now: Instant) {
        self.used = Some(now);
    }
}

impl MirrorMeasure {
    /// Seconds for something of typical size, if anything is known.
    fn expected(&self) -> Option<f64> {
        let transfer = self.throughput.map_or(0.0, |rate| TYPICAL / rate.max(1.0));
        self.first_byte.map(|first_byte| first_byte + transfer)
    }
}

/// The places of these in the order in which they are asked.
pub(crate) fn order(measures: &[MirrorMeasure]) -> Vec<usize> {
    let mut order: Vec<(usize, &MirrorMeasure)> = Vec::with_capacity(measures.len());
    for (place, measure) in measures.iter().enumerate() {
        let mut at = order.len();
        while at > 0
            && let Some((_, before)) = order.get(at - 1)
            && overtakes(measure, before)
        {
            at -= 1;
        }
        order.insert(at, (place, measure));
    }
    order.into_iter().map(|(place, _)| place).collect()
}

fn overtakes(later: &MirrorMeasure, before: &MirrorMeasure) -> bool {
    match (later.resting, before.resting) {
        (None, Some(_)) => true,
        (Some(_), None) => false,
        // All fail: the one that is due first.
        (Some(later), Some(before)) => later < before,
        (None, None) => match (later.expected(), before.expected()) {
            (Some(later), Some(before)) => later * FAR_BETTER < before,
            _ => false,
        },
    }
}

fn smooth(before: Option<f64>, now: f64) -> f64 {
    before.map_or(now, |before| before + NEWS * (now - before))
}

#[cfg(test)]
mod tests;
