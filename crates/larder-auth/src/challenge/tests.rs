use super::*;

#[test]
fn texts_are_quoted_as_go_does() {
    // The output of `fmt.Printf("%q")`.
    let cases = [
        ("Registry Realm", r#""Registry Realm""#),
        ("a\"b\\c", r#""a\"b\\c""#),
        ("tab\tnl\nbell\u{7}\u{1}\u{7f}", r#""tab\tnl\nbell\a\x01\x7f""#),
        ("\u{8}\u{b}\u{c}\r", r#""\b\v\f\r""#),
        ("Küche", r#""Küche""#),
        ("\u{a0}|\u{85}|\u{200b}|\u{feff}", r#""\u00a0|\u0085|\u200b|\ufeff""#),
        ("😀\u{e0001}", r#""😀\U000e0001""#),
    ];
    for (text, expected) in cases {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn challenges_as_registry_2_writes_them() {
    assert_eq!(basic("Registry Realm"), r#"Basic realm="Registry Realm""#);
    let scope = |text: &str| text.parse::<Scope>().unwrap();
    let realm = "http://host/auth/token";
    let cases = [
        (vec![], None, r#"Bearer realm="http://host/auth/token",service="larder""#),
        (
            vec![scope("repository:a:push,pull")],
            Some(ChallengeError::InsufficientScope),
            r#"Bearer realm="http://host/auth/token",service="larder",scope="repository:a:pull,push",error="insufficient_scope""#,
        ),
        (
            vec![scope("repository:a:pull,push"), scope("repository:b/c:pull")],
            None,
            r#"Bearer realm="http://host/auth/token",service="larder",scope="repository:a:pull,push repository:b/c:pull""#,
        ),
        (
            vec![],
            Some(ChallengeError::InvalidToken),
            r#"Bearer realm="http://host/auth/token",service="larder",error="invalid_token""#,
        ),
    ];
    for (needed, error, expected) in cases {
        assert_eq!(bearer(realm, "larder", &needed, error), expected);
    }
    assert_eq!(
        bearer(realm, "larder", Some(&scope("registry:catalog:*")), None),
        r#"Bearer realm="http://host/auth/token",service="larder",scope="registry:catalog:*""#
    );
}
