use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::identity::Identity;
use crate::policy::{Policy, Remedy};
use crate::testing::write;
use crate::token::Claims;

fn rule(number: usize, effect: Effect, who: &[Who], actions: &[Action], within: &[&str]) -> Rule {
    Rule {
        place: format!("config.yml:{number}, rule {number}").into(),
        effect,
        who: who.to_vec(),
        actions: actions.iter().copied().collect(),
        within: within.iter().map(|glob| glob.parse().unwrap()).collect(),
    }
}

fn user(name: &str) -> Actor {
    Actor::User(name.into())
}

fn repository(name: &str) -> Resource {
    Resource::Repository(name.parse().unwrap())
}

fn users() -> Arc<Users> {
    Arc::new(Users::open([]).unwrap())
}

fn groups() -> BTreeMap<Arc<str>, Group> {
    let team = Group::Listed(BTreeSet::from(["alice".into(), "bob".into()]));
    BTreeMap::from([("team".into(), team)])
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy::with_rules(rules, groups(), users())
}

fn team() -> Who {
    Who::Group("team".into())
}

/// The world of the issue: everybody pulls `public/**`, the team pushes below `team/`, production is kept.
fn mixed() -> Policy {
    use Action::{Delete, Pull, Push};
    policy(vec![
        rule(1, Effect::May, &[Who::Anonymous], &[Pull], &["public/**"]),
        rule(2, Effect::May, &[team()], &[Pull, Push, Delete], &["team/**"]),
        rule(3, Effect::MayNot, &[Who::User("bob".into())], &[Delete], &["team/prod/**"]),
        rule(4, Effect::May, &[Who::Authenticated], &[Pull], &["shared/*"]),
        rule(5, Effect::MayNot, &[Who::Anonymous], &[Action::List], &["public/hidden"]),
    ])
}

#[test]
fn who_may_do_what_and_which_rule_says_so() {
    use Action::{All, Delete, List, Pull, Push};
    let cases = [
        (Actor::Anonymous, Pull, "public/app", true, Some(1)),
        (Actor::Anonymous, Push, "public/app", false, None),
        (Actor::Anonymous, Pull, "team/app", false, None),
        (user("alice"), Pull, "public/app", true, Some(1)),
        (user("alice"), Push, "team/app", true, Some(2)),
        (user("alice"), Delete, "team/prod/app", true, Some(2)),
        (user("alice"), All, "team/app", true, Some(2)),
        (user("bob"), Push, "team/prod/app", true, Some(2)),
        (user("bob"), Delete, "team/prod/app", false, Some(3)),
        (user("bob"), All, "team/prod/app", false, Some(3)),
        (user("carol"), Pull, "team/app", false, None),
        (user("carol"), Pull, "shared/app", true, Some(4)),
        (user("carol"), Pull, "shared/a/b", false, None),
        (Actor::Anonymous, Pull, "shared/app", false, None),
        (Actor::Anonymous, Pull, "public/hidden", true, Some(1)),
        (Actor::Anonymous, List, "public/hidden", false, Some(5)),
        (user("alice"), List, "public/hidden", false, Some(5)),
        (user("alice"), List, "team/app", true, Some(2)),
        (user("carol"), List, "team/app", false, None),
    ];
    for (actor, action, name, allowed, number) in cases {
        let decision = mixed().decide(&actor, action, &repository(name));
        let question = format!("{actor} {action:?} {name}: {decision:?}");
        assert_eq!(decision.allowed, allowed, "{question}");
        let place = number.map(|number| format!("config.yml:{number}, rule {number}"));
        assert_eq!(decision.rule.as_deref(), place.as_deref(), "{question}");
        assert!(place.is_none_or(|place| decision.reason.starts_with(&place)), "{question}");
    }
    let reason = |actor: &Actor, action| mixed().decide(actor, action, &repository("team/prod/a")).reason;
    assert_eq!(reason(&user("bob"), Delete), "config.yml:3, rule 3 forbids bob to delete in team/prod/a");
    assert_eq!(reason(&user("carol"), Push), "no rule lets carol push in team/prod/a");
    assert_eq!(
        reason(&Actor::Anonymous, Push),
        "no rule lets anonymous push in team/prod/a; log in with docker login"
    );
}

