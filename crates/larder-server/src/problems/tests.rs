use std::time::Duration;

use super::*;

fn explained(kind: &'static str) -> Explained {
    Explained { kind, reason: "because".to_owned(), hop: "client", fix: "do".to_owned() }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

#[test]
fn refusals_of_one_kind_for_one_client_are_one_problem_and_the_newest_stands_first() {
    let problems = Problems::default();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    problems.note(address(1), None, None, explained("a"), at(1));
    problems.note(address(1), None, None, explained("a"), at(3));
    problems.note(address(2), None, None, explained("a"), at(2));
    let told = problems.to_json();
    let list = told["problems"].as_array().expect("a list");
    assert_eq!(list.len(), 2);
    assert_eq!((list[0]["client"].as_str(), list[0]["count"].as_u64()), (Some("10.0.0.1"), Some(2)));
    assert_eq!(list[0]["first"], "1970-01-01T00:00:01Z");
    assert_eq!(list[0]["last"], "1970-01-01T00:00:03Z");
}

#[test]
fn a_hello_before_a_plain_request_is_a_question_and_no_problem() {
    let problems = Problems::default();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let counts = || -> Vec<u64> {
        let told = problems.to_json();
        told["problems"].as_array().expect("a list").iter().filter_map(|one| one["count"].as_u64()).collect()
    };
    // Two that nothing follows, and later two that something does.
    for seconds in [1, 100, 200, 201] {
        problems.note_hello(address(1), "TLS", at(seconds));
    }
    problems.note_plain(address(2), at(201));
    assert_eq!(counts(), [4], "another client explains nothing");
    problems.note_plain(address(1), at(202));
    assert_eq!(counts(), [2]);
    problems.note_plain(address(1), at(203));
    assert_eq!(counts(), [2], "what was explained is explained once");
    problems.note_hello(address(3), "TLS", at(300));
    problems.note_plain(address(3), at(300));
    assert_eq!(counts(), [2]);
    problems.note_hello(address(3), "TLS", at(400));
    problems.note_plain(address(3), at(406));
    assert_eq!(counts(), [1, 2], "too late to have been the same attempt");
}

#[test]
fn the_lists_do_not_grow_without_end() {
    let problems = Problems::default();
    for number in 0..2000_u32 {
        let client = IpAddr::from(number.to_be_bytes());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number));
        problems.note(client, None, None, explained("a"), at);
        problems.note_pull(client, b"docker", None);
    }
    assert_eq!(problems.to_json()["problems"].as_array().map(Vec::len), Some(MOST_PROBLEMS));
    assert_eq!(problems.clients_json()["clients"].as_array().map(Vec::len), Some(MOST_CLIENTS));
    assert_eq!(problems.to_json()["problems"][0]["client"], "0.0.7.207", "the newest is kept");
}

#[test]
fn a_proxy_is_known_by_the_headers_that_it_adds() {
    let problems = Problems::default();
    let mut headers = HeaderMap::new();
    problems.note_front(address(1), &headers, true, SystemTime::UNIX_EPOCH);
    assert_eq!(problems.to_json()["fronts"], json!([]), "a client of its own");
    headers.insert("x-forwarded-for", http::HeaderValue::from_static("10.0.0.9"));
    headers.insert("x-forwarded-proto", http::HeaderValue::from_static("https"));
    for number in 0..=MOST_FRONTS {
        let proxy = address(u8::try_from(number).expect("a byte"));
        problems.note_front(proxy, &headers, true, SystemTime::UNIX_EPOCH);
        problems.note_front(proxy, &headers, false, SystemTime::UNIX_EPOCH);
    }
    let told = problems.to_json();
    let fronts = told["fronts"].as_array().expect("a list");
    assert_eq!(fronts.len(), MOST_FRONTS);
    let newest = json!({
        "proxy": "10.0.0.50", "trusted": false, "names_client": true, "proto": "https", "host": null, "via": null,
        "last": "1970-01-01T00:00:00Z",
    });
    assert_eq!(fronts[0], newest);
}

#[test]
fn a_proxy_that_forgets_tls_is_named_only_where_tls_is_promised() {
    let problems = Problems::default();
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-proto", http::HeaderValue::from_static("http"));
    problems.note_forwarded(address(1), &headers, None);
    problems.note_forwarded(address(1), &headers, Some("http://reg.lan"));
    assert_eq!(problems.to_json()["problems"].as_array().map(Vec::len), Some(0));
    problems.note_forwarded(address(1), &headers, Some("https://reg.lan"));
    assert_eq!(problems.to_json()["problems"][0]["kind"], "proxy-scheme");
}
