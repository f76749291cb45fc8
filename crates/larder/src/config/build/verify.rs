//! `storage.maintenance.verify`.

use std::time::Duration;

use super::super::typed::Verify;
use super::Reader;

/// Once a month: what a disk lost is noticed before the backups that still have it are gone.
const EVERY: Duration = Duration::from_secs(720 * 3600);

/// A fifth of what one hard disk reads, and a hundred terabytes a month.
const BYTES_PER_SECOND: u64 = 32 << 20;

impl Reader<'_> {
    pub(super) fn verify(&mut self) -> Verify {
        const RATE: &str = "storage.maintenance.verify.bytespersecond";
        let bytes_per_second = match self.size(RATE) {
            None => BYTES_PER_SECOND,
            Some((number, origin)) => match u64::try_from(number) {
                Ok(number) if number > 0 => number,
                _ => {
                    self.invalid(RATE, origin, "must be more than nothing; every: 0 switches it off");
                    BYTES_PER_SECOND
                }
            },
        };
        Verify { every: self.duration("storage.maintenance.verify.every", EVERY), bytes_per_second }
    }
}

#[cfg(test)]
pub(super) mod tests;
