use super::*;
use crate::Algorithm;

#[test]
fn tags_follow_the_specification() {
    let cases: &[(&str, bool)] = &[
        ("latest", true),
        ("1.2.3-rc_1", true),
        ("_x", true),
        ("V1", true),
        (".x", false),
        ("-x", false),
        ("", false),
        ("a/b", false),
        ("a+b", false),
        ("a b", false),
        ("ä", false),
        ("..", false),
    ];
    for (text, valid) in cases {
        assert_eq!(text.parse::<Tag>().is_ok(), *valid, "{text:?}");
    }
    assert!("a".repeat(128).parse::<Tag>().is_ok());
    assert_eq!("a".repeat(129).parse::<Tag>(), Err(TagError::TooLong(129)));
}

#[test]
fn a_colon_makes_a_reference_a_digest() {
    assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
    assert!(matches!("sha256:baddigeststring".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    assert!(matches!("a/b".parse::<Reference>(), Err(ReferenceError::Tag(_))));
}

#[test]
fn the_fallback_tag_is_a_tag_for_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let tag = Tag::referrers_fallback(&Digest::of(algorithm, b"x"));
        assert_eq!(tag.as_str().parse::<Tag>(), Ok(tag));
    }
}
