//! What somebody may do, and why: one pure function, [`Policy::decide`], and the makers of the proofs that
//! `larder-core` demands, which all ask it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use larder_oci::{
    Access, Action, Actor, CatalogAccess, Delete, Operation, Pull, Push, RepoName, Resource, Scope,
};

use crate::challenge::ChallengeError;
use crate::identity::Identity;

/// The rules in force.
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
}

/// The rules that can be configured so far, for all repositories alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody may do everything: no authentication is configured.
    Open,
    /// Any user may do everything, nobody else anything: registry:2 with htpasswd.
    EveryoneAuthenticated,
    /// Anybody pulls and lists, any user does everything: Larder's default with users.
    AnonymousPull,
}

/// What [`Policy::decide`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// May it be done?
    pub allowed: bool,
    /// The rule that decided, as a sentence for whoever asks why.
    pub reason: Cow<'static, str>,
}

/// The policy, or the token at hand, said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What the client could do about it.
    pub remedy: Remedy,
    /// What it takes; `None` at the base, which takes only some identity.
    pub needed: Option<Scope>,
    /// Why, as a sentence for the client and the log.
    pub reason: Cow<'static, str>,
}

/// What a client could do about a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Come back with credentials: 401 and a challenge.
    LogIn,
    /// Come back with a token for the needed scope: 401 and a challenge that says `insufficient_scope`.
    WiderToken,
    /// Nothing, this user may not: 403.
    Nothing,
}

impl Denied {
    /// Whether credentials or another token could help, so whether a challenge belongs in the answer.
    pub fn authenticating_could_help(&self) -> bool {
        match self.remedy {
            Remedy::LogIn | Remedy::WiderToken => true,
            Remedy::Nothing => false,
        }
    }

    /// What the challenge says about the credentials that came.
    pub fn challenge_error(&self) -> Option<ChallengeError> {
        match self.remedy {
            Remedy::WiderToken => Some(ChallengeError::InsufficientScope),
            Remedy::LogIn | Remedy::Nothing => None,
        }
    }
}

impl Policy {
    /// The rules of this mode.
    pub fn new(mode: Mode) -> Policy {
        Policy { mode }
    }

    /// Whether this actor may do this, and by which rule.
    pub fn decide(&self, actor: &Actor, action: Action, resource: &Resource) -> Decision {
        let (allowed, reason) = match (resource, action) {
            (Resource::Other(_), _) => (false, "only repositories and the catalog can be accessed"),
            (Resource::Catalog, Action::Push | Action::Delete) => (false, "the catalog can only be listed"),
            (Resource::Repository(_), Action::Pull) | (Resource::Catalog, Action::Pull | Action::All) => {
                self.decide_reading(actor)
            }
            (Resource::Repository(_), Action::Push | Action::Delete | Action::All) => {
                self.decide_changing(actor)
            }
        };
        Decision { allowed, reason: Cow::Borrowed(reason) }
    }

    /// The proof that the repository may be read.
    pub fn pull(&self, identity: &Identity, repository: &RepoName) -> Result<Access<Pull>, Denied> {
        self.prove(identity, repository, Action::Pull, &[Action::Pull])
    }

    /// The proof that the repository may be changed. A challenge asks for pull as well, as registry:2's
    /// does: nobody pushes without looking.
    pub fn push(&self, identity: &Identity, repository: &RepoName) -> Result<Access<Push>, Denied> {
        self.prove(identity, repository, Action::Push, &[Action::Pull, Action::Push])
    }

    /// The proof that something may be removed from the repository.
    pub fn delete(&self, identity: &Identity, repository: &RepoName) -> Result<Access<Delete>, Denied> {
        self.prove(identity, repository, Action::Delete, &[Action::Delete])
    }

    /// The proof that the repositories may be listed.
    #[expect(clippy::disallowed_methods, reason = "this is the policy that grants it")]
    pub fn catalog(&self, identity: &Identity) -> Result<CatalogAccess, Denied> {
        let needed = Scope { resource: Resource::Catalog, actions: BTreeSet::from([Action::All]) };
        self.check(identity, Action::All, needed).map(CatalogAccess::granted_by_policy)
    }

    /// Whether `GET /v2/` is answered with 200 instead of a challenge.
    ///
    /// docker and containers/image look nowhere else to learn whether to log in. So whoever comes with
    /// nothing is challenged as soon as users could do more than he, even if he may pull.
    pub fn base(&self, identity: &Identity) -> Result<(), Denied> {
        let denied = |remedy, reason| Err(Denied { remedy, needed: None, reason: Cow::Borrowed(reason) });
        match (self.mode, identity, identity.actor()) {
            (Mode::Open, _, _) | (_, _, Actor::User(_)) => Ok(()),
            (Mode::AnonymousPull, Identity::Token(_), Actor::Anonymous) => Ok(()),
            (Mode::AnonymousPull, Identity::Anonymous | Identity::User(_), Actor::Anonymous) => {
                denied(Remedy::LogIn, "log in, or fetch an anonymous token to pull")
            }
            (Mode::EveryoneAuthenticated, Identity::Token(_), Actor::Anonymous) => {
                denied(Remedy::WiderToken, ONLY_USERS)
            }
            (Mode::EveryoneAuthenticated, Identity::Anonymous | Identity::User(_), Actor::Anonymous) => {
                denied(Remedy::LogIn, ONLY_USERS)
            }
        }
    }