#[test]
fn who_may_pull_or_list_anything_may_ask_the_catalog() {
    use Action::{Delete, List, Pull, Push};
    let everything = &["**"][..];
    let may = |actions: &[Action], within: &[&str]| rule(1, Effect::May, &[Who::Anonymous], actions, within);
    let may_not =
        |actions: &[Action], within: &[&str]| rule(2, Effect::MayNot, &[Who::Anonymous], actions, within);
    let cases = [
        (vec![], false),
        (vec![may(&[Push, Delete], everything)], false),
        (vec![may(&[Pull], &["a/*"])], true),
        (vec![may(&[List], &["a/*"])], true),
        (vec![may(&[Pull], everything), may_not(&[List], everything)], false),
        (vec![may(&[Pull], everything), may_not(&[List], &["a/**"])], true),
        (vec![may(&[Pull], everything), may_not(&[Pull], everything)], false),
        (vec![may(&[List], everything), may_not(&[Pull], everything)], true),
    ];
    for (rules, allowed) in cases {
        let policy = policy(rules.clone());
        for action in [Pull, List, Action::All] {
            let decision = policy.decide(&Actor::Anonymous, action, &Resource::Catalog);
            assert_eq!(decision.allowed, allowed, "{rules:?} {decision:?}");
        }
        assert_eq!(policy.catalog(&Identity::Anonymous).is_ok(), allowed);
        for action in [Push, Delete, Action::Admin] {
            assert!(!policy.decide(&Actor::Anonymous, action, &Resource::Catalog).allowed);
        }
    }
}

#[test]
fn the_catalog_shows_what_one_may_pull() {
    let cases = [
        (Identity::Anonymous, &["public/a"][..]),
        (Identity::User("alice".into()), &["public/a", "team/a", "team/prod/a", "shared/a"]),
        (Identity::User("carol".into()), &["public/a", "shared/a"]),
    ];
    let all = ["public/a", "public/hidden", "team/a", "team/prod/a", "shared/a", "shared/a/b", "other"];
    for (identity, expected) in cases {
        let access = mixed().catalog(&identity).unwrap();
        assert!(!access.shows_all());
        let shown: Vec<&str> = all.into_iter().filter(|name| access.shows(&name.parse().unwrap())).collect();
        assert_eq!(shown, expected, "{identity:?}");
    }
}

#[test]
fn the_tag_list_is_pulling_and_listing() {
    let hidden = "public/hidden".parse().unwrap();
    let policy = mixed();
    assert!(policy.pull(&Identity::Anonymous, &hidden).is_ok());
    let denied = policy.list(&Identity::User("alice".into()), &hidden).unwrap_err();
    assert_eq!(denied.remedy, Remedy::Nothing);
    assert_eq!(denied.rule.as_deref(), Some("config.yml:5, rule 5"));
    assert!(policy.list(&Identity::Anonymous, &"public/app".parse().unwrap()).is_ok());
}

#[test]
fn rules_that_welcome_anybody_call_for_tokens() {
    let only_users = policy(vec![rule(1, Effect::May, &[Who::Authenticated], &[Action::Pull], &["**"])]);
    let forbidding = policy(vec![
        rule(1, Effect::May, &[Who::Authenticated], &[Action::Pull], &["**"]),
        rule(2, Effect::MayNot, &[Who::Anonymous], &[Action::Push], &["**"]),
    ]);
    assert!(mixed().welcomes_anonymous());
    assert!(!only_users.welcomes_anonymous() && !forbidding.welcomes_anonymous());
    let token = |actor| Identity::Token(Claims { actor, access: [].into(), key: None });
    let base = |policy: &Policy, identity| policy.base(&identity).err().map(|denied| denied.remedy);
    assert_eq!(base(&mixed(), Identity::Anonymous), Some(Remedy::LogIn));
    assert_eq!(base(&mixed(), token(Actor::Anonymous)), None);
    assert_eq!(base(&only_users, token(Actor::Anonymous)), Some(Remedy::WiderToken));
    assert_eq!(base(&only_users, Identity::Anonymous), Some(Remedy::LogIn));
    assert_eq!(base(&only_users, token(user("x"))), None);
}

