use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn hub(remaining: &str) -> HeaderMap {
    headers(&[
        ("ratelimit-limit", "100;w=21600"),
        ("ratelimit-remaining", remaining),
        ("docker-ratelimit-source", "192.0.2.1"),
    ])
}

#[test]
fn hubs_headers_are_understood() {
    let (mut limit, now) = (RateLimit::default(), Instant::now());
    limit.learn(&hub("76;w=21600"), now);
    assert_eq!((limit.limit, limit.remaining), (Some(100), Some(76)));
    assert_eq!(limit.window, Some(Duration::from_secs(21600)));
    assert_eq!(limit.allowance(now), Allowance::Plenty);
}

#[test]
fn near_the_end_it_is_scarce_and_at_zero_spent_until_it_may_have_renewed() {
    let (mut limit, now) = (RateLimit::default(), Instant::now());
    limit.learn(&hub("9;w=21600"), now);
    assert_eq!(limit.allowance(now), Allowance::Scarce);
    limit.learn(&hub("0;w=21600"), now);
    assert_eq!(limit.allowance(now), Allowance::Spent { renews_in: PAUSE_AT_ZERO });
    // One question may then go out; its answer says how it stands.
    assert_eq!(limit.allowance(now + PAUSE_AT_ZERO), Allowance::Scarce);
    limit.learn(&hub("100;w=21600"), now + PAUSE_AT_ZERO);
    assert_eq!(limit.allowance(now + PAUSE_AT_ZERO), Allowance::Plenty);
}

#[test]
fn what_is_sent_counts_before_the_answer_says_so() {
    let (mut limit, now) = (RateLimit::default(), Instant::now());
    limit.learn(&hub("11;w=21600"), now);
    limit.spend();
    assert_eq!(limit.allowance(now), Allowance::Plenty);
    limit.spend();
    assert_eq!(limit.allowance(now), Allowance::Scarce);
}

#[test]
fn after_a_whole_window_nothing_is_known_any_more() {
    let (mut limit, now) = (RateLimit::default(), Instant::now());
    limit.learn(&hub("1;w=60"), now);
    assert_eq!(limit.allowance(now + Duration::from_secs(59)), Allowance::Scarce);
    assert_eq!(limit.allowance(now + Duration::from_secs(60)), Allowance::Plenty);
}

#[test]
fn a_refusal_says_when_to_come_back_or_is_given_a_minute() {
    let now = Instant::now();
    for (told, expected) in [
        (headers(&[("retry-after", "7")]), Duration::from_secs(7)),
        (headers(&[]), PAUSE_UNTOLD),
        (headers(&[("retry-after", "soon")]), PAUSE_UNTOLD),
        (headers(&[("retry-after", "99999999999")]), LONGEST_PAUSE),
        (hub("0;w=21600"), PAUSE_AT_ZERO),
    ] {
        let mut limit = RateLimit::default();
        assert_eq!(limit.refused(&told, now), expected, "{told:?}");
        assert_eq!(limit.allowance(now), Allowance::Spent { renews_in: expected });
        assert_eq!(
            limit.allowance(now + expected),
            if told == hub("0;w=21600") { Allowance::Scarce } else { Allowance::Plenty }
        );
    }
}

#[test]
fn a_date_is_understood_too() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let before = humantime::parse_rfc3339("1994-11-06T08:49:07Z").unwrap();
    assert_eq!(pause(date, before), Some(Duration::from_secs(30)));
    assert_eq!(pause(date, before + Duration::from_secs(60)), Some(Duration::ZERO));
    assert_eq!(pause("yesterday", before), None);
}

#[test]
fn what_is_no_number_changes_nothing() {
    let (mut limit, now) = (RateLimit::default(), Instant::now());
    limit.learn(&headers(&[("ratelimit-remaining", "many"), ("ratelimit-limit", "-1")]), now);
    assert_eq!(limit, RateLimit::default());
}

/// Token servers say it too, and what comes of it goes out in our own `Retry-After`.
#[test]
fn nobody_keeps_us_away_for_ever() {
    for told in ["18446744073709551615", "99999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        assert_eq!(retry_after(&headers(&[("retry-after", told)])), Some(LONGEST_PAUSE), "{told}");
    }
    assert_eq!(retry_after(&headers(&[("retry-after", "18446744073709551616")])), None);
    assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
}
