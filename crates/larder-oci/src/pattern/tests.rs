use super::*;

#[test]
fn patterns_match_what_their_page_says() {
    let cases = [
        ("**", "a", true),
        ("**", "team/app/cache", true),
        ("*", "app", true),
        ("*", "team/app", false),
        ("team/app", "team/app", true),
        ("team/app", "team/app2", false),
        ("team/app", "team", false),
        ("team/*", "team/app", true),
        ("team/*", "team", false),
        ("team/*", "team/app/cache", false),
        ("team/*", "team2/app", false),
        ("team/app-*", "team/app-1", true),
        ("team/app-*", "team/app", false),
        ("team/**", "team", true),
        ("team/**", "team/app/cache", true),
        ("team/**", "teams/app", false),
        ("**/cache", "cache", true),
        ("**/cache", "team/app/cache", true),
        ("**/cache", "team/cache/app", false),
        ("a/**/b/**/c", "a/b/c", true),
        ("a/**/b/**/c", "a/x/b/b/y/c", true),
        ("a/**/b/**/c", "a/x/c/b", false),
        ("*a*b*", "xaxxbx", true),
        ("*a*b*", "xbxxax", false),
        // A dot or a dash is nothing but itself.
        ("a.c", "abc", false),
    ];
    for (pattern, name, expected) in cases {
        let pattern: RepositoryPattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&name.parse().unwrap()), expected, "{pattern} on {name}");
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_refused_with_its_fix() {
    let cases = [
        ("", "`**` matches every repository"),
        ("team//app", "can't be part of a repository name"),
        ("/team", "can't be part of a repository name"),
        ("team/", "can't be part of a repository name"),
        ("team/**x", "`**` stands alone between slashes"),
        ("team/***", "`**` stands alone between slashes"),
        ("Team/*", "use `team` instead of `Team`"),
        ("App*", "use `app*` instead of `App*`"),
        ("_layers/*", "can't be part of a repository name"),
        ("team/[ab]*", "can't be part of a repository name"),
        ("team/ab?", "can't be part of a repository name"),
        ("!team", "can't be part of a repository name"),
        ("a:b", "can't be part of a repository name"),
    ];
    for (text, told) in cases {
        let refused = text.parse::<RepositoryPattern>().unwrap_err().to_string();
        assert!(refused.contains(told), "{text:?} was refused with: {refused}");
    }
    assert!("a".repeat(LONGEST_PATTERN).parse::<RepositoryPattern>().is_ok());
    assert_eq!(
        "a".repeat(LONGEST_PATTERN + 1).parse::<RepositoryPattern>(),
        Err(PatternError::TooLong(LONGEST_PATTERN + 1))
    );
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
        let found = pattern.parse::<RepositoryPattern>().unwrap().wider_for(&name.parse().unwrap());
        assert_eq!(found.as_ref().map(RepositoryPattern::as_str), wider, "{pattern} {name}");
    }
}

#[test]
fn what_leaves_no_name_out_is_known() {
    for (pattern, everything) in
        [("**", true), ("**/**", true), ("*", false), ("**/*", false), ("a/**", false)]
    {
        assert_eq!(pattern.parse::<RepositoryPattern>().unwrap().is_everything(), everything, "{pattern}");
    }
}

#[test]
fn patterns_begin_like_all_names_that_they_mean() {
    let cases = [
        ("**", ""),
        ("*", ""),
        ("team", "team"),
        ("team/*", "team/"),
        ("team/**", "team"),
        ("a/b*c/d", "a/b"),
    ];
    for (pattern, beginning) in cases {
        assert_eq!(pattern.parse::<RepositoryPattern>().unwrap().beginning(), beginning, "{pattern}");
    }
}

/// A pattern that would take a matcher that tries everything longer than anybody waits.
#[test]
fn no_pattern_takes_long() {
    let name: RepoName = vec!["a"; 128].join("/").parse().unwrap();
    let pattern: RepositoryPattern = (["**", "a"].repeat(80).join("/") + "/b").parse().unwrap();
    assert!(!pattern.matches(&name));
    let pattern: RepositoryPattern = ("*a".repeat(254) + "b").parse().unwrap();
    assert!(!pattern.matches(&"a".repeat(255).parse().unwrap()));
}

/// The same by the definition of the two stars, without a thought for time.
fn reference_components(parts: &[&str], components: &[&str]) -> bool {
    match (parts, components) {
        ([], rest) => rest.is_empty(),
        (["**", parts @ ..], _) => {
            (0..=components.len()).any(|taken| reference_components(parts, &components[taken..]))
        }
        ([part, parts @ ..], [component, components @ ..]) => {
            reference_bytes(part.as_bytes(), component.as_bytes()) && reference_components(parts, components)
        }
        (_, []) => false,
    }
}

fn reference_bytes(part: &[u8], bytes: &[u8]) -> bool {
    match (part, bytes) {
        ([], rest) => rest.is_empty(),
        ([b'*', part @ ..], _) => (0..=bytes.len()).any(|taken| reference_bytes(part, &bytes[taken..])),
        ([letter, part @ ..], [byte, bytes @ ..]) => letter == byte && reference_bytes(part, bytes),
        (_, []) => false,
    }
}

proptest::proptest! {
    /// Two letters and short texts, so that about as many match as don't.
    #[test]
    fn matches_as_the_definition_says(
        parts in proptest::collection::vec("[*]{2}|[ab*]{1,4}", 1..6),
        components in proptest::collection::vec("[ab]{1,3}", 1..6),
    ) {
        let text = parts.join("/");
        if let Ok(pattern) = text.parse::<RepositoryPattern>() {
            let name: RepoName = components.join("/").parse().unwrap();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let components: Vec<&str> = components.iter().map(String::as_str).collect();
            let means = reference_components(&parts, &components);
            proptest::prop_assert_eq!(pattern.matches(&name), means, "{} on {}", pattern, name);
            proptest::prop_assert!(!means || name.as_str().starts_with(pattern.beginning()), "{}", pattern);
        }
    }

    #[test]
    fn a_name_as_a_pattern_matches_itself_alone(
        one in "[a-z0-9]{1,3}(/[a-z0-9]{1,3}){0,3}", other in "[a-z0-9]{1,3}(/[a-z0-9]{1,3}){0,3}",
    ) {
        let (one, other): (RepoName, RepoName) = (one.parse().unwrap(), other.parse().unwrap());
        let pattern: RepositoryPattern = one.as_str().parse().unwrap();
        proptest::prop_assert!(pattern.matches(&one));
        proptest::prop_assert_eq!(pattern.matches(&other), one == other);
    }

    #[test]
    fn what_parses_is_shown_as_it_was_written(text in "[a-zA-Z*._/-]{0,20}|\\PC{0,20}") {
        if let Ok(pattern) = text.parse::<RepositoryPattern>() {
            proptest::prop_assert_eq!(pattern.to_string(), text);
        }
    }
}
