//! A repository's tags and the referrers of a manifest, by an upstream's word and with what is here.
//!
//! An upstream is asked for the whole list, once however many ask, and its answer counts for a while. If there is no
//! answer, what is here is served and said to be only that.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_meta::{Listing, Page};
use larder_oci::{Access, Descriptor, Digest, Pull, Reference, RepoName};
use tokio::time::{Instant, timeout_at};

use super::flights::Flights;
use super::tags::{FAILURE_COUNTS, ServedCopy, WhyCopy};
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::upstream::{Allowance, Upstream, UpstreamError, UpstreamFailure};
use crate::upstreams::{Freshness, UpstreamRepository};

/// A list counts no longer than this, however long a single tag does: nobody waits a day for a new version to show.
const LONGEST_WINDOW: Duration = Duration::from_secs(60);

/// Items of lists that are remembered, of all lists together: about 20 MB.
const MOST_ITEMS: usize = 200_000;

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The items, sorted.
    pub items: Vec<T>,
    /// Whether more follow.
    pub more: bool,
    /// Why there is only what is here, where an upstream should have been asked.
    pub copy: Option<ServedCopy>,
}

/// Whose list it is, and the subject of referrers.
type Key = (RepoName, Option<Digest>);

type Answer<T> = Result<Option<Arc<[T]>>, Arc<RegistryError>>;

/// What upstreams have said of their lists.
pub(super) struct Lists<T> {
    flights: Flights<Key, Answer<T>>,
    known: Mutex<HashMap<Key, (Instant, Answer<T>)>>,
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists { flights: Flights::default(), known: Mutex::default() }
    }
}

impl<T: Clone> Lists<T> {
    fn of(&self, key: &Key) -> Option<Answer<T>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(until, _)| Instant::now() < *until).map(|(_, answer)| answer.clone())
    }

    fn note(&self, key: Key, until: Instant, answer: Answer<T>) {
        let length =
            |answer: &Answer<T>| 1 + answer.as_ref().ok().and_then(Option::as_ref).map_or(0, |it| it.len());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&key);
        if known.values().map(|(_, known)| length(known)).sum::<usize>() + length(&answer) > MOST_ITEMS {
            known.clear();
        }
        known.insert(key, (until, answer));
    }
}

/// What came of asking.
enum Word<T> {
    /// `None`: it has no such repository.
    Said(Option<Arc<[T]>>),
    /// Only what is here can be served, for this reason.
    Silent(Arc<str>),
}

impl Registry {
    /// The tags of a repository that has an upstream. `local` is the page as it is here.
    pub(crate) async fn tags_or_ask(
        &self,
        source: &UpstreamRepository,
        access: &Access<Pull>,
        page: &Page<String>,
        local: Option<Listing<String>>,
    ) -> Result<Listed<String>, RegistryError> {
        let repository = access.repository();
        let unknown = || RegistryError::RepositoryUnknown { repository: repository.clone() };
        if local.is_some() && !self.asks_for_more(source, repository).await? {
            return local.map(Listed::current).ok_or_else(unknown);
        }
        let ask = |upstream: Arc<dyn Upstream>, there: RepoName| async move {
            let tags = upstream.tags(&there).await?;
            let mut texts: Vec<String> = tags.into_iter().flatten().map(|tag| tag.to_string()).collect();
            texts.sort_unstable();
            texts.dedup();
            Ok(Some(texts).filter(|texts| !texts.is_empty()))
        };
        let key = (repository.clone(), None);
        let word = self.ask_for_list(|cache| &cache.tag_lists, source, key, local.is_some(), ask).await?;
        match (word, local) {
            (Word::Said(None), None) => Err(unknown()),
            (Word::Said(theirs), local) => {
                let local = local.unwrap_or(Listing { items: Vec::new(), more: false });
                let theirs = theirs.iter().flat_map(|theirs| theirs.iter());
                Ok(merged(local, theirs, page, |tag| tag.clone()))
            }
            (Word::Silent(reason), Some(local)) => Ok(Listed::copy(local, source, reason)),
            (Word::Silent(_), None) => Err(unknown()),
        }
    }

    /// The referrers of a manifest in a repository that has an upstream. `local` is the page as it is here.
    pub(crate) async fn referrers_or_ask(
        &self,
        source: &UpstreamRepository,
        access: &Access<Pull>,
        subject: &Digest,
        artifact_types: &[String],
        page: &Page<Digest>,
        local: Listing<Descriptor>,
    ) -> Result<Listed<Descriptor>, RegistryError> {
        let repository = access.repository();
        if !self.asks_for_more(source, repository).await? {
            return Ok(Listed::current(local));
        }
        let is_here = !local.items.is_empty()
            || self.sound_manifest(repository, &Reference::Digest(*subject)).await?.is_some();
        let subject = *subject;
        let ask = move |upstream: Arc<dyn Upstream>, there: RepoName| async move {
            let mut referrers = upstream.referrers(&there, &subject).await?;
            referrers.sort_unstable_by_key(|descriptor| descriptor.digest);
            Ok(Some(referrers))
        };
        let key = (repository.clone(), Some(subject));
        match self.ask_for_list(|cache| &cache.referrer_lists, source, key, is_here, ask).await? {
            Word::Said(theirs) => {
                let is_wanted = |descriptor: &&Descriptor| {
                    artifact_types.is_empty()
                        || descriptor.artifact_type.as_ref().is_some_and(|kind| artifact_types.contains(kind))
                };
                let theirs = theirs.iter().flat_map(|theirs| theirs.iter()).filter(is_wanted);
                Ok(merged(local, theirs, page, |descriptor| descriptor.digest))
            }
            Word::Silent(reason) => Ok(Listed::copy(local, source, reason)),
        }
    }

