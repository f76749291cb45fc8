use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, name: &str) -> bool {
    pattern.parse::<Glob>().unwrap().matches(&name.parse().unwrap())
}

#[test]
fn what_patterns_mean() {
    let cases: [(&str, &[&str], &[&str]); 10] = [
        ("**", &["a", "a/b", "a/b/c"], &[]),
        ("*", &["a", "team"], &["a/b"]),
        ("team/*", &["team/a"], &["team", "team/a/b", "teams/a", "x/team/a"]),
        ("team/**", &["team", "team/a", "team/a/b/c"], &["teams", "teams/a", "x/team"]),
        ("**/app", &["app", "a/app", "a/b/app"], &["apps", "a/app/x"]),
        ("team/**/app", &["team/app", "team/a/b/app"], &["team", "team/a", "app"]),
        ("**/x/**/y", &["x/y", "a/x/y", "x/x/y/y", "x/a/x/b/y"], &["x", "y/x", "x/y/z"]),
        ("a*c", &["ac", "abc", "abbc"], &["a", "ab", "abcd", "a/c"]),
        ("*-prod", &["web-prod", "a-b-prod"], &["prod", "web-prods", "a/web-prod"]),
        ("v1.*/a", &["v1.2/a"], &["v1/a", "v12/a"]),
    ];
    for (pattern, yes, no) in cases {
        for name in yes {
            assert!(matches(pattern, name), "{pattern} means {name}");
        }
        for name in no {
            assert!(!matches(pattern, name), "{pattern} does not mean {name}");
        }
    }
}

#[test]
fn texts_that_are_no_pattern() {
    let cases = [
        ("", GlobError::Empty),
        ("/", GlobError::EmptyPart),
        ("/team", GlobError::EmptyPart),
        ("team/", GlobError::EmptyPart),
        ("a//b", GlobError::EmptyPart),
        ("Team/*", GlobError::Letter('T')),
        ("team/?", GlobError::Letter('?')),
        ("te am", GlobError::Letter(' ')),
        ("team/{a,b}", GlobError::Letter('{')),
        ("team**", GlobError::CrowdedStars),
        ("team/***", GlobError::CrowdedStars),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Glob>(), Err(error), "{text}");
    }
    assert_eq!("a".repeat(256).parse::<Glob>(), Err(GlobError::TooLong(256)));
}

#[test]
fn likely_slips_are_seen() {
    let cases = [
        ("team/*", "team/a/b", Some("team/**")),
        ("*", "team/a", Some("**")),
        ("team", "team/a", Some("team/**")),
        ("team/*", "team/a", None),
        ("team/*", "other/a", None),
        ("team/**", "other", None),
        ("team/a*", "team/ab/c", Some("team/a*/**")),
    ];
    for (pattern, name, wider) in cases {
        let found = pattern.parse::<Glob>().unwrap().wider_for(&name.parse().unwrap());
        assert_eq!(found.map(|glob| glob.to_string()).as_deref(), wider, "{pattern} {name}");
    }
}

#[test]
fn stars_in_a_row_do_not_take_for_ever() {
    let pattern = "**/".repeat(50) + "b";
    let stars = "a*".repeat(100) + "b";
    let name = "a/".repeat(100) + "a";
    assert!(!matches(&pattern, &name));
    assert!(!matches(&stars, &"a".repeat(250)));
}

/// The same by the definition, for short inputs.
fn reference(pattern: &[&str], name: &[&str]) -> bool {
    fn text(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| text(rest, &name[taken..])),
            (Some((a, pattern)), Some((b, name))) => a == b && text(pattern, name),
            _ => false,
        }
    }
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=name.len()).any(|taken| reference(rest, &name[taken..])),
        (Some((a, pattern)), Some((b, name))) => text(a.as_bytes(), b.as_bytes()) && reference(pattern, name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_is_as_defined(
        pattern in "(\\*\\*|[ab]{1,2}|[ab*]b?\\*?)(/(\\*\\*|[ab]|\\*|a\\*)){0,4}",
        name in "[ab]{1,3}(/[ab]{1,2}){0,4}",
    ) {
        let Ok(glob) = pattern.parse::<Glob>() else { return Ok(()) };
        let parsed: RepoName = name.parse().unwrap();
        let (parts, components): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
        let means = reference(&parts, &components);
        prop_assert_eq!(glob.matches(&parsed), means);
        prop_assert!(!means || name.starts_with(&glob.beginning()), "{}", glob.beginning());
        prop_assert_eq!(glob.to_string().parse::<Glob>(), Ok(glob));
    }
}