#[test]
fn a_group_can_be_a_file_of_users() {
    let directory = tempfile::tempdir().unwrap();
    let (main, ci) = (directory.path().join("main"), directory.path().join("ci"));
    let hash = "$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My";
    write(&main, format!("bob:{hash}\n").as_bytes());
    write(&ci, format!("bob:{hash}\nrobot:{hash}\n").as_bytes());
    let users = Arc::new(Users::open([main.clone(), ci.clone()]).unwrap());
    let groups = BTreeMap::from([("ci".into(), Group::File(ci.clone()))]);
    let rules = vec![
        rule(1, Effect::May, &[Who::Group("ci".into())], &[Action::Push], &["**"]),
        rule(2, Effect::May, &[Who::User("cji".into()), Who::User("bob".into())], &[Action::Pull], &["**"]),
    ];
    let policy = Policy::with_rules(rules, groups, users);
    let may_push = |name: &str| policy.decide(&user(name), Action::Push, &repository("a")).allowed;
    assert!(may_push("robot"));
    assert!(!may_push("bob"), "it is the main file's password that bob shows");
    assert!(!may_push("nobody"));
    write(&ci, b"");
    assert!(!may_push("robot"), "gone is gone");
    assert_eq!(policy.unknown_users(), [("config.yml:2, rule 2".into(), "cji".into())]);
}

