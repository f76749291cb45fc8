//! The tree against the table of keys: unknown keys, values of the wrong kind, and keys that Larder doesn't honour.

use super::{
    keys::{self, Key, Kind, Slot, Status},
    nearest::nearest,
    report::{Mistake, Report},
    scalar, secrets,
    value::{Content, Entry, Origin, Value},
};

/// Below this, a bare number of nanoseconds was surely meant to be seconds.
const SURELY_NOT_NANOSECONDS: i64 = 1_000_000;

/// Checks a whole configuration and reports everything that is wrong with it.
pub(super) fn check(root: &Value, report: &mut Report) {
    check_value(root, &Slot::root(), report);
}

fn check_value(value: &Value, slot: &Slot, report: &mut Report) {
    match (&value.content, slot.kind) {
        (Content::Null, _) | (_, Kind::Anything) => {}
        (Content::Map(entries), Kind::Section | Kind::Choice | Kind::Headers | Kind::SecretHeaders) => {
            entries.iter().for_each(|entry| known_entry(entry, slot, report));
        }
        (Content::List(items), Kind::Sections | Kind::Texts | Kind::OneOrMore) => {
            let Some(item) = slot.item() else { return };
            items.iter().for_each(|each| check_value(each, &item, report));
        }
        (Content::Scalar { text, plain }, kind) => {
            if let (Kind::Size, Err(why)) = (kind, scalar::size(text)) {
                return wrong_size(value, slot, text, &why, report);
            }
            if !text.is_empty() && !scalar_fits(text, kind) {
                wrong_kind(value, slot, report);
            }
            if kind == Kind::Duration && *plain {
                bare_nanoseconds(text, &value.origin, slot, report);
            }
        }
        // What is left of a secret's file could not be read, which has been reported.
        (Content::Map(_), _) if secrets::file_of(value, slot).is_some() => {}
        (Content::List(_) | Content::Map(_), _) => wrong_kind(value, slot, report),
    }
}

fn known_entry(entry: &Entry, slot: &Slot, report: &mut Report) {
    if let Some(child) = slot.child(&entry.key) {
        // What was said about a section holds for its keys. A choice is made by a key's name alone, without a value.
        let counts = slot.kind == Kind::Choice || !entry.value.is_unset();
        if counts && child.status != slot.status {
            tell_status(&child, &entry.origin, report);
        }
        return check_value(&entry.value, &child, report);
    }
    // The custom of compose files: a place for anchors that the rest of the file refers to.
    if slot.path.is_empty() && entry.key.starts_with("x-") {
        return;
    }
    let nearest = nearest_key(&entry.key, slot);
    let mistake = Mistake::UnknownKey { key: entry.key.clone(), below: slot.path.clone(), nearest };
    report.error(&entry.origin, mistake);
}

/// The key that was probably meant: one of this section with a similar name, else one of exactly this name that stands
/// elsewhere, which is what a wrong indentation makes.
fn nearest_key(name: &str, slot: &Slot) -> Option<String> {
    if let Some(found) = nearest(name, slot.keys().map(Key::name)) {
        return Some(found.to_owned());
    }
    let works = |key: &&Key| key.name() == name && key.status == Status::Works;
    let mut elsewhere = keys::all().filter(works);
    match (elsewhere.next(), elsewhere.next()) {
        (Some(only), None) => Some(only.path.to_owned()),
        _ => None,
    }
}

fn tell_status(slot: &Slot, place: &Origin, report: &mut Report) {
    match slot.status {
        Status::Works => {}
        Status::Unneeded(sentence) => {
            report.note(place, format!("{:?} has no effect, and needs none. {sentence}", slot.path));
        }
        Status::Ignored(sentence) => report.warn(place, format!("{:?} is ignored. {sentence}", slot.path)),
        Status::NotYet(why) => report.error(place, Mistake::NotYet { key: slot.path.clone(), why }),
    }
}

fn scalar_fits(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Text | Kind::Secret | Kind::Url | Kind::Anything => true,
        Kind::Choice | Kind::OneOrMore => true,
        Kind::Boolean => scalar::boolean(text).is_some(),
        Kind::Integer => scalar::integer(text).is_some(),
        Kind::Size => scalar::size(text).is_ok(),
        Kind::Duration => scalar::duration_nanoseconds(text).is_some(),
        Kind::Words(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
        Kind::Section | Kind::Sections | Kind::Texts | Kind::Headers | Kind::SecretHeaders => false,
    }
}

fn wrong_size(value: &Value, slot: &Slot, text: &str, why: &scalar::NoSize, report: &mut Report) {
    if !text.is_empty() {
        let problem = format!("is {text:?}, which {why}");
        report.error(&value.origin, Mistake::Invalid { key: slot.path.clone(), problem });
    }
}

fn wrong_kind(value: &Value, slot: &Slot, report: &mut Report) {
    let expected = match slot.kind {
        Kind::Section => "a map of keys".to_owned(),
        Kind::Choice => "a map of keys, or the name of one".to_owned(),
        Kind::Sections => "a list of maps".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Integer => "a whole number".to_owned(),
        Kind::Size => "bytes, or a size such as 500MB or 10GiB".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "text, or {file: PATH} for a file that holds it".to_owned(),
        Kind::Url => "a URL, or {file: PATH} for a file that holds it".to_owned(),
        Kind::Duration => "a duration such as 30s, 5m or 168h".to_owned(),
        Kind::Words(words) => format!("one of {}", words.join(", ")),
        Kind::Texts => "a list such as [one, two]".to_owned(),
        Kind::OneOrMore => "a word, or a list such as [one, two]".to_owned(),
        Kind::Headers | Kind::SecretHeaders => {
            "a map of header names to lists, such as {X-Name: [value]}".to_owned()
        }
        Kind::Anything => return,
    };
    let found = match value.content {
        Content::Null => "nothing",
        Content::Scalar { .. } if matches!(slot.kind, Kind::Boolean | Kind::Integer | Kind::Duration) => {
            "other text"
        }
        Content::Scalar { .. } if matches!(slot.kind, Kind::Words(_)) => "another word",
        Content::Scalar { .. } => "a single value",
        Content::List(_) => "a list",
        Content::Map(_) => "a map",
    };
    let key = if slot.path.is_empty() { "configuration".to_owned() } else { slot.path.clone() };
    report.error(&value.origin, Mistake::WrongKind { key, expected, found });
}

/// Go reads a bare number as nanoseconds, and so does Larder; but nobody ever meant `draintimeout: 30` that way.
fn bare_nanoseconds(text: &str, origin: &Origin, slot: &Slot, report: &mut Report) {
    let Some(number) = scalar::integer(text) else { return };
    if slot.status == Status::Works && number != 0 && number.abs() < SURELY_NOT_NANOSECONDS {
        let sentence = format!(
            "{:?} is {number} nanoseconds, as registry:2 reads it; write {number}s for seconds.",
            slot.path
        );
        report.warn(origin, sentence);
    }
}

#[cfg(test)]
mod tests;
