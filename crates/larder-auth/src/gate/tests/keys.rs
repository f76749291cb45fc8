//! API keys at the gate: as passwords, in tokens, and in the rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use larder_oci::{Action, Actor, RepoName, Resource};

use super::*;
use crate::keys::{KeyProblem, KeyRecord, KeyTable, LastUses, Narrowing, create_key, narrow_key};
use crate::policy::{Effect, Rule, Who};
use crate::testing::write;

struct World {
    gates: Gates,
    table: KeyTable,
}

impl World {
    fn new() -> World {
        World { gates: Gates::new(), table: KeyTable::default() }
    }

    fn path(&self) -> PathBuf {
        self.gates.home.users_path().with_file_name("keys.json")
    }

    /// Makes a key and gives its text.
    fn make(&mut self, number: u8, name: &str, owner: Option<&str>, scopes: &[&str]) -> String {
        let (key, public_key) = create_key([number; 8].into(), [number; 32]).unwrap();
        self.table.insert(KeyRecord {
            id: [number; 8].into(),
            name: name.into(),
            owner: owner.map(Arc::from),
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            created: NOON,
            expires: None,
            public_key,
        });
        self.save();
        String::from_utf8(key.expose().to_vec()).unwrap()
    }

    fn save(&self) {
        write(&self.path(), &self.table.to_bytes().unwrap());
    }

    fn revoke(&mut self, number: u8) {
        self.table.remove([number; 8].into());
        self.save();
    }

    fn keyed(&self, gate: Gate) -> Gate {
        gate.with_keys(Arc::new(Keys::open(self.path(), LastUses::default()).unwrap()))
    }
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn rule(effect: Effect, who: &str, actions: &[Action], within: &str) -> Rule {
    Rule {
        place: format!("the rule for {who}").into(),
        effect,
        who: vec![Who::User(who.into())],
        actions: actions.iter().copied().collect(),
        within: vec![within.parse().unwrap()],
    }
}

#[tokio::test]
async fn a_key_is_a_password_beside_any_name() {
    let mut world = World::new();
    let key = world.make(1, "ci", Some("bob"), &["team/**:pull,push"]);
    for gate in [world.gates.basic(), world.gates.token(Mode::AnonymousPull)] {
        let gate = world.keyed(gate);
        for user in ["bob", "alice", "<token>", "", "whoever"] {
            let identity = gate.identify(Some(&header(user, &key)), &at_home()).await.unwrap();
            assert_eq!(identity.actor(), Actor::User("bob".into()), "{user:?}");
            let policy = gate.policy();
            assert!(policy.base(&identity).is_ok());
            assert!(policy.push(&identity, &name("team/app")).is_ok());
            let denied = policy.push(&identity, &name("other/app")).unwrap_err();
            assert_eq!(denied.remedy, Remedy::Nothing);
            assert!(denied.reason.contains("API key ci"), "{}", denied.reason);
            assert!(policy.delete(&identity, &name("team/app")).is_err());
            let catalog = policy.catalog(&identity).unwrap();
            assert!(catalog.shows(&name("team/app")) && !catalog.shows(&name("other/app")));
        }
        let refusal = gate.identify(Some(&header("bob", "larder_key_AAAA")), &at_home()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Key(KeyProblem::Forged)), "{refusal}");
        assert!(gate.identify(Some(&header("bob", "s3cret")), &at_home()).await.is_ok());
    }
    let open = world.keyed(world.gates.open());
    assert_eq!(open.identify(Some(&header("x", &key)), &at_home()).await.unwrap(), Identity::Anonymous);
}

#[tokio::test]
async fn a_token_got_with_a_key_covers_what_the_key_does_and_dies_with_it() {
    let mut world = World::new();
    let key = world.make(1, "ci", Some("bob"), &["team/**:pull,push"]);
    let narrowing = Narrowing {
        within: vec!["team/app".parse().unwrap()],
        until: Some(NOON + 100),
        ..Narrowing::default()
    };
    let narrowed = narrow_key(&key.as_str().into(), &narrowing, [9; 32]).unwrap();
    let narrowed = String::from_utf8(narrowed.expose().to_vec()).unwrap();
    let gate = world.keyed(world.gates.token(Mode::EveryoneAuthenticated));
    let scopes = [
        "repository:team/app:pull,push,delete repository:team/other:push repository:x:pull",
        "registry:catalog:*",
    ];
    let token = token_header(&gate, Some(&header("x", &key)), &scopes).await;
    let identity = gate.identify(Some(&token), &at_home()).await.unwrap();
    let policy = gate.policy();
    assert!(policy.push(&identity, &name("team/app")).is_ok());
    assert!(policy.push(&identity, &name("team/other")).is_ok());
    assert!(policy.delete(&identity, &name("team/app")).is_err());
    assert!(policy.pull(&identity, &name("x")).is_err());
    let catalog = policy.catalog(&identity).unwrap();
    assert!(catalog.shows(&name("team/app")) && !catalog.shows(&name("x")));

    let short = token_header(&gate, Some(&header("x", &narrowed)), &scopes).await;
    let identity = gate.identify(Some(&short), &at_home()).await.unwrap();
    assert!(policy.push(&identity, &name("team/app")).is_ok());
    assert!(policy.push(&identity, &name("team/other")).is_err());
    assert!(!policy.catalog(&identity).unwrap().shows(&name("team/other")));
    world.gates.clock.set(NOON + 100);
    let refusal = gate.identify(Some(&short), &at_home()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Token(TokenProblem::Key(KeyProblem::Expired))), "{refusal}");
    assert!(gate.identify(Some(&token), &at_home()).await.is_ok());

    world.revoke(1);
    let refusal = gate.identify(Some(&token), &at_home()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Token(TokenProblem::Key(KeyProblem::Unknown))), "{refusal}");
    assert!(gate.identify(Some(&header("x", &key)), &at_home()).await.is_err());
}