fn any_who() -> impl Strategy<Value = Who> {
    prop_oneof![
        Just(Who::Anonymous),
        Just(Who::Authenticated),
        Just(team()),
        select(vec!["alice", "carol"]).prop_map(|name| Who::User(name.into())),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let actions = vec![Action::Pull, Action::Push, Action::Delete, Action::List, Action::Admin];
    let globs = vec!["**", "*", "a", "a/*", "a/**", "*/b", "**/c", "a*/**"];
    (
        select(vec![Effect::May, Effect::MayNot]),
        prop::collection::vec(any_who(), 1..3),
        prop::collection::btree_set(select(actions), 1..4),
        prop::collection::vec(select(globs).prop_map(|glob| glob.parse().unwrap()), 1..3),
    )
        .prop_map(|(effect, who, actions, within)| Rule {
            place: "".into(),
            effect,
            who,
            actions,
            within,
        })
}

fn numbered(rules: Vec<Rule>) -> Vec<Rule> {
    let place = |number: usize| format!("rule {number}").into();
    (1..).zip(rules).map(|(number, rule)| Rule { place: place(number), ..rule }).collect()
}

fn any_question() -> impl Strategy<Value = (Actor, Action, Resource)> {
    let actors = vec![Actor::Anonymous, user("alice"), user("bob"), user("carol")];
    let actions = vec![Action::Pull, Action::Push, Action::Delete, Action::List, Action::Admin, Action::All];
    let mut resources: Vec<_> = ["a", "b", "a/b", "a/b/c", "ab/c"].map(repository).into();
    resources.push(Resource::Catalog);
    (select(actors), select(actions), select(resources))
}

/// The definition, written down once more: forbidden by one is forbidden, else allowed by one is allowed.
fn by_the_book(rules: &[Rule], actor: &Actor, action: Action, name: &RepoName) -> bool {
    let team = ["alice", "bob"];
    let is_meant = |who: &Who| match (who, actor) {
        (Who::Anonymous, _) | (Who::Authenticated, Actor::User(_)) => true,
        (Who::Group(_), Actor::User(name)) => team.contains(&&**name),
        (Who::User(one), Actor::User(other)) => one == other,
        (Who::Authenticated | Who::Group(_) | Who::User(_), Actor::Anonymous) => false,
    };
    let says = |effect: Effect, action: Action| {
        rules.iter().any(|rule| {
            rule.effect == effect
                && rule.who.iter().any(is_meant)
                && rule.actions.contains(&action)
                && rule.within.iter().any(|glob| glob.matches(name))
        })
    };
    let plain = |action| says(Effect::May, action) && !says(Effect::MayNot, action);
    match action {
        Action::All => plain(Action::Pull) && plain(Action::Push) && plain(Action::Delete),
        Action::List => plain(Action::Pull) && !says(Effect::MayNot, Action::List),
        action => plain(action),
    }
}

proptest! {
    #[test]
    fn decisions_are_as_defined(
        rules in prop::collection::vec(any_rule(), 0..6),
        (actor, action, resource) in any_question(),
    ) {
        let decision = policy(numbered(rules.clone())).decide(&actor, action, &resource);
        if let Resource::Repository(name) = &resource {
            prop_assert_eq!(decision.allowed, by_the_book(&rules, &actor, action, name));
        }
        prop_assert!(!decision.allowed || decision.rule.is_some(), "what is allowed, a rule allows");
    }

    #[test]
    fn a_rule_that_forbids_never_allows_more(
        rules in prop::collection::vec(any_rule(), 0..6),
        added in any_rule(),
        (actor, action, resource) in any_question(),
    ) {
        let before = policy(numbered(rules.clone()));
        let added = Rule { effect: Effect::MayNot, ..added };
        let after = policy(numbered(rules.into_iter().chain([added]).collect()));
        let allowed = after.decide(&actor, action, &resource).allowed;
        prop_assert!(!allowed || before.decide(&actor, action, &resource).allowed);
        prop_assert!(!after.welcomes_anonymous() || before.welcomes_anonymous());
        let identity = match actor {
            Actor::Anonymous => Identity::Anonymous,
            Actor::User(name) => Identity::User(name),
        };
        if let (Ok(after), Resource::Repository(name)) = (after.catalog(&identity), &resource) {
            let before = before.catalog(&identity).unwrap();
            prop_assert!(!after.shows(name) || before.shows(name));
        }
    }

    #[test]
    fn the_order_of_rules_never_matters(
        (rules, shuffled) in prop::collection::vec(any_rule(), 0..6)
            .prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        (actor, action, resource) in any_question(),
    ) {
        let one = policy(numbered(rules)).decide(&actor, action, &resource);
        let other = policy(numbered(shuffled)).decide(&actor, action, &resource);
        prop_assert_eq!(one.allowed, other.allowed);
    }

    #[test]
    fn explain_agrees_with_decide(
        rules in prop::collection::vec(any_rule(), 0..6),
        (actor, action, resource) in any_question(),
    ) {
        let policy = policy(numbered(rules));
        let decision = policy.decide(&actor, action, &resource);
        let explanation = policy.explain(&actor, action, &resource);
        prop_assert_eq!(&explanation.decision, &decision);
        let answer = if decision.allowed { "allowed: " } else { "denied: " };
        prop_assert!(explanation.to_string().starts_with(answer));
        let Resource::Repository(_) = resource else { return Ok(()) };
        let places: HashSet<_> = explanation.matched.iter().map(|rule| &rule.place).collect();
        if let Some(place) = &decision.rule {
            prop_assert!(places.contains(place), "the rule that decided is among those that apply");
        }
        let forbids = explanation.matched.iter().any(|rule| rule.effect == Effect::MayNot);
        let allows = explanation.matched.iter().any(|rule| rule.effect == Effect::May);
        prop_assert!(!decision.allowed || (allows && !forbids));
        if action != Action::All {
            prop_assert_eq!(decision.allowed, allows && !forbids);
        }
        for miss in &explanation.near_misses {
            prop_assert!(!places.iter().any(|place| miss.starts_with(&format!("{place} "))), "{}", miss);
        }
    }

    #[test]
    fn the_catalog_shows_exactly_what_may_be_listed(
        rules in prop::collection::vec(any_rule(), 0..6),
        (actor, _, resource) in any_question(),
    ) {
        let policy = policy(numbered(rules));
        let Resource::Repository(name) = &resource else { return Ok(()) };
        let identity = match &actor {
            Actor::Anonymous => Identity::Anonymous,
            Actor::User(name) => Identity::User(Arc::clone(name)),
        };
        let Ok(access) = policy.catalog(&identity) else { return Ok(()) };
        prop_assert_eq!(access.shows(name), policy.decide(&actor, Action::List, &resource).allowed);
        if access.shows(name) {
            let just_before = name.as_str().strip_suffix('c').unwrap_or_default().to_owned();
            let from = access.skip_from(just_before);
            prop_assert!(from.is_some_and(|from| from.as_str() < name.as_str()), "it is not skipped");
        }
    }
}
