//! Retention: what was pushed and goes by the operator's rules.
//!
//! The decision is a pure function of a repository's facts (`decide.rs`), and says of each tag and each untagged
//! manifest which rule keeps it or lets it go. What goes is deleted as a user would delete it: it can be undone, it is
//! reported, and its bytes come back through the collector. Each thing is looked at again under its repository's lock:
//! what was pushed meanwhile stays.
//!
//! Rules delete nothing before somebody has seen what they would delete (`approval.rs`). Content that was fetched from
//! upstreams isn't meant: it goes by the cache's bounds.

mod rules;
mod facts;
mod verdict;
mod decide;
mod approval;
mod run;
mod describe;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use larder_oci::{AdminAccess, Digest, RepoName};

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};
use approval::Remembered;

pub use facts::{ManifestFacts, RepositoryFacts, TagFacts};
pub use rules::{ImmutableRule, Keeping, RetentionRule, RetentionRules};
pub use run::{Retained, RetentionReports, RetentionTrail, Retired};
pub use verdict::{Go, ManifestVerdict, RepositoryVerdicts, Stay, TagVerdict, Verdict};

/// The rules in force.
#[derive(Default)]
pub(crate) struct Retention {
    rules: RwLock<RetentionRules>,
    reports: RwLock<RetentionReports>,
    /// One run at a time.
    running: Arc<tokio::sync::Mutex<()>>,
}

/// What the rules would do right now.
#[derive(Clone, Debug)]
pub struct RetentionPlan {
    /// Names the rules.
    pub fingerprint: Digest,
    /// The repositories that a rule is about, by name.
    pub repositories: Vec<RepositoryVerdicts>,
    /// Repositories that could not be looked at, and why. Nothing in them goes.
    pub unread: Vec<(RepoName, String)>,
}

/// How it stands with retention.
#[derive(Clone, Debug)]
pub struct RetentionState {
    /// The rules.
    pub rules: RetentionRules,
    /// Whether somebody has seen what they do, so that they may delete.
    pub approved: bool,
    /// When they were last applied.
    pub last_run: Option<SystemTime>,
    /// The tags that went then.
    pub tags: u64,
    /// The manifests that went then, without those that hung on tags.
    pub manifests: u64,
}

impl RetentionPlan {
    /// Tags and untagged manifests that go.
    pub fn going(&self) -> (usize, usize) {
        let tags = self.repositories.iter().flat_map(|each| &each.tags);
        let untagged = self.repositories.iter().flat_map(|each| &each.untagged);
        (
            tags.filter(|tag| tag.verdict.goes()).count(),
            untagged.filter(|manifest| manifest.verdict.goes()).count(),
        )
    }
}

impl Registry {
    /// Sets the rules, from here on and for what is here already.
    pub fn set_retention(&self, rules: RetentionRules) {
        *self.inner.retention.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// What the rules would do right now, in all repositories or in one. Changes nothing.
    pub async fn plan_retention(
        &self,
        _: &AdminAccess,
        repository: Option<RepoName>,
    ) -> Result<RetentionPlan, RegistryError> {
        self.asking_the_index(move |inner| inner.plan_retention(repository.as_ref(), &AtomicBool::new(false)))
            .await
    }

    /// How it stands with retention.
    pub async fn retention_state(&self, _: &AdminAccess) -> Result<RetentionState, RegistryError> {
        self.blocking(|inner| {
            let (rules, known) = (inner.retention_rules(), Remembered::read(&inner.disk)?);
            let (approved, last_run) = (known.approved == Some(rules.fingerprint()), known.last_run());
            Ok(RetentionState { rules, approved, last_run, tags: known.tags, manifests: known.manifests })
        })
        .await
    }
}

impl Inner {
    pub(crate) fn retention_rules(&self) -> RetentionRules {
        self.retention.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn plan_retention(
        &self,
        only: Option<&RepoName>,
        stop: &AtomicBool,
    ) -> Result<RetentionPlan, RegistryError> {
        let rules = self.retention_rules();
        let mut plan =
            RetentionPlan { fingerprint: rules.fingerprint(), repositories: Vec::new(), unread: Vec::new() };
        self.write_accesses()?;
        for repository in self.meta.repository_names()? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if only.is_some_and(|only| *only != repository) || !rules.mention(&repository) {
                continue;
            }
            match self.decide_retention(&rules, &repository) {
                Ok(verdicts) => plan.repositories.push(verdicts),
                Err(error) => {
                    tracing::warn!(
                        %repository, %error, cause = ?std::error::Error::source(&error),
                        "retention can't look at a repository; nothing in it goes"
                    );
                    plan.unread.push((repository, error.to_string()));
                }
            }
        }
        Ok(plan)
    }

    fn decide_retention(
        &self,
        rules: &RetentionRules,
        repository: &RepoName,
    ) -> Result<RepositoryVerdicts, RegistryError> {
        let now = (self.environment.now)();
        let (ages, known_since) = (self.meta.ages(repository)?, self.meta.pulls_known_since(now)?);
        Ok(rules.decide(&RepositoryFacts::new(repository.clone(), ages, now, known_since)))
    }
}
