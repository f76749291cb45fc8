//! Applying the rules.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use larder_meta::Removal;
use larder_oci::{Actor, AdminAccess, Digest, Reference, RepoName};
use tokio_util::sync::CancellationToken;

use super::approval::Remembered;
use super::{RepositoryVerdicts, RetentionRules, TagFacts, Verdict};
use crate::collect::Thing;
use crate::delete::Deleting;
use crate::error::RegistryError;
use crate::events::{EventSink, Reporting};
use crate::registry::{Inner, Registry};

/// Who has deleted what retention deletes. No user can have this name.
const ACTOR: &str = "larder:retention";

/// How often is looked whether the rules are to be applied.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);

/// After rules were shown, the server leaves so much time to think better of them.
const CONSIDERATION: Duration = Duration::from_secs(3600);

/// Something that went by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its repository.
    pub repository: RepoName,
    /// The tag, or the manifest that had none.
    pub reference: Reference,
    /// The manifest.
    pub digest: Digest,
    /// Why, with the rules.
    pub why: String,
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What went.
    pub gone: Vec<Retired>,
    /// What would have gone and was pushed or moved in that moment: the next run looks at it again.
    pub changed: u64,
    /// What could not be deleted or looked at; the log says why.
    pub failed: u64,
}

/// Takes note of what went by a rule.
pub type RetentionTrail = Arc<dyn Fn(&Retired) + Send + Sync>;

/// Who is told of what goes by a rule, beside the log.
#[derive(Clone, Default)]
pub struct RetentionReports {
    /// As of every deletion.
    pub events: Option<Arc<dyn EventSink>>,
    /// With the rule.
    pub trail: Option<RetentionTrail>,
}

impl Registry {
    /// Who is told of what goes by a rule, from here on.
    pub fn report_retention_to(&self, reports: RetentionReports) {
        *self.inner.retention.reports.write().unwrap_or_else(PoisonError::into_inner) = reports;
    }

    /// Takes note that somebody has seen what the rules of this fingerprint would delete: from now on they may. `false`
    /// if other rules are in force by now.
    pub async fn retention_was_shown(
        &self,
        _: &AdminAccess,
        fingerprint: Digest,
    ) -> Result<bool, RegistryError> {
        let _turn = self.inner.retention.running.lock().await;
        self.blocking(move |inner| {
            let is_in_force = inner.retention_rules().fingerprint() == fingerprint;
            if is_in_force {
                inner.approve(fingerprint)?;
            }
            Ok(is_in_force)
        })
        .await
    }

    /// Applies the rules now. Rules of which nobody has seen what they delete are applied only with consent; without it
    /// the answer is `None` and nothing is deleted.
    pub async fn retain(&self, _: &AdminAccess, consent: bool) -> Result<Option<Retained>, RegistryError> {
        let turn = Arc::clone(&self.inner.retention.running).lock_owned().await;
        self.asking_the_index(move |inner| {
            let _turn = turn;
            drop(inner.require_writable()?);
            let rules = inner.retention_rules();
            if consent {
                inner.approve(rules.fingerprint())?;
            } else if Remembered::read(&inner.disk)?.approved != Some(rules.fingerprint()) {
                return Ok(None);
            }
            inner.retain(&rules, &AtomicBool::new(false)).map(Some)
        })
        .await
    }

    /// The server's own runs; returns when `stop` is cancelled and the work at hand is done.
    pub(crate) async fn retain_regularly(&self, stop: &CancellationToken) {
        let mut told: Option<Digest> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            let turn = Arc::clone(&self.inner.retention.running).lock_owned().await;
            let told_before = told;
            let outcome = self
                .stoppable(stop, move |inner, stop| {
                    let _turn = turn;
                    inner.retain_if_due(told_before, stop)
                })
                .await;
            match outcome {
                Ok(unapproved) => told = unapproved,
                Err(error) => tracing::error!(
                    %error, cause = ?std::error::Error::source(&error),
                    "the retention rules could not be applied; it is tried again"
                ),
            }
        }
    }
}

impl Inner {
    fn approve(&self, fingerprint: Digest) -> Result<(), RegistryError> {
        let known = Remembered::read(&self.disk)?;
        if known.approved == Some(fingerprint) {
            return Ok(());
        }
        let approved_at = Some(seconds((self.environment.now)()));
        Remembered { approved: Some(fingerprint), approved_at, ..known }.write(&self.disk)
    }

    /// Applies the rules if it is time to. Gives the rules that may not be applied yet, which are told of once.
    fn retain_if_due(
        &self,
        told: Option<Digest>,
        stop: &AtomicBool,
    ) -> Result<Option<Digest>, RegistryError> {
        let (rules, now) = (self.retention_rules(), (self.environment.now)());
        if rules.rules.is_empty() || rules.every.is_zero() || self.require_writable().is_err() {
            return Ok(None);
        }
        let (fingerprint, known) = (rules.fingerprint(), Remembered::read(&self.disk)?);
        if known.approved != Some(fingerprint) {
            if told != Some(fingerprint) {
                let (tags, manifests) = self.plan_retention(None, stop)?.going();
                tracing::warn!(
                    tags,
                    manifests,
                    "the retention rules are new or have changed, and delete nothing before somebody has seen what they \
                     would delete: run `larder retention plan`"
                );
            }
            return Ok(Some(fingerprint));
        }
        // A time that lies ahead is of a clock that was wrong.
        let passed = |since: Option<SystemTime>, time: Duration| {
            since.is_none_or(|since| now.duration_since(since).map_or(true, |passed| passed >= time))
        };
        if passed(known.approved_at(), CONSIDERATION.min(rules.every))
            && passed(known.last_run(), rules.every)
        {
            self.retain(&rules, stop)?;
        }
        Ok(None)
    }

