use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use larder_meta::{Doomed, Kept, Release, Released};
use larder_oci::{Digest, Manifest, RepoName};
use larder_storage::StorageError;
use serde::Serialize;

use crate::collect::removals::Removed;
use crate::collect::{Run, Thing, final_before};
use crate::error::RegistryError;
use crate::registry::Inner;

/// How long after a failure the same deletion is looked at again.
const AFTER_A_FAILURE: Duration = Duration::from_secs(300);

/// How long after something was found promised, at least.
const AFTER_A_PROMISE: Duration = Duration::from_secs(1);

/// The longest manifest that is read; as in pulls, twice what may be pushed.
const LONGEST_READ: u64 = 8 << 20;

/// What a run of the collector took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Deletions that became final.
    pub removals: u64,
    /// Manifests that their repository no longer holds.
    pub manifests: u64,
    /// Blobs that their repository no longer holds.
    pub links: u64,
    /// Content that is gone: blobs and manifests.
    pub contents: u64,
    /// Bytes that these had.
    pub bytes: u64,
    /// Repositories that held nothing any more.
    pub repositories: u64,
    /// What stays for now because a client was told that it is there, or a push works on it.
    pub promised: u64,
    /// What stays because it could not be told whether something needs it.
    pub unknown: u64,
}

impl Collected {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Collected { removals: self.removals, promised: self.promised, ..Collected::default() }
    }
}

impl AddAssign for Collected {
    fn add_assign(&mut self, other: Collected) {
        self.removals += other.removals;
        self.manifests += other.manifests;
        self.links += other.links;
        self.contents += other.contents;
        self.bytes += other.bytes;
        self.repositories += other.repositories;
        self.promised += other.promised;
        self.unknown += other.unknown;
    }
}

/// What became of content that was to go.
enum Fate {
    Gone(u64),
    Needed,
    Held,
    Unknown,
}

impl Fate {
    fn count(&self, digest: &Digest, done: &mut Collected) {
        match self {
            Fate::Gone(bytes) => {
                tracing::debug!(%digest, bytes, "content that nothing refers to was removed");
                done.contents += 1;
                done.bytes += bytes;
            }
            Fate::Needed => {}
            Fate::Held => done.promised += 1,
            Fate::Unknown => done.unknown += 1,
        }
    }
}

