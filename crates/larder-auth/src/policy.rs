//! What somebody may do, and why: one pure function, [`Policy::decide`], and the makers of the proofs that
//! `larder-core` demands, which all ask it.

mod admin;
mod current;
mod explain;
mod rules;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use larder_oci::{
    Access, Action, Actor, CatalogAccess, Delete, Operation, Pull, Push, RepoName, Resource, Scope,
};

use crate::challenge::ChallengeError;
use crate::identity::Identity;
use crate::keys::KeyHolder;
use crate::users::Users;
use rules::RuleBook;

pub(crate) use current::CurrentPolicy;
pub use explain::Explanation;
pub use rules::{ACTION_WORDS, Effect, Group, Rule, Who};

/// What is in force: a mode or rules.
#[derive(Clone, Debug)]
pub struct Policy {
    basis: Basis,
}

#[derive(Clone, Debug)]
enum Basis {
    Mode(Mode),
    Rules(Arc<RuleBook>),
}

/// What can be had without rules, for all repositories alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody may do everything: no authentication is configured.
    Open,
    /// Any user may do everything, nobody else anything: registry:2 with htpasswd.
    EveryoneAuthenticated,
    /// Anybody pulls and lists, any user does everything: Larder's default with users.
    AnonymousPull,
    /// What a token of another server covers may be done, and nothing without one: registry:2 with `auth.token`.
    ByToken,
}

/// What [`Policy::decide`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// May it be done?
    pub allowed: bool,
    /// The rule that decided, by its place in the configuration; `None` where none did.
    pub rule: Option<Arc<str>>,
    /// Why, as a sentence for whoever asks.
    pub reason: Cow<'static, str>,
}

