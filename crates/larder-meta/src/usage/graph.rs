//! One repository's manifests and what they are made of, to find out what hangs on a tag alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use larder_oci::{Digest, Tag};

use crate::contents::RepositoryContents;
use crate::index::Weight;

/// Reasons that are looked for in one repository for one piece of content.
const MOST_REASONS: usize = 100;

pub(super) struct Graph {
    tags: BTreeMap<Tag, Digest>,
    tagged: HashMap<Digest, Vec<Tag>>,
    /// With what each is about, whether that is here or not.
    manifests: HashMap<Digest, Option<Digest>>,
    parts: HashMap<Digest, Vec<Digest>>,
    parents: HashMap<Digest, Vec<Digest>>,
    /// By subject.
    attached: HashMap<Digest, Vec<Digest>>,
    blobs: HashSet<Digest>,
    /// By the digest of the content, the blobs that are links to it under another one.
    aliases: HashMap<Digest, Vec<Digest>>,
    /// A manifest can't be read: nothing is let go then.
    is_damaged: bool,
    weights: HashMap<Digest, Weight>,
}

/// What deleting a tag does, once the collector has been there.
pub(super) struct Deletion {
    /// Manifests that go.
    going: HashSet<Digest>,
    /// What the image is made of, with what is about it.
    all: BTreeSet<Digest>,
    /// Of these the content that is gone then.
    goes: BTreeSet<Digest>,
}

impl Graph {
    pub(super) fn new(
        contents: RepositoryContents,
        tags: BTreeMap<Tag, Digest>,
        weights: HashMap<Digest, Weight>,
    ) -> Graph {
        let mut graph = Graph {
            tagged: HashMap::new(),
            manifests: contents.manifests.iter().copied().collect(),
            parts: HashMap::new(),
            parents: HashMap::new(),
            attached: HashMap::new(),
            blobs: contents.blobs.iter().map(|(digest, _)| *digest).collect(),
            aliases: HashMap::new(),
            is_damaged: contents.damaged.is_some(),
            tags,
            weights,
        };
        for (tag, digest) in &graph.tags {
            graph.tagged.entry(*digest).or_default().push(tag.clone());
        }
        for (parent, part) in contents.parts {
            graph.parts.entry(parent).or_default().push(part);
            graph.parents.entry(part).or_default().push(parent);
        }
        for (digest, subject) in contents.manifests {
            if let Some(subject) = subject {
                graph.attached.entry(subject).or_default().push(digest);
            }
        }
        for (digest, target) in contents.blobs {
            if let Some(target) = target {
                graph.aliases.entry(target).or_default().push(digest);
            }
        }
        graph
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = (&Tag, &Digest)> {
        self.tags.iter()
    }

    pub(super) fn target(&self, tag: &Tag) -> Option<&Digest> {
        self.tags.get(tag)
    }

    pub(super) fn bytes<'a>(&self, contents: impl Iterator<Item = &'a Digest>) -> u64 {
        contents.filter_map(|digest| self.weights.get(digest)).map(|weight| weight.size).sum()
    }

    /// Of all content that the repository holds, what is none of these.
    pub(super) fn bytes_beside(&self, these: &BTreeSet<Digest>) -> u64 {
        let others = self.weights.iter().filter(|(digest, _)| !these.contains(*digest));
        others.map(|(_, weight)| weight.size).sum()
    }

    /// What deleting a tag that points at this manifest does: `delete_tag_noting` and `release`, in memory.
    pub(super) fn deletion(&self, root: &Digest) -> Deletion {
        let image = self.image(root);
        let mut all: BTreeSet<Digest> = image.iter().copied().collect();
        all.extend(image.iter().flat_map(|manifest| of(&self.parts, manifest)).copied());
        let mut going = HashSet::new();
        if !self.is_damaged && self.hangs_on_one_tag(root) {
            loop {
                let before = going.len();
                for manifest in &image {
                    if !going.contains(manifest) && self.manifest_may_go(manifest, root, &going) {
                        going.insert(*manifest);
                    }
                }
                if going.len() == before {
                    break;
                }
            }
        }
        let goes = all.iter().filter(|content| self.content_goes(content, &going)).copied().collect();
        Deletion { going, all, goes }
    }

