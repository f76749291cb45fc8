use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use larder_oci::RepoName;
use proptest::prelude::*;

use super::*;
use crate::testing::{HandClock, NOON, write};

const ID: [u8; 8] = [1; 8];

/// A file with one key of alice's, and the key.
struct Cupboard {
    directory: tempfile::TempDir,
    keys: Keys,
    key: Password,
    clock: HandClock,
}

impl Cupboard {
    fn with(scopes: &[&str], expires: Option<u64>) -> Cupboard {
        let directory = tempfile::tempdir().unwrap();
        let (key, public_key) = create_key(ID.into(), [5; 32]).unwrap();
        let record = KeyRecord {
            id: ID.into(),
            name: "ci".into(),
            owner: Some("alice".into()),
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            created: NOON,
            expires,
            public_key,
        };
        let path = directory.path().join("keys.json");
        write_table(&path, &[record]);
        let keys = Keys::open(path, LastUses::default()).unwrap();
        Cupboard { directory, keys, key, clock: HandClock::at_noon() }
    }

    fn recognise(&self, key: &Password) -> Option<Result<Arc<KeyHolder>, KeyProblem>> {
        self.keys.recognise(key, |user| user == "alice", &self.clock.clock())
    }
}

fn write_table(path: &std::path::Path, records: &[KeyRecord]) {
    let mut table = KeyTable::default();
    for record in records {
        assert!(table.insert(record.clone()));
    }
    write(path, &table.to_bytes().unwrap());
}

fn narrowing(within: &[&str], actions: &str, until: Option<u64>) -> Narrowing {
    Narrowing {
        within: within.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        actions: (!actions.is_empty()).then(|| limits::actions(actions).unwrap()),
        until,
    }
}

fn repository(name: &str) -> Resource {
    Resource::Repository(name.parse().unwrap())
}

#[test]
fn a_key_is_recognised_and_what_is_no_key_is_left_to_the_passwords() {
    let cupboard = Cupboard::with(&["team/**:pull,push"], None);
    let holder = cupboard.recognise(&cupboard.key).unwrap().unwrap();
    assert_eq!(holder.actor(), Actor::User("alice".into()));
    assert_eq!(&*holder.name_in_rules(), "key:ci");
    for password in ["", "s3cret", "larder", "larder-key", "LARDER_KEY_x"] {
        assert!(cupboard.recognise(&password.into()).is_none(), "{password:?}");
    }
    for password in ["larder_key_", "larder_key_x", "larder_key_!!!!", &"larder_key_A".repeat(9000)] {
        assert_eq!(cupboard.recognise(&password.into()), Some(Err(KeyProblem::Forged)), "{password:.20}");
    }
}

#[test]
fn scopes_say_what_a_key_is_good_for() {
    let cupboard = Cupboard::with(&["team/**:pull,push", "shared/base:pull", "scratch/*:all"], None);
    let holder = cupboard.recognise(&cupboard.key).unwrap().unwrap();
    for (action, name, covered) in [
        (Action::Pull, "team/app", true),
        (Action::Push, "team/app", true),
        (Action::List, "team/app", true),
        (Action::Delete, "team/app", false),
        (Action::All, "team/app", false),
        (Action::All, "scratch/x", true),
        (Action::Admin, "scratch/x", true),
        (Action::Push, "shared/base", false),
        (Action::Pull, "shared/base", true),
        (Action::Pull, "other", false),
    ] {
        assert_eq!(holder.covers(action, &repository(name)), covered, "{action:?} {name}");
    }
    assert!(holder.covers(Action::All, &Resource::Catalog));
    assert!(!holder.covers(Action::Push, &Resource::Catalog));
    assert!(!holder.covers(Action::Pull, &Resource::Other("x".into())));
    let pusher = Cupboard::with(&["team/**:push"], None);
    let holder = pusher.recognise(&pusher.key).unwrap().unwrap();
    assert!(!holder.covers(Action::All, &Resource::Catalog), "who can't see anything can't list");
}

