use larder_core::Allowance;

use super::*;

fn measured(first_byte: f64, throughput: f64) -> MirrorMeasure {
    MirrorMeasure { resting: None, first_byte: Some(first_byte), throughput: Some(throughput) }
}

const UNKNOWN: MirrorMeasure = MirrorMeasure { resting: None, first_byte: None, throughput: None };

fn resting(seconds: u64) -> MirrorMeasure {
    MirrorMeasure { resting: Some(Duration::from_secs(seconds)), first_byte: None, throughput: None }
}

#[test]
fn the_operators_order_counts_until_something_better_is_known() {
    assert_eq!(order(&[UNKNOWN, UNKNOWN, UNKNOWN]), [0, 1, 2]);
    // A little faster is noise; twice as fast is not.
    assert_eq!(order(&[measured(0.1, 1e7), measured(0.09, 1.2e7)]), [0, 1]);
    assert_eq!(order(&[measured(0.1, 1e6), measured(0.1, 1e8)]), [1, 0]);
    assert_eq!(order(&[measured(2.0, 1e8), measured(0.01, 1e8)]), [1, 0]);
    assert_eq!(order(&[UNKNOWN, measured(0.001, 1e9)]), [0, 1]);
}

#[test]
fn what_rests_goes_last_and_first_what_is_due_first() {
    assert_eq!(order(&[resting(5), UNKNOWN, measured(9.0, 1.0)]), [1, 2, 0]);
    assert_eq!(order(&[resting(5), resting(2), resting(9)]), [1, 0, 2]);
}

#[test]
fn a_failure_in_a_row_doubles_the_rest_and_an_answer_ends_it() {
    let mirror = Mirror::new("https://m.example".parse().unwrap(), 1);
    let now = Instant::now();
    let rest = |mirror: &Mirror| mirror.measure(now).resting.map(|rest| rest.as_secs());
    assert_eq!(rest(&mirror), None);
    for expected in [2, 4, 8, 16] {
        mirror.failed("x", now);
        assert_eq!(rest(&mirror), Some(expected));
    }
    for _ in 0..40 {
        mirror.failed("x", now);
    }
    assert_eq!(rest(&mirror), Some(LONGEST_REST.as_secs()));
    assert_eq!(mirror.measure(now + LONGEST_REST).resting, None);
    mirror.answered(Duration::from_millis(5), now);
    assert_eq!(rest(&mirror), None);
    mirror.failed("x", now);
    assert_eq!(rest(&mirror), Some(2));
}

#[test]
fn small_bodies_say_nothing_about_throughput() {
    let mirror = Mirror::new("https://m.example".parse().unwrap(), 1);
    mirror.delivered(TELLING - 1, Duration::from_millis(1));
    assert_eq!(mirror.measure(Instant::now()).throughput, None);
    mirror.delivered(1 << 20, Duration::from_secs(1));
    assert_eq!(mirror.measure(Instant::now()).throughput, Some(f64::from(1 << 20)));
}

#[test]
fn one_that_was_not_asked_for_long_is_due_for_one_asker() {
    let mirror = Mirror::new("https://m.example".parse().unwrap(), 1);
    let now = Instant::now();
    assert!(mirror.is_forgotten(now));
    assert!(!mirror.is_forgotten(now));
    assert!(mirror.is_forgotten(now + FORGOTTEN_AFTER));
}

#[test]
fn accounts_take_turns_and_those_with_more_left_go_first() {
    let (mut a, mut b, now) = (Standing::default(), Standing::default(), Instant::now());
    a.is_used(now);
    assert!(b.rank(now) < a.rank(now));
    b.is_used(now + Duration::from_millis(1));
    assert!(a.rank(now) < b.rank(now));
    a.rate_limit.refused(&http::HeaderMap::new(), now);
    assert!(matches!(a.rate_limit.allowance(now), Allowance::Spent { .. }));
    assert!(b.rank(now) < a.rank(now));
    b.rejected_until = Some(now + Duration::from_secs(1));
    assert!(a.rank(now) < b.rank(now));
}
