use super::*;

#[test]
fn distances() {
    for (left, right, expected) in [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("htpaswd", "htpasswd", 1),
        ("adress", "address", 1),
        ("ofrmatter", "formatter", 1),
        ("kitten", "sitting", 3),
        ("größe", "grösse", 2),
    ] {
        assert_eq!(distance(left, right), expected, "{left} to {right}");
    }
}

#[test]
fn only_a_likely_slip_is_suggested() {
    let known = ["addr", "net", "prefix", "host", "headers", "tls"];
    for (word, expected) in [
        ("adr", Some("addr")),
        ("Addr", Some("addr")),
        ("header", Some("headers")),
        ("tsl", Some("tls")),
        ("port", None),
        ("something", None),
    ] {
        assert_eq!(nearest(word, known), expected, "{word}");
    }
}
