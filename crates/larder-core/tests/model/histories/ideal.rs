//! The registry as sets: what deletions, undoing and the collector must come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use larder_oci::{Digest, Manifest};

/// All there can be.
pub(super) struct Things {
    pub(super) blobs: Vec<Bytes>,
    pub(super) manifests: Vec<Bytes>,
    parts: HashMap<Digest, BTreeSet<Digest>>,
    subjects: HashMap<Digest, Digest>,
}

impl Things {
    pub(super) fn new(blobs: Vec<Bytes>, manifests: Vec<Bytes>) -> Things {
        let (mut parts, mut subjects) = (HashMap::new(), HashMap::new());
        for bytes in &manifests {
            let manifest = Manifest::parse(bytes, None).unwrap();
            let digest = Digest::sha256(bytes);
            parts.insert(digest, manifest.references().map(|(_, part)| part.digest).collect());
            if let Some(subject) = manifest.subject {
                subjects.insert(digest, subject.digest);
            }
        }
        Things { blobs, manifests, parts, subjects }
    }
}

#[derive(Clone, Default)]
pub(super) struct Ideal {
    repositories: BTreeMap<&'static str, Repository>,
    /// Oldest first.
    removals: Vec<Removal>,
    pushes: u64,
}

#[derive(Clone, Default)]
struct Repository {
    tags: BTreeMap<&'static str, Digest>,
    /// With the push that wrote each.
    manifests: BTreeMap<Digest, u64>,
    blobs: BTreeSet<Digest>,
}

#[derive(Clone)]
struct Removal {
    repository: &'static str,
    manifest: Option<Digest>,
    blob: Option<Digest>,
    tags: Vec<(&'static str, Digest)>,
    parts: BTreeSet<Digest>,
    doomed: Vec<(Digest, u64)>,
}

impl Removal {
    fn needs(&self, digest: &Digest) -> bool {
        self.manifest.as_ref() == Some(digest)
            || self.blob.as_ref() == Some(digest)
            || self.parts.contains(digest)
            || self.tags.iter().any(|(_, target)| target == digest)
            || self.doomed.iter().any(|(doomed, _)| doomed == digest)
    }
}

impl Repository {
    fn needed_beside(&self, things: &Things, digest: &Digest, going: &BTreeSet<Digest>) -> bool {
        self.manifests.keys().any(|parent| !going.contains(parent) && things.parts[parent].contains(digest))
    }

    fn subject_stays(&self, things: &Things, digest: &Digest, going: &BTreeSet<Digest>) -> bool {
        things
            .subjects
            .get(digest)
            .is_some_and(|subject| self.manifests.contains_key(subject) && !going.contains(subject))
    }

    fn is_tagged(&self, digest: &Digest) -> bool {
        self.tags.values().any(|target| target == digest)
    }

    /// What hangs on a manifest, itself included.
    fn hanging_on(&self, things: &Things, root: &Digest) -> Vec<(Digest, u64)> {
        let mut found = BTreeSet::from([*root]);
        let mut open = vec![*root];
        while let Some(digest) = open.pop() {
            for other in self.manifests.keys() {
                let hangs = things.parts.get(&digest).is_some_and(|parts| parts.contains(other))
                    || things.subjects.get(other) == Some(&digest);
                if hangs && found.insert(*other) {
                    open.push(*other);
                }
            }
        }
        found.iter().filter_map(|digest| Some((*digest, *self.manifests.get(digest)?))).collect()
    }
}

impl Ideal {
    fn of(&mut self, repository: &'static str) -> &mut Repository {
        self.repositories.entry(repository).or_default()
    }

    pub(super) fn has_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.repositories.get(repository).is_some_and(|it| it.manifests.contains_key(digest))
    }

