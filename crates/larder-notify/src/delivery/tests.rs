use super::*;

#[test]
fn pauses_begin_with_the_threshold_and_double_up_to_five_minutes() {
    let second = Duration::from_secs(1);
    let pauses: Vec<u64> = (1..=13).map(|failures| pause(failures, 3, second).as_secs()).collect();
    assert_eq!(pauses, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(pause(1, 0, second), second, "a threshold of nothing is one of one");
    assert_eq!(pause(u32::MAX, 1, second), LONGEST_PAUSE);
    let hour = Duration::from_secs(3600);
    assert_eq!(pause(9, 1, hour), hour, "the operator's own pause is never shortened");
    assert_eq!(pause(1, 1, Duration::ZERO), Duration::ZERO);
}
