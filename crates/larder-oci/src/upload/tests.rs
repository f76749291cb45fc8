use super::*;

#[test]
fn a_session_has_one_spelling() {
    let id = UploadId::from_random([7; 16]);
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "x", "..", "D5A1C4F8-0000-4000-8000-000000000000", "d5a1c4f8000040008000000000000000"] {
        assert!(text.parse::<UploadId>().is_err(), "{text}");
    }
}

#[test]
fn chunk_ranges_in_the_forms_that_clients_send() {
    let cases = [
        ("0-1023", Some((0, 1023))),
        ("5-5", Some((5, 5))),
        ("bytes 0-99/*", Some((0, 99))),
        ("bytes=0-99", Some((0, 99))),
        ("bytes 0-99/100", Some((0, 99))),
        ("9-5", None),
        ("", None),
        ("-5", None),
        ("5-", None),
        ("a-b", None),
        ("0-1-2", None),
    ];
    for (text, expected) in cases {
        let parsed = text.parse::<ChunkRange>().ok().map(|range| (range.first, range.last));
        assert_eq!(parsed, expected, "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_header_is_read_or_refused(text in "\\PC{0,60}") {
        if let Ok(range) = text.parse::<ChunkRange>() {
            proptest::prop_assert!(range.first <= range.last && range.length() >= 1);
        }
        let _ = text.parse::<UploadId>();
    }
}
