//! When an upstream is asked about a manifest, and what is served if it gives no answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_meta::Origin;
use larder_oci::{Reference, RepoName, Tag};
use tokio::time::{Instant, timeout, timeout_at};

use super::counters::Counters;
use super::manifests::{Answer, Asking};
use super::remembered::Known;
use crate::error::RegistryError;
use crate::pull::{PulledManifest, StoredManifest};
use crate::registry::Registry;
use crate::upstream::{Allowance, UpstreamFailure};
use crate::upstreams::{Freshness, UpstreamRepository};

/// How long an upstream that has failed isn't asked about the same tag again while there is a copy: a failure can take
/// as long as the budget to find out.
pub(super) const FAILURE_COUNTS: Duration = Duration::from_secs(10);

/// A copy that is served though nobody could be asked whether it still is what the upstream has.
#[derive(Clone, Debug)]
pub struct ServedCopy {
    /// The operator's name for the upstream.
    pub upstream: Arc<str>,
    /// How long ago the upstream last said so.
    pub age: Duration,
    /// Why it wasn't asked, or gave no answer.
    pub why: WhyCopy,
}

/// Why a copy is served.
#[derive(Clone, Debug)]
pub struct WhyCopy {
    /// In words.
    pub reason: Arc<str>,
    /// When the upstream last confirmed the copy.
    confirmed: Option<SystemTime>,
}

impl WhyCopy {
    /// Nobody knows of when it is.
    pub(super) fn unconfirmed(reason: Arc<str>) -> WhyCopy {
        WhyCopy { reason, confirmed: None }
    }

    pub(super) fn confirmed(&self) -> Option<SystemTime> {
        self.confirmed
    }
}

/// Whose word counts about a tag.
enum Standing {
    Pushed,
    Copy {
        since: SystemTime,
    },
    /// Nothing is here, and the upstream may be asked.
    Nothing,
    /// Nothing is here, and the repository is one that people push to.
    NotAsked,
}

impl Registry {
    /// A manifest of a repository that has an upstream.
    pub(crate) async fn manifest_or_fetch(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<PulledManifest>, RegistryError> {
        let cache = &self.inner.cache;
        if let Some(unkept) = cache.unkept.of(repository, reference) {
            let known = || cache.remembered.of(&(repository.clone(), reference.clone()));
            let counts =
                matches!(reference, Reference::Digest(_)) || matches!(known(), Some(Known::Fresh { .. }));
            // A tag that is to be asked about anew is asked about when it is here, which may be waited for as an answer is.
            if counts || timeout(source.settings.tag_budget, self.until_kept(repository)).await.is_err() {
                return Ok(Some(self.hit(repository, unkept)));
            }
        }
        let stored = self.sound_manifest(repository, reference).await?;
        match (reference, stored) {
            (Reference::Digest(_), Some(stored)) => Ok(Some(self.hit(repository, stored))),
            (Reference::Digest(_), None) => self.fetch_manifest(source, repository, reference).await,
            (Reference::Tag(tag), stored) => self.manifest_of_tag(source, repository, tag, stored).await,
        }
    }

    /// A manifest as it is stored. A damaged one counts as missing: the upstream has it.
    pub(super) async fn sound_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<Arc<StoredManifest>>, RegistryError> {
        match self.stored_manifest(repository, reference).await {
            Err(error @ RegistryError::Corrupt { .. }) => {
                tracing::error!(%repository, %reference, %error, "a damaged manifest is fetched again");
                Ok(None)
            }
            stored => stored,
        }
    }

    async fn manifest_of_tag(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        tag: &Tag,
        stored: Option<Arc<StoredManifest>>,
    ) -> Result<Option<PulledManifest>, RegistryError> {
        let (key, settings) = ((repository.clone(), Reference::Tag(tag.clone())), &source.settings);
        let cache = &self.inner.cache;
        match (cache.remembered.of(&key), &stored) {
            (Some(Known::Fresh { .. }), Some(stored)) => {
                return Ok(Some(self.hit(repository, Arc::clone(stored))));
            }
            (Some(Known::Copy { why, .. }), Some(stored)) => {
                return Ok(Some(self.copy(source, repository, Arc::clone(stored), why)));
            }
            (Some(Known::Pushed { state }), Some(stored))
                if self.inner.meta.state(repository) == Some(state) =>
            {
                self.note_access(repository, &stored.digest);
                return Ok(Some(PulledManifest::current(Arc::clone(stored))));
            }
            (Some(Known::Missing { .. }), _) => return Ok(None),
            _ => {}
        }
        let state = self.inner.meta.state(repository);
        let fresh_for = settings.freshness(repository, tag);
        match self.standing(source, repository, tag, stored.is_some()).await? {
            Standing::Pushed => {
                if let Some(state) = state {
                    cache.remembered.note(key, Known::Pushed { state });
                }
                if let Some(stored) = &stored {
                    self.note_access(repository, &stored.digest);
                }
                Ok(stored.map(PulledManifest::current))
            }
            Standing::NotAsked => Ok(None),
            Standing::Nothing => self.fetch_manifest(source, repository, &key.1).await,
            Standing::Copy { since } => {
                let Some(stored) = stored else {
                    return self.fetch_manifest(source, repository, &key.1).await;
                };
                if fresh_for == Freshness::ForEver {
                    return Ok(Some(self.hit(repository, stored)));
                }
                let confirmed = cache.remembered.confirmed(&key).unwrap_or(since);
                // Fetched within the window by an earlier process.
                let age = (self.inner.environment.now)().duration_since(confirmed).unwrap_or_default();
                if let Freshness::For(window) = fresh_for
                    && cache.remembered.of(&key).is_none()
                    && cache.remembered.confirmed(&key).is_none()
                    && age < window
                {
                    let until = Some(Instant::now() + (window - age));
                    cache.remembered.note(key, Known::Fresh { until, confirmed });
                    return Ok(Some(self.hit(repository, stored)));
                }
                self.refresh(source, key, stored, confirmed).await
            }
        }
    }

    async fn standing(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        tag: &Tag,
        is_here: bool,
    ) -> Result<Standing, RegistryError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        let asks_for_pushed = source.settings.asks_for_pushed;
        self.blocking(move |inner| {
            if is_here {
                return Ok(match inner.meta.tag_origin(&repository, &tag)? {
                    Some(Origin::Cached { since }) => Standing::Copy { since },
                    Some(Origin::Pushed) | None => Standing::Pushed,
                });
            }
            let may_ask = asks_for_pushed || !inner.meta.has_pushed(&repository)?;
            Ok(if may_ask { Standing::Nothing } else { Standing::NotAsked })
        })
        .await
    }

