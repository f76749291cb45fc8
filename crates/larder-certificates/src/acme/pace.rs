//! When a certificate is ordered.

use std::time::{Duration, SystemTime};

use crate::Certificate;

/// A look costs one small file; clocks are set in between.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// What a life of seconds needs, which only trials have.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest pause after failures. Authorities count failures by the hour, and a name that was mended should not wait for a day.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Let's Encrypt's longest limits are for a week; whoever wants a longer pause is not believed.
const LONGEST_TOLD: Duration = Duration::from_secs(7 * 86_400);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Order(Why),
    /// There is no reason to; look again after so long.
    Wait(Duration),
    /// There is a reason, and a pause of so long, at the least.
    Pause(Duration),
}

/// Why a certificate is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is none yet.
    Missing,
    /// A host is not named in it.
    Lacks(String),
    /// Two thirds of its life are over, or it doesn't count.
    Due,
    /// The authority wants it to be renewed now (RFC 9773).
    Asked,
}

impl Why {
    pub(super) fn in_words(&self) -> String {
        match self {
            Why::Missing => "there is none yet".to_owned(),
            Why::Lacks(host) => format!("the one in use doesn't name {host}"),
            Why::Due => "the one in use nears its end".to_owned(),
            Why::Asked => "the authority wants the one in use to be replaced".to_owned(),
        }
    }
}

/// What is remembered between orders.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<SystemTime>,
    asked_for: Option<SystemTime>,
}

impl Pace {
    pub(super) fn step(&self, found: Option<&Certificate>, hosts: &[String], now: SystemTime) -> Step {
        let why = match found {
            None => Some(Why::Missing),
            Some(found) => {
                let lacks =
                    hosts.iter().find(|host| !found.names.iter().any(|name| name.eq_ignore_ascii_case(host)));
                match lacks {
                    Some(host) => Some(Why::Lacks(host.clone())),
                    None if found.validity.is_renewal_due(now) => Some(Why::Due),
                    None if self.asked_for.is_some_and(|moment| moment <= now) => Some(Why::Asked),
                    None => None,
                }
            }
        };
        let clamped = |wait: Duration| wait.clamp(LOOK_AGAIN, LOOK_EVERY);
        match (why, self.pause(now)) {
            (Some(why), None) => Step::Order(why),
            (Some(_), Some(pause)) => Step::Pause(clamped(pause)),
            (None, _) => {
                let due =
                    found.map(|found| found.validity.renewal_due()).into_iter().chain(self.asked_for).min();
                Step::Wait(clamped(due.and_then(|due| due.duration_since(now).ok()).unwrap_or(LOOK_EVERY)))
            }
        }
    }

    /// How long no order may follow. A clock that was set back doesn't make it longer than anybody has asked for.
    fn pause(&self, now: SystemTime) -> Option<Duration> {
        let left = self.not_before?.duration_since(now).ok()?;
        (!left.is_zero() && left <= LONGEST_TOLD).then_some(left)
    }