/// The policy, or the token at hand, said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What the client could do about it.
    pub remedy: Remedy,
    /// What it takes; `None` at the base, which takes only some identity.
    pub needed: Option<Scope>,
    /// The rule that forbids it, by its place in the configuration; `None` where none allows it.
    pub rule: Option<Arc<str>>,
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
    /// What this mode says.
    pub fn new(mode: Mode) -> Policy {
        Policy { basis: Basis::Mode(mode) }
    }

    /// What these rules say. A [`Who::Group`] that isn't among the groups has no members; a
    /// [`Group::File`] must be one of the users' files to have any.
    pub fn with_rules(rules: Vec<Rule>, groups: BTreeMap<Arc<str>, Group>, users: Arc<Users>) -> Policy {
        Policy { basis: Basis::Rules(Arc::new(RuleBook::new(rules, groups, users))) }
    }

    /// Whether this actor may do this, and by which rule.
    pub fn decide(&self, actor: &Actor, action: Action, resource: &Resource) -> Decision {
        match (&self.basis, resource, action) {
            (_, Resource::Other(_), _) => {
                Decision::without_rule(false, "only repositories and the catalog can be accessed")
            }
            (_, Resource::Catalog, Action::Push | Action::Delete | Action::Admin) => {
                Decision::without_rule(false, "the catalog can only be listed")
            }
            (Basis::Mode(mode), Resource::Repository(_), Action::Pull | Action::List)
            | (Basis::Mode(mode), Resource::Catalog, _) => mode.decide_reading(actor),
            (Basis::Mode(mode), Resource::Repository(_), _) => mode.decide_changing(actor),
            (Basis::Rules(book), ..) => Decision::by_rules(
                &book.decide(&book.standing(actor), action, resource),
                actor,
                action,
                resource,
            ),
        }
    }

    /// As [`decide`](Policy::decide) for the owner of this key, if it is shown: the key has to cover it as well, and
    /// no rule may forbid it to the key. So nothing that concerns a key gives its owner more.
    pub fn decide_with_key(
        &self,
        actor: &Actor,
        key: Option<&KeyHolder>,
        action: Action,
        resource: &Resource,
    ) -> Decision {
        let decision = self.decide(actor, action, resource);
        let Some(key) = key.filter(|_| decision.allowed) else { return decision };
        if !key.covers(action, resource) {
            let name = &key.record().name;
            let what = described(action, resource);
            let reason = format!("the API key {name} isn't made, or was narrowed, so that it can't {what}");
            return Decision { allowed: false, rule: None, reason: reason.into() };
        }
        let Basis::Rules(book) = &self.basis else { return decision };
        let verdict = book.decide(&book.standing_with_key(actor, key), action, resource);
        if verdict.allowed {
            return decision;
        }
        Decision::by_rules(&verdict, &Actor::User(key.name_in_rules()), action, resource)
    }

    /// The users whom the rules know; `None` without rules.
    pub(crate) fn users(&self) -> Option<Arc<Users>> {
        match &self.basis {
            Basis::Mode(_) => None,
            Basis::Rules(book) => Some(book.users()),
        }
    }

    /// Users whom the rules name and no users file has, each with the place that names him: most likely
    /// the misspelt name of a group.
    pub fn unknown_users(&self) -> Vec<(Arc<str>, Arc<str>)> {
        match &self.basis {
            Basis::Mode(_) => Vec::new(),
            Basis::Rules(book) => book.unknown_users(),
        }
    }

    /// The proof that the repository may be read.
    pub fn pull(&self, identity: &Identity, repository: &RepoName) -> Result<Access<Pull>, Denied> {
        self.prove(identity, repository, Action::Pull, &[Action::Pull])
    }

    /// The proof that the repository may be read, for whoever lists its tags: a rule can forbid that alone.
    pub fn list(&self, identity: &Identity, repository: &RepoName) -> Result<Access<Pull>, Denied> {
        let access = self.pull(identity, repository)?;
        let needed = Scope {
            resource: Resource::Repository(repository.clone()),
            actions: BTreeSet::from([Action::Pull]),
        };
        let key = identity.key().map(Arc::as_ref);
        let decision = self.decide_with_key(access.actor(), key, Action::List, &needed.resource);
        if decision.allowed { Ok(access) } else { Err(denied(identity, decision, needed)) }
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

    /// The proof that the repositories may be listed: those that the rules let him see.
    #[expect(clippy::disallowed_methods, reason = "this is the policy that grants it")]
    pub fn catalog(&self, identity: &Identity) -> Result<CatalogAccess, Denied> {
        let needed = Scope { resource: Resource::Catalog, actions: BTreeSet::from([Action::All]) };
        let actor = self.check(identity, Action::All, needed)?;
        let key = identity.key().map(Arc::clone);
        let mut access = CatalogAccess::granted_by_policy(actor.clone());
        if let Basis::Rules(book) = &self.basis {
            let standing = match &key {
                Some(key) => book.standing_with_key(&actor, key),
                None => book.standing(&actor),
            };
            let beginnings = book.beginnings_shown(&standing);
            let book = Arc::clone(book);
            access = access.showing_only(beginnings, move |name| book.shows(&standing, name));
            if key.is_some() {
                // What a rule lets the key, but not its owner.
                let (policy, owner) = (self.clone(), actor);
                access = access.showing_only(everything(), move |name| {
                    policy.decide(&owner, Action::List, &Resource::Repository(name.clone())).allowed
                });
            }
        }
        if let Some(key) = key {
            access = access.showing_only(everything(), move |name| {
                key.covers(Action::List, &Resource::Repository(name.clone()))
            });
        }
        Ok(access)
    }

    /// Whether `GET /v2/` is answered with 200 instead of a challenge.
    ///
    /// docker and containers/image look nowhere else to learn whether to log in. So whoever comes with
    /// nothing is challenged as soon as users could do more than he, even if he may pull.
    pub fn base(&self, identity: &Identity) -> Result<(), Denied> {
        let denied =
            |remedy, reason| Err(Denied { remedy, needed: None, rule: None, reason: Cow::Borrowed(reason) });
        if matches!(self.basis, Basis::Mode(Mode::Open)) || matches!(identity.actor(), Actor::User(_)) {
            return Ok(());
        }
        if self.is_by_token() {
            return match identity {
                Identity::Token(_) => Ok(()),
                Identity::Anonymous | Identity::User(_) | Identity::Key(_) => denied(Remedy::LogIn, NO_TOKEN),
            };
        }
        match (self.welcomes_anonymous(), identity) {
            (true, Identity::Token(_)) => Ok(()),
            (true, Identity::Anonymous | Identity::User(_) | Identity::Key(_)) => denied(
                Remedy::LogIn,
                "nobody is known by nothing here; log in, or fetch an anonymous token to pull",
            ),
            (false, Identity::Token(_)) => denied(Remedy::WiderToken, ONLY_USERS),
            (false, Identity::Anonymous | Identity::User(_) | Identity::Key(_)) => {
                denied(Remedy::LogIn, ONLY_USERS)
            }
        }
    }

    fn is_by_token(&self) -> bool {
        matches!(self.basis, Basis::Mode(Mode::ByToken))
    }

    /// Whether there is anything that somebody without an account may do. Clients can be told that only by
    /// tokens: Basic can't express it.
    pub fn welcomes_anonymous(&self) -> bool {
        match &self.basis {
            Basis::Mode(Mode::Open | Mode::AnonymousPull) => true,
            Basis::Mode(Mode::EveryoneAuthenticated | Mode::ByToken) => false,
            Basis::Rules(book) => book.welcomes_anonymous(),
        }
    }

    /// Of what is asked, what this actor may have: one scope for each resource, `*` spelled out.
    /// A scope that gives nothing is left out; asking for too much is never an error.
    pub(crate) fn grant(&self, actor: &Actor, key: Option<&KeyHolder>, asked: &[Scope]) -> Vec<Scope> {
        let mut granted: BTreeMap<&Resource, BTreeSet<Action>> = BTreeMap::new();
        for Scope { resource, actions } in asked {
            let allowed = spelled_out(resource, actions)
                .into_iter()
                .filter(|&action| self.decide_with_key(actor, key, action, resource).allowed);
            for action in allowed {
                granted.entry(resource).or_default().insert(action);
            }
        }
        granted.into_iter().map(|(resource, actions)| Scope { resource: resource.clone(), actions }).collect()
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
        let key = identity.key().map(Arc::as_ref);
        let decision = self.decide_with_key(&actor, key, action, &needed.resource);
        if !decision.allowed {
            return Err(denied(identity, decision, needed));
        }
        match identity {
            Identity::Token(claims) if !claims.cover(action, &needed.resource) => {
                let reason = format!("the token does not cover {needed}; ask for a token with this scope");
                let remedy = Remedy::WiderToken;
                Err(Denied { remedy, needed: Some(needed), rule: None, reason: reason.into() })
            }
            Identity::Token(_) => Ok(actor),
            Identity::Anonymous | Identity::User(_) | Identity::Key(_) if self.is_by_token() => {
                let (remedy, reason) = (Remedy::LogIn, NO_TOKEN.into());
                Err(Denied { remedy, needed: Some(needed), rule: None, reason })
            }
            Identity::Anonymous | Identity::User(_) | Identity::Key(_) => Ok(actor),
        }
    }
}

