//! How much the repositories of a rule may hold together.
//!
//! Counted is what manifests name: themselves, and what they are made of, each once however many repositories of the rule
//! hold it. A blob that no manifest names yet counts only once one does: a push that was denied so leaves nothing behind
//! that counts. Copies of an upstream's content count only where the rule says so.
//!
//! A manifest is judged under its repository's lock, and what it is to add is reserved until its rows are written: pushes
//! to several repositories at the same time are each judged with the others in mind.
//!
//! Without an index nothing is known and nothing is denied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use larder_oci::{Digest, Manifest, RepoName, RepositoryPattern, Tag};

use crate::error::MetaError;
use crate::index::Meant;
use crate::origin::Origin;
use crate::store::MetaStore;

/// How much some repositories may hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRule {
    /// What it is called wherever a refusal names it: its place in the configuration.
    pub place: Arc<str>,
    /// The repositories; empty: all.
    pub repositories: Vec<RepositoryPattern>,
    /// Bytes that they may hold together.
    pub bytes: Option<u64>,
    /// Tags that they may have together.
    pub tags: Option<u64>,
    /// Whether what was fetched from upstreams counts, too. It is never denied.
    pub copies: bool,
}

/// How it stands with a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUsage {
    /// The rule.
    pub rule: QuotaRule,
    /// Bytes that its repositories hold together.
    pub bytes: u64,
    /// Tags that they have together.
    pub tags: u64,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Bytes.
    Bytes,
    /// Tags.
    Tags,
}

/// More than a quota allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The rule's place.
    pub place: Arc<str>,
    /// What it limits.
    pub limited: Limited,
    /// So much there is.
    pub used: u64,
    /// So much more there would be.
    pub wanted: u64,
    /// So much there may be.
    pub limit: u64,
}

/// The rules in force, and what pushes that are under way will add.
#[derive(Default)]
pub(crate) struct Quotas {
    rules: RwLock<Arc<[QuotaRule]>>,
    reserved: Mutex<Reserved>,
    /// One more than the doubts there were when all members of a quota had been compared with their files.
    known_at: Mutex<HashMap<String, u64>>,
}

/// By quota; `Meant` as text.
#[derive(Default)]
pub(crate) struct Reserved(HashMap<String, Pending>);

#[derive(Default)]
struct Pending {
    /// Content, its length, and how many pushes bring it.
    contents: BTreeMap<Digest, (u64, usize)>,
    tags: u64,
}

/// What one push has reserved. Whoever drops it without [`settle`](Reservation::settle) gives it back, too.
pub(crate) struct Reservation<'a> {
    quotas: &'a Quotas,
    held: Vec<(String, BTreeSet<Digest>, u64)>,
}

impl QuotaRule {
    /// Whether a repository counts.
    pub fn is_about(&self, name: &RepoName) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|pattern| pattern.matches(name))
    }

    fn meant(&self) -> Meant {
        let mut repositories = self.repositories.clone();
        repositories.sort();
        repositories.dedup();
        Meant { repositories, copies: self.copies }
    }
}

impl QuotaUsage {
    /// What of the quota's limits is used in percent, the fuller of the two; more than a hundred beyond it.
    pub fn percent(&self) -> u64 {
        let of = |used: u64, limit: Option<u64>| {
            limit.map_or(0, |limit| {
                let percent = u128::from(used) * 100 / u128::from(limit.max(1));
                u64::try_from(percent).unwrap_or(u64::MAX)
            })
        };
        of(self.bytes, self.rule.bytes).max(of(self.tags, self.rule.tags))
    }
}

impl fmt::Display for QuotaUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule.place)?;
        if let Some(limit) = self.rule.bytes {
            write!(f, "{} used of {}", in_units(self.bytes), in_units(limit))?;
        }
        if let Some(limit) = self.rule.tags {
            write!(f, "{}{} tags of {limit}", if self.rule.bytes.is_some() { ", " } else { "" }, self.tags)?;
        }
        Ok(())
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { place, limited, used, wanted, limit } = self;
        match limited {
            Limited::Bytes => write!(
                f,
                "quota exceeded: {} used of {}, this needs {} more ({place})",
                in_units(*used),
                in_units(*limit),
                in_units(*wanted)
            ),
            Limited::Tags => {
                write!(f, "quota exceeded: {used} tags of {limit}, this needs {wanted} more ({place})")
            }
        }
    }
}

