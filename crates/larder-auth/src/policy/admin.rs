//! Who may administer the registry as a whole.

use std::borrow::Cow;
use std::sync::Arc;

use larder_oci::{Actor, AdminAccess};

use super::{Basis, Decision, Denied, Policy, Remedy};
use crate::identity::Identity;

impl Policy {
    /// The proof that the registry as a whole may be administered: that the collector may be run, and the like.
    ///
    /// It takes a user's own password: a token or a key is for pulling and pushing.
    #[expect(clippy::disallowed_methods, reason = "this is the policy that grants it")]
    pub fn administer(&self, identity: &Identity) -> Result<AdminAccess, Denied> {
        let actor = identity.actor();
        let denied = |remedy, rule, reason| Err(Denied { remedy, needed: None, rule, reason });
        if matches!(identity, Identity::Token(_) | Identity::Key(_)) {
            let reason = "administering takes a user and his password: neither a token nor a key is enough";
            return denied(Remedy::LogIn, None, Cow::Borrowed(reason));
        }
        let decision = match &self.basis {
            Basis::Mode(mode) => mode.decide_changing(&actor),
            Basis::Rules(book) => {
                let verdict = book.decide_administration(&book.standing(&actor));
                let rule = verdict.rule.map(|rule| Arc::clone(&rule.place));
                let reason = match (verdict.allowed, &rule) {
                    (true, _) => Cow::Borrowed("a rule says so"),
                    (false, Some(rule)) => format!("{rule} forbids {actor} to administer").into(),
                    (false, None) => format!(
                        "no rule lets {actor} administer the whole registry: it takes `may: admin` without `in`"
                    )
                    .into(),
                };
                Decision { allowed: verdict.allowed, rule, reason }
            }
        };
        if decision.allowed {
            return Ok(AdminAccess::granted_by_policy(actor));
        }
        let remedy = match actor {
            Actor::Anonymous => Remedy::LogIn,
            Actor::User(_) => Remedy::Nothing,
        };
        denied(remedy, decision.rule, decision.reason)
    }
}