impl Mode {
    fn decide_reading(self, actor: &Actor) -> Decision {
        match (self, actor) {
            (Mode::ByToken, _) => Decision::without_rule(true, BY_TOKEN),
            (Mode::Open, _) => Decision::without_rule(true, EVERYBODY),
            (Mode::EveryoneAuthenticated | Mode::AnonymousPull, Actor::User(_)) => {
                Decision::without_rule(true, EVERY_USER)
            }
            (Mode::EveryoneAuthenticated, Actor::Anonymous) => Decision::without_rule(false, ONLY_USERS),
            (Mode::AnonymousPull, Actor::Anonymous) => {
                Decision::without_rule(true, "anybody may pull and list")
            }
        }
    }

    fn decide_changing(self, actor: &Actor) -> Decision {
        match (self, actor) {
            (Mode::ByToken, _) => Decision::without_rule(true, BY_TOKEN),
            (Mode::Open, _) => Decision::without_rule(true, EVERYBODY),
            (Mode::EveryoneAuthenticated | Mode::AnonymousPull, Actor::User(_)) => {
                Decision::without_rule(true, EVERY_USER)
            }
            (Mode::EveryoneAuthenticated, Actor::Anonymous) => Decision::without_rule(false, ONLY_USERS),
            (Mode::AnonymousPull, Actor::Anonymous) => Decision::without_rule(
                false,
                "without an account one may only pull and list; log in with docker login",
            ),
        }
    }
}

