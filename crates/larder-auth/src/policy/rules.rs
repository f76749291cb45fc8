//! The rules of the `access` section: who may do what, and where.
//!
//! What some rule allows and no rule forbids is allowed; everything else isn't. So the order of the rules
//! never matters, and a rule that forbids can only take away.
//!
//! Everything here is a function of the rules and of a [`Standing`]: who acts, and in which groups he is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use larder_oci::{Action, Actor, RepoName, RepositoryPattern, Resource};

use crate::keys::{KEY_PREFIX, KeyHolder};
use crate::origin::CERTIFICATE_PREFIX;
use crate::users::Users;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands, for whoever looks for it: `config.yml:12, rule 2`.
    pub place: Arc<str>,
    /// Whether it allows or forbids.
    pub effect: Effect,
    /// Whom it is about: any of these.
    pub who: Vec<Who>,
    /// What it is about.
    pub actions: BTreeSet<Action>,
    /// In which repositories: any of these.
    pub within: Vec<RepositoryPattern>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    May,
    /// It forbids, whatever others allow.
    MayNot,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Whoever comes, logged in or not.
    Anonymous,
    /// Whoever is logged in.
    Authenticated,
    /// The members of a group.
    Group(Arc<str>),
    /// One user.
    User(Arc<str>),
}

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// These users.
    Listed(BTreeSet<Arc<str>>),
    /// Whoever logs in by this htpasswd file. A user whom an earlier file has already is none of these: it
    /// was that file's password that he showed.
    File(PathBuf),
}

/// What a rule may be about, by the word that the configuration has for it.
pub const ACTION_WORDS: [(&str, &[Action]); 6] = [
    ("pull", &[Action::Pull]),
    ("push", &[Action::Push]),
    ("delete", &[Action::Delete]),
    ("list", &[Action::List]),
    ("admin", &[Action::Admin]),
    ("all", &[Action::Pull, Action::Push, Action::Delete, Action::List, Action::Admin]),
];

/// All rules, and who is who.
#[derive(Clone, Debug)]
pub(super) struct RuleBook {
    pub(super) rules: Vec<Rule>,
    groups: BTreeMap<Arc<str>, Group>,
    users: Arc<Users>,
}

/// Who acts, as the rules see him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    user: Option<Arc<str>>,
    /// The key that is shown, as the rules name it.
    key: Option<Arc<str>>,
    groups: BTreeSet<Arc<str>>,
}

/// What the rules say; the rule is absent where none says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    pub(super) allowed: bool,
    pub(super) rule: Option<&'a Rule>,
}

impl Rule {
    pub(super) fn concerns(&self, standing: &Standing) -> bool {
        self.who.iter().any(|who| match who {
            Who::Anonymous => true,
            Who::Authenticated => standing.user.is_some(),
            Who::Group(name) => standing.groups.contains(name),
            Who::User(name) => standing.user.as_ref() == Some(name) || standing.key.as_ref() == Some(name),
        })
    }

    /// Whether the rule has something to say about this action. Who may pull may list, so that `list` is
    /// allowed by `pull`, and forbidden by either.
    pub(super) fn is_about(&self, action: Action) -> bool {
        match (self.effect, action) {
            (Effect::May, Action::List) => self.actions.contains(&Action::Pull),
            (Effect::MayNot, Action::List) => {
                self.actions.contains(&Action::List) || self.actions.contains(&Action::Pull)
            }
            (Effect::May | Effect::MayNot, _) => self.actions.contains(&action),
        }
    }

    pub(super) fn reaches(&self, repository: &RepoName) -> bool {
        self.within.iter().any(|pattern| pattern.matches(repository))
    }

    fn reaches_everything(&self) -> bool {
        self.within.iter().any(RepositoryPattern::is_everything)
    }
}

impl Standing {
    /// Whether he is logged in.
    pub(super) fn is_user(&self) -> bool {
        self.user.is_some()
    }
}

impl RuleBook {
    pub(super) fn new(rules: Vec<Rule>, groups: BTreeMap<Arc<str>, Group>, users: Arc<Users>) -> RuleBook {
        RuleBook { rules, groups, users }
    }

