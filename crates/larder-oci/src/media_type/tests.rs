use super::*;

#[test]
fn media_types_lose_their_parameters_and_nothing_else() {
    let cases: &[(&str, Option<&str>)] = &[
        (MediaType::OCI_INDEX, Some(MediaType::OCI_INDEX)),
        ("application/json; charset=utf-8", Some("application/json")),
        (" text/plain ;x=y", Some("text/plain")),
        ("application/vnd.Example+JSON", Some("application/vnd.Example+JSON")),
        ("", None),
        ("json", None),
        ("/json", None),
        ("a/", None),
        ("a/b/c", None),
        ("a b/c", None),
        ("*/*", None),
        ("a/b\r\nx: y", None),
    ];
    for (text, expected) in cases {
        let parsed = text.parse::<MediaType>().ok();
        assert_eq!(parsed.as_ref().map(MediaType::as_str), *expected, "{text:?}");
    }
}