#[test]
fn a_holder_narrows_a_key_without_the_server() {
    let cupboard = Cupboard::with(&["**:all"], Some(NOON + 1000));
    let narrow =
        |key: &Password, narrowing: &Narrowing, seed| narrow_key(key, narrowing, [seed; 32]).unwrap();
    let team = narrow(&cupboard.key, &narrowing(&["team/**", "shared/*"], "", None), 6);
    let puller = narrow(&team, &narrowing(&["team/app"], "pull", Some(NOON + 60)), 7);
    let holder = cupboard.recognise(&puller).unwrap().unwrap();
    assert_eq!(holder.end(), Some(NOON + 60));
    assert!(holder.covers(Action::Pull, &repository("team/app")));
    assert!(!holder.covers(Action::Push, &repository("team/app")));
    assert!(!holder.covers(Action::Pull, &repository("team/other")));
    // To narrow to what the parent hasn't gives nothing.
    let nothing = narrow(&team, &narrowing(&["other/*"], "", None), 8);
    let holder = cupboard.recognise(&nothing).unwrap().unwrap();
    assert!(!holder.covers(Action::Pull, &repository("other/x")));
    cupboard.clock.set(NOON + 60);
    assert_eq!(cupboard.recognise(&puller), Some(Err(KeyProblem::Expired)));
    assert!(cupboard.recognise(&team).unwrap().is_ok());
    cupboard.clock.set(NOON + 1000);
    assert_eq!(cupboard.recognise(&team), Some(Err(KeyProblem::Expired)));
    assert!(narrow_key(&"s3cret".into(), &narrowing(&["a"], "", None), [1; 32]).is_err());
    assert!(narrow_key(&team, &Narrowing::default(), [1; 32]).is_err());
    let mut key = cupboard.key.clone();
    for seed in 1..=16 {
        key = narrow(&key, &narrowing(&[], "pull", None), seed);
    }
    assert!(narrow_key(&key, &narrowing(&[], "pull", None), [1; 32]).is_err(), "there is an end to it");
}

#[test]
fn revoking_counts_at_once_and_a_broken_file_changes_nothing() {
    let cupboard = Cupboard::with(&["**:pull"], None);
    let path = cupboard.directory.path().join("keys.json");
    let content = std::fs::read(&path).unwrap();
    write(&path, b"{\"version\": 1, \"keys\": [], \"may\": 1}");
    assert!(cupboard.recognise(&cupboard.key).unwrap().is_ok(), "a field that isn't known is no change");
    write_table(&path, &[]);
    assert_eq!(cupboard.recognise(&cupboard.key), Some(Err(KeyProblem::Unknown)));
    write(&path, &content);
    let holder = cupboard.recognise(&cupboard.key).unwrap().unwrap();
    let (id, clock) = (holder.record().id, cupboard.clock.clock());
    assert!(cupboard.keys.recall(id, holder.narrowings(), |_| true, &clock).is_ok());
    let gone = cupboard.keys.recall(id, holder.narrowings(), |_| false, &clock);
    assert_eq!(gone, Err(KeyProblem::OwnerGone));
    #[expect(clippy::disallowed_methods, reason = "the test plays the operator, who knows no Disk")]
    std::fs::remove_file(&path).unwrap();
    assert_eq!(cupboard.recognise(&cupboard.key), Some(Err(KeyProblem::Unknown)));
    assert!(Keys::none().recognise(&cupboard.key, |_| true, &clock).unwrap().is_err());
}

#[test]
fn a_file_with_anything_strange_keeps_the_server_from_starting() {
    let cupboard = Cupboard::with(&["**:pull"], None);
    let path = cupboard.directory.path().join("keys.json");
    let good = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(KeyTable::parse(&path, good.as_bytes()).is_ok());
    let key = &good[good.find("    {").unwrap()..=good.rfind("    }").unwrap() + 4];
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("**:pull", "**:fly"),
        ("**:pull", "a//b:pull"),
        ("\"0101010101010101\"", "\"01\""),
        ("\"created\"", "\"only_on_sundays\": true, \"created\""),
        ("\"public_key\": \"", "\"public_key\": \"AA"),
        (key, &format!("{key},{key}")),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = KeyTable::parse(&path, bad.as_bytes()).unwrap_err();
        assert!(matches!(error, AuthError::KeysFileMistaken { .. }), "{to}: {error}");
        assert!(error.to_string().contains("keys.json"), "{error}");
    }
}

#[test]
fn the_last_use_is_kept_in_memory_until_somebody_asks() {
    let cupboard = Cupboard::with(&["**:pull"], None);
    assert_eq!(cupboard.keys.last_uses_if_changed(), None);
    cupboard.recognise(&cupboard.key).unwrap().unwrap();
    cupboard.clock.set(NOON + 5);
    cupboard.recognise(&cupboard.key).unwrap().unwrap();
    let uses = cupboard.keys.last_uses_if_changed().unwrap();
    assert_eq!(uses.of(ID.into()), Some(NOON + 5));
    assert_eq!(cupboard.keys.last_uses_if_changed(), None, "nothing has changed since");
    assert_eq!(parse_last_uses(&uses.to_bytes().unwrap()), uses);
    assert_eq!(parse_last_uses(b"rubbish"), LastUses::default());
}

fn any_narrowing() -> impl Strategy<Value = Narrowing> {
    let patterns = prop::sample::subsequence(vec!["a", "a/*", "a/**", "b/**", "**", "*-x"], 0..3);
    let words = prop::option::of(prop::sample::subsequence(vec!["pull", "push", "delete", "list"], 1..4));
    (patterns, words, prop::option::of(NOON + 1..NOON + 100)).prop_map(|(within, words, until)| {
        let words = words.map(|words| words.join(",")).unwrap_or_default();
        narrowing(&within, &words, until)
    })
}

