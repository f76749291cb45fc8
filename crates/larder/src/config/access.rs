//! The `access` section to the rules that `larder-auth` decides by: names resolved, patterns and actions read,
//! and every rule told where it stands.

use super::{
    nearest::nearest,
    report::{Mistake, Report},
    typed::Access,
    value::{Content, Entry, Origin, Value},
};
use larder_auth::{ACTION_WORDS, Effect, Group, Rule, Who};
use larder_oci::{Action, RepositoryPattern};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// What `who` says for whoever comes, and for whoever is logged in.
const ANONYMOUS: &str = "anonymous";
const AUTHENTICATED: &str = "authenticated";

type Groups = BTreeMap<Arc<str>, Group>;

/// Reads the section, if it is there.
pub(super) fn read(root: &Value, report: &mut Report) -> Option<Access> {
    let section = root.entry("access")?;
    let groups = read_groups(section, report);
    let items = section.value.entry("rules").map(|rules| rules.value.items()).unwrap_or_default();
    // A value of the wrong kind is there and has been reported.
    let is_missing = section.value.entry("rules").is_none_or(|rules| rules.value.is_unset());
    if is_missing {
        let why = "without a rule nobody may do anything; write for instance \
                   rules: [{who: anonymous, may: pull}, {who: authenticated, may: all}]";
        report.error(&section.origin, Mistake::Missing { key: "access.rules", why });
    }
    let rules = (1..).zip(items).filter_map(|(number, item)| {
        RuleReader { number, item, groups: &groups, report: &mut *report }.read()
    });
    let rules = rules.collect();
    Some(Access { groups, rules })
}

fn read_groups(section: &Entry, report: &mut Report) -> Groups {
    let Some(groups) = section.value.entry("groups") else { return Groups::new() };
    if !matches!(groups.value.content, Content::Map(_) | Content::Null) {
        let problem = "must be a map from a group's name to its members";
        report.error(&groups.value.origin, invalid("access.groups", problem));
    }
    let entries = groups.value.entries().iter();
    entries.filter_map(|entry| Some((entry.key.as_str().into(), read_group(entry, report)?))).collect()
}

fn read_group(entry: &Entry, report: &mut Report) -> Option<Group> {
    let key = format!("access.groups.{}", entry.key);
    if [ANONYMOUS, AUTHENTICATED].contains(&entry.key.as_str()) {
        report.error(&entry.origin, invalid(&key, "has a name that rules already use for whoever comes"));
        return None;
    }
    if let Content::Map(parts) = &entry.value.content {
        let mut file = None;
        for part in parts {
            match (part.key.as_str(), part.value.scalar()) {
                ("htpasswd", Some(path)) if !path.is_empty() => file = Some(Group::File(path.into())),
                ("htpasswd", _) => {
                    report.error(&part.origin, invalid(&format!("{key}.htpasswd"), "must name a file"));
                }
                (name, _) => {
                    let nearest = nearest(name, ["htpasswd"]).map(str::to_owned);
                    let mistake = Mistake::UnknownKey { key: name.to_owned(), below: key.clone(), nearest };
                    report.error(&part.origin, mistake);
                }
            }
        }
        return file;
    }
    let mut names = BTreeSet::new();
    for (name, origin) in texts(&entry.value) {
        match name {
            Some(name) if !name.is_empty() => drop(names.insert(name.into())),
            Some(_) | None => report.error(origin, invalid(&key, "must hold names of users")),
        }
    }
    if names.is_empty() {
        let problem = "has no members; write a list of users, or {htpasswd: FILE} for everybody in a file";
        report.error(&entry.origin, invalid(&key, problem));
    }
    Some(Group::Listed(names))
}

struct RuleReader<'a> {
    /// From 1.
    number: usize,
    item: &'a Value,
    groups: &'a Groups,
    report: &'a mut Report,
}

impl<'a> RuleReader<'a> {
    fn read(mut self) -> Option<Rule> {
        let Content::Map(_) = self.item.content else {
            // Another kind of item has been reported already; nothing at all hasn't.
            if matches!(self.item.content, Content::Null) {
                self.mistake(None, "", "is empty");
            }
            return None;
        };
        let who = self.who();
        let (effect, actions) = self.effect()?;
        let within = self.within();
        (!who.is_empty() && !actions.is_empty() && !within.is_empty()).then(|| Rule {
            place: self.place(),
            effect,
            who,
            actions,
            within,
        })
    }

