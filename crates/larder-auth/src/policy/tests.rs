use proptest::prelude::*;

use super::*;
use crate::token::Claims;

const MODES: [Mode; 3] = [Mode::Open, Mode::EveryoneAuthenticated, Mode::AnonymousPull];
const ACTIONS: [Action; 6] =
    [Action::Pull, Action::Push, Action::Delete, Action::List, Action::Admin, Action::All];

fn bob() -> Actor {
    Actor::User("bob".into())
}

fn repository() -> RepoName {
    "team/app".parse().unwrap()
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn token(actor: Actor, access: &[&str]) -> Identity {
    Identity::Token(Claims { actor, access: access.iter().copied().map(scope).collect(), key: None })
}

#[test]
fn the_whole_table() {
    use Action::{Admin, All, Delete, List, Pull, Push};
    let everything = &[Pull, Push, Delete, List, Admin, All][..];
    let listing = &[Pull, List, All][..];
    let nothing = &[][..];
    let table = [
        // mode, actor, allowed with a repository, allowed with the catalog
        (Mode::Open, Actor::Anonymous, everything, listing),
        (Mode::Open, bob(), everything, listing),
        (Mode::EveryoneAuthenticated, Actor::Anonymous, nothing, nothing),
        (Mode::EveryoneAuthenticated, bob(), everything, listing),
        (Mode::AnonymousPull, Actor::Anonymous, &[Pull, List], listing),
        (Mode::AnonymousPull, bob(), everything, listing),
    ];
    for (mode, actor, with_repository, with_catalog) in table {
        let policy = Policy::new(mode);
        for action in ACTIONS {
            let resources = [
                (Resource::Repository(repository()), with_repository),
                (Resource::Catalog, with_catalog),
                (Resource::Other("repository(plugin):a:pull".into()), nothing),
            ];
            for (resource, allowed) in resources {
                let decision = policy.decide(&actor, action, &resource);
                let question = format!("{mode:?}: {actor} {action:?} {resource:?}");
                assert_eq!(decision.allowed, allowed.contains(&action), "{question}");
                assert!(decision.reason.contains(' '), "{question} says why");
            }
        }
    }
}

#[test]
fn reasons_name_the_rule() {
    let repository = Resource::Repository(repository());
    let cases = [
        (Mode::Open, Actor::Anonymous, Action::Push, "no authentication is configured"),
        (Mode::EveryoneAuthenticated, Actor::Anonymous, Action::Pull, "only users of this registry"),
        (Mode::EveryoneAuthenticated, bob(), Action::Delete, "every user may do everything"),
        (Mode::AnonymousPull, Actor::Anonymous, Action::Pull, "anybody may pull"),
        (Mode::AnonymousPull, Actor::Anonymous, Action::Push, "log in with docker login"),
    ];
    for (mode, actor, action, words) in cases {
        let reason = Policy::new(mode).decide(&actor, action, &repository).reason;
        assert!(reason.contains(words), "{reason}");
    }
}

/// What each proof maker says: `Ok`, or the remedy and the scope it takes.
fn proofs(policy: &Policy, identity: &Identity) -> [Result<Actor, (Remedy, String)>; 4] {
    let told = |denied: Denied| (denied.remedy, denied.needed.unwrap().to_string());
    let repository = repository();
    [
        policy.pull(identity, &repository).map(|access| access.actor().clone()).map_err(told),
        policy.push(identity, &repository).map(|access| access.actor().clone()).map_err(told),
        policy.delete(identity, &repository).map(|access| access.actor().clone()).map_err(told),
        policy.catalog(identity).map(|access| access.actor().clone()).map_err(told),
    ]
}

#[test]
fn proofs_are_the_policy_and_the_token_together() {
    use Remedy::{LogIn, WiderToken};
    const YES: Option<Remedy> = None;
    const LOG_IN: Option<Remedy> = Some(LogIn);
    const WIDER: Option<Remedy> = Some(WiderToken);
    let anonymous = || Actor::Anonymous;
    let all = ["repository:team/app:pull,push,delete", "registry:catalog:*"];
    let table = [
        // pull, push, delete, catalog
        (Mode::Open, Identity::Anonymous, [YES, YES, YES, YES]),
        (Mode::EveryoneAuthenticated, Identity::Anonymous, [LOG_IN, LOG_IN, LOG_IN, LOG_IN]),
        (Mode::EveryoneAuthenticated, Identity::User("bob".into()), [YES, YES, YES, YES]),
        (Mode::EveryoneAuthenticated, token(anonymous(), &all), [WIDER, WIDER, WIDER, WIDER]),
        (Mode::EveryoneAuthenticated, token(bob(), &all), [YES, YES, YES, YES]),
        (Mode::AnonymousPull, Identity::Anonymous, [YES, LOG_IN, LOG_IN, YES]),
        (Mode::AnonymousPull, Identity::User("bob".into()), [YES, YES, YES, YES]),
        (Mode::AnonymousPull, token(anonymous(), &[]), [WIDER, WIDER, WIDER, WIDER]),
        (Mode::AnonymousPull, token(anonymous(), &all), [YES, WIDER, WIDER, YES]),
        (Mode::AnonymousPull, token(bob(), &[]), [WIDER, WIDER, WIDER, WIDER]),
        (Mode::AnonymousPull, token(bob(), &all), [YES, YES, YES, YES]),
        (Mode::AnonymousPull, token(bob(), &["repository:team/app:*"]), [YES, YES, YES, WIDER]),
        (Mode::AnonymousPull, token(bob(), &["repository:team/app:push"]), [WIDER, YES, WIDER, WIDER]),
        (Mode::AnonymousPull, token(bob(), &["repository:team/app:delete"]), [WIDER, WIDER, YES, WIDER]),
        (Mode::AnonymousPull, token(bob(), &["repository:team:*"]), [WIDER, WIDER, WIDER, WIDER]),
        (Mode::AnonymousPull, token(bob(), &["registry:catalog:*"]), [WIDER, WIDER, WIDER, YES]),
        (
            Mode::AnonymousPull,
            token(bob(), &["repository:other:*", "repository:team/app:pull", "repository:team/app:push"]),
            [YES, YES, WIDER, WIDER],
        ),
    ];
    let needed = [
        "repository:team/app:pull",
        "repository:team/app:pull,push",
        "repository:team/app:delete",
        "registry:catalog:*",
    ];
    for (mode, identity, remedies) in table {
        let expected: Vec<_> = std::iter::zip(remedies, needed)
            .map(|(remedy, needed)| match remedy {
                None => Ok(identity.actor()),
                Some(remedy) => Err((remedy, needed.to_owned())),
            })
            .collect();
        assert_eq!(proofs(&Policy::new(mode), &identity).to_vec(), expected, "{mode:?} {identity:?}");
    }
}

#[test]
fn a_proof_names_the_repository_it_was_asked_for() {
    let access = Policy::new(Mode::Open).push(&Identity::Anonymous, &repository()).unwrap();
    assert_eq!(access.repository(), &repository());
}

#[test]
fn denials_say_what_would_help() {
    let denied = |remedy| Denied { remedy, needed: None, rule: None, reason: "".into() };
    let table = [
        (Remedy::LogIn, true, None),
        (Remedy::WiderToken, true, Some(ChallengeError::InsufficientScope)),
        (Remedy::Nothing, false, None),
    ];
    for (remedy, could_help, error) in table {
        assert_eq!(denied(remedy).authenticating_could_help(), could_help, "{remedy:?}");
        assert_eq!(denied(remedy).challenge_error(), error, "{remedy:?}");
    }
    let narrow = token(bob(), &["repository:team/app:pull"]);
    let denied = Policy::new(Mode::AnonymousPull).push(&narrow, &repository()).unwrap_err();
    assert_eq!(
        denied.reason,
        "the token does not cover repository:team/app:pull,push; ask for a token with this scope"
    );
}

#[test]
fn the_base_is_challenged_as_soon_as_users_may_do_more() {
    let anonymous_token = || token(Actor::Anonymous, &[]);
    let user_token = || token(bob(), &[]);
    let user = || Identity::User("bob".into());
    let table = [
        (Mode::Open, Identity::Anonymous, None),
        (Mode::Open, anonymous_token(), None),
        (Mode::EveryoneAuthenticated, Identity::Anonymous, Some(Remedy::LogIn)),
        (Mode::EveryoneAuthenticated, anonymous_token(), Some(Remedy::WiderToken)),
        (Mode::EveryoneAuthenticated, user_token(), None),
        (Mode::EveryoneAuthenticated, user(), None),
        (Mode::AnonymousPull, Identity::Anonymous, Some(Remedy::LogIn)),
        (Mode::AnonymousPull, anonymous_token(), None),
        (Mode::AnonymousPull, user_token(), None),
        (Mode::AnonymousPull, user(), None),
    ];
    for (mode, identity, remedy) in table {
        let denied = Policy::new(mode).base(&identity).err();
        assert_eq!(denied.map(|denied| denied.remedy), remedy, "{mode:?} {identity:?}");
    }
}

#[test]
fn what_is_granted_of_what_is_asked() {
    let table: [(Mode, Actor, &[&str], &[&str]); 13] = [
        (Mode::AnonymousPull, Actor::Anonymous, &["repository:a:pull"], &["repository:a:pull"]),
        (Mode::AnonymousPull, Actor::Anonymous, &["repository:a:push,pull"], &["repository:a:pull"]),
        (Mode::AnonymousPull, Actor::Anonymous, &["repository:a:*"], &["repository:a:pull"]),
        (Mode::AnonymousPull, Actor::Anonymous, &["repository:a:push"], &[]),
        (Mode::AnonymousPull, Actor::Anonymous, &["registry:catalog:*"], &["registry:catalog:*"]),
        (Mode::AnonymousPull, bob(), &["repository:a:*"], &["repository:a:pull,push,delete"]),
        (Mode::AnonymousPull, bob(), &["registry:catalog:pull"], &["registry:catalog:*"]),
        (Mode::AnonymousPull, bob(), &["registry:catalog:push"], &[]),
        (Mode::AnonymousPull, bob(), &["repository(plugin):a:pull", "x:y:z"], &[]),
        (
            Mode::AnonymousPull,
            bob(),
            &["repository:b:pull", "repository:a:pull", "repository:b:push", "repository:A:pull"],
            &["repository:a:pull", "repository:b:pull,push"],
        ),
        (Mode::EveryoneAuthenticated, Actor::Anonymous, &["repository:a:pull"], &[]),
        (Mode::EveryoneAuthenticated, bob(), &["repository:a:push"], &["repository:a:push"]),
        (Mode::Open, Actor::Anonymous, &["repository:a:*"], &["repository:a:pull,push,delete"]),
    ];
    for (mode, actor, asked, granted) in table {
        let asked: Vec<Scope> = asked.iter().copied().map(scope).collect();
        let found: Vec<String> =
            Policy::new(mode).grant(&actor, None, &asked).iter().map(Scope::to_string).collect();
        assert_eq!(found, granted, "{mode:?} {actor} {asked:?}");
    }
}

fn any_scope() -> impl Strategy<Value = Scope> {
    "(repository:[ab]|registry:catalog|other:x):((pull|push|delete|\\*|fly),){0,4}"
        .prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn a_grant_holds_what_the_policy_allows_and_no_star_of_a_repository(
        asked in prop::collection::vec(any_scope(), 0..6),
        mode in prop::sample::select(&MODES[..]),
        is_user in any::<bool>(),
    ) {
        let policy = Policy::new(mode);
        let actor = if is_user { bob() } else { Actor::Anonymous };
        let granted = policy.grant(&actor, None, &asked);
        for Scope { resource, actions } in &granted {
            prop_assert!(!actions.is_empty());
            for &action in actions {
                prop_assert!(policy.decide(&actor, action, resource).allowed);
                prop_assert!(*resource == Resource::Catalog || action != Action::All);
            }
            prop_assert!(asked.iter().any(|scope| scope.resource == *resource));
        }
        let resources: BTreeSet<_> = granted.iter().map(|scope| &scope.resource).collect();
        prop_assert_eq!(resources.len(), granted.len(), "one scope for each resource");
        prop_assert_eq!(policy.grant(&actor, None, &granted), granted, "asking for a grant gives it");
    }
}
