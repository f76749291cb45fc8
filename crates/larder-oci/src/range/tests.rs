use super::*;

fn single(start: u64, end: u64) -> RangeRequest {
    RangeRequest::Single(ByteRange { start, end })
}

#[test]
fn headers_mean_what_registry_2_takes_them_for() {
    let two = RangeRequest::Several(vec![ByteRange { start: 0, end: 2 }, ByteRange { start: 4, end: 6 }]);
    let backwards =
        RangeRequest::Several(vec![ByteRange { start: 4, end: 6 }, ByteRange { start: 0, end: 2 }]);
    let cases = [
        ("bytes=0-0", single(0, 1)),
        ("bytes=0-", single(0, 11)),
        ("bytes=-5", single(6, 11)),
        ("bytes=-50", single(0, 11)),
        ("bytes=5-999", single(5, 11)),
        ("bytes= 5 - 6 ", single(5, 7)),
        ("bytes=5-99999999999999999999999999", single(5, 11)),
        ("bytes=0-1,4-5", two),
        ("bytes=4-5, 0-1", backwards),
        ("bytes=0-10,0-10", RangeRequest::Whole),
        ("bytes=0-1,50-60", single(0, 2)),
        ("bytes=11-", RangeRequest::Unsatisfiable),
        ("bytes=-0", RangeRequest::Unsatisfiable),
        ("bytes=500-0", RangeRequest::Unsatisfiable),
        ("bytes=abc", RangeRequest::Unsatisfiable),
        ("bytes=", RangeRequest::Unsatisfiable),
        ("bytes=,", RangeRequest::Unsatisfiable),
        ("bytes=+1-2", RangeRequest::Unsatisfiable),
        ("items=0-1", RangeRequest::Unsatisfiable),
        ("abc", RangeRequest::Unsatisfiable),
        ("", RangeRequest::Unsatisfiable),
    ];
    for (header, expected) in cases {
        assert_eq!(RangeRequest::parse(header, 11), expected, "{header:?}");
    }
}

#[test]
fn an_empty_blob_is_had_whole() {
    for header in ["bytes=0-", "bytes=-1", "bytes=0-0", "bytes=7-,9-"] {
        assert_eq!(RangeRequest::parse(header, 0), RangeRequest::Whole, "{header}");
    }
    for header in ["bytes=", "bytes=,", "bytes=2-1", "items=0-"] {
        assert_eq!(RangeRequest::parse(header, 0), RangeRequest::Unsatisfiable, "{header}");
    }
}

#[test]
fn as_many_ranges_as_a_real_client_sends_are_answered_and_no_more() {
    let header = |count: usize| {
        let specs: Vec<String> = (0..count).map(|at| format!("{}-{}", at * 2, at * 2)).collect();
        format!("bytes={}", specs.join(","))
    };
    let parsed = RangeRequest::parse(&header(MAX_RANGES), 1 << 20);
    assert!(matches!(parsed, RangeRequest::Several(ranges) if ranges.len() == MAX_RANGES));
    assert_eq!(RangeRequest::parse(&header(MAX_RANGES + 1), 1 << 20), RangeRequest::Whole);
}

#[test]
fn ranges_that_ask_for_more_than_a_huge_content_are_answered_whole() {
    assert_eq!(RangeRequest::parse("bytes=0-,0-0", u64::MAX), RangeRequest::Whole);
}

proptest::proptest! {
    #[test]
    fn every_answer_lies_within_the_content(header in "bytes=[0-9, -]{0,40}|\\PC{0,40}", size: u64) {
        let ranges = match RangeRequest::parse(&header, size) {
            RangeRequest::Single(range) => vec![range],
            RangeRequest::Several(ranges) => ranges,
            RangeRequest::Whole | RangeRequest::Unsatisfiable => Vec::new(),
        };
        for range in ranges {
            proptest::prop_assert!(range.start < range.end && range.end <= size);
        }
    }
}