    fn place(&self) -> Arc<str> {
        let number = self.number;
        match &self.item.origin {
            Origin::File { path, line, .. } => {
                let name = Path::new(&**path).file_name().map_or("".into(), |name| name.to_string_lossy());
                format!("{name}:{line}, rule {number}").into()
            }
            Origin::Variable(_) | Origin::Default => format!("rule {number}").into(),
        }
    }

    fn who(&mut self) -> Vec<Who> {
        let Some(value) = self.part("who") else {
            let problem = "says nobody; add who: anonymous, authenticated, a user or a group";
            self.mistake(None, "", problem);
            return Vec::new();
        };
        let mut who = Vec::new();
        for (name, origin) in texts(value) {
            let Some(name) = name else { continue };
            let meant = self.whom(name);
            if matches!(meant, Who::User(_))
                && let Some(word) = nearest(name, [ANONYMOUS, AUTHENTICATED])
            {
                let sentence = format!(
                    "\"access.rules[{}].who\" means a user {name:?}; did you mean {word:?}?",
                    self.number - 1
                );
                self.report.warn(origin, sentence);
            }
            who.push(meant);
        }
        who
    }

    /// A name that is a group's is the group.
    fn whom(&self, name: &str) -> Who {
        match name {
            ANONYMOUS => Who::Anonymous,
            AUTHENTICATED => Who::Authenticated,
            name if self.groups.contains_key(name) => Who::Group(name.into()),
            name => Who::User(name.into()),
        }
    }

    fn effect(&mut self) -> Option<(Effect, BTreeSet<Action>)> {
        match (self.part("may"), self.part("may_not")) {
            (Some(actions), None) => Some((Effect::May, self.actions("may", actions))),
            (None, Some(actions)) => Some((Effect::MayNot, self.actions("may_not", actions))),
            (Some(_), Some(second)) => {
                let problem = "both allows and forbids; make two rules of it";
                self.mistake(Some(&second.origin), "", problem);
                None
            }
            (None, None) => {
                let problem = "allows nothing and forbids nothing; add may or may_not";
                self.mistake(None, "", problem);
                None
            }
        }
    }

    fn actions(&mut self, key: &str, value: &Value) -> BTreeSet<Action> {
        let mut actions = BTreeSet::new();
        for (word, origin) in texts(value) {
            let Some(word) = word else { continue };
            match ACTION_WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, meant)) => actions.extend(meant.iter().copied()),
                None => {
                    let known = || ACTION_WORDS.iter().map(|(word, _)| *word);
                    let hint = match nearest(word, known()) {
                        Some(nearest) => format!("did you mean {nearest:?}?"),
                        None => format!("there is {}", known().collect::<Vec<_>>().join(", ")),
                    };
                    self.mistake(Some(origin), key, &format!("has the unknown action {word:?}; {hint}"));
                }
            }
        }
        actions
    }

    fn within(&mut self) -> Vec<RepositoryPattern> {
        let Some(value) = self.part("in") else { return vec![RepositoryPattern::everything()] };
        let mut patterns = Vec::new();
        for (text, origin) in texts(value) {
            match text.unwrap_or_default().parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let problem = format!("is {:?}: {error}", text.unwrap_or_default());
                    self.mistake(Some(origin), "in", &problem);
                }
            }
        }
        patterns
    }

    fn part(&self, key: &str) -> Option<&'a Value> {
        self.item.entry(key).map(|entry| &entry.value).filter(|value| !value.is_unset())
    }

    fn mistake(&mut self, origin: Option<&Origin>, key: &str, problem: &str) {
        let number = self.number - 1;
        let key = if key.is_empty() { String::new() } else { format!(".{key}") };
        let mistake = invalid(&format!("access.rules[{number}]{key}"), problem);
        self.report.error(origin.unwrap_or(&self.item.origin), mistake);
    }
}

/// One text, or each of a list, with its place; `None` where something else stands.
fn texts(value: &Value) -> Vec<(Option<&str>, &Origin)> {
    match &value.content {
        Content::Null => Vec::new(),
        Content::List(items) => items.iter().map(|item| (item.scalar(), &item.origin)).collect(),
        Content::Scalar { .. } | Content::Map(_) => vec![(value.scalar(), &value.origin)],
    }
}

fn invalid(key: &str, problem: impl Into<String>) -> Mistake {
    Mistake::Invalid { key: key.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
