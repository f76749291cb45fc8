use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use larder_oci::{Digest, Tag};
use proptest::prelude::*;

use super::super::rules::{ImmutableRule, Keeping};
use super::*;
use crate::upstreams::TagPattern;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + HOUR * 500_000
}

fn ago(hours: u32) -> SystemTime {
    now() - HOUR * hours
}

fn digest(number: u32) -> Digest {
    Digest::sha256(&number.to_be_bytes())
}

fn tag(name: &str, manifest: u32, pushed: u32) -> TagFacts {
    let (tag, digest, pushed) = (name.parse().unwrap(), digest(manifest), Some(ago(pushed)));
    TagFacts { tag, digest, pushed, linked_at: 1, is_copy: false }
}

fn manifest(since: u32) -> ManifestFacts {
    ManifestFacts {
        since: Some(ago(since)),
        pulled: None,
        subject: None,
        children: Vec::new(),
        is_copy: false,
    }
}

fn facts(tags: Vec<TagFacts>, manifests: Vec<(u32, ManifestFacts)>) -> RepositoryFacts {
    let mut all: HashMap<Digest, ManifestFacts> =
        manifests.into_iter().map(|(number, facts)| (digest(number), facts)).collect();
    for tag in &tags {
        all.entry(tag.digest).or_insert_with(|| manifest(1000));
    }
    RepositoryFacts {
        repository: "team/app".parse().unwrap(),
        now: now(),
        tags,
        manifests: all,
        pulls_known_since: SystemTime::UNIX_EPOCH,
        damaged: None,
    }
}

fn rule(keep: &[Keeping], untagged: Option<u32>) -> RetentionRule {
    RetentionRule {
        place: "the rule".into(),
        repositories: Vec::new(),
        tags: Vec::new(),
        keep: keep.to_vec(),
        untagged: untagged.map(|hours| HOUR * hours),
        immutable_too: false,
    }
}

fn newest(count: u64) -> Keeping {
    Keeping { newest: Some(count), ..Keeping::default() }
}

fn used(hours: u32) -> Keeping {
    Keeping { used: Some(HOUR * hours), ..Keeping::default() }
}

fn named(pattern: &str) -> Keeping {
    Keeping { tags: vec![TagPattern::from(pattern)], ..Keeping::default() }
}

fn rules(rules: impl IntoIterator<Item = RetentionRule>) -> RetentionRules {
    RetentionRules { rules: rules.into_iter().collect(), every: HOUR, immutable: Vec::new() }
}

/// Every tag and every untagged manifest, with `+` for what stays and what is said of it.
fn decided(rules: &RetentionRules, facts: &RepositoryFacts) -> BTreeMap<String, String> {
    let verdicts = rules.decide(facts);
    let sign = |verdict: &Verdict| format!("{} {verdict}", if verdict.goes() { "-" } else { "+" });
    let tags = verdicts.tags.iter().map(|tag| (tag.facts.tag.to_string(), sign(&tag.verdict)));
    let untagged = verdicts.untagged.iter().map(|each| (each.digest.to_string(), sign(&each.verdict)));
    tags.chain(untagged).collect()
}