    /// An order has failed: the next one follows at the moment that is returned. `first` is the pause after the first failure,
    /// `told` when the authority wants to be asked again, `chance` a number from 0 to 1 that keeps registries apart.
    pub(super) fn fail(
        &mut self,
        first: Duration,
        told: Option<SystemTime>,
        chance: f64,
        now: SystemTime,
    ) -> SystemTime {
        let doubled = first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let own = now + doubled.min(LONGEST_PAUSE).mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0));
        let told = told.map(|told| told.min(now + LONGEST_TOLD));
        let next = told.map_or(own, |told| told.max(own));
        self.not_before = Some(next);
        next
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// No order may follow before this moment.
    pub(super) fn hold(&mut self, until: SystemTime) {
        self.not_before = Some(until);
    }

    /// There is a new certificate, or somebody has changed something: what was before doesn't matter.
    pub(super) fn begin_anew(&mut self) {
        *self = Pace::default();
    }

    /// The authority would have it renewed at this moment.
    pub(super) fn ask(&mut self, moment: SystemTime) {
        self.asked_for = Some(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Validity;

    const DAY: Duration = Duration::from_secs(86_400);
    const FIRST: Duration = Duration::from_secs(300);

    fn at(days: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY.mul_f64(1000.0 + days)
    }

    fn found() -> Certificate {
        let validity = Validity { begin: at(0.0), end: at(90.0) };
        Certificate { names: vec!["a.example.com".to_owned()], validity, signed_by: None, serial: Vec::new() }
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_ordered_when_it_is_missing_lacks_a_name_or_is_due() {
        let (pace, one) = (Pace::default(), hosts(&["A.example.com"]));
        assert_eq!(pace.step(None, &one, at(0.0)), Step::Order(Why::Missing));
        let more = hosts(&["a.example.com", "b.example.com"]);
        assert_eq!(
            pace.step(Some(&found()), &more, at(0.0)),
            Step::Order(Why::Lacks("b.example.com".to_owned()))
        );
        assert_eq!(pace.step(Some(&found()), &one, at(0.0)), Step::Wait(LOOK_EVERY));
        let Step::Wait(short) = pace.step(Some(&found()), &one, at(59.99)) else { panic!("due too early") };
        assert!(short < DAY / 99, "{short:?}");
        assert_eq!(pace.step(Some(&found()), &one, at(60.0)), Step::Order(Why::Due));
        assert_eq!(pace.step(Some(&found()), &one, at(200.0)), Step::Order(Why::Due));
        assert_eq!(
            pace.step(Some(&found()), &one, at(-1.0)),
            Step::Order(Why::Due),
            "a clock that is behind"
        );
    }

    #[test]
    fn an_authority_may_want_it_renewed_earlier() {
        let mut pace = Pace::default();
        pace.ask(at(10.0));
        let one = hosts(&["a.example.com"]);
        assert_eq!(pace.step(Some(&found()), &one, at(9.0)), Step::Wait(LOOK_EVERY));
        assert_eq!(pace.step(Some(&found()), &one, at(10.0)), Step::Order(Why::Asked));
        pace.begin_anew();
        assert_eq!(pace.step(Some(&found()), &one, at(10.0)), Step::Wait(LOOK_EVERY));
    }

    #[test]
    fn failures_make_pauses_of_five_minutes_to_six_hours() {
        let mut pace = Pace::default();
        let now = at(0.0);
        let minutes: Vec<u64> = (0..10)
            .map(|_| pace.fail(FIRST, None, 0.5, now).duration_since(now).expect("later").as_secs() / 60)
            .collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 320, 360, 360, 360]);
        for _ in 0..100 {
            pace.fail(FIRST, None, 1.0, now);
        }
        assert_eq!(pace.failures(), 110);
        assert!(matches!(pace.step(None, &[], now), Step::Pause(_)));
        assert_eq!(pace.step(None, &[], now + LONGEST_PAUSE * 2), Step::Order(Why::Missing));
        pace.begin_anew();
        assert_eq!(pace.step(None, &[], now), Step::Order(Why::Missing));
    }

    #[test]
    fn pauses_of_many_registries_differ() {
        let now = at(0.0);
        let pause = |chance| {
            Pace::default().fail(FIRST, None, chance, now).duration_since(now).expect("later").as_secs()
        };
        assert_eq!((pause(0.0), pause(1.0)), (240, 360));
    }

    #[test]
    fn the_authority_may_ask_for_a_longer_pause_and_not_for_a_shorter_one() {
        let now = at(0.0);
        let fail = |told: f64| Pace::default().fail(FIRST, Some(at(told)), 0.5, now);
        assert_eq!(fail(2.0), at(2.0));
        assert_eq!(fail(0.001), now + FIRST);
        assert_eq!(fail(1000.0), at(7.0));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_pause_longer() {
        let mut pace = Pace::default();
        pace.fail(FIRST, None, 0.5, at(300.0));
        assert_eq!(pace.step(None, &[], at(0.0)), Step::Order(Why::Missing));
    }
}