/// Bytes for people: exact below a kilobyte, else with one digit behind the point.
fn in_units(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

impl Quotas {
    fn about(&self, name: &RepoName) -> Vec<QuotaRule> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().filter(|rule| rule.is_about(name)).cloned().collect()
    }

    pub(crate) fn reserved(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// Writes the rows and gives the reservation back in one step, so that nobody counts both.
    pub(crate) fn settle<T>(mut self, write: impl FnOnce() -> T) -> T {
        if self.held.is_empty() {
            return write();
        }
        let mut reserved = self.quotas.reserved();
        let written = write();
        reserved.give_back(&std::mem::take(&mut self.held));
        written
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.quotas.reserved().give_back(&std::mem::take(&mut self.held));
        }
    }
}

impl Reserved {
    fn give_back(&mut self, held: &[(String, BTreeSet<Digest>, u64)]) {
        for (quota, contents, tags) in held {
            let Some(pending) = self.0.get_mut(quota) else { continue };
            pending.tags = pending.tags.saturating_sub(*tags);
            for digest in contents {
                if let Some((_, pushes)) = pending.contents.get_mut(digest) {
                    *pushes -= 1;
                    if *pushes == 0 {
                        pending.contents.remove(digest);
                    }
                }
            }
            if pending.tags == 0 && pending.contents.is_empty() {
                self.0.remove(quota);
            }
        }
    }
}

impl MetaStore {
    /// Sets the quotas, from here on. What is there already stays, also where it is more.
    pub fn set_quotas(&self, rules: &[QuotaRule]) {
        let meant: Vec<Meant> = rules.iter().map(QuotaRule::meant).collect();
        // Before anybody is judged by them; what can't be counted denies nothing.
        if let Err(error) = self.index.set_quotas(&meant) {
            tracing::error!(
                %error, cause = ?std::error::Error::source(&error),
                "quotas can't be counted without an index, so nothing is denied by them"
            );
        }
        *self.quotas.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.into();
    }

    /// How it stands with every quota, in the order of the rules. As right as
    /// [`know_quotas`](MetaStore::know_quotas) has made it.
    pub fn quota_usages(&self) -> Result<Vec<QuotaUsage>, MetaError> {
        let rules = Arc::clone(&self.quotas.rules.read().unwrap_or_else(PoisonError::into_inner));
        let usage = |rule: &QuotaRule| {
            let (bytes, tags) = self.index.quota_sums(&rule.meant())?.unwrap_or_default();
            Ok(QuotaUsage { rule: rule.clone(), bytes, tags })
        };
        rules.iter().map(usage).collect()
    }

    /// Compares the repositories that count in the quotas of this one with their files, unless that was done and nobody
    /// has had a doubt since: what they hold is known then. The caller holds no repository's lock.
    ///
    /// After a start the first push to a quota so waits until its repositories have been read.
    pub fn know_quotas(&self, name: &RepoName) -> Result<(), MetaError> {
        for rule in self.quotas.about(name) {
            let doubts = self.knowledge.doubts();
            let text = rule.meant().text();
            let known_at = |quotas: &Quotas| {
                quotas.known_at.lock().unwrap_or_else(PoisonError::into_inner).get(&text).copied()
            };
            if known_at(&self.quotas) == Some(doubts + 1) {
                continue;
            }
            self.walk_names()?;
            for member in self.index.all_names()?.iter().filter(|member| rule.is_about(member)) {
                self.reconcile(member)?;
            }
            let mut known = self.quotas.known_at.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(text.clone(), doubts + 1);
        }
        Ok(())
    }

    /// Whether a blob of this length may come into a repository, as far as that can be told before a manifest names it:
    /// content that counts already costs nothing, and other blobs on their way are not thought of.
    pub fn room_for_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Exceeded>, MetaError> {
        let rules = self.quotas.about(name);
        if rules.iter().all(|rule| rule.bytes.is_none()) || self.has(name, digest)? {
            return Ok(None);
        }
        for rule in rules {
            let (Some(limit), meant) = (rule.bytes, rule.meant()) else { continue };
            let Some((used, _)) = self.index.quota_sums(&meant)? else { continue };
            if used.saturating_add(size) > limit && !self.index.counts_in(&meant, digest)? {
                let (place, limited) = (rule.place, Limited::Bytes);
                return Ok(Some(Exceeded { place, limited, used, wanted: size, limit }));
            }
        }
        Ok(None)
    }

