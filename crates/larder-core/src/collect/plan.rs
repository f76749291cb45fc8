//! What a collection by hand would take away: everything that nothing needs, found by marking what something needs.
//!
//! registry:2's `garbage-collect` marks too, and gets it wrong in two places: with `--delete-untagged` it takes the
//! platforms of tagged indexes for untagged, and it doesn't follow what is about an image. Both are followed here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use larder_meta::{Doomed, RepositoryContents};
use larder_oci::{Algorithm, Digest, RepoName};
use serde::Serialize;

use crate::collect::{Collected, Run};
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

impl Inner {
    fn plan(&self, planning: Planning) -> Result<Plan, RegistryError> {
        let mut plan = Plan::default();
        self.meta.know_every_reference(&AtomicBool::new(false))?;
        let mut doomed: HashMap<RepoName, HashSet<Digest>> = HashMap::new();
        for removed in self.collector.removals.list() {
            let digests = removed.what.doomed.iter().map(|each| each.digest);
            doomed.entry(removed.repository.clone()).or_default().extend(digests);
        }
        let mut needed: HashSet<Digest> = HashSet::new();
        for name in self.meta.known_repositories()? {
            let contents = self.meta.contents(&name)?;
            let none = HashSet::new();
            let live = live_manifests(&contents, planning.untagged, doomed.get(&name).unwrap_or(&none));
            self.plan_repository(&name, &contents, &live, planning, &mut plan, &mut needed)?;
        }
        for algorithm in Algorithm::ALL {
            for byte in 0..=u8::MAX {
                for digest in self.blobs.list(algorithm, byte)? {
                    self.plan_content(&digest, planning, &needed, &mut plan)?;
                }
            }
        }
        Ok(plan)
    }

    fn plan_repository(
        &self,
        name: &RepoName,
        contents: &RepositoryContents,
        live: &HashSet<Digest>,
        planning: Planning,
        plan: &mut Plan,
        needed: &mut HashSet<Digest>,
    ) -> Result<(), RegistryError> {
        let is_live = |digest: &Digest| contents.damaged.is_some() || live.contains(digest);
        let mut parts: HashSet<Digest> = HashSet::new();
        // Blobs of manifests that go, go with them whatever their age.
        let mut parts_of_dead: HashSet<Digest> = HashSet::new();
        for (manifest, part) in &contents.parts {
            if is_live(manifest) {
                parts.insert(*part)
            } else {
                parts_of_dead.insert(*part)
            };
        }
        for (digest, _) in &contents.manifests {
            if is_live(digest) {
                needed.insert(*digest);
            } else {
                plan.manifests.push((name.clone(), *digest));
            }
        }
        for (digest, target) in &contents.blobs {
            let goes = contents.damaged.is_none()
                && !parts.contains(digest)
                && (planning.young || parts_of_dead.contains(digest) || self.is_old_link(name, digest)?);
            if goes {
                plan.blobs.push((name.clone(), *digest));
            } else {
                needed.insert(target.unwrap_or(*digest));
            }
        }
        needed.extend(parts);
        Ok(())
    }

    fn is_old_link(&self, name: &RepoName, digest: &Digest) -> Result<bool, RegistryError> {
        let linked = self.meta.blob_linked_at(name, digest)?;
        Ok(linked.is_some_and(|linked| self.is_older_than(linked, self.settings.collection.unreferenced)))
    }

    fn plan_content(
        &self,
        digest: &Digest,
        planning: Planning,
        needed: &HashSet<Digest>,
        plan: &mut Plan,
    ) -> Result<(), RegistryError> {
        if needed.contains(digest) || self.meta.is_kept_unread(digest) {
            plan.needed += 1;
            return Ok(());
        }
        let Some(stat) = self.blobs.stat(digest)? else { return Ok(()) };
        // Unknown to every repository it may be a push that is under way.
        let is_known =
            self.meta.is_referred_to(digest)? != Some(false) || self.collector.removals.name(digest);
        let is_old = self.is_older_than(stat.modified_nanoseconds, self.settings.collection.unreferenced);
        if planning.young || is_known || is_old {
            plan.contents.push((*digest, stat.size));
            plan.bytes += stat.size;
        }
        Ok(())
    }

    fn carry_out(&self, planning: Planning) -> Result<Collected, RegistryError> {
        let run = Run { now: true, sweep: true };
        let mut done = Collected::default();
        let plan = self.plan(planning)?;
        let mut by_repository: HashMap<RepoName, (Vec<Doomed>, Vec<Digest>)> = HashMap::new();
        for (name, digest) in &plan.manifests {
            if let Some(doomed) = self.meta.as_doomed(name, digest)? {
                by_repository.entry(name.clone()).or_default().0.push(doomed);
            }
        }
        for (name, digest) in &plan.blobs {
            by_repository.entry(name.clone()).or_default().1.push(*digest);
        }
        for (name, (manifests, blobs)) in &by_repository {
            self.release(name, manifests, blobs, run, &mut done)?;
        }
        for (digest, _) in &plan.contents {
            self.remove_content(digest, &mut done)?;
        }
        self.collector.went(done);
        Ok(done)
    }
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