fn any_scopes() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(vec!["a:all", "a/**:pull", "b/*:pull,push", "**:list", "c:push"], 1..4)
}

fn any_question() -> impl Strategy<Value = (Action, Resource)> {
    use Action::{Admin, All, Delete, List, Pull, Push};
    let names = prop::sample::select(vec!["a", "a/b", "a/b/c", "b/c", "c", "d-x"]);
    let resource = prop_oneof![
        8 => names.prop_map(|name| Resource::Repository(name.parse::<RepoName>().unwrap())),
        1 => Just(Resource::Catalog),
    ];
    (prop::sample::select(vec![Pull, Push, Delete, List, Admin, All]), resource)
}

proptest! {
    #[test]
    fn a_narrowed_key_never_does_more_than_the_one_it_was_made_from(
        scopes in any_scopes(),
        narrowings in prop::collection::vec(any_narrowing(), 1..4),
        questions in prop::collection::vec(any_question(), 20),
    ) {
        let cupboard = Cupboard::with(&scopes, Some(NOON + 50));
        let mut key = cupboard.key.clone();
        let mut parent = cupboard.recognise(&key).unwrap().unwrap();
        for (seed, narrowing) in (10..).zip(narrowings.iter().filter(|narrowing| !narrowing.is_nothing())) {
            key = narrow_key(&key, narrowing, [seed; 32]).unwrap();
            let child = cupboard.recognise(&key).unwrap().unwrap();
            for (action, resource) in &questions {
                let (child, parent) = (child.covers(*action, resource), parent.covers(*action, resource));
                prop_assert!(parent || !child, "{:?} {:?}", action, resource);
            }
            prop_assert!(child.end() <= parent.end());
            parent = child;
        }
    }

    #[test]
    fn nothing_but_what_a_holder_made_is_recognised(
        narrowings in prop::collection::vec(any_narrowing(), 1..4),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
        surgery in 0usize..6,
    ) {
        let cupboard = Cupboard::with(&["**:all"], None);
        let mut texts = vec![cupboard.key.clone()];
        for (seed, narrowing) in (10..).zip(narrowings.iter().filter(|narrowing| !narrowing.is_nothing())) {
            texts.push(narrow_key(texts.last().unwrap(), narrowing, [seed; 32]).unwrap());
        }
        let bytes = |key: &Password| URL_SAFE_NO_PAD.decode(&key.expose()["larder_key_".len()..]).unwrap();
        let whole = bytes(texts.last().unwrap());
        let (body, seed) = whole.split_at(whole.len() - 32);
        let forged = match surgery {
            // A byte is changed, or the text ends early, or goes on.
            0 | 1 => {
                let mut forged = whole.clone();
                forged[place.index(whole.len())] ^= change;
                forged
            }
            2 => whole[..place.index(whole.len())].to_vec(),
            3 => [&whole[..], &[change]].concat(),
            // The last narrowings are left out, and the private key that is at hand is kept.
            4 => {
                let parent = bytes(&texts[place.index(texts.len().max(2) - 1)]);
                [&parent[..parent.len() - 32], seed].concat()
            }
            // A first private key that the holder made up.
            _ => [&body[..8], &[change; 32]].concat(),
        };
        let text = format!("larder_key_{}", URL_SAFE_NO_PAD.encode(&forged));
        let is_real = texts.iter().any(|key| key.expose() == text.as_bytes());
        let answer = cupboard.recognise(&text.as_str().into());
        prop_assert_eq!(matches!(answer, Some(Ok(_))), is_real, "{:?}", answer);
    }

    #[test]
    fn no_bytes_make_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let cupboard = Cupboard::with(&["**:all"], None);
        let text = format!("larder_key_{}", URL_SAFE_NO_PAD.encode(&bytes));
        prop_assert!(cupboard.recognise(&text.as_str().into()).unwrap().is_err());
    }

    #[test]
    fn a_narrowing_is_read_as_it_was_written(narrowing in any_narrowing()) {
        prop_assume!(!narrowing.is_nothing());
        prop_assert_eq!(narrowing.to_string().parse::<Narrowing>(), Ok(narrowing));
    }
}

#[test]
fn an_actions_set_is_never_read_as_more() {
    for text in ["in ", "may", "may pull,fly", "until x", "may pull\nmay push", "in a\n", "", "may push,pull"]
    {
        assert_eq!(text.parse::<Narrowing>(), Err(()), "{text:?}");
    }
    let pull_and_push = narrowing(&[], "push,pull", None);
    assert_eq!(pull_and_push.actions, Some(BTreeSet::from([Action::Pull, Action::Push])));
    assert_eq!("may pull,push".parse(), Ok(pull_and_push));
}