fn going(rules: &RetentionRules, facts: &RepositoryFacts) -> BTreeSet<String> {
    decided(rules, facts)
        .into_iter()
        .filter(|(_, said)| said.starts_with('-'))
        .map(|(name, _)| name)
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn any_of_several_keeps_and_what_stands_together_must_hold_together() {
    let facts =
        facts(vec![tag("a", 1, 1), tag("b", 2, 20), tag("c", 3, 30), tag("release", 4, 40)], Vec::new());
    let or = rules([rule(&[newest(1), named("rel*")], None)]);
    assert_eq!(going(&or, &facts), names(["b", "c"]));
    let and = rules([rule(&[Keeping { pushed: Some(HOUR * 25), ..newest(1) }], None)]);
    assert_eq!(going(&and, &facts), names(["b", "c", "release"]));
    let said = decided(&or, &facts);
    assert_eq!(said["a"], "+ newest 1 (the rule)");
    assert_eq!(said["b"], "- not newest 1, not named rel* (the rule)");
    assert_eq!(said["release"], "+ named rel* (the rule)");
}

#[test]
fn what_no_rule_is_about_stays() {
    let facts = facts(vec![tag("build-1", 1, 90), tag("v1", 2, 90)], Vec::new());
    let about_builds = RetentionRule { tags: vec![TagPattern::from("build-*")], ..rule(&[used(1)], None) };
    assert_eq!(going(&rules([about_builds.clone()]), &facts), names(["build-1"]));
    assert_eq!(decided(&rules([about_builds.clone()]), &facts)["v1"], "+ no rule is about it");
    let elsewhere = RetentionRule { repositories: vec!["other/**".parse().unwrap()], ..about_builds };
    assert_eq!(going(&rules([elsewhere]), &facts), names([]));
    assert_eq!(going(&RetentionRules::default(), &facts), names([]));
}

#[test]
fn a_pull_keeps_by_any_platform_and_only_as_far_as_pulls_are_known() {
    let pulled = |hours| ManifestFacts { pulled: Some(ago(hours)), ..manifest(900) };
    let index = ManifestFacts { children: vec![digest(2)], ..manifest(900) };
    let mut facts = facts(vec![tag("v1", 1, 900), tag("v2", 3, 900)], vec![(1, index), (2, pulled(5))]);
    let rules = rules([rule(&[used(10)], None)]);
    assert_eq!(going(&rules, &facts), names(["v2"]));
    facts.pulls_known_since = ago(9);
    assert_eq!(going(&rules, &facts), names([]), "v2 may have been pulled before pulls were counted");
}

#[test]
fn equal_and_unknown_and_future_times_delete_nothing() {
    let mut same = facts(vec![tag("a", 1, 90), tag("b", 2, 90), tag("c", 3, 90)], Vec::new());
    assert_eq!(going(&rules([rule(&[newest(1)], None)]), &same), names([]));
    same.tags[0].pushed = None;
    same.tags[1].pushed = Some(now() + HOUR);
    assert_eq!(going(&rules([rule(&[used(1)], None)]), &same), names(["c"]));
    same.damaged = Some(digest(9));
    assert_eq!(going(&rules([rule(&[used(1)], Some(1))]), &same), names([]));
}

#[test]
fn copies_of_upstreams_stay_and_push_nothing_out_of_the_newest() {
    let mut facts = facts(vec![tag("a", 1, 1), tag("b", 2, 90)], Vec::new());
    facts.tags[0].is_copy = true;
    assert_eq!(going(&rules([rule(&[newest(1)], None)]), &facts), names([]));
}

#[test]
fn untagged_manifests_go_after_their_time_and_not_what_something_needs() {
    let index = ManifestFacts { children: vec![digest(2)], ..manifest(100) };
    let about = |subject| ManifestFacts { subject: Some(digest(subject)), ..manifest(100) };
    let facts = facts(
        vec![tag("v1", 1, 1)],
        vec![
            (1, index),
            (2, manifest(100)),
            (3, about(1)),
            (4, manifest(100)),
            (5, manifest(5)),
            (6, ManifestFacts { pulled: Some(ago(2)), ..manifest(100) }),
            (7, about(4)),
            (8, about(99)),
        ],
    );
    let rules = rules([rule(&[], Some(10))]);
    let gone = [digest(4), digest(7), digest(8)].map(|digest| digest.to_string());
    assert_eq!(going(&rules, &facts), gone.iter().cloned().collect());
    let said = decided(&rules, &facts);
    assert_eq!(said[&gone[0]], "- neither tagged nor pulled for 10h (the rule)");
    assert_eq!(said[&gone[1]], format!("- attached to {}, which goes", digest(4)));
    assert_eq!(said[&digest(2).to_string()], format!("+ part of {}", digest(1)));
}

#[test]
fn what_is_attached_by_its_name_follows_what_it_is_attached_to() {
    let signature = |of: u32| format!("sha256-{}.sig", digest(of).hex());
    let (one, two, lost) = (signature(1), signature(2), signature(99));
    let facts = facts(
        vec![tag("v1", 1, 90), tag("v2", 2, 1), tag(&one, 11, 1), tag(&two, 12, 90), tag(&lost, 13, 90)],
        Vec::new(),
    );
    let by_age = rules([rule(&[newest(1)], None)]);
    assert_eq!(going(&by_age, &facts), names(["v1", &one]), "signatures aren't counted among the newest");
    let orphans_too = rules([rule(&[newest(1)], Some(10))]);
    assert_eq!(going(&orphans_too, &facts), names(["v1", &one, &lost]));
}

#[test]
fn a_manifest_with_a_tag_that_stays_keeps_its_signature() {
    let signature = format!("sha256-{}", digest(1).hex());
    let facts = facts(vec![tag("build-1", 1, 90), tag("v1", 1, 90), tag(&signature, 2, 90)], Vec::new());
    assert_eq!(going(&rules([rule(&[named("v*")], Some(1))]), &facts), names(["build-1"]));
}

#[test]
fn what_is_immutable_stays_unless_a_rule_says_otherwise() {
    let facts = facts(vec![tag("v1", 1, 90), tag("build-1", 2, 90)], Vec::new());
    let immutable = ImmutableRule {
        place: "the other rule".into(),
        repositories: vec!["team/**".parse().unwrap()],
        tags: vec![TagPattern::from("v*")],
    };
    let rules = RetentionRules { immutable: vec![immutable], ..rules([rule(&[used(1)], None)]) };
    assert_eq!(going(&rules, &facts), names(["build-1"]));
    assert_eq!(decided(&rules, &facts)["v1"], "+ immutable (the other rule)");
    let mut too = rules.clone();
    too.rules[0].immutable_too = true;
    assert_eq!(going(&too, &facts), names(["build-1", "v1"]));
    let without = RetentionRules { immutable: Vec::new(), ..rules.clone() };
    assert_ne!(too.fingerprint(), rules.fingerprint());
    assert_ne!(without.fingerprint(), rules.fingerprint());
}

#[test]
fn the_fingerprint_is_of_what_rules_say_and_not_of_where_they_stand() {
    let (one, two) = (rule(&[newest(1), used(2)], None), rule(&[used(3)], Some(4)));
    let before = rules([one.clone(), two.clone()]).fingerprint();
    let moved = RetentionRule { place: "elsewhere".into(), keep: vec![used(2), newest(1)], ..one.clone() };
    assert_eq!(rules([two.clone(), moved]).fingerprint(), before);
    for changed in [rule(&[newest(2), used(2)], None), rule(&[newest(1), used(2)], Some(1))] {
        assert_ne!(rules([changed, two.clone()]).fingerprint(), before);
    }
    assert_ne!(rules([one]).fingerprint(), before);
}

fn any_keeping() -> impl Strategy<Value = Keeping> {
    let hours = |most: u32| proptest::option::of((1..most).prop_map(|hours: u32| HOUR * hours));
    (proptest::option::of(1..5_u64), hours(60), hours(60), hours(60), proptest::bool::ANY).prop_map(
        |(newest, pushed, pulled, used, named)| Keeping {
            newest,
            pushed,
            pulled,
            used,
            tags: if named { vec![TagPattern::from("t1*")] } else { Vec::new() },
        },
    )
}

fn any_rule() -> impl Strategy<Value = RetentionRule> {
    let keep = proptest::collection::vec(any_keeping(), 0..4);
    (keep, proptest::option::of(1..60_u32), proptest::bool::ANY).prop_map(|(keep, untagged, all)| {
        let tags = if all { Vec::new() } else { vec![TagPattern::from("t*")] };
        RetentionRule { tags, ..rule(&keep, untagged) }
    })
}

/// Tags on some of thirty manifests; indexes are made of later ones and some are about earlier ones.
fn any_facts() -> impl Strategy<Value = RepositoryFacts> {
    let tags = proptest::collection::btree_map(0..40_u32, (0..30_u32, 0..60_u32, 0..20_u8), 0..20);
    let manifests =
        proptest::collection::vec((0..60_u32, proptest::option::of(0..60_u32), 0..8_u8, 0..29_u32), 30..=30);
    (tags, manifests, 0..100_u32).prop_map(|(tags, described, known)| {
        let tags = tags.into_iter().map(|(name, (target, pushed, kind))| {
            let name = match kind {
                0 => format!("sha256-{}.sig", digest(name % 30).hex()),
                1..5 => format!("other{name}"),
                _ => format!("t{name}"),
            };
            TagFacts { is_copy: kind == 19, ..tag(&name, target, pushed) }
        });
        let manifests = described.into_iter().zip(0..).map(|((since, pulled, kind, other), number)| {
            let mut facts = ManifestFacts { pulled: pulled.map(ago), ..manifest(since) };
            match kind {
                0 if other > number => facts.children = vec![digest(other)],
                1 if other < number => facts.subject = Some(digest(other)),
                2 => facts.is_copy = true,
                _ => {}
            }
            (number, facts)
        });
        let mut facts = facts(tags.collect(), manifests.collect());
        facts.tags.sort_by(|left, right| left.tag.cmp(&right.tag));
        facts.tags.dedup_by(|left, right| left.tag == right.tag);
        facts.pulls_known_since = ago(known);
        facts
    })
}

/// What can still be reached once the verdicts are carried out, as the collector sees it.
fn reachable(facts: &RepositoryFacts, verdicts: &RepositoryVerdicts) -> BTreeSet<Digest> {
    let tags = verdicts.tags.iter().filter(|tag| !tag.verdict.goes()).map(|tag| tag.facts.digest);
    let untagged = verdicts.untagged.iter().filter(|each| !each.verdict.goes()).map(|each| each.digest);
    let mut open: Vec<Digest> = tags.chain(untagged).collect();
    let mut reached = BTreeSet::new();
    while let Some(each) = open.pop() {
        if reached.insert(each) {
            open.extend(facts.manifests.get(&each).into_iter().flat_map(|manifest| &manifest.children));
            let about = facts.manifests.iter().filter(|(_, manifest)| manifest.subject == Some(each));
            open.extend(about.map(|(digest, _)| *digest));
        }
    }
    reached
}

proptest! {
    #[test]
    fn a_further_reason_to_keep_never_deletes_more(
        facts in any_facts(), mut all in proptest::collection::vec(any_rule(), 1..4), more in any_keeping(), at in 0..4_usize,
    ) {
        let before = going(&rules(all.clone()), &facts);
        let at = at % all.len();
        // One about no tag would be about tags then.
        prop_assume!(!all[at].keep.is_empty());
        all[at].keep.push(more);
        prop_assert!(going(&rules(all), &facts).is_subset(&before));
    }

    #[test]
    fn a_further_rule_deletes_nothing_that_others_keep(
        facts in any_facts(), all in proptest::collection::vec(any_rule(), 1..4), more in any_rule(),
    ) {
        let kept = |all: &[RetentionRule]| {
            let verdicts = rules(all.to_vec()).decide(&facts);
            let tags = verdicts.tags.into_iter();
            let kept = tags.filter(|tag| matches!(tag.verdict, Verdict::Stays(Stay::Kept { .. })));
            kept.map(|tag| tag.facts.tag).filter(|tag| subject_of_tag(tag).is_none()).collect::<BTreeSet<Tag>>()
        };
        let with: Vec<RetentionRule> = all.iter().cloned().chain([more]).collect();
        prop_assert!(kept(&all).is_subset(&kept(&with)));
    }

    #[test]
    fn the_order_of_rules_and_facts_makes_no_difference(
        facts in any_facts(), all in proptest::collection::vec(any_rule(), 1..4),
    ) {
        let mut turned = facts.clone();
        turned.tags.reverse();
        let reversed = all.iter().rev().cloned();
        prop_assert_eq!(going(&rules(all.clone()), &facts), going(&rules(reversed), &turned));
    }

    #[test]
    fn what_something_that_stays_needs_stays(
        facts in any_facts(), all in proptest::collection::vec(any_rule(), 1..4),
    ) {
        let verdicts = rules(all).decide(&facts);
        let reached = reachable(&facts, &verdicts);
        for each in verdicts.untagged.iter().filter(|each| each.verdict.goes()) {
            prop_assert!(!reached.contains(&each.digest), "{} goes and is needed", each.digest);
        }
        for tag in verdicts.tags.iter().filter(|tag| tag.verdict.goes_with_another()) {
            let Some(subject) = subject_of_tag(&tag.facts.tag) else { continue };
            prop_assert!(!reached.contains(&subject), "{} goes before what it is attached to", tag.facts.tag);
        }
    }

    #[test]
    fn copies_stay_whatever_the_rules_say(
        facts in any_facts(), all in proptest::collection::vec(any_rule(), 1..4),
    ) {
        let verdicts = rules(all).decide(&facts);
        prop_assert!(verdicts.tags.iter().all(|tag| !(tag.facts.is_copy && tag.verdict.goes())));
    }
}