#[tokio::test]
async fn a_key_goes_with_its_owner_and_a_robot_has_none() {
    let mut world = World::new();
    let bobs = world.make(1, "bobs", Some("bob"), &["**:all"]);
    let robots = world.make(2, "robot", None, &["**:all"]);
    let gate = world.keyed(world.gates.token(Mode::EveryoneAuthenticated));
    let token = token_header(&gate, Some(&header("x", &bobs)), &["repository:a:pull"]).await;
    let line = USERS.lines().next().unwrap();
    world.gates.home.write(&format!("{line}\n"));
    for credentials in [token, header("x", &bobs)] {
        let refusal = gate.identify(Some(&credentials), &at_home()).await.unwrap_err();
        assert_eq!(refusal.message(), KeyProblem::OwnerGone.message());
    }
    let robot = gate.identify(Some(&header("x", &robots)), &at_home()).await.unwrap();
    assert_eq!(robot.actor(), Actor::User("key:robot".into()));
    let token = token_header(&gate, Some(&header("x", &robots)), &["repository:a:pull,push"]).await;
    let robot = gate.identify(Some(&token), &at_home()).await.unwrap();
    assert_eq!(robot.actor(), Actor::User("key:robot".into()));
    assert!(gate.policy().push(&robot, &name("a")).is_ok());
}

#[tokio::test]
async fn rules_name_keys_and_never_give_one_more_than_its_owner_has() {
    use Action::{Pull, Push};
    let mut world = World::new();
    let bobs = world.make(1, "bobs", Some("bob"), &["**:all"]);
    let robots = world.make(2, "robot", None, &["robots/**:all", "team/**:pull"]);
    let gate = world.keyed(world.gates.token(Mode::EveryoneAuthenticated));
    let rules = vec![
        rule(Effect::May, "bob", &[Pull, Push], "team/**"),
        rule(Effect::MayNot, "key:bobs", &[Push], "team/prod"),
        rule(Effect::May, "key:bobs", &[Pull, Push], "secret"),
        rule(Effect::May, "key:robot", &[Pull, Push], "robots/**"),
        rule(Effect::May, "key:robot", &[Pull, Push], "team/**"),
    ];
    let users = gate.token_endpoint().unwrap().passwords().users();
    let policy = Policy::with_rules(rules, BTreeMap::new(), users);
    assert_eq!(policy.unknown_users(), [], "keys aren't looked for among the users");
    gate.replace_policy(policy).unwrap();
    let policy = gate.policy();
    let bob = gate.identify(Some(&header("bob", "s3cret")), &at_home()).await.unwrap();
    let key = gate.identify(Some(&header("x", &bobs)), &at_home()).await.unwrap();
    let robot = gate.identify(Some(&header("x", &robots)), &at_home()).await.unwrap();
    for (identity, repository, may_pull, may_push) in [
        (&bob, "team/prod", true, true),
        (&key, "team/prod", true, false),
        (&key, "team/app", true, true),
        (&key, "secret", false, false),
        (&robot, "robots/x", true, true),
        (&robot, "team/app", true, false),
        (&bob, "robots/x", false, false),
    ] {
        let name = name(repository);
        assert_eq!(policy.pull(identity, &name).is_ok(), may_pull, "{identity:?} {repository}");
        assert_eq!(policy.push(identity, &name).is_ok(), may_push, "{identity:?} {repository}");
    }
    let denied = policy.push(&key, &name("team/prod")).unwrap_err();
    assert!(denied.reason.contains("forbids key:bobs to push"), "{}", denied.reason);
    assert!(!policy.catalog(&key).unwrap().shows(&name("secret")), "its owner doesn't see it");
    assert!(policy.catalog(&robot).unwrap().shows(&name("team/app")));
    let decision =
        policy.decide(&Actor::User("key:robot".into()), Push, &Resource::Repository(name("robots/x")));
    assert!(decision.allowed);
}

#[tokio::test]
async fn a_mirrors_client_with_a_stale_key_still_gets_what_anybody_may_have() {
    let mut world = World::new();
    let key = world.make(1, "ci", Some("bob"), &["**:all"]);
    world.revoke(1);
    let gate = world.keyed(world.gates.token(Mode::AnonymousPull));
    let login = || Login::from_authorization(Some(&header("bob", &key)));
    let endpoint = gate.token_endpoint().unwrap();
    let grant = endpoint.grant(&TokenRequest::new(login(), ["repository:a:pull"]), &at_home()).await.unwrap();
    assert_eq!(grant.actor, Actor::Anonymous);
    for scopes in [&[][..], &["repository:a:push"]] {
        let refusal = endpoint
            .grant(&TokenRequest::new(login(), scopes.iter().copied()), &at_home())
            .await
            .unwrap_err();
        assert!(matches!(refusal, Refusal::Key(KeyProblem::Unknown)), "{refusal}");
    }
}
