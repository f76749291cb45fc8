use std::time::Duration;

use larder_core::{Keeping, RetentionRules, TagPattern};

use super::super::super::Config;
use crate::config::Environment;

const ONE: &str = "storage: filesystem\nretention: {rules: [{keep: [{newest: 1}]}]}";

pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("retention.every", "storage: filesystem", "storage: filesystem\nretention: {every: 1h}"),
    ("retention.rules", "storage: filesystem", ONE),
    ("retention.rules[].in", ONE, "storage: filesystem\nretention: {rules: [{in: a, keep: [{newest: 1}]}]}"),
    (
        "retention.rules[].tags",
        ONE,
        "storage: filesystem\nretention: {rules: [{tags: [a, b-*], keep: [{newest: 1}]}]}",
    ),
    (
        "retention.rules[].keep",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{newest: 1}, {tags: a}]}]}",
    ),
    (
        "retention.rules[].keep[].newest",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{newest: 2}]}]}",
    ),
    (
        "retention.rules[].keep[].pushed",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{pushed: 1h}]}]}",
    ),
    (
        "retention.rules[].keep[].pulled",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{pulled: 1h}]}]}",
    ),
    ("retention.rules[].keep[].used", ONE, "storage: filesystem\nretention: {rules: [{keep: [{used: 1h}]}]}"),
    (
        "retention.rules[].keep[].tags",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{tags: [v*]}]}]}",
    ),
    (
        "retention.rules[].untagged",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{newest: 1}], untagged: 1h}]}",
    ),
    (
        "retention.rules[].immutabletoo",
        ONE,
        "storage: filesystem\nretention: {rules: [{keep: [{newest: 1}], immutabletoo: true}]}",
    ),
    (
        "retention.immutable",
        "storage: filesystem",
        "storage: filesystem\nretention: {immutable: [{tags: a}]}",
    ),
    (
        "retention.immutable[].in",
        "storage: filesystem\nretention: {immutable: [{tags: a}]}",
        "storage: filesystem\nretention: {immutable: [{tags: a, in: b}]}",
    ),
    (
        "retention.immutable[].tags",
        "storage: filesystem\nretention: {immutable: [{tags: a}]}",
        "storage: filesystem\nretention: {immutable: [{tags: [a, X.Y.Z]}]}",
    ),
];

pub(in crate::config::build) fn no_rules() -> RetentionRules {
    RetentionRules { rules: Vec::new(), every: Duration::from_secs(24 * 3600), immutable: Vec::new() }
}

fn read(rules: &str) -> Result<RetentionRules, String> {
    let text = format!("version: 0.1\nstorage: filesystem\nretention:\n  rules:\n{rules}");
    let loaded = Config::from_yaml(&text, "/etc/larder/config.yml", &Environment::default());
    loaded.map(|loaded| loaded.config.retention).map_err(|errors| errors.to_string())
}

#[test]
fn a_rule_reads_as_it_is_written() {
    let rules = read(
        "  - in: [team/**, tools]\n    tags: build-*\n    keep:\n    - newest: 10\n    - {pulled: 720h, tags: [X.Y.Z]}\n    untagged: 168h\n",
    )
    .unwrap();
    let [rule] = rules.rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!(&*rule.place, "config.yml:5, retention rule 1");
    assert_eq!(rule.repositories, ["team/**".parse().unwrap(), "tools".parse().unwrap()]);
    assert_eq!(rule.tags, [TagPattern::Like("build-*".to_owned())]);
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    assert_eq!(
        rule.keep,
        [
            Keeping { newest: Some(10), ..Keeping::default() },
            Keeping { pulled: hours(720), tags: vec![TagPattern::ExactVersion], ..Keeping::default() },
        ]
    );
    assert_eq!(rule.untagged, hours(168));
}

#[test]
fn what_would_delete_more_than_anybody_means_is_refused() {
    for (rules, words) in [
        ("  - in: team/**\n", "a rule says what it keeps"),
        ("  - {tags: tmp-*, untagged: 1h}\n", "a rule says what it keeps"),
        ("  - {keep: [{newest: 0}]}\n", "must be 1 or more"),
        ("  - {keep: [{pushed: 30}]}\n", "write a time with its unit"),
        ("  - {keep: [{}]}\n", "says nothing"),
        ("  - {tags: 'build-?', keep: [{newest: 1}]}\n", "which no tag can be"),
        ("  - {in: Team, keep: [{newest: 1}]}\n", "is no pattern"),
    ] {
        let errors = read(rules).unwrap_err();
        assert!(errors.contains(words), "{rules}: {errors}");
    }
    assert_eq!(read("  - untagged: 1h\n").unwrap().rules.len(), 1);
}