impl Inner {
    /// Looks at the deletions whose grace time is over.
    pub(crate) fn collect_due(&self, run: Run, stop: &AtomicBool) -> Result<Collected, RegistryError> {
        let mut collected = Collected::default();
        let collector = &self.collector;
        if !run.now && collector.fence.all_promised_until().is_some() {
            return Ok(collected);
        }
        let before = final_before((self.environment.now)(), run, self.settings.collection.grace);
        if collector.removals.count() == 0 || !self.meta.know_every_reference(stop)? {
            return Ok(collected);
        }
        // What is gathered in memory would be written down after it is gone.
        if let Err(error) = self.write_accesses() {
            tracing::warn!(%error, "what was asked for could not be written down before deletions become final");
        }
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            let Some(_change) = self.begin_change() else { break };
            let Some(removed) = collector.removals.take_due(before, run.now, last) else { break };
            last = removed.id;
            let outcome = self.let_go(&removed, run).inspect(|done| collector.went(*done));
            match outcome {
                Ok(done) if done.promised > 0 => {
                    let pause = (self.settings.collection.grace / 4).max(AFTER_A_PROMISE);
                    collector.removals.put_off(removed.id, pause);
                    collected += done;
                }
                Ok(done) if done.unknown > 0 => {
                    collector.removals.put_off(removed.id, AFTER_A_FAILURE);
                    collected += done;
                }
                Ok(done) => {
                    collector.removals.finish(removed.id);
                    collected += Collected { removals: 1, ..done };
                }
                Err(error) => {
                    tracing::error!(
                        repository = %removed.repository, %error, cause = ?std::error::Error::source(&error),
                        "what hung on a deletion could not be taken away; it is tried again"
                    );
                    collector.removals.put_off(removed.id, AFTER_A_FAILURE);
                    collected.unknown += 1;
                }
            }
        }
        Ok(collected)
    }

    fn let_go(&self, removed: &Removed, run: Run) -> Result<Collected, RegistryError> {
        let what = &removed.what;
        let mut done = Collected::default();
        // A deleted blob's link is gone already: if there is one, it was uploaded again.
        let mut blobs = what.parts.clone();
        for doomed in &what.doomed {
            // Taken out before a crash, and what it was made of not yet.
            if self.meta.as_doomed(&removed.repository, &doomed.digest)?.is_none() {
                blobs.extend(self.parts_by_content(&doomed.digest)?);
            }
        }
        let released = self.release(&removed.repository, &what.doomed, &blobs, run, &mut done)?;
        // The content of manifests goes last: until then it says what else has to go, also after a crash.
        let manifests: BTreeSet<Digest> =
            what.doomed.iter().map(|doomed| doomed.digest).chain(what.manifest).collect();
        let contents = blobs.iter().chain(&what.blob).chain(&released.blobs).chain(&released.unlinked);
        let contents: BTreeSet<Digest> = contents.copied().collect();
        for digest in contents.difference(&manifests).chain(&manifests) {
            self.remove_content(digest, &mut done)?;
        }
        let all: Vec<Digest> = contents.union(&manifests).copied().collect();
        self.forget_accesses_of_gone(&removed.repository, Some(&all));
        self.take_away_if_empty(&removed.repository, None, &mut done)?;
        Ok(done)
    }

    /// Takes away a repository that holds nothing any more, so that no catalog shows it; unless something in it has
    /// changed since.
    pub(crate) fn take_away_if_empty(
        &self,
        repository: &RepoName,
        unchanged_since: Option<SystemTime>,
        done: &mut Collected,
    ) -> Result<(), RegistryError> {
        if !self.collector.removals.are_in(repository)
            && self.meta.remove_if_empty(repository, unchanged_since)?
        {
            tracing::info!(%repository, "a repository that held nothing any more is gone");
            done.repositories += 1;
        }
        Ok(())
    }

    /// Until now a deletion could have been undone, and what was undone was last pulled when it was.
    pub(crate) fn forget_accesses_of_gone(&self, repository: &RepoName, digests: Option<&[Digest]>) {
        if let Err(error) = self.meta.forget_accesses_of_gone(repository, digests) {
            // Rows of what is gone: nobody asks for them, and the next sweep takes them.
            tracing::warn!(%repository, %error, "when what is gone was last asked for could not be forgotten");
        }
    }

    /// What a manifest is made of, by its content; nothing if that is gone or can't be read.
    fn parts_by_content(&self, manifest: &Digest) -> Result<Vec<Digest>, RegistryError> {
        let bytes = match self.blobs.read(manifest, LONGEST_READ) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(StorageError::Corrupt { .. } | StorageError::TooLarge { .. }) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let manifest = Manifest::parse_stored(&bytes).ok();
        let parts = manifest.iter().flat_map(Manifest::references).map(|(_, part)| part.digest);
        Ok(parts.collect())
    }

    /// Takes out of a repository what nothing in it refers to.
    pub(crate) fn release(
        &self,
        repository: &RepoName,
        manifests: &[Doomed],
        blobs: &[Digest],
        run: Run,
        done: &mut Collected,
    ) -> Result<Released, RegistryError> {
        let collector = &self.collector;
        let closing = collector.fence.closing(run.now);
        let may_go = |digest: &Digest| {
            !collector.removals.need(repository, digest)
                && closing.close(Thing::Link(repository.clone(), *digest))
        };
        let released = self.meta.release(&Release { repository, manifests, blobs, may_go: &may_go })?;
        drop(closing);
        done.manifests += released.manifests.len() as u64;
        done.links += released.blobs.len() as u64;
        for (digest, kept) in &released.kept {
            match kept {
                // Another deletion needs it: that one will see to it.
                Kept::Promised if collector.removals.need(repository, digest) => {}
                Kept::Promised => done.promised += 1,
                Kept::Used | Kept::PushedAgain => {}
                Kept::Unknown { damaged } => {
                    done.unknown += 1;
                    tracing::warn!(
                        %repository, %digest, %damaged,
                        "a manifest of this repository is damaged, so what it needs isn't known and nothing is taken away; \
                         push it again or delete it"
                    );
                }
            }
        }
        Ok(released)
    }

    /// Removes content that nothing refers to, in whatever repository.
    pub(crate) fn remove_content(&self, digest: &Digest, done: &mut Collected) -> Result<(), RegistryError> {
        self.try_to_remove_content(digest)?.count(digest, done);
        Ok(())
    }

    /// Removes content that was just published for nothing, as no link to it could be written on a full disk: else it
    /// would hold the room that is missing until it is swept.
    pub(crate) fn take_back(&self, digest: &Digest) {
        let mut done = Collected::default();
        if let Err(error) = self.remove_unlinked(&[*digest], &mut done) {
            tracing::warn!(%digest, %error, "content without a link stays for now");
        }
    }

    /// Removes content whose links are gone, and what was left of such content before. What can't go in this moment is
    /// left over for the next time.
    pub(crate) fn remove_unlinked(
        &self,
        digests: &[Digest],
        done: &mut Collected,
    ) -> Result<(), RegistryError> {
        let leftovers = &self.collector.leftovers;
        leftovers.add(digests);
        for digest in leftovers.all() {
            // A change that failed, as on a full disk, makes every reference doubtful: then they are compared again.
            let fate = match self.try_to_remove_content(&digest)? {
                Fate::Unknown if self.meta.know_every_reference(&AtomicBool::new(false))? => {
                    self.try_to_remove_content(&digest)?
                }
                fate => fate,
            };
            if matches!(fate, Fate::Gone(_) | Fate::Needed) {
                leftovers.remove(&digest);
            }
            fate.count(&digest, done);
        }
        Ok(())
    }

    fn try_to_remove_content(&self, digest: &Digest) -> Result<Fate, RegistryError> {
        if self.blobs.stat(digest)?.is_none() || self.collector.removals.name(digest) {
            return Ok(Fate::Needed);
        }
        // Links are promised; content only has to be left to who works on it right now.
        let closing = self.collector.fence.closing(true);
        if !closing.close(Thing::Content(*digest)) {
            return Ok(Fate::Held);
        }
        Ok(match self.meta.is_referred_to(digest)? {
            Some(false) => self.blobs.remove(digest)?.map_or(Fate::Needed, Fate::Gone),
            Some(true) => Fate::Needed,
            None => Fate::Unknown,
        })
    }

    /// Whether something was written before `age` ago; a time that can't be told is no age.
    pub(crate) fn is_older_than(&self, modified_nanoseconds: i64, age: Duration) -> bool {
        let Ok(nanoseconds) = u64::try_from(modified_nanoseconds) else { return false };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        (self.environment.now)().duration_since(modified).is_ok_and(|passed| passed >= age)
    }
}
