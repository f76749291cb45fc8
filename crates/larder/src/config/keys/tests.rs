use super::*;
use std::collections::BTreeSet;

#[test]
fn each_key_is_listed_once() {
    let mut seen = BTreeSet::new();
    for key in all() {
        assert!(seen.insert(key.path), "{} is listed twice", key.path);
    }
    assert!(seen.len() > 250, "the contract has more keys than {}", seen.len());
}

#[test]
fn each_key_stands_below_one_that_holds_keys() {
    for key in all().filter(|key| key.path.contains('.')) {
        let parent = key.parent();
        let (section, kinds): (&str, &[Kind]) = match parent.strip_suffix("[]") {
            Some(list) => (list, &[Kind::Sections]),
            None => (parent, &[Kind::Section, Kind::Choice]),
        };
        let found = all().find(|other| other.path == section);
        assert!(found.is_some_and(|found| kinds.contains(&found.kind)), "{} hangs in the air", key.path);
    }
}

#[test]
fn a_key_can_be_named_by_one_variable_alone() {
    let mut seen = BTreeSet::new();
    for key in all() {
        assert_eq!(key.path, key.path.to_lowercase(), "yaml.v2 knows lower-case names only");
        assert!(seen.insert(key.variable()), "{} has the variable of another key", key.path);
    }
}

#[test]
fn every_sentence_is_one() {
    for key in all() {
        for sentence in [Some(key.meaning), key.status.sentence()].into_iter().flatten() {
            let starts_well = sentence.starts_with(|first: char| first.is_uppercase() || first == '`');
            assert!(starts_well && sentence.ends_with('.'), "{}: {sentence}", key.path);
            assert!(!sentence.contains(['|', '\n']), "{}: {sentence}", key.path);
        }
    }
}

#[test]
fn what_does_nothing_has_no_default() {
    for key in all().filter(|key| key.status != Status::Works || matches!(key.kind, Section | Kind::Sections))
    {
        assert_eq!(key.default, "", "{}", key.path);
    }
}

#[test]
fn the_drivers_are_keys() {
    for driver in DRIVERS {
        assert!(all().any(|key| key.path == format!("storage.{driver}")), "{driver}");
    }
}

#[test]
fn go_names_lead_to_keys() {
    for (section, element, name) in GO_NAMES {
        let slot = Slot { path: section.to_owned(), ..Slot::root() };
        assert_eq!(slot.key_of_variable(element).map(Key::name), Some(name), "{section} {element}");
        assert_eq!(
            slot.key_of_variable(&name.to_uppercase()).map(Key::name),
            Some(name),
            "the file's own name works too"
        );
    }
}

#[test]
fn no_key_of_registry_2_takes_a_size_since_registry_2_would_stop_at_its_unit() {
    let sizes: Vec<&Key> = all().filter(|key| key.kind == Kind::Size).collect();
    assert!(sizes.len() >= 8, "{sizes:?}");
    assert!(sizes.iter().all(|key| key.is_larders_own), "{sizes:?}");
    let bytes = |key: &&Key| key.is_larders_own && key.path.contains("bytes");
    assert!(
        all().filter(bytes).all(|key| key.kind == Kind::Size),
        "a key of Larder's own that takes bytes takes sizes"
    );
}
