use super::*;

#[test]
fn names_follow_the_specification() {
    let cases: &[(&str, bool)] = &[
        ("a", true),
        ("library/nginx", true),
        ("a/b/c/d/e/f/g", true),
        ("foo.bar/baz_qux/one__two/three---four", true),
        ("docker.io/library/alpine", true),
        ("0/1", true),
        ("", false),
        ("/", false),
        ("a/", false),
        ("/a", false),
        ("a//b", false),
        ("..", false),
        ("a/../b", false),
        ("_layers", false),
        ("a/_manifests", false),
        ("a___b", false),
        ("a..b", false),
        ("a._b", false),
        ("-a", false),
        ("a-", false),
        (".a", false),
        ("a b", false),
        ("a:b", false),
        ("a%2fb", false),
        ("a\u{0}b", false),
        ("naïve", false),
        ("Upper/x", false),
    ];
    for (text, valid) in cases {
        assert_eq!(text.parse::<RepoName>().is_ok(), *valid, "{text:?}");
    }
    assert!("a".repeat(255).parse::<RepoName>().is_ok());
    assert_eq!("a".repeat(256).parse::<RepoName>(), Err(NameError::TooLong(256)));
}

#[test]
fn an_upper_case_name_is_answered_with_the_name_to_use() {
    let error = "Team/App".parse::<RepoName>().unwrap_err();
    assert!(error.to_string().contains("`team/app`"), "{error}");
}

proptest::proptest! {
    #[test]
    fn what_parses_is_a_safe_relative_path(text in "[a-zA-Z0-9._/-]{0,40}") {
        if let Ok(name) = text.parse::<RepoName>() {
            proptest::prop_assert_eq!(name.as_str(), text.as_str());
            for component in name.components() {
                proptest::prop_assert!(!component.is_empty());
                proptest::prop_assert!(!component.starts_with(['.', '_']));
            }
        }
    }
}
