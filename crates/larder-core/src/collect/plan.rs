//! What a collection by hand would take away: everything that nothing needs, found by marking what something needs.
//!
//! registry:2's `garbage-collect` marks too, and gets it wrong in two places: with `--delete-untagged` it takes the
//! platforms of tagged indexes for untagged, and it doesn't follow what is about an image. Both are followed here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use larder_meta::{Doomed, RepositoryContents};
use larder_oci::{Algorithm, Digest, RepoName};
use serde::Serialize;

use crate::collect::{Collected, Run, final_before};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// What a collection by hand is to take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planning {
    /// Also the manifests that no tag, index or image needs.
    pub untagged: bool,
    /// Also what is younger than a push may take: nobody is pushing.
    pub young: bool,
}

/// What would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Content that something needs.
    pub needed: u64,
    /// Manifests, by repository.
    pub manifests: Vec<(RepoName, Digest)>,
    /// Blobs, by repository.
    pub blobs: Vec<(RepoName, Digest)>,
    /// Content, with its length in bytes.
    pub contents: Vec<(Digest, u64)>,
    /// The bytes of that.
    pub bytes: u64,
}

impl Registry {
    /// What a collection would take away right now, deletions that can be undone included.
    pub async fn plan_collection(
        &self,
        _: &larder_oci::AdminAccess,
        planning: Planning,
    ) -> Result<Plan, RegistryError> {
        self.asking_the_index(move |inner| inner.plan(planning)).await
    }

    /// Takes away everything that nothing needs.
    pub async fn collect_all(
        &self,
        access: &larder_oci::AdminAccess,
        planning: Planning,
    ) -> Result<Collected, RegistryError> {
        let mut collected = self.collect(access, Run { now: true, sweep: false }).await?;
        let rest = self
            .asking_the_index(move |inner| {
                let _change = inner.pause.begin()?;
                inner.carry_out(planning)
            })
            .await?;
        self.inner.collector.note_freed((self.inner.environment.now)(), rest);
        collected += rest;
        Ok(collected)
    }
}

/// What goes out of one repository.
#[derive(Default)]
struct Going {
    manifests: HashSet<Digest>,
    /// With the content's digest where that is another one.
    blobs: HashMap<Digest, Option<Digest>>,
}

/// The manifests that deletions which can be undone have doomed, by repository.
type DoomedManifests = HashMap<RepoName, HashSet<Digest>>;

impl Inner {
    /// What is remembered of it is what goes. What stays, which is nearly all, is asked of the index piece by piece.
    fn plan(&self, planning: Planning) -> Result<Plan, RegistryError> {
        let mut plan = Plan::default();
        self.meta.know_every_reference(&AtomicBool::new(false))?;
        let doomed = self.doomed();
        // By how much that goes each content is referred to.
        let mut going_references: HashMap<Digest, u64> = HashMap::new();
        let mut lost = |digest: &Digest| *going_references.entry(*digest).or_default() += 1;
        for name in self.meta.known_repositories()? {
            let contents = self.meta.contents(&name)?;
            let going = self.going(&name, &contents, planning, &doomed)?;
            going.manifests.iter().for_each(&mut lost);
            going.blobs.iter().flat_map(|(digest, target)| target.iter().chain([digest])).for_each(&mut lost);
            let parts = contents.parts.iter().filter(|(manifest, _)| going.manifests.contains(manifest));
            parts.for_each(|(_, part)| lost(part));
            plan.manifests.extend(sorted(&going.manifests).map(|digest| (name.clone(), digest)));
            plan.blobs.extend(sorted(going.blobs.keys()).map(|digest| (name.clone(), digest)));
        }
        self.each_content(|digest| self.plan_content(digest, planning, &going_references, &mut plan))?;
        Ok(plan)
    }

    fn doomed(&self) -> DoomedManifests {
        let mut doomed = DoomedManifests::new();
        for removed in self.collector.removals.list() {
            let digests = removed.what.doomed.iter().map(|each| each.digest);
            doomed.entry(removed.repository.clone()).or_default().extend(digests);
        }
        doomed
    }

    /// Every content that there is, a 256th at a time.
    fn each_content(
        &self,
        mut what: impl FnMut(&Digest) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        for algorithm in Algorithm::ALL {
            for byte in 0..=u8::MAX {
                self.blobs.list(algorithm, byte)?.iter().try_for_each(&mut what)?;
            }
        }
        Ok(())
    }

    fn going(
        &self,
        name: &RepoName,
        contents: &RepositoryContents,
        planning: Planning,
        doomed: &DoomedManifests,
    ) -> Result<Going, RegistryError> {
        let mut going = Going::default();
        if contents.damaged.is_some() {
            return Ok(going);
        }
        let none = HashSet::new();
        let live = live_manifests(contents, planning.untagged, doomed.get(name).unwrap_or(&none));
        let all = contents.manifests.iter().map(|(digest, _)| *digest);
        going.manifests = all.filter(|digest| !live.contains(digest)).collect();
        // Blobs of manifests that go, go with them whatever their age.
        let (mut parts, mut parts_of_dead) = (HashSet::new(), HashSet::new());
        for (manifest, part) in &contents.parts {
            if live.contains(manifest) {
                parts.insert(*part)
            } else {
                parts_of_dead.insert(*part)
            };
        }
        for (digest, target) in &contents.blobs {
            let goes = !parts.contains(digest)
                && (planning.young || parts_of_dead.contains(digest) || self.is_old_link(name, digest)?);
            if goes {
                going.blobs.insert(*digest, *target);
            }
        }
        Ok(going)
    }