    fn retain(&self, rules: &RetentionRules, stop: &AtomicBool) -> Result<Retained, RegistryError> {
        let mut done = Retained::default();
        self.write_accesses()?;
        for repository in self.meta.repository_names()? {
            if !rules.mention(&repository) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(done);
            }
            match self.decide_retention(rules, &repository) {
                Ok(verdicts) => self.carry_out_retention(&verdicts, stop, &mut done),
                Err(error) => failed(&repository, &error, &mut done),
            }
        }
        let manifests =
            done.gone.iter().filter(|each| matches!(each.reference, Reference::Digest(_))).count() as u64;
        let tags = done.gone.len() as u64 - manifests;
        tracing::info!(
            tags,
            manifests,
            changed = done.changed,
            failed = done.failed,
            "applied the retention rules"
        );
        let last_run = Some(seconds((self.environment.now)()));
        Remembered { last_run, tags, manifests, ..Remembered::read(&self.disk)? }.write(&self.disk)?;
        Ok(done)
    }

    fn carry_out_retention(&self, verdicts: &RepositoryVerdicts, stop: &AtomicBool, done: &mut Retained) {
        let reports = self.retention.reports.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (actor, reporting) = (Actor::User(ACTOR.into()), Reporting::to(reports.events, ACTOR));
        let deleting = Deleting { repository: &verdicts.repository, actor: &actor, reporting: &reporting };
        CarryingOut { inner: self, deleting, trail: reports.trail, done }.all(verdicts, stop);
    }
}

/// The verdicts about one repository, while they are carried out.
struct CarryingOut<'a> {
    inner: &'a Inner,
    deleting: Deleting<'a>,
    trail: Option<RetentionTrail>,
    done: &'a mut Retained,
}

impl CarryingOut<'_> {
    /// What goes for itself first, then the tags that are attached to it: those only if all of the former went.
    fn all(mut self, verdicts: &RepositoryVerdicts, stop: &AtomicBool) {
        let trouble = |done: &Retained| done.changed + done.failed;
        let before = trouble(self.done);
        for attached in [false, true] {
            if attached && trouble(self.done) > before {
                return;
            }
            let tags = verdicts.tags.iter().filter(|tag| tag.verdict.goes());
            for tag in tags.filter(|tag| tag.verdict.goes_with_another() == attached) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever wants no changes for a while waits for one deletion, and not for all of them.
                let Ok(_change) = self.inner.require_writable() else { return };
                let is_gone = self.delete_tag(&tag.facts);
                self.note(Reference::Tag(tag.facts.tag.clone()), tag.facts.digest, &tag.verdict, is_gone);
            }
        }
        // What hangs on one of these goes with it.
        let manifests = verdicts.untagged.iter().filter(|manifest| manifest.verdict.goes());
        for manifest in manifests.filter(|manifest| !manifest.verdict.goes_with_another()) {
            // What an undo needs is the collector's, later.
            if self.inner.collector.removals.need(&verdicts.repository, &manifest.digest) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let Ok(_change) = self.inner.require_writable() else { return };
            let is_gone = self.delete_untagged(&manifest.digest);
            self.note(Reference::Digest(manifest.digest), manifest.digest, &manifest.verdict, is_gone);
        }
    }

    /// Deletes a tag, unless it was pushed since it was looked at.
    fn delete_tag(&self, facts: &TagFacts) -> Result<bool, RegistryError> {
        let may = |removal: &Removal| {
            let linked_at = self.inner.meta.tag_linked_at(self.deleting.repository, &facts.tag)?;
            let is_same = removal.tags.first().is_some_and(|tag| tag.digest == Some(facts.digest));
            Ok(is_same && linked_at == Some(facts.linked_at))
        };
        self.inner.delete(&self.deleting, &Reference::Tag(facts.tag.clone()), may)
    }

    /// Deletes a manifest that nothing needs, unless something does by now or a push works on it.
    fn delete_untagged(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let repository = self.deleting.repository;
        let closing = self.inner.collector.fence.closing(true);
        if !closing.close(Thing::Link(repository.clone(), *digest)) {
            return Ok(false);
        }
        let may = |removal: &Removal| {
            Ok(removal.tags.is_empty() && self.inner.meta.hangs_on_nothing(repository, digest)?)
        };
        self.inner.delete(&self.deleting, &Reference::Digest(*digest), may)
    }

    fn note(
        &mut self,
        reference: Reference,
        digest: Digest,
        verdict: &Verdict,
        is_gone: Result<bool, RegistryError>,
    ) {
        let repository = self.deleting.repository;
        match is_gone {
            Ok(true) => {
                let why = verdict.to_string();
                tracing::info!(%repository, %reference, %digest, why, "deleted by retention");
                let retired = Retired { repository: repository.clone(), reference, digest, why };
                if let Some(trail) = &self.trail {
                    trail(&retired);
                }
                self.done.gone.push(retired);
            }
            Ok(false) => self.done.changed += 1,
            Err(error) => failed(repository, &error, self.done),
        }
    }
}

fn failed(repository: &RepoName, error: &RegistryError, done: &mut Retained) {
    tracing::error!(
        %repository, %error, cause = ?std::error::Error::source(error),
        "retention could not delete something; the next run tries again"
    );
    done.failed += 1;
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
