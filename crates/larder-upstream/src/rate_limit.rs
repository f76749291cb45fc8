//! What an upstream's answers say of its rate limit, kept for one account at one host.
//!
//! Docker Hub counts manifest `GET`s over a window that rolls, and says with each answer what is left of it. What
//! we send is counted here until the next answer says better, so that a burst doesn't overshoot. Registries that
//! say nothing until they answer 429 are believed about how long that lasts.

use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use larder_core::Allowance;

/// How long nothing is asked where an upstream says "too many" and not for how long.
const PAUSE_UNTOLD: Duration = Duration::from_secs(60);

/// How long nothing is asked where nothing is left. The window rolls: something may be back long before its end.
const PAUSE_AT_ZERO: Duration = Duration::from_secs(300);

/// The longest pause that an upstream is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Below this share of the limit, only what is not at hand is asked for.
const SCARCE_SHARE: u64 = 10;

/// What is known of one account's limit. `None` where the upstream has said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Pulls that the window allows.
    pub(crate) limit: Option<u64>,
    /// Pulls left.
    pub(crate) remaining: Option<u64>,
    /// How long the window is.
    pub(crate) window: Option<Duration>,
    /// When the upstream last spoke of it.
    seen: Option<Instant>,
    spent_until: Option<Instant>,
}

impl RateLimit {
    /// What may be asked at this time.
    pub(crate) fn allowance(&self, now: Instant) -> Allowance {
        if let Some(until) = self.spent_until.filter(|until| *until > now) {
            return Allowance::Spent { renews_in: until.saturating_duration_since(now) };
        }
        let is_old =
            |seen: Instant| self.window.is_some_and(|window| now.saturating_duration_since(seen) >= window);
        match (self.limit, self.remaining, self.seen) {
            (_, _, Some(seen)) if is_old(seen) => Allowance::Plenty,
            (Some(limit), Some(remaining), _) if remaining < limit.div_ceil(SCARCE_SHARE) => {
                Allowance::Scarce
            }
            _ => Allowance::Plenty,
        }
    }

    /// Something that counts is about to be asked.
    pub(crate) fn spend(&mut self) {
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(1));
    }

    /// Takes in what an answer says.
    pub(crate) fn learn(&mut self, headers: &HeaderMap, now: Instant) {
        let limit = header(headers, "ratelimit-limit").and_then(amount);
        let remaining = header(headers, "ratelimit-remaining").and_then(amount);
        let Some((left, window)) = remaining else {
            // Hub says nothing to accounts without a limit.
            return;
        };
        self.limit = limit.map(|(limit, _)| limit).or(self.limit);
        self.window = window.or(limit.and_then(|(_, window)| window)).or(self.window);
        self.remaining = Some(left);
        self.seen = Some(now);
        self.spent_until = (left == 0).then(|| now + PAUSE_AT_ZERO.min(self.window.unwrap_or(PAUSE_AT_ZERO)));
    }

    /// An answer was 429. Returns when to come back.
    pub(crate) fn refused(&mut self, headers: &HeaderMap, now: Instant) -> Duration {
        self.learn(headers, now);
        let told = retry_after(headers);
        let untold = if self.remaining == Some(0) { PAUSE_AT_ZERO } else { PAUSE_UNTOLD };
        let pause = told.unwrap_or(untold);
        self.spent_until = Some(now + pause);
        pause
    }
}

/// When an answer says to come back, within reason: nobody keeps us away for a year, and no sum with it overflows.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let told = header(headers, RETRY_AFTER.as_str()).and_then(|text| pause(text, SystemTime::now()));
    told.map(|told| told.min(LONGEST_PAUSE))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `100;w=21600`: an amount, and the window's seconds.
fn amount(text: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = text.split(';').map(str::trim);
    let amount = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((amount, window.map(Duration::from_secs)))
}

/// `Retry-After`: seconds or a date (RFC 9110 section 10.2.3).
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text.trim())?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is written today.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

#[cfg(test)]
mod tests;