    fn is_old_link(&self, name: &RepoName, digest: &Digest) -> Result<bool, RegistryError> {
        let linked = self.meta.blob_linked_at(name, digest)?;
        Ok(linked.is_some_and(|linked| self.is_older_than(linked, self.settings.collection.unreferenced)))
    }

    fn plan_content(
        &self,
        digest: &Digest,
        planning: Planning,
        going_references: &HashMap<Digest, u64>,
        plan: &mut Plan,
    ) -> Result<(), RegistryError> {
        let going = going_references.get(digest).copied().unwrap_or_default();
        let is_needed = match self.meta.is_referred_to(digest)? {
            Some(false) => false,
            _ if self.meta.is_kept_unread(digest) => true,
            _ => self.meta.references_to(digest, going + 1)? > going,
        };
        if is_needed {
            plan.needed += 1;
            return Ok(());
        }
        let Some(stat) = self.blobs.stat(digest)? else { return Ok(()) };
        // Unknown to every repository it may be a push that is under way.
        let is_known = going > 0 || self.collector.removals.name(digest);
        let is_old = self.is_older_than(stat.modified_nanoseconds, self.settings.collection.unreferenced);
        if planning.young || is_known || is_old {
            plan.contents.push((*digest, stat.size));
            plan.bytes += stat.size;
        }
        Ok(())
    }

    /// A repository at a time, and then what no repository knows, a part of all content at a time.
    fn carry_out(&self, planning: Planning) -> Result<Collected, RegistryError> {
        let run = Run { now: true, sweep: true };
        let mut done = Collected::default();
        self.meta.know_every_reference(&AtomicBool::new(false))?;
        let doomed = self.doomed();
        for name in self.meta.known_repositories()? {
            self.empty_repository(&name, planning, &doomed, run, &mut done)?;
            // As for content without a link: nobody is pushing, or it has to be old.
            let grace = self.settings.collection.grace;
            let before = final_before((self.environment.now)(), Run { now: planning.young, ..run }, grace);
            self.take_away_if_empty(&name, Some(before), &mut done)?;
        }
        self.each_content(|digest| {
            if self.meta.is_referred_to(digest)? != Some(false) {
                return Ok(());
            }
            let Some(stat) = self.blobs.stat(digest)? else { return Ok(()) };
            let is_old = self.is_older_than(stat.modified_nanoseconds, self.settings.collection.unreferenced);
            if planning.young || is_old { self.remove_content(digest, &mut done) } else { Ok(()) }
        })?;
        self.collector.went(done);
        Ok(done)
    }

    /// Takes what nothing needs out of a repository. Its content goes, too, as soon as no other one refers to it.
    fn empty_repository(
        &self,
        name: &RepoName,
        planning: Planning,
        doomed: &DoomedManifests,
        run: Run,
        done: &mut Collected,
    ) -> Result<(), RegistryError> {
        let contents = self.meta.contents(name)?;
        let going = self.going(name, &contents, planning, doomed)?;
        let mut manifests: Vec<Doomed> = Vec::new();
        for digest in &going.manifests {
            manifests.extend(self.meta.as_doomed(name, digest)?);
        }
        let blobs: Vec<Digest> = going.blobs.keys().copied().collect();
        if manifests.is_empty() && blobs.is_empty() {
            return Ok(());
        }
        let released = self.release(name, &manifests, &blobs, run, done)?;
        let manifests: HashSet<Digest> = released.manifests.iter().copied().collect();
        let parts = contents.parts.iter().filter(|(manifest, _)| manifests.contains(manifest));
        let content = |digest: &Digest| going.blobs.get(digest).copied().flatten().unwrap_or(*digest);
        let below: HashSet<Digest> =
            released.blobs.iter().map(content).chain(parts.map(|(_, part)| *part)).collect();
        // Manifests last: they say what else has to go, also after a crash.
        for digest in below.difference(&manifests).chain(&manifests) {
            self.remove_content(digest, done)?;
        }
        Ok(())
    }
}

fn sorted<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> impl Iterator<Item = Digest> {
    let mut digests: Vec<Digest> = digests.into_iter().copied().collect();
    digests.sort_unstable();
    digests.into_iter()
}

/// The manifests that a tag needs, or an index that is needed, or that are about one that is needed. Without
/// `untagged`, also those that nothing needs, unless a deletion has doomed them.
fn live_manifests(
    contents: &RepositoryContents,
    untagged: bool,
    doomed: &HashSet<Digest>,
) -> HashSet<Digest> {
    let there: HashSet<Digest> = contents.manifests.iter().map(|(digest, _)| *digest).collect();
    let mut below: HashMap<Digest, Vec<Digest>> = HashMap::new();
    for (manifest, part) in contents.parts.iter().filter(|(_, part)| there.contains(part)) {
        below.entry(*manifest).or_default().push(*part);
    }
    for (digest, subject) in &contents.manifests {
        if let Some(subject) = subject {
            below.entry(*subject).or_default().push(*digest);
        }
    }
    let roots = there.iter().filter(|digest| !untagged && !doomed.contains(*digest));
    let mut open: Vec<Digest> = roots.chain(&contents.tagged).copied().collect();
    let mut live = HashSet::new();
    while let Some(digest) = open.pop() {
        if live.insert(digest) {
            open.extend(below.get(&digest).into_iter().flatten());
        }
    }
    live
}