    /// The quota that has the least room of all that a repository counts in: no single blob may be larger than that
    /// quota as a whole.
    pub fn largest_blob(&self, name: &RepoName) -> Option<(u64, Arc<str>)> {
        let rules = self.quotas.about(name).into_iter();
        rules.filter_map(|rule| Some((rule.bytes?, rule.place))).min_by_key(|(bytes, _)| *bytes)
    }

    /// Reserves what a manifest adds to the quotas of its repository, whose exclusive lock the caller holds; `contents`
    /// are itself and what it is made of, `tags` those that it is put under.
    pub(crate) fn reserve(
        &self,
        name: &RepoName,
        contents: &[(Digest, u64)],
        tags: &[Tag],
    ) -> Result<Result<Reservation<'_>, Exceeded>, MetaError> {
        let mut reservation = Reservation { quotas: &self.quotas, held: Vec::new() };
        let rules = self.quotas.about(name);
        if rules.is_empty() {
            return Ok(Ok(reservation));
        }
        // Where copies don't count, a push makes one into a tag that does.
        let (mut new_tags, mut pushed_tags): (u64, u64) = (0, 0);
        for tag in tags {
            let origin = self.tag_origin(name, tag)?;
            new_tags += u64::from(origin.is_none());
            pushed_tags += u64::from(origin != Some(Origin::Pushed));
        }
        let mut reserved = self.quotas.reserved();
        let mut held: BTreeMap<String, (BTreeSet<Digest>, u64)> = BTreeMap::new();
        for rule in &rules {
            let meant = rule.meant();
            let new_tags = if rule.copies { new_tags } else { pushed_tags };
            // Two rules may count the same: each has its limits, and what is counted is counted once.
            match self.judge(rule, &meant, contents, new_tags, &reserved)? {
                Ok(adds) => held.insert(meant.text(), (adds, new_tags)),
                Err(exceeded) => return Ok(Err(exceeded)),
            };
        }
        for (quota, (adds, tags)) in held {
            let pending = reserved.0.entry(quota.clone()).or_default();
            pending.tags += tags;
            for (digest, size) in contents.iter().filter(|(digest, _)| adds.contains(digest)) {
                pending.contents.entry(*digest).or_insert((*size, 0)).1 += 1;
            }
            reservation.held.push((quota, adds, tags));
        }
        Ok(Ok(reservation))
    }

    /// The content that would count from here on and doesn't yet.
    fn judge(
        &self,
        rule: &QuotaRule,
        meant: &Meant,
        contents: &[(Digest, u64)],
        new_tags: u64,
        reserved: &Reserved,
    ) -> Result<Result<BTreeSet<Digest>, Exceeded>, MetaError> {
        let Some((mut used, mut tags)) = self.index.quota_sums(meant)? else {
            return Ok(Ok(BTreeSet::new()));
        };
        let pending = reserved.0.get(&meant.text());
        for (digest, (size, _)) in pending.iter().flat_map(|pending| &pending.contents) {
            // Written by one push and still held by another.
            if !self.index.counts_in(meant, digest)? {
                used = used.saturating_add(*size);
            }
        }
        tags += pending.map_or(0, |pending| pending.tags);
        let (mut adds, mut wanted) = (BTreeSet::new(), 0_u64);
        for (digest, size) in contents {
            if !self.index.counts_in(meant, digest)? && adds.insert(*digest) {
                let is_pending = pending.is_some_and(|pending| pending.contents.contains_key(digest));
                wanted = wanted.saturating_add(if is_pending { 0 } else { *size });
            }
        }
        let exceeded = |limited, used, wanted, limit: Option<u64>| {
            let limit = limit.filter(|limit| wanted > 0 && used + wanted > *limit)?;
            Some(Exceeded { place: Arc::clone(&rule.place), limited, used, wanted, limit })
        };
        let bytes = exceeded(Limited::Bytes, used, wanted, rule.bytes);
        Ok(match bytes.or_else(|| exceeded(Limited::Tags, tags, new_tags, rule.tags)) {
            Some(exceeded) => Err(exceeded),
            None => Ok(adds),
        })
    }

    /// The lengths of what a manifest is made of, as far as that is here.
    pub(crate) fn sizes_of_parts(&self, manifest: &Manifest) -> Result<Vec<(Digest, u64)>, MetaError> {
        let mut sizes = BTreeMap::new();
        for (_, part) in manifest.references() {
            if let Some(stat) = self.blobs.stat(&part.digest)? {
                sizes.insert(part.digest, stat.size);
            }
        }
        Ok(sizes.into_iter().collect())
    }
}
