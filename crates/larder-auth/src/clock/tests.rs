use super::*;

#[test]
fn times_as_date_prints_them() {
    // `date -u -d @N +%FT%TZ`
    let cases = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_772_366_400, "2026-03-01T12:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ];
    for (seconds, text) in cases {
        assert_eq!(rfc3339(seconds), text);
    }
}

#[test]
fn a_clock_before_1970_reads_as_1970() {
    assert_eq!(unix_seconds(UNIX_EPOCH - std::time::Duration::from_secs(5)), 0);
}