    /// A manifest with the manifests that it is made of, those that are about it, and so on; parents first.
    fn image(&self, root: &Digest) -> Vec<Digest> {
        let (mut found, mut open) = (Vec::new(), vec![*root]);
        let mut seen = HashSet::from([*root]);
        while let Some(digest) = open.pop() {
            if self.manifests.contains_key(&digest) {
                found.push(digest);
            }
            let below = of(&self.parts, &digest).iter().filter(|part| self.manifests.contains_key(part));
            let below = below.chain(of(&self.attached, &digest));
            open.extend(below.filter(|each| seen.insert(**each)));
        }
        found
    }

    fn hangs_on_one_tag(&self, digest: &Digest) -> bool {
        of(&self.tagged, digest).len() < 2
            && of(&self.parents, digest).is_empty()
            && self.subject_here(digest).is_none()
    }

    fn subject_here(&self, digest: &Digest) -> Option<&Digest> {
        self.manifests.get(digest)?.as_ref().filter(|subject| self.manifests.contains_key(subject))
    }

    fn manifest_may_go(&self, digest: &Digest, root: &Digest, going: &HashSet<Digest>) -> bool {
        // The deleted tag is the only one of its own manifest.
        let is_tagged = digest != root && !of(&self.tagged, digest).is_empty();
        !is_tagged
            && self.has_no_parent_beside(digest, going)
            && self.subject_here(digest).is_none_or(|subject| going.contains(subject))
    }

    fn has_no_parent_beside(&self, digest: &Digest, going: &HashSet<Digest>) -> bool {
        of(&self.parents, digest).iter().all(|parent| going.contains(parent))
    }

    /// Whether nothing refers to this content once these manifests are gone. Their blobs' links go with them.
    fn content_goes(&self, content: &Digest, going: &HashSet<Digest>) -> bool {
        let is_part = of(&self.parents, content).iter().any(|parent| going.contains(parent));
        let is_alone = self.weights.get(content).is_some_and(|weight| weight.holders == 1);
        is_alone
            && self.has_no_parent_beside(content, going)
            && (going.contains(content) || !self.manifests.contains_key(content))
            && (is_part || !self.blobs.contains(content))
            && (is_part || going.contains(content))
            && of(&self.aliases, content).is_empty()
    }

    /// The tags, or where there are none the manifests, of this repository that need some content beside the deletion;
    /// as they are written behind the repository's name.
    pub(super) fn needed_by(&self, deleted: &Tag, deletion: &Deletion, content: &Digest) -> Vec<String> {
        let (mut open, mut seen) = (vec![*content], HashSet::from([*content]));
        let (mut tags, mut untagged) = (BTreeSet::new(), BTreeSet::new());
        while let Some(digest) = open.pop() {
            if tags.len() + untagged.len() >= MOST_REASONS {
                break;
            }
            let own = of(&self.tagged, &digest);
            tags.extend(own.iter().filter(|tag| *tag != deleted).map(|tag| format!(":{tag}")));
            let above = of(&self.parents, &digest).iter().chain(self.subject_here(&digest));
            let above: Vec<Digest> = above.filter(|each| !deletion.going.contains(*each)).copied().collect();
            let stays = self.manifests.contains_key(&digest) && !deletion.going.contains(&digest);
            if above.is_empty() && own.is_empty() && stays {
                untagged.insert(format!("@{digest}"));
            }
            open.extend(above.into_iter().filter(|each| seen.insert(*each)));
        }
        tags.into_iter().chain(untagged).collect()
    }
}

impl Deletion {
    pub(super) fn all(&self) -> impl Iterator<Item = &Digest> {
        self.all.iter()
    }

    pub(super) fn goes(&self) -> impl Iterator<Item = &Digest> {
        self.goes.iter()
    }

    /// The content that stays.
    pub(super) fn stays<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = (Digest, Weight)> + 'a {
        let stays = self.all.difference(&self.goes);
        stays.map(|digest| (*digest, graph.weights.get(digest).copied().unwrap_or_default()))
    }
}

fn of<'a, T>(map: &'a HashMap<Digest, Vec<T>>, digest: &Digest) -> &'a [T] {
    map.get(digest).map(Vec::as_slice).unwrap_or_default()
}