    /// Whether there is anything that somebody without an account may do.
    pub(crate) fn welcomes_anonymous(&self) -> bool {
        match self.mode {
            Mode::Open | Mode::AnonymousPull => true,
            Mode::EveryoneAuthenticated => false,
        }
    }

    /// Of what is asked, what this actor may have: one scope for each resource, `*` spelled out.
    /// A scope that gives nothing is left out; asking for too much is never an error.
    pub(crate) fn grant(&self, actor: &Actor, asked: &[Scope]) -> Vec<Scope> {
        let mut granted: BTreeMap<&Resource, BTreeSet<Action>> = BTreeMap::new();
        for Scope { resource, actions } in asked {
            let allowed = spelled_out(resource, actions)
                .into_iter()
                .filter(|&action| self.decide(actor, action, resource).allowed);
            for action in allowed {
                granted.entry(resource).or_default().insert(action);
            }
        }
        granted.into_iter().map(|(resource, actions)| Scope { resource: resource.clone(), actions }).collect()
    }

    fn decide_reading(&self, actor: &Actor) -> (bool, &'static str) {
        match (self.mode, actor) {
            (Mode::Open, _) => (true, EVERYBODY),
            (Mode::EveryoneAuthenticated | Mode::AnonymousPull, Actor::User(_)) => (true, EVERY_USER),
            (Mode::EveryoneAuthenticated, Actor::Anonymous) => (false, ONLY_USERS),
            (Mode::AnonymousPull, Actor::Anonymous) => (true, "anybody may pull and list"),
        }
    }

    fn decide_changing(&self, actor: &Actor) -> (bool, &'static str) {
        match (self.mode, actor) {
            (Mode::Open, _) => (true, EVERYBODY),
            (Mode::EveryoneAuthenticated | Mode::AnonymousPull, Actor::User(_)) => (true, EVERY_USER),
            (Mode::EveryoneAuthenticated, Actor::Anonymous) => (false, ONLY_USERS),
            (Mode::AnonymousPull, Actor::Anonymous) => {
                (false, "without an account one may only pull and list: log in with docker login")
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the policy: the one place that makes an Access")]
    fn prove<Op: Operation>(
        &self,
        identity: &Identity,
        repository: &RepoName,
        action: Action,
        needed: &[Action],
    ) -> Result<Access<Op>, Denied> {
        let resource = Resource::Repository(repository.clone());
        let needed = Scope { resource, actions: needed.iter().copied().collect() };
        let actor = self.check(identity, action, needed)?;
        Ok(Access::granted_by_policy(repository.clone(), actor))
    }

    /// The policy decides about the actor; a token can only take away from that.
    fn check(&self, identity: &Identity, action: Action, needed: Scope) -> Result<Actor, Denied> {
        let actor = identity.actor();
        let decision = self.decide(&actor, action, &needed.resource);
        if !decision.allowed {
            let remedy = match (&actor, identity) {
                (Actor::User(_), _) => Remedy::Nothing,
                (Actor::Anonymous, Identity::Token(_)) => Remedy::WiderToken,
                (Actor::Anonymous, Identity::Anonymous | Identity::User(_)) => Remedy::LogIn,
            };
            return Err(Denied { remedy, needed: Some(needed), reason: decision.reason });
        }
        match identity {
            Identity::Token(claims) if !claims.cover(action, &needed.resource) => {
                let reason = format!("the token does not cover {needed}: ask for a token with this scope");
                Err(Denied { remedy: Remedy::WiderToken, needed: Some(needed), reason: reason.into() })
            }
            Identity::Token(_) | Identity::Anonymous | Identity::User(_) => Ok(actor),
        }
    }
}

const EVERYBODY: &str = "no authentication is configured, so everybody may do everything";
const EVERY_USER: &str = "every user may do everything";
const ONLY_USERS: &str = "only users of this registry have access: log in with docker login";

/// The actions that a scope names, `*` replaced by what there is to do with the resource.
fn spelled_out(resource: &Resource, actions: &BTreeSet<Action>) -> BTreeSet<Action> {
    match resource {
        Resource::Repository(_) if actions.contains(&Action::All) => {
            BTreeSet::from([Action::Pull, Action::Push, Action::Delete])
        }
        Resource::Repository(_) => actions.clone(),
        // Listing has one name in tokens, `*`, whichever way it was asked for.
        Resource::Catalog if actions.contains(&Action::Pull) => BTreeSet::from([Action::All]),
        Resource::Catalog => actions.clone(),
        Resource::Other(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
