//! What a key is good for: scopes, of which one must say yes, and narrowings, of which none may say no.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use larder_oci::{Action, PatternError, RepositoryPattern, Resource};

use crate::policy::ACTION_WORDS;

/// Some actions in some repositories: `team/**:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyScope {
    /// In which repositories.
    pub within: RepositoryPattern,
    /// What may be done there; at least one.
    pub actions: BTreeSet<Action>,
}

/// Some actions: `pull,push`, or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyActions {
    /// Which; at least one.
    pub actions: BTreeSet<Action>,
}

/// Why a text is no scope of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyScopeError {
    /// It has no actions.
    #[error("{0:?} says no actions: write REPOSITORIES:ACTIONS, as in team/**:pull,push")]
    NoActions(String),
    /// An action that doesn't exist.
    #[error("{0:?} is no action: there is pull, push, delete, list, admin and all")]
    Action(String),
    /// The part before the colon.
    #[error("the repositories can't be read: {0}")]
    Pattern(#[from] PatternError),
}

/// What a holder took away from a key. Each part that is absent takes nothing away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// In which repositories only; empty for no such limit.
    pub within: Vec<RepositoryPattern>,
    /// What only may be done.
    pub actions: Option<BTreeSet<Action>>,
    /// Until when only, in seconds since 1970.
    pub until: Option<u64>,
}

/// Whether the scopes give this and no narrowing takes it away.
pub(super) fn cover(
    scopes: &[KeyScope],
    narrowings: &[Narrowing],
    action: Action,
    resource: &Resource,
) -> bool {
    match (action, resource) {
        (Action::All, Resource::Repository(_)) => [Action::Pull, Action::Push, Action::Delete]
            .into_iter()
            .all(|action| cover(scopes, narrowings, action, resource)),
        (Action::All | Action::Pull | Action::List, Resource::Catalog) => {
            // What the catalog shows is another question, asked for each repository.
            scopes.iter().any(|scope| includes(&scope.actions, Action::List))
                && narrowings.iter().all(|narrowing| narrowing.leaves(Action::List))
        }
        (_, Resource::Repository(name)) => {
            scopes.iter().any(|scope| includes(&scope.actions, action) && scope.within.matches(name))
                && narrowings.iter().all(|narrowing| {
                    let within = &narrowing.within;
                    narrowing.leaves(action)
                        && (within.is_empty() || within.iter().any(|pattern| pattern.matches(name)))
                })
        }
        (_, Resource::Catalog | Resource::Other(_)) => false,
    }
}

/// Who may pull may list, as in the rules.
fn includes(actions: &BTreeSet<Action>, action: Action) -> bool {
    actions.contains(&action) || action == Action::List && actions.contains(&Action::Pull)
}

impl Narrowing {
    /// Whether it takes anything away.
    pub fn is_nothing(&self) -> bool {
        *self == Narrowing::default()
    }

    fn leaves(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|actions| includes(actions, action))
    }
}

/// Reads `pull,push`, or `all`.
pub(super) fn actions(text: &str) -> Result<BTreeSet<Action>, KeyScopeError> {
    let mut actions = BTreeSet::new();
    for word in text.split(',') {
        let known = ACTION_WORDS.iter().find(|(known, _)| *known == word);
        let (_, meant) = known.ok_or_else(|| KeyScopeError::Action(word.to_owned()))?;
        actions.extend(meant.iter().copied());
    }
    Ok(actions)
}

pub(super) fn listed(actions: &BTreeSet<Action>) -> String {
    actions.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(",")
}

impl FromStr for KeyActions {
    type Err = KeyScopeError;

    fn from_str(text: &str) -> Result<KeyActions, KeyScopeError> {
        Ok(KeyActions { actions: actions(text)? })
    }
}

impl FromStr for KeyScope {
    type Err = KeyScopeError;

    fn from_str(text: &str) -> Result<KeyScope, KeyScopeError> {
        let parts = text.rsplit_once(':').ok_or_else(|| KeyScopeError::NoActions(text.to_owned()))?;
        Ok(KeyScope { within: parts.0.parse()?, actions: actions(parts.1)? })
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.within, listed(&self.actions))
    }
}

/// One line for each part, in this order: `in team/** robots/*`, `may pull,push`, `until 1772366400`.
impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        if !self.within.is_empty() {
            let patterns: Vec<&str> = self.within.iter().map(RepositoryPattern::as_str).collect();
            lines.push(format!("in {}", patterns.join(" ")));
        }
        lines.extend(self.actions.as_ref().map(|actions| format!("may {}", listed(actions))));
        lines.extend(self.until.map(|until| format!("until {until}")));
        f.write_str(&lines.join("\n"))
    }
}

impl FromStr for Narrowing {
    type Err = ();

    /// Strict: what can't be understood might have taken something away.
    fn from_str(text: &str) -> Result<Narrowing, ()> {
        let mut narrowing = Narrowing::default();
        for line in text.split('\n') {
            match line.split_once(' ').ok_or(())? {
                ("in", patterns) if narrowing.within.is_empty() => {
                    let patterns = patterns.split(' ').map(str::parse).collect::<Result<_, PatternError>>();
                    narrowing.within = patterns.map_err(|_| ())?;
                }
                ("may", words) if narrowing.actions.is_none() => {
                    narrowing.actions = Some(actions(words).map_err(|_| ())?);
                }
                ("until", seconds) if narrowing.until.is_none() => {
                    narrowing.until = Some(seconds.parse().map_err(|_| ())?);
                }
                _ => return Err(()),
            }
        }
        // Only the text that would be written again: one narrowing, one text.
        if narrowing.to_string() == text { Ok(narrowing) } else { Err(()) }
    }
}
