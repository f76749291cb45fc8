use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time. A function behind a pointer, so that the binary passes `SystemTime::now` and a test
/// one that it moves by hand, without every type here taking a parameter for it.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Whole seconds since 1970. A clock that stands before that reads as 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time in RFC 3339, UTC, whole seconds: `2026-03-01T12:00:00Z`. Clients compute a token's end from it.
pub(crate) fn rfc3339(unix_seconds: u64) -> String {
    const END_OF_9999: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(END_OF_9999));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests;