    pub(super) fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.repositories.get(repository).is_some_and(|it| it.blobs.contains(digest))
    }

    /// Whether a tag, or an image of a tag, needs it: then the collector never takes it.
    pub(super) fn is_needed(&self, things: &Things, repository: &str, digest: &Digest) -> bool {
        let Some(it) = self.repositories.get(repository) else { return false };
        let (mut seen, mut open) = (BTreeSet::new(), it.tags.values().copied().collect::<Vec<Digest>>());
        while let Some(needed) = open.pop() {
            if seen.insert(needed) {
                open.extend(things.parts.get(&needed).into_iter().flatten());
            }
        }
        seen.contains(digest)
    }

    pub(super) fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.repositories.get(repository)?.tags.get(tag).copied()
    }

    pub(super) fn upload(&mut self, repository: &'static str, digest: Digest) -> bool {
        self.of(repository).blobs.insert(digest);
        true
    }

    pub(super) fn mount(&mut self, from: &'static str, to: &'static str, digest: Digest) -> bool {
        let there = self.has_blob(from, &digest);
        if there {
            self.of(to).blobs.insert(digest);
        }
        there
    }

    pub(super) fn put(
        &mut self,
        things: &Things,
        repository: &'static str,
        digest: Digest,
        tag: Option<&'static str>,
    ) -> bool {
        let it = self.repositories.entry(repository).or_default();
        if !things.parts[&digest]
            .iter()
            .all(|part| it.blobs.contains(part) || it.manifests.contains_key(part))
        {
            return false;
        }
        self.pushes += 1;
        it.manifests.insert(digest, self.pushes);
        it.tags.extend(tag.map(|tag| (tag, digest)));
        true
    }

    pub(super) fn delete_tag(
        &mut self,
        things: &Things,
        repository: &'static str,
        tag: &'static str,
    ) -> bool {
        let it = self.of(repository);
        let Some(target) = it.tags.remove(tag) else { return false };
        let nothing = BTreeSet::new();
        let hangs_on_it_alone = !it.is_tagged(&target)
            && !it.needed_beside(things, &target, &nothing)
            && !it.subject_stays(things, &target, &nothing);
        let doomed = if hangs_on_it_alone { it.hanging_on(things, &target) } else { Vec::new() };
        self.removals.push(Removal {
            repository,
            manifest: None,
            blob: None,
            tags: vec![(tag, target)],
            parts: BTreeSet::new(),
            doomed,
        });
        true
    }

    pub(super) fn delete_manifest(
        &mut self,
        things: &Things,
        repository: &'static str,
        digest: Digest,
    ) -> bool {
        let it = self.of(repository);
        if !it.manifests.contains_key(&digest) {
            return false;
        }
        let mut doomed = it.hanging_on(things, &digest);
        doomed.retain(|(each, _)| *each != digest);
        it.manifests.remove(&digest);
        let tags: Vec<(&'static str, Digest)> = it
            .tags
            .iter()
            .filter(|(_, target)| **target == digest)
            .map(|(tag, target)| (*tag, *target))
            .collect();
        it.tags.retain(|_, target| *target != digest);
        let mut parts = things.parts[&digest].clone();
        parts.retain(|part| it.blobs.contains(part) || it.manifests.contains_key(part));
        self.removals.push(Removal { repository, manifest: Some(digest), blob: None, tags, parts, doomed });
        true
    }

    pub(super) fn delete_blob(&mut self, repository: &'static str, digest: Digest) -> bool {
        if !self.of(repository).blobs.remove(&digest) {
            return false;
        }
        self.removals.push(Removal {
            repository,
            manifest: None,
            blob: Some(digest),
            tags: Vec::new(),
            parts: BTreeSet::new(),
            doomed: Vec::new(),
        });
        true
    }

    /// Undoes the deletion so many before the newest.
    pub(super) fn undo(&mut self, back: usize) -> bool {
        let Some(at) = self.removals.len().checked_sub(back + 1) else { return false };
        let removal = &self.removals[at];
        let it = self.repositories.entry(removal.repository).or_default();
        if !removal.parts.iter().all(|part| it.blobs.contains(part) || it.manifests.contains_key(part)) {
            return false;
        }
        for (tag, digest) in &removal.tags {
            let is_free = it.tags.get(tag).is_none_or(|now| now == digest);
            if is_free && removal.manifest != Some(*digest) && !it.manifests.contains_key(digest) {
                return false;
            }
        }
        self.pushes += 1;
        it.manifests.extend(removal.manifest.map(|digest| (digest, self.pushes)));
        it.blobs.extend(removal.blob);
        for (tag, digest) in &removal.tags {
            it.tags.entry(tag).or_insert(*digest);
        }
        self.removals.remove(at);
        true
    }

    /// The oldest deletions become final, one after the other.
    pub(super) fn collect(&mut self, things: &Things, count: usize) -> bool {
        for _ in 0..count.min(self.removals.len()) {
            let removal = self.removals.remove(0);
            let later: Vec<&Removal> =
                self.removals.iter().filter(|later| later.repository == removal.repository).collect();
            let stays = |digest: &Digest| later.iter().any(|later| later.needs(digest));
            let it = self.repositories.entry(removal.repository).or_default();
            let mut going = BTreeSet::new();
            loop {
                let before = going.len();
                for (digest, push) in &removal.doomed {
                    if it.manifests.get(digest) == Some(push)
                        && !it.is_tagged(digest)
                        && !it.needed_beside(things, digest, &going)
                        && !it.subject_stays(things, digest, &going)
                        && !stays(digest)
                    {
                        going.insert(*digest);
                    }
                }
                if going.len() == before {
                    break;
                }
            }
            let gone = removal.doomed.iter().map(|(digest, _)| digest);
            let gone = gone.filter(|digest| !it.manifests.contains_key(*digest));
            let parts = going.iter().chain(gone).flat_map(|digest| &things.parts[digest]);
            let candidates: BTreeSet<Digest> = parts.chain(&removal.parts).copied().collect();
            for digest in candidates {
                if !it.needed_beside(things, &digest, &going) && !stays(&digest) {
                    it.blobs.remove(&digest);
                }
            }
            it.manifests.retain(|digest, _| !going.contains(digest));
        }
        true
    }
}