    /// Asks what the tag means now, and serves the copy if there is no answer.
    async fn refresh(
        &self,
        source: &UpstreamRepository,
        key: (RepoName, Reference),
        stored: Arc<StoredManifest>,
        confirmed: SystemTime,
    ) -> Result<Option<PulledManifest>, RegistryError> {
        let cache = &self.inner.cache;
        let because = |reason: &str| WhyCopy { reason: reason.into(), confirmed: Some(confirmed) };
        if source.settings.offline {
            return Ok(Some(self.copy(
                source,
                &key.0,
                stored,
                because("asking the upstream is switched off (offline)"),
            )));
        }
        match source.upstream.allowance(&source.repository) {
            Allowance::Plenty => {}
            Allowance::Scarce => {
                let why = because(
                    "the upstream's rate limit is nearly spent; what is left is for what is not at hand",
                );
                return Ok(Some(self.copy(source, &key.0, stored, why)));
            }
            Allowance::Spent { .. } => {
                return Ok(Some(self.copy(
                    source,
                    &key.0,
                    stored,
                    because("the upstream's rate limit is spent"),
                )));
            }
        }
        let flight = cache.questions.join(&key, &cache.tasks, || {
            self.question(source, key.clone(), Some((Arc::clone(&stored), confirmed)))
        });
        // Counted from when it was asked: whoever comes to a question that hangs doesn't wait for it once more.
        let deadline = flight.since + source.settings.tag_budget;
        let answer = match timeout_at(deadline, flight.answer()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Ok(Some(self.copy(source, &key.0, stored, because("the question was given up"))));
            }
            Err(_) => {
                return Ok(Some(self.copy(
                    source,
                    &key.0,
                    stored,
                    because("the upstream has not answered in time"),
                )));
            }
        };
        match answer {
            Answer::Same => match self.sound_manifest(&key.0, &key.1).await? {
                Some(stored) => Ok(Some(self.hit(&key.0, stored))),
                None => Ok(None),
            },
            Answer::Fetched(fetched) => {
                self.count(Counters::miss);
                self.note_access(&key.0, &fetched.digest);
                Ok(Some(PulledManifest::current(fetched)))
            }
            Answer::Missing if !source.settings.keeps_removed_tags => Ok(None),
            Answer::Missing => Ok(Some(self.copy(source, &key.0, stored, because(REMOVED)))),
            Answer::Failed(error) => {
                let why = because(&error.to_string());
                Ok(Some(self.copy(source, &key.0, stored, why)))
            }
        }
    }

    /// A manifest that isn't at hand.
    async fn fetch_manifest(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<PulledManifest>, RegistryError> {
        let (key, cache) = ((repository.clone(), reference.clone()), &self.inner.cache);
        if let Some(Known::Missing { .. }) = cache.remembered.of(&key) {
            return Ok(None);
        }
        if source.settings.offline {
            return Err(source.offline().into());
        }
        if let Allowance::Spent { renews_in } = source.upstream.allowance(&source.repository) {
            let failure = UpstreamFailure::RateLimited { retry_after: Some(renews_in) };
            return Err(source.error(failure, "its rate limit is spent, and this is not at hand").into());
        }
        let deadline = Instant::now() + source.settings.miss_budget;
        let flight = cache.questions.join(&key, &cache.tasks, || self.question(source, key.clone(), None));
        self.count(Counters::miss);
        match timeout_at(deadline, flight.answer()).await {
            Ok(Some(Answer::Fetched(fetched))) => {
                self.note_access(repository, &fetched.digest);
                Ok(Some(PulledManifest::current(fetched)))
            }
            // Pushed in this very moment.
            Ok(Some(Answer::Same)) => {
                Ok(self.stored_manifest(repository, reference).await?.map(PulledManifest::current))
            }
            Ok(Some(Answer::Missing)) => Ok(None),
            Ok(Some(Answer::Failed(error))) => Err(RegistryError::Shared(error)),
            Ok(None) => Err(source.error(UpstreamFailure::Cut, "the question was given up").into()),
            Err(_) => Err(source.still_silent().into()),
        }
    }

    /// The question as a task, and what is remembered of its answer.
    fn question(
        &self,
        source: &UpstreamRepository,
        key: (RepoName, Reference),
        copy: Option<(Arc<StoredManifest>, SystemTime)>,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let registry = self.unreported();
        let asking = Asking {
            registry: registry.clone(),
            source: source.clone(),
            repository: key.0.clone(),
            reference: key.1.clone(),
            at_hand: copy.as_ref().map(|(stored, _)| stored.digest),
        };
        async move {
            let answer = asking.ask().await;
            let (cache, settings) = (&registry.inner.cache, &asking.source.settings);
            let now = Instant::now();
            let confirmed = copy.map(|(_, confirmed)| confirmed);
            let known = match (&answer, &key.1) {
                (Answer::Same | Answer::Fetched(_), Reference::Tag(tag)) => {
                    let until = match settings.freshness(&key.0, tag) {
                        Freshness::For(window) => Some(now + window),
                        Freshness::ForEver => None,
                    };
                    Some(Known::Fresh { until, confirmed: (registry.inner.environment.now)() })
                }
                // The digest itself is enough to know.
                (Answer::Same | Answer::Fetched(_), Reference::Digest(_)) => None,
                (Answer::Missing, _) if confirmed.is_some() && settings.keeps_removed_tags => {
                    let until = now + settings.missing_for;
                    Some(Known::Copy { until, why: WhyCopy { reason: REMOVED.into(), confirmed } })
                }
                (Answer::Missing, _) => Some(Known::Missing { until: now + settings.missing_for }),
                (Answer::Failed(error), _) if confirmed.is_some() => {
                    let why = WhyCopy { reason: error.to_string().into(), confirmed };
                    Some(Known::Copy { until: now + FAILURE_COUNTS, why })
                }
                (Answer::Failed(_), _) => None,
            };
            match known {
                Some(known) => cache.remembered.note(key, known),
                None => cache.remembered.forget(&key),
            }
            answer
        }
    }

    /// Counts what came of a question, if somebody has asked.
    pub(super) fn count(&self, what: impl FnOnce(&Counters)) {
        if !self.is_ahead {
            what(&self.inner.cache.counters);
        }
    }

    fn hit(&self, repository: &RepoName, stored: Arc<StoredManifest>) -> PulledManifest {
        self.note_access(repository, &stored.digest);
        self.count(|counters| counters.hit(stored.bytes.len() as u64));
        PulledManifest::current(stored)
    }

    fn copy(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
        stored: Arc<StoredManifest>,
        why: WhyCopy,
    ) -> PulledManifest {
        self.note_access(repository, &stored.digest);
        self.count(|counters| {
            counters.hit(stored.bytes.len() as u64);
            counters.stale();
        });
        let now = (self.inner.environment.now)();
        let age = why.confirmed.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        PulledManifest {
            manifest: stored,
            copy: Some(ServedCopy { upstream: source.upstream.name().into(), age, why }),
        }
    }
}

const REMOVED: &str = "the upstream no longer has this tag";
