use std::time::{Duration, SystemTime};

use crate::Validity;

/// Something that is wrong with a certificate, and stays so until somebody does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its name for programs, which never changes: `certificate-ends`.
    pub kind: &'static str,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
    /// Since when it is known.
    pub since: SystemTime,
}

/// Who sees to it that a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The operator, who brings files.
    Operator,
    /// Larder, with its own authority.
    OwnAuthority,
    /// Larder, with an authority that speaks ACME.
    Acme,
}

/// How near a certificate's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// Far, or what a renewal will see to in time.
    Far,
    /// A month, or a third of its life.
    Month,
    /// A week.
    Week,
    /// A day.
    Day,
    /// It has ended.
    Ended,
    /// It doesn't count yet: the clock is behind, or it was made for later.
    NotYet,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Validity {
    /// How near the end is. Of a short life the last parts count instead of a month, a week and a day; and where Larder renews by itself,
    /// which it does when a third is left, a month is no news before a quarter is.
    pub fn nearness(&self, keeper: Keeper, now: SystemTime) -> Nearness {
        if now < self.begin {
            return Nearness::NotYet;
        }
        let life = self.end.duration_since(self.begin).unwrap_or_default();
        let left = self.end.duration_since(now).unwrap_or_default();
        let month = match keeper {
            Keeper::Operator => life / 3,
            Keeper::OwnAuthority | Keeper::Acme => life / 4,
        };
        match left {
            Duration::ZERO => Nearness::Ended,
            left if left <= DAY.min(life / 12) => Nearness::Day,
            left if left <= (7 * DAY).min(life / 6) => Nearness::Week,
            left if left <= (30 * DAY).min(month) => Nearness::Month,
            _ => Nearness::Far,
        }
    }

    /// That in words, as a trouble of the certificate of these names: `None` while the end is far. `fix` says how it is renewed.
    pub fn trouble(&self, keeper: Keeper, names: &[String], fix: &str, now: SystemTime) -> Option<Trouble> {
        let date = |time| humantime::format_rfc3339_seconds(time);
        let about = match names {
            [] => "the registry's certificate".to_owned(),
            [one] => format!("the certificate of {one}"),
            [one, rest @ ..] => format!("the certificate of {one} and {} more", rest.len()),
        };
        let trouble = |kind, reason: String, fix: String| Some(Trouble { kind, reason, fix, since: now });
        match self.nearness(keeper, now) {
            Nearness::Far => None,
            Nearness::NotYet => trouble(
                "certificate-not-yet",
                format!(
                    "{about} counts from {} on, and by this machine's clock it is {}: clients refuse it",
                    date(self.begin),
                    date(now)
                ),
                "set this machine's clock: timedatectl set-ntp true; if it is right, the certificate was made with a wrong one".to_owned(),
            ),
            Nearness::Ended => trouble(
                "certificate-ended",
                format!("{about} ended at {}: clients refuse it", date(self.end)),
                fix.to_owned(),
            ),
            Nearness::Month | Nearness::Week | Nearness::Day => trouble(
                "certificate-ends",
                format!("{about} ends in {}, at {}", in_words(self.end, now), date(self.end)),
                fix.to_owned(),
            ),
        }
    }
}

fn in_words(end: SystemTime, now: SystemTime) -> String {
    let seconds = end.duration_since(now).unwrap_or_default().as_secs();
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0..=1) => "a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} minutes"),
        (0..=1, hours, _) => format!("{hours} hours"),
        (days, ..) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(days * 86_400.0)
    }

    #[test]
    fn a_month_a_week_and_a_day_before_the_end() {
        let year = Validity { begin: at(0.0), end: at(365.0) };
        for (day, expected) in [
            (0.0, Nearness::Far),
            (334.0, Nearness::Far),
            (335.0, Nearness::Month),
            (358.0, Nearness::Week),
            (364.0, Nearness::Day),
            (365.0, Nearness::Ended),
        ] {
            assert_eq!(year.nearness(Keeper::Operator, at(day)), expected, "day {day}");
        }
        let early = Validity { begin: at(1.0), end: at(365.0) };
        assert_eq!(early.nearness(Keeper::Operator, at(0.5)), Nearness::NotYet);
    }

    #[test]
    fn what_larder_renews_is_news_only_when_it_should_have_been() {
        let quarter = Validity { begin: at(0.0), end: at(90.0) };
        assert_eq!(quarter.nearness(Keeper::Acme, at(61.0)), Nearness::Far);
        assert_eq!(quarter.nearness(Keeper::Operator, at(61.0)), Nearness::Month);
        assert_eq!(quarter.nearness(Keeper::Acme, at(68.0)), Nearness::Month);
        let short = Validity { begin: at(0.0), end: at(6.0) };
        assert_eq!(short.nearness(Keeper::Acme, at(4.4)), Nearness::Far);
        assert_eq!(short.nearness(Keeper::Acme, at(5.1)), Nearness::Week);
    }

    #[test]
    fn a_trouble_says_what_when_and_what_to_do() {
        let validity = Validity { begin: at(0.0), end: at(365.0) };
        let names = ["nas.lan".to_owned(), "192.0.2.1".to_owned()];
        let trouble = |day| validity.trouble(Keeper::Operator, &names, "renew it", at(day));
        assert_eq!(trouble(1.0), None);
        let soon = trouble(360.0).expect("a trouble");
        assert_eq!(
            soon.reason,
            "the certificate of nas.lan and 1 more ends in 5 days, at 1971-01-01T00:00:00Z"
        );
        assert_eq!((soon.kind, soon.fix.as_str()), ("certificate-ends", "renew it"));
        assert!(trouble(364.5).expect("a trouble").reason.contains("in 12 hours"));
        assert_eq!(trouble(366.0).expect("a trouble").kind, "certificate-ended");
        let early = Validity { begin: at(10.0), ..validity };
        let trouble = early.trouble(Keeper::Operator, &names, "renew it", at(1.0)).expect("a trouble");
        assert!(trouble.kind == "certificate-not-yet" && trouble.fix.contains("clock"), "{trouble:?}");
    }
}