    pub(super) fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users)
    }

    /// In which groups the actor is, as of now.
    pub(super) fn standing(&self, actor: &Actor) -> Standing {
        let Actor::User(user) = actor else {
            return Standing { user: None, key: None, groups: BTreeSet::new() };
        };
        let by_file = self.groups.values().any(|group| matches!(group, Group::File(_)));
        // The files are only looked at where the answer depends on them.
        let file = by_file.then(|| self.users.file_of(user)).flatten();
        let is_in = |group: &Group| match group {
            Group::Listed(members) => members.contains(user),
            Group::File(path) => file == Some(path.as_path()),
        };
        let groups = self.groups.iter().filter(|(_, group)| is_in(group)).map(|(name, _)| Arc::clone(name));
        Standing { user: Some(Arc::clone(user)), key: None, groups: groups.collect() }
    }

    /// The same, for whoever shows this key of his: what rules say of the key concerns him as well.
    pub(super) fn standing_with_key(&self, actor: &Actor, key: &KeyHolder) -> Standing {
        let name = key.name_in_rules();
        let of_key = self.standing(&Actor::User(Arc::clone(&name)));
        let mut standing = self.standing(actor);
        standing.groups.extend(of_key.groups);
        standing.key = Some(name);
        standing
    }

    /// What the rules say.
    pub(super) fn decide(&self, standing: &Standing, action: Action, resource: &Resource) -> Verdict<'_> {
        const NOTHING: Verdict<'static> = Verdict { allowed: false, rule: None };
        match (resource, action) {
            (Resource::Repository(name), Action::All) => {
                let each = [Action::Pull, Action::Push, Action::Delete]
                    .map(|action| self.decide_in_repository(standing, action, name));
                let [first, ..] = each;
                each.into_iter().find(|verdict| !verdict.allowed).unwrap_or(first)
            }
            (Resource::Repository(name), action) => self.decide_in_repository(standing, action, name),
            (Resource::Catalog, Action::Pull | Action::List | Action::All) => self.decide_catalog(standing),
            (Resource::Catalog, Action::Push | Action::Delete | Action::Admin) | (Resource::Other(_), _) => {
                NOTHING
            }
        }
    }

    fn decide_in_repository(&self, standing: &Standing, action: Action, name: &RepoName) -> Verdict<'_> {
        let says = |effect| {
            self.rules.iter().find(|rule| {
                rule.effect == effect
                    && rule.is_about(action)
                    && rule.concerns(standing)
                    && rule.reaches(name)
            })
        };
        match says(Effect::MayNot) {
            Some(rule) => Verdict { allowed: false, rule: Some(rule) },
            None => {
                let rule = says(Effect::May);
                Verdict { allowed: rule.is_some(), rule }
            }
        }
    }

    /// Whoever may pull or list anything may ask for the catalog, which shows him only what he may pull.
    fn decide_catalog(&self, standing: &Standing) -> Verdict<'_> {
        let about = |rule: &Rule, action| rule.actions.contains(&action) && rule.concerns(standing);
        let forbidden_everywhere = |action| {
            self.rules.iter().find(|rule| {
                rule.effect == Effect::MayNot && about(rule, action) && rule.reaches_everything()
            })
        };
        let (no_list, no_pull) = (forbidden_everywhere(Action::List), forbidden_everywhere(Action::Pull));
        if no_list.is_some() {
            return Verdict { allowed: false, rule: no_list };
        }
        let allowing = self.rules.iter().find(|rule| {
            let may_list = about(rule, Action::List);
            let may_pull = about(rule, Action::Pull) && no_pull.is_none();
            rule.effect == Effect::May && (may_list || may_pull)
        });
        Verdict { allowed: allowing.is_some(), rule: allowing.or(no_pull) }
    }

    /// Whether he may administer the registry as a whole: a rule says so of every repository, and none forbids it him in any.
    pub(super) fn decide_administration(&self, standing: &Standing) -> Verdict<'_> {
        let mut about =
            self.rules.iter().filter(|rule| rule.is_about(Action::Admin) && rule.concerns(standing));
        if let Some(rule) = about.clone().find(|rule| rule.effect == Effect::MayNot) {
            return Verdict { allowed: false, rule: Some(rule) };
        }
        let rule = about.find(|rule| rule.reaches_everything());
        Verdict { allowed: rule.is_some(), rule }
    }

    /// Whether the catalog shows him this repository.
    pub(super) fn shows(&self, standing: &Standing, name: &RepoName) -> bool {
        self.decide_in_repository(standing, Action::List, name).allowed
    }

    /// What the names begin with that the catalog may show him.
    pub(super) fn beginnings_shown(&self, standing: &Standing) -> BTreeSet<String> {
        self.rules
            .iter()
            .filter(|rule| {
                rule.effect == Effect::May && rule.is_about(Action::List) && rule.concerns(standing)
            })
            .flat_map(|rule| rule.within.iter().map(|pattern| pattern.beginning().to_owned()))
            .collect()
    }

    /// Whether there is anything that somebody without an account may do.
    pub(super) fn welcomes_anonymous(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect == Effect::May && rule.who.contains(&Who::Anonymous))
    }

    /// Names of users in the rules and groups whom no file has: they may be to come, or misspelt groups.
    pub(super) fn unknown_users(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let in_rules = self.rules.iter().flat_map(|rule| {
            rule.who.iter().filter_map(|who| match who {
                Who::User(name) => Some((Arc::clone(&rule.place), Arc::clone(name))),
                Who::Anonymous | Who::Authenticated | Who::Group(_) => None,
            })
        });
        let in_groups = self.groups.iter().flat_map(|(group, members)| match members {
            Group::Listed(names) => {
                names.iter().map(|name| (format!("group {group}").into(), Arc::clone(name))).collect()
            }
            Group::File(_) => Vec::new(),
        });
        in_rules
            .chain(in_groups)
            .filter(|(_, name)| !is_no_user(name) && self.users.file_of(name).is_none())
            .collect()
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Anonymous => f.write_str("anonymous"),
            Who::Authenticated => f.write_str("authenticated"),
            Who::Group(name) | Who::User(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.effect {
            Effect::May => "may",
            Effect::MayNot => "may not",
        };
        let actions = self.actions.iter().map(|action| action.as_str());
        write!(
            f,
            "{}: {} {verb} {} in {}",
            self.place,
            listed(&self.who),
            listed(actions),
            listed(&self.within)
        )
    }
}

/// Whether this names something else than a user, whom a users file would have.
fn is_no_user(name: &str) -> bool {
    [KEY_PREFIX, CERTIFICATE_PREFIX].into_iter().any(|prefix| name.starts_with(prefix))
}

pub(super) fn listed(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
