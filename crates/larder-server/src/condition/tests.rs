use super::*;

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

#[test]
fn conditions_of_a_read() {
    let digest = Digest::sha256(b"x");
    let other = Digest::sha256(b"y");
    let cases: Vec<(HeaderName, String, Verdict)> = vec![
        (IF_NONE_MATCH, format!("\"{digest}\""), Verdict::NotModified),
        (IF_NONE_MATCH, digest.to_string(), Verdict::NotModified),
        (IF_NONE_MATCH, format!("W/\"{digest}\""), Verdict::NotModified),
        (IF_NONE_MATCH, format!("\"{other}\", \"{digest}\""), Verdict::NotModified),
        (IF_NONE_MATCH, "*".into(), Verdict::NotModified),
        (IF_NONE_MATCH, format!("\"{other}\""), Verdict::Proceed),
        (IF_NONE_MATCH, "garbage".into(), Verdict::Proceed),
        (IF_MATCH, format!("\"{digest}\""), Verdict::Proceed),
        (IF_MATCH, "*".into(), Verdict::Proceed),
        (IF_MATCH, format!("W/\"{digest}\""), Verdict::PreconditionFailed),
        (IF_MATCH, format!("\"{other}\""), Verdict::PreconditionFailed),
    ];
    for (name, value, verdict) in cases {
        assert_eq!(judge(&headers(&[(name.clone(), &value)]), &digest), verdict, "{name}: {value}");
    }
    assert_eq!(judge(&HeaderMap::new(), &digest), Verdict::Proceed);
}

#[test]
fn a_range_counts_only_for_the_content_it_was_meant_for() {
    let digest = Digest::sha256(b"x");
    assert!(range_counts(&HeaderMap::new(), &digest));
    assert!(range_counts(&headers(&[(IF_RANGE, &format!("\"{digest}\""))]), &digest));
    assert!(!range_counts(&headers(&[(IF_RANGE, "\"other\"")]), &digest));
    assert!(!range_counts(&headers(&[(IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT")]), &digest));
}

#[test]
fn preconditions_of_a_write() {
    let digest = Digest::sha256(b"x");
    let quoted = format!("\"{digest}\"");
    assert_eq!(precondition(&HeaderMap::new()), Precondition::Always);
    assert_eq!(precondition(&headers(&[(IF_MATCH, "*")])), Precondition::Present);
    assert_eq!(precondition(&headers(&[(IF_NONE_MATCH, "*")])), Precondition::Absent);
    assert_eq!(precondition(&headers(&[(IF_MATCH, &quoted)])), Precondition::PointsAtOneOf(vec![digest]));
    assert_eq!(precondition(&headers(&[(IF_MATCH, "\"x\"")])), Precondition::PointsAtOneOf(vec![]));
    assert_eq!(
        precondition(&headers(&[(IF_NONE_MATCH, &quoted)])),
        Precondition::PointsAtNoneOf(vec![digest])
    );
}
