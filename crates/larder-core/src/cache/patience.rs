//! How often a broken connection is asked for again.

use std::time::Duration;

/// How many connections in a row may bring nothing at all. Those that bring next to nothing count half.
const FRUITLESS_TRIES: u32 = 4;

/// A connection that brings so many bytes was worth it,
const FRUITFUL_BYTES: u64 = 1 << 20;

/// and so was one that brings this part of what was left. So the number of tries grows with the blob's length at a
/// mebibyte each, and with the logarithm of what is less, however little each brings.
const FRUITFUL_PART: u64 = 32;

/// How long after the first broken connection it is asked for again; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What is left of the patience with an upstream that breaks its connections off.
#[derive(Default)]
pub(super) struct Patience {
    /// How many tries were in vain since the last that wasn't, in halves.
    in_vain: u32,
}

impl Patience {
    /// Takes note of what a connection brought before it broke, and of what was left before it. Gives how long to wait
    /// before the next; `None` if this was the last.
    pub(super) fn after(&mut self, brought: u64, was_left: Option<u64>) -> Option<Duration> {
        let fruitful =
            was_left.map_or(FRUITFUL_BYTES, |left| left.div_ceil(FRUITFUL_PART).min(FRUITFUL_BYTES));
        self.in_vain = match brought {
            0 => self.in_vain + 2,
            few if few < fruitful => self.in_vain + 1,
            _ => 0,
        };
        let is_left = self.in_vain < 2 * FRUITLESS_TRIES;
        is_left.then(|| FIRST_WAIT * 2_u32.saturating_pow(self.in_vain / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tries a blob of this length takes, if each connection brings `bring` of what is left; and what is left.
    fn tries(size: u64, bring: impl Fn(u64) -> u64) -> (usize, u64) {
        let (mut patience, mut left) = (Patience::default(), size);
        for number in 1.. {
            let brought = bring(left).min(left);
            let was_left = left;
            left -= brought;
            if left == 0 || patience.after(brought, Some(was_left)).is_none() {
                return (number, left);
            }
        }
        unreachable!()
    }

    #[test]
    fn crumbs_do_not_keep_a_fill_going() {
        assert_eq!(tries(100_000, |_| 50), (8, 100_000 - 400));
        assert_eq!(tries(5 << 30, |_| 0), (4, 5 << 30));
        let (number, left) = tries(5 << 30, |left| (left / 100).min(1000));
        assert!(number == 8 && left > 0, "{number} {left}");
    }

    #[test]
    fn what_brings_a_good_part_each_time_comes_to_its_end() {
        assert_eq!(tries(10 << 20, |_| 1 << 20), (10, 0));
        let (number, left) = tries(100_000, |left| left.div_ceil(2));
        assert!(left == 0 && number < 20, "{number} {left}");
        let (number, left) = tries(32 << 20, |left| left.div_ceil(32));
        assert!(left == 0 && number < 1000, "{number} {left}");
    }

    #[test]
    fn one_good_connection_makes_up_for_those_before_it() {
        let mut patience = Patience::default();
        for _ in 0..10 {
            assert!(patience.after(0, Some(9 << 20)).is_some());
            assert!(patience.after(10, None).is_some());
            assert_eq!(patience.after(2 << 20, None), Some(FIRST_WAIT));
        }
    }
}