impl Decision {
    fn without_rule(allowed: bool, reason: &'static str) -> Decision {
        Decision { allowed, rule: None, reason: Cow::Borrowed(reason) }
    }

    fn by_rules(
        verdict: &rules::Verdict<'_>,
        actor: &Actor,
        action: Action,
        resource: &Resource,
    ) -> Decision {
        let what = described(action, resource);
        let reason = match (verdict.allowed, verdict.rule, actor) {
            (true, Some(rule), _) => format!("{} lets {actor} {what}", rule.place),
            (false, Some(rule), _) => format!("{} forbids {actor} to {what}", rule.place),
            (_, None, Actor::User(_)) => format!("no rule lets {actor} {what}"),
            (_, None, Actor::Anonymous) => {
                format!("no rule lets {actor} {what}; log in with docker login")
            }
        };
        let rule = verdict.rule.map(|rule| Arc::clone(&rule.place));
        Decision { allowed: verdict.allowed, rule, reason: reason.into() }
    }
}

fn described(action: Action, resource: &Resource) -> String {
    match (action, resource) {
        (_, Resource::Catalog | Resource::Other(_)) => "list the catalog".to_owned(),
        (Action::All, Resource::Repository(name)) => format!("do everything in {name}"),
        (action, Resource::Repository(name)) => format!("{} in {name}", action.as_str()),
    }
}

/// What all names begin with.
fn everything() -> BTreeSet<String> {
    BTreeSet::from([String::new()])
}

fn denied(identity: &Identity, decision: Decision, needed: Scope) -> Denied {
    let remedy = match (identity.actor(), identity) {
        (Actor::User(_), _) => Remedy::Nothing,
        (Actor::Anonymous, Identity::Token(_)) => Remedy::WiderToken,
        (Actor::Anonymous, Identity::Anonymous | Identity::User(_) | Identity::Key(_)) => Remedy::LogIn,
    };
    Denied { remedy, needed: Some(needed), rule: decision.rule, reason: decision.reason }
}

const EVERYBODY: &str = "no authentication is configured, so everybody may do everything";
const EVERY_USER: &str = "every user may do everything";
const BY_TOKEN: &str = "what may be done is what the token says, which another server gave out";
const NO_TOKEN: &str = "this registry takes tokens of another server; log in with docker login";
const ONLY_USERS: &str = "only users of this registry have access; log in with docker login";

/// The actions that a scope names, `*` replaced by what there is to do with the resource.
fn spelled_out(resource: &Resource, actions: &BTreeSet<Action>) -> BTreeSet<Action> {
    match resource {
        Resource::Repository(_) if actions.contains(&Action::All) => {
            BTreeSet::from([Action::Pull, Action::Push, Action::Delete])
        }
        Resource::Repository(_) => actions.clone(),
        // Listing has one name in tokens, `*`, whichever way it was asked for.
        Resource::Catalog if actions.contains(&Action::Pull) || actions.contains(&Action::List) => {
            BTreeSet::from([Action::All])
        }
        Resource::Catalog => actions.clone(),
        Resource::Other(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