    /// A repository that people push to is theirs alone, unless the operator says otherwise.
    async fn asks_for_more(
        &self,
        source: &UpstreamRepository,
        repository: &RepoName,
    ) -> Result<bool, RegistryError> {
        if source.settings.asks_for_pushed {
            return Ok(true);
        }
        let repository = repository.clone();
        self.blocking(move |inner| Ok(!inner.meta.has_pushed(&repository)?)).await
    }

    /// Asks, under the budget of who has something at hand or of who has nothing.
    async fn ask_for_list<T, Asking>(
        &self,
        lists: impl Fn(&super::Cache) -> &Lists<T> + Send + 'static,
        source: &UpstreamRepository,
        key: Key,
        is_here: bool,
        ask: impl FnOnce(Arc<dyn Upstream>, RepoName) -> Asking,
    ) -> Result<Word<T>, RegistryError>
    where
        T: Clone + Send + Sync + 'static,
        Asking: Future<Output = Result<Option<Vec<T>>, UpstreamError>> + Send + 'static,
    {
        let silent = |error: RegistryError| {
            if is_here { Ok(Word::Silent(error.to_string().into())) } else { Err(error) }
        };
        let cache = &self.inner.cache;
        if source.settings.offline {
            return silent(source.offline().into());
        }
        match lists(cache).of(&key) {
            Some(Ok(list)) => return Ok(Word::Said(list)),
            Some(Err(error)) => return silent(RegistryError::Shared(error)),
            None => {}
        }
        match source.upstream.allowance(&source.repository) {
            Allowance::Spent { renews_in } => {
                let failure = UpstreamFailure::RateLimited { retry_after: Some(renews_in) };
                return silent(source.error(failure, "its rate limit is spent").into());
            }
            Allowance::Scarce if is_here => {
                return Ok(Word::Silent("the upstream's rate limit is nearly spent".into()));
            }
            Allowance::Scarce | Allowance::Plenty => {}
        }
        let flight = lists(cache).flights.join(&key.clone(), &cache.tasks, || {
            let (registry, source) = (self.unreported(), source.clone());
            let asking = ask(Arc::clone(&source.upstream), source.repository.clone());
            async move {
                let cache = &registry.inner.cache;
                let asked = tokio::select! {
                    asked = asking => asked,
                    () = cache.stop.cancelled() => Err(source.error(UpstreamFailure::Cut, "Larder is stopping")),
                };
                let answer: Answer<T> = match asked {
                    Ok(list) => Ok(list.map(Into::into)),
                    Err(error) => Err(Arc::new(error.into())),
                };
                let window = match (&answer, source.settings.fresh_for) {
                    (Err(_), _) => FAILURE_COUNTS,
                    (Ok(None), _) => source.settings.missing_for,
                    (Ok(Some(_)), Freshness::For(window)) => window.min(LONGEST_WINDOW),
                    (Ok(Some(_)), Freshness::ForEver) => LONGEST_WINDOW,
                };
                lists(cache).note(key, Instant::now() + window, answer.clone());
                answer
            }
        });
        let settings = &source.settings;
        let deadline = flight.since + if is_here { settings.tag_budget } else { settings.miss_budget };
        match timeout_at(deadline, flight.answer()).await {
            Ok(Some(Ok(list))) => Ok(Word::Said(list)),
            Ok(Some(Err(error))) => silent(RegistryError::Shared(error)),
            Ok(None) => silent(source.error(UpstreamFailure::Cut, "the question was given up").into()),
            Err(_) => silent(source.still_silent().into()),
        }
    }
}

impl<T> Listed<T> {
    pub(crate) fn current(listing: Listing<T>) -> Listed<T> {
        Listed { items: listing.items, more: listing.more, copy: None }
    }

    fn copy(listing: Listing<T>, source: &UpstreamRepository, reason: Arc<str>) -> Listed<T> {
        let upstream = source.upstream.name().into();
        let copy = ServedCopy { upstream, age: Duration::ZERO, why: WhyCopy::unconfirmed(reason) };
        Listed { items: listing.items, more: listing.more, copy: Some(copy) }
    }
}

/// A page of what is here and what the upstream has, which is sorted; of the same thing what is here counts.
fn merged<'a, T: Clone + 'a, Place: Ord>(
    local: Listing<T>,
    theirs: impl Iterator<Item = &'a T>,
    page: &Page<Place>,
    place: impl Fn(&T) -> Place,
) -> Listed<T> {
    let is_behind = |item: &&T| page.after.as_ref().is_none_or(|after| place(item) > *after);
    // One more than fits tells whether more follow.
    let theirs = theirs.filter(is_behind).take(page.limit.saturating_add(1)).cloned();
    let all: BTreeMap<Place, T> = theirs.chain(local.items).map(|item| (place(&item), item)).collect();
    let more = local.more || all.len() > page.limit;
    Listed { items: all.into_values().take(page.limit).collect(), more, copy: None }
}
