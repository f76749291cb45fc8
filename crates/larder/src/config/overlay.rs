//! Environment variables over a configuration: `REGISTRY_HTTP_TLS_KEY=/key` sets `http.tls.key`.
//!
//! distribution's rule (section 1.3 of its contract): variables in the order of their names; the name is cut at each
//! `_`; sections are matched by upper-cased key, free maps by an existing key in any case or else by a new lower-case
//! one, lists by index; the value is YAML and replaces what stood there. Three things differ, since there they are
//! broken or harmful: maps nested in a file and items of scalar lists can be reached, numbered items are applied in
//! numeric order, and text that isn't YAML (a password that starts with `@`) is taken as it is.
//!
//! A variable that leads nowhere is a warning and no mistake: Kubernetes puts `REGISTRY_PORT=tcp://…` into the
//! environment of every pod that lives beside a service named `registry`.

use super::{
    Start,
    environment::{Environment, ROOT_DIRECTORY, path_in_name},
    keys::{self, Key, Kind, SECRET_FILE, Slot},
    nearest::nearest,
    report::{Mistake, Report},
    value::{Content, Entry, Origin, Value},
    yaml::{self, Parsed},
};

/// Lays every `REGISTRY_*` variable over the tree.
pub(super) fn apply(root: &mut Value, environment: &Environment, start: Start<'_>, report: &mut Report) {
    let mut variables: Vec<_> = environment.overrides().collect();
    variables.sort_by_key(|(name, _)| order(name));
    for (name, value) in variables {
        // A start without a file has weighed this one against `--data` already, if it could read it.
        if matches!(start, Start::BuiltIn(_)) && name == ROOT_DIRECTORY && value.is_ok() {
            continue;
        }
        let origin = Origin::Variable(name.into());
        let Some(path) = resolve(path_in_name(name)) else {
            report.warn(&origin, unknown_variable(name));
            continue;
        };
        match value {
            Ok(text) => set(root, &path, text, &origin, report),
            Err(mistake) => report.error(&origin, mistake),
        }
    }
}

/// The pieces of a name, numbers by their size: item 10 of a list comes after item 9, and a section before its keys.
fn order(name: &str) -> Vec<(u64, String)> {
    let number = |piece: &str| piece.parse::<u64>().unwrap_or(0);
    path_in_name(name).split('_').map(|piece| (number(piece), piece.to_owned())).collect()
}

/// One step from a place in the tree to the next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A key of the table.
    Key(&'static str),
    /// An entry of a free map, by a name whose case doesn't count.
    Free(String),
    /// An item of a list.
    Item(usize),
}

struct Path {
    /// Each step with the place that it starts from.
    steps: Vec<(Slot, Step)>,
    /// What stands at the end.
    slot: Slot,
}

/// Finds what a variable's name means by the table alone, so that one that means nothing leaves the tree untouched.
fn resolve(name: &str) -> Option<Path> {
    let mut path = Path { steps: Vec::new(), slot: Slot::root() };
    for element in name.split('_') {
        if element.is_empty() {
            return None;
        }
        // registry:3 keeps Redis' options in a structure that its files don't show and its variables may name.
        if path.slot.path == "redis" && element == "OPTIONS" {
            continue;
        }
        let (step, slot) = descend(&path.slot, element)?;
        path.steps.push((std::mem::replace(&mut path.slot, slot), step));
    }
    // The version says how the file is read, which is over when variables are looked at.
    (!path.steps.is_empty() && path.slot.path != "version").then_some(path)
}

fn descend(slot: &Slot, element: &str) -> Option<(Step, Slot)> {
    if let Ok(index) = element.parse::<usize>()
        && let Some(item) = slot.item()
    {
        return Some((Step::Item(index), item));
    }
    if slot.is_free_map() {
        let name = element.to_lowercase();
        let child = slot.child(&name)?;
        return Some((Step::Free(name), child));
    }
    if slot.is_secret() && element.eq_ignore_ascii_case(SECRET_FILE) {
        return slot.child(SECRET_FILE).map(|file| (Step::Key(SECRET_FILE), file));
    }
    slot.key_of_variable(element).map(|key| (Step::Key(key.name()), Slot::from(key)))
}

