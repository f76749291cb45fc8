use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;

/// From when to when a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub begin: SystemTime,
    /// The last one.
    pub end: SystemTime,
}

impl Validity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Validity {
        let validity = certificate.validity();
        let moment = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            Err(_) => SystemTime::UNIX_EPOCH,
        };
        Validity {
            begin: moment(validity.not_before.timestamp()),
            end: moment(validity.not_after.timestamp()),
        }
    }

    /// Whether it is time for another one: a third of its life is left, or it doesn't count at this moment. A clock that is
    /// behind is a reason, too: whoever set it right again finds the next one due as well.
    pub fn is_renewal_due(&self, now: SystemTime) -> bool {
        now < self.begin || now >= self.renewal_due()
    }

    /// When a third of its life is left.
    pub fn renewal_due(&self) -> SystemTime {
        let life = self.end.duration_since(self.begin).unwrap_or_default();
        self.end - life / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_third_is_the_time_to_renew() {
        let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let validity = Validity { begin: at(100), end: at(190) };
        for (day, is_due) in [(99, true), (100, false), (159, false), (160, true), (190, true), (1000, true)]
        {
            assert_eq!(validity.is_renewal_due(at(day)), is_due, "day {day}");
        }
    }
}
