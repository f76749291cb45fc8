use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::RepoName;
use crate::digest::shorten;

/// What a token may be asked for: `<type>[(<class>)]:<name>:<action>[,<action>…]`
/// (Distribution's token specification, "Resource Scope"; what clients really send: trap 10 of the
/// clients' page).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What is to be acted on.
    pub resource: Resource,
    /// What is to be done with it.
    pub actions: BTreeSet<Action>,
}

/// The resource of a [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A repository's content.
    Repository(RepoName),
    /// `registry:catalog`: the list of repositories.
    Catalog,
    /// Anything else; asked for by plugins and other registries' clients, never granted.
    Other(String),
}

/// An action of a [`Scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Remove.
    Delete,
    /// See what there is: tags, and the repository in the catalog.
    List,
    /// Look after the registry itself. No client asks for it.
    Admin,
    /// `*`: everything that may be done.
    All,
}

/// The text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a scope: write repository:<name>:<action>[,<action>], as in repository:team/app:pull,push"
)]
pub struct ScopeError(String);

impl Action {
    /// The action as tokens and challenges spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::List => "list",
            Action::Admin => "admin",
            Action::All => "*",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// Unknown actions are dropped, not refused: a client that asks for one too many gets the rest.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ScopeError(shorten(text));
        let (kind, rest) = text.split_once(':').ok_or_else(refused)?;
        // The name may itself hold colons (`host:port/name`), so the actions stand after the last one.
        let (name, actions) = rest.rsplit_once(':').ok_or_else(refused)?;
        let resource = match (kind, name) {
            ("repository", name) => {
                name.parse().map_or_else(|_| Resource::Other(shorten(text)), Resource::Repository)
            }
            ("registry", "catalog") => Resource::Catalog,
            _ => Resource::Other(shorten(text)),
        };
        let actions = actions
            .split(',')
            .filter_map(|action| match action.trim() {
                "pull" => Some(Action::Pull),
                "push" => Some(Action::Push),
                "delete" => Some(Action::Delete),
                "list" => Some(Action::List),
                "admin" => Some(Action::Admin),
                "*" => Some(Action::All),
                _ => None,
            })
            .collect();
        Ok(Scope { resource, actions })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            Resource::Repository(name) => write!(f, "repository:{name}:")?,
            Resource::Catalog => f.write_str("registry:catalog:")?,
            Resource::Other(text) => return f.write_str(text),
        }
        let actions: Vec<&str> = self.actions.iter().map(|action| action.as_str()).collect();
        f.write_str(&actions.join(","))
    }
}

#[cfg(test)]
mod tests;