fn set(root: &mut Value, path: &Path, text: &str, origin: &Origin, report: &mut Report) {
    let Parsed { value, errors } = read_value(&path.slot, text, origin);
    report.errors(errors);
    let Some(value) = value else { return };
    let mut place = root;
    for (slot, step) in &path.steps {
        if slot.kind == Kind::Choice {
            place.expand_choice();
        }
        if slot.is_secret() && place.scalar().is_some() {
            if let Origin::Variable(other) = &place.origin {
                let mistake = Mistake::SecretTwice { key: slot.path.clone(), other: other.to_string() };
                return report.error(origin, mistake);
            }
            // A variable goes before what the file says, in whichever form.
            *place = Value::null(origin.clone());
        }
        if let Step::Item(index) = step
            && *index > place.items().len()
        {
            let mistake = Mistake::IndexBeyondEnd {
                list: slot.path.clone(),
                index: *index,
                length: place.items().len(),
            };
            return report.error(origin, mistake);
        }
        let Some(next) = follow(place, step, origin) else {
            let sentence = format!("ignored, since {:?} holds nothing that it could change.", slot.path);
            return report.warn(origin, sentence);
        };
        place = next;
    }
    *place = value;
}

/// The value that a step leads to, made if it isn't there; `None` where something stands that has no such parts.
fn follow<'a>(place: &'a mut Value, step: &Step, origin: &Origin) -> Option<&'a mut Value> {
    let name = match step {
        Step::Item(index) => {
            let items = place.items_mut()?;
            if *index == items.len() {
                items.push(Value::null(origin.clone()));
            }
            return items.get_mut(*index);
        }
        Step::Key(name) => *name,
        Step::Free(name) => name.as_str(),
    };
    let entries = place.entries_mut()?;
    // A variable has only one case, so distribution compares the names of free maps without it.
    let same = |entry: &Entry| {
        entry.key == name || matches!(step, Step::Free(_)) && entry.key.to_lowercase() == name
    };
    let index = entries.iter().position(same).unwrap_or(entries.len());
    if index == entries.len() {
        let value = Value::null(origin.clone());
        entries.push(Entry { key: name.to_owned(), origin: origin.clone(), value });
    }
    entries.get_mut(index).map(|entry| &mut entry.value)
}

/// Reads a variable's value as YAML, or as plain text where text is wanted and YAML sees something else in it.
fn read_value(slot: &Slot, text: &str, origin: &Origin) -> Parsed {
    let as_it_is = || Parsed { value: Some(Value::text(text, origin.clone())), errors: Vec::new() };
    let Origin::Variable(name) = origin else { return as_it_is() };
    let parsed = yaml::parse(text, &yaml::Source::Variable(name.clone()));
    let is_text = parsed.value.as_ref().is_some_and(|value| match value.content {
        Content::Null | Content::Scalar { .. } => true,
        Content::List(_) | Content::Map(_) => false,
    });
    if is_text || !matches!(slot.kind, Kind::Text | Kind::Secret | Kind::Url) { parsed } else { as_it_is() }
}

fn unknown_variable(name: &str) -> String {
    let path = path_in_name(name);
    if ["PORT", "SERVICE"].iter().any(|word| path == *word || path.starts_with(&format!("{word}_"))) {
        return "sets no key and is ignored. Kubernetes makes such variables for a service named \"registry\"; \
                enableServiceLinks: false in the pod's spec stops that."
            .to_owned();
    }
    if path == "VERSION" {
        return "ignored: only the file itself can say its version.".to_owned();
    }
    let known: Vec<String> = keys::all().map(Key::variable).collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(nearest) => format!("sets no key and is ignored; did you mean {nearest}?"),
        None => "sets no key and is ignored.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
