//! The bridge between "who you are and what you may" and "do it".
//!
//! A mutation or a read in `larder-core` demands an [`Access`]: a value that says the policy has
//! allowed one operation on one repository. `larder-auth` alone makes them; the two crates don't know
//! each other, and nobody can act on a repository by forgetting to ask.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::RepoName;

/// The policy said yes: this actor may do `Op` in this repository.
#[derive(Clone, Debug)]
pub struct Access<Op> {
    repository: RepoName,
    actor: Actor,
    operation: PhantomData<Op>,
}

/// The policy said yes: this actor may list the repositories, or those of them that he is to see.
#[derive(Clone)]
pub struct CatalogAccess {
    actor: Actor,
    part: Option<CatalogPart>,
}

/// The policy said yes: this actor may administer the registry as a whole.
#[derive(Clone, Debug)]
pub struct AdminAccess {
    actor: Actor,
}

/// The part of the catalog that an actor is to see.
#[derive(Clone)]
struct CatalogPart {
    /// Every name that is shown begins with one of these.
    beginnings: BTreeSet<String>,
    /// Whether a name is shown. A function, as this crate doesn't know what decides.
    shows: Arc<dyn Fn(&RepoName) -> bool + Send + Sync>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Nobody in particular.
    Anonymous,
    /// A user by name.
    User(Arc<str>),
}

/// Reading a repository.
#[derive(Clone, Copy, Debug)]
pub struct Pull;
/// Adding to a repository, moving its tags.
#[derive(Clone, Copy, Debug)]
pub struct Push;
/// Removing from a repository.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

/// The closed set of operations an [`Access`] can allow.
pub trait Operation: sealed::Sealed {}
impl Operation for Pull {}
impl Operation for Push {}
impl Operation for Delete {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Pull {}
    impl Sealed for super::Push {}
    impl Sealed for super::Delete {}
}

impl<Op: Operation> Access<Op> {
    /// For `larder-auth`'s policy only (`clippy.toml` and `cargo xtask tidy` see to that).
    pub fn granted_by_policy(repository: RepoName, actor: Actor) -> Access<Op> {
        Access { repository, actor, operation: PhantomData }
    }

    /// The repository that may be acted on.
    pub fn repository(&self) -> &RepoName {
        &self.repository
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl AdminAccess {
    /// For `larder-auth`'s policy only (`clippy.toml` and `cargo xtask tidy` see to that).
    pub fn granted_by_policy(actor: Actor) -> AdminAccess {
        AdminAccess { actor }
    }

    /// Who administers.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl CatalogAccess {
    /// For `larder-auth`'s policy only (`clippy.toml` and `cargo xtask tidy` see to that).
    pub fn granted_by_policy(actor: Actor) -> CatalogAccess {
        CatalogAccess { actor, part: None }
    }

    /// The same for fewer repositories: those that `shows` says yes to, all of whose names begin with one
    /// of `beginnings`.
    pub fn showing_only(
        self,
        beginnings: BTreeSet<String>,
        shows: impl Fn(&RepoName) -> bool + Send + Sync + 'static,
    ) -> CatalogAccess {
        let CatalogAccess { actor, part: before } = self;
        let shows =
            move |name: &RepoName| before.as_ref().is_none_or(|before| (before.shows)(name)) && shows(name);
        CatalogAccess { actor, part: Some(CatalogPart { beginnings, shows: Arc::new(shows) }) }
    }

    /// Whether the actor sees every repository, so that nothing has to be left out.
    pub fn shows_all(&self) -> bool {
        self.part.is_none()
    }

    /// Whether the actor may see that there is this repository.
    pub fn shows(&self, repository: &RepoName) -> bool {
        self.part.as_ref().is_none_or(|part| (part.shows)(repository))
    }

    /// Where to go on behind `after`: the same, or a later text if no name in between is shown; `None` if
    /// no later name is.
    pub fn skip_from(&self, after: String) -> Option<String> {
        let Some(part) = &self.part else { return Some(after) };
        if part.beginnings.iter().any(|beginning| after.starts_with(beginning.as_str())) {
            return Some(after);
        }
        let next = part.beginnings.iter().find(|beginning| beginning.as_str() > after.as_str())?;
        Some(just_before(next))
    }

    /// Who lists.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl fmt::Debug for CatalogAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogAccess")
            .field("actor", &self.actor)
            .field("shows_all", &self.shows_all())
            .finish()
    }
}

/// A text that sorts before everything that begins with `beginning`, and behind every repository's name that
/// sorts before that. Names are of letters below `~`.
fn just_before(beginning: &str) -> String {
    let mut text = beginning.to_owned();
    if let Some(last @ '\u{1}'..='~') = text.pop() {
        text.extend(char::from_u32(u32::from(last) - 1));
        text.push('~');
    }
    text
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Anonymous => f.write_str("anonymous"),
            Actor::User(name) => f.write_str(name),
        }
    }
}
