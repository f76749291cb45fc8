//! Why something is allowed or not, for the operator who wonders: the decision, the rules that had a say in
//! it, and those that nearly had.

use std::fmt;

use larder_oci::{Action, Actor, RepoName, Resource};

use super::rules::{Effect, Rule, RuleBook, Standing, listed};
use super::{Basis, Decision, Policy};

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::decide`] says.
    pub decision: Decision,
    /// The rules that apply, as they stand in the configuration.
    pub matched: Vec<Rule>,
    /// Rules that would have decided otherwise but for one thing; one sentence each.
    pub near_misses: Vec<String>,
}

impl Policy {
    /// What [`decide`](Policy::decide) says, and all that led to it.
    pub fn explain(&self, actor: &Actor, action: Action, resource: &Resource) -> Explanation {
        let decision = self.decide(actor, action, resource);
        match (&self.basis, resource) {
            (Basis::Rules(book), Resource::Repository(name)) => {
                let standing = book.standing(actor);
                let question = Question { actor, standing, action, name };
                Explanation {
                    matched: question.matched(book),
                    near_misses: question.near_misses(book, decision.allowed),
                    decision,
                }
            }
            (Basis::Mode(_), _) | (Basis::Rules(_), Resource::Catalog | Resource::Other(_)) => {
                let (matched, near_misses) = (Vec::new(), Vec::new());
                Explanation { decision, matched, near_misses }
            }
        }
    }
}

struct Question<'a> {
    actor: &'a Actor,
    standing: Standing,
    action: Action,
    name: &'a RepoName,
}

impl Question<'_> {
    fn is_asked_of(&self, rule: &Rule) -> bool {
        match self.action {
            Action::All => {
                [Action::Pull, Action::Push, Action::Delete].iter().any(|&action| rule.is_about(action))
            }
            action => rule.is_about(action),
        }
    }

    fn matched(&self, book: &RuleBook) -> Vec<Rule> {
        book.rules
            .iter()
            .filter(|rule| self.is_asked_of(rule) && rule.concerns(&self.standing) && rule.reaches(self.name))
            .cloned()
            .collect()
    }

    /// Of the rules that would turn the decision around, those of which exactly one part doesn't fit.
    fn near_misses(&self, book: &RuleBook, allowed: bool) -> Vec<String> {
        let effect = if allowed { Effect::MayNot } else { Effect::May };
        book.rules.iter().filter(|rule| rule.effect == effect).filter_map(|rule| self.miss(rule)).collect()
    }

    fn miss(&self, rule: &Rule) -> Option<String> {
        let (place, name, actor, action) = (&rule.place, self.name, self.actor, self.action.as_str());
        let (verb, would) = match rule.effect {
            Effect::May => ("may", "would allow it"),
            Effect::MayNot => ("may not", "would forbid it"),
        };
        match (rule.concerns(&self.standing), self.is_asked_of(rule), rule.reaches(self.name)) {
            (false, true, true) if self.standing.is_user() => {
                Some(format!("{place} {would} for {}, and {actor} is none of them", listed(&rule.who)))
            }
            (false, true, true) => Some(format!("{place} {would} for {}, after a login", listed(&rule.who))),
            (true, false, true) => {
                let actions = listed(rule.actions.iter().map(|action| action.as_str()));
                Some(format!("{place} says that {actor} {verb} {actions} here, and not {action}"))
            }
            (true, true, false) => {
                let slip = rule.within.iter().find_map(|pattern| Some((pattern, pattern.wider_for(name)?)));
                Some(match slip {
                    Some((pattern, wider)) => {
                        format!("{place} {would} if `{pattern}` reached {name}; `{wider}` would")
                    }
                    None => format!("{place} {would} in {}, and {name} is not there", listed(&rule.within)),
                })
            }
            (true, true, true) | (false, false, _) | (false, _, false) | (_, false, false) => None,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.decision.allowed { "allowed" } else { "denied" };
        writeln!(f, "{answer}: {}", self.decision.reason)?;
        if !self.matched.is_empty() {
            writeln!(f, "rules that apply:")?;
            for rule in &self.matched {
                writeln!(f, "  {rule}")?;
            }
        }
        if !self.near_misses.is_empty() {
            writeln!(f, "near misses:")?;
            for miss in &self.near_misses {
                writeln!(f, "  {miss}")?;
            }
        }
        Ok(())
    }
}
