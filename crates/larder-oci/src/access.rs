//! The bridge between "who you are and what you may" and "do it".
//!
//! A mutation or a read in `larder-core` demands an [`Access`]: a value that says the policy has
//! allowed one operation on one repository. `larder-auth` alone makes them; the two crates don't know
//! each other, and nobody can act on a repository by forgetting to ask.

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

/// The policy said yes: this actor may list the repositories.
#[derive(Clone, Debug)]
pub struct CatalogAccess {
    actor: Actor,
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

impl CatalogAccess {
    /// For `larder-auth`'s policy only (`clippy.toml` and `cargo xtask tidy` see to that).
    pub fn granted_by_policy(actor: Actor) -> CatalogAccess {
        CatalogAccess { actor }
    }

    /// Who lists.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Anonymous => f.write_str("anonymous"),
            Actor::User(name) => f.write_str(name),
        }
    }
}
