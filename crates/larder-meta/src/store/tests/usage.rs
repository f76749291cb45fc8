//! What the index counts along is what counting everything again says, whatever happens; and a tag's deletion gives back
//! what was said before it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{Origin, PutCachedManifest, QuotaRule, Release, Removal, TagUsage};

/// Each step of each is followed by a recount.
const CASES: u32 = 40;

const REPOSITORY: [&str; 4] = ["a", "a/b", "a0", "c/d/e"];
const TAG: [&str; 3] = ["latest", "v1", "v2"];
const PREFIX: [&str; 4] = ["a", "a/b", "c", "nowhere"];
const MANIFESTS: usize = 7;
const LAYERS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    /// With or without what the manifest is made of.
    Put {
        repository: usize,
        manifest: usize,
        tag: Option<usize>,
        whole: bool,
    },
    PutCopy {
        repository: usize,
        manifest: usize,
        tag: Option<usize>,
        whole: bool,
    },
    Link {
        repository: usize,
        layer: usize,
    },
    LinkCopy {
        repository: usize,
        layer: usize,
    },
    Unlink {
        repository: usize,
        layer: usize,
    },
    DeleteTag {
        repository: usize,
        tag: usize,
    },
    DeleteManifest {
        repository: usize,
        manifest: usize,
    },
    /// Of the deletions that wait, the one of this number.
    Undo(usize),
    Collect,
    /// Content goes although something needs it, as damaged content does.
    Lose {
        layer: usize,
    },
    SetQuotas(usize),
    Restart,
}

fn layer(number: usize) -> Vec<u8> {
    vec![number as u8; 1 << (4 + number)]
}

fn image_with(config: &[u8], layers: &[usize]) -> Vec<u8> {
    let (digest, layers): (_, Vec<String>) = (
        Digest::sha256(config),
        layers
            .iter()
            .map(|number| {
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":1}}"#,
                    Digest::sha256(&layer(*number))
                )
            })
            .collect(),
    );
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":1}},"layers":[{}]}}"#,
        layers.join(",")
    )
    .into_bytes()
}

fn universe() -> [Vec<u8>; MANIFESTS] {
    let images = [
        image_with(&layer(0), &[1, 2]),
        image_with(&layer(0), &[2, 3]),
        // The same layer as two things.
        image_with(&layer(4), &[4, 2]),
    ];
    let of = |number: usize| Digest::sha256(&images[number]);
    let both = index(&[(of(0), None), (of(1), None)]);
    let nested = index(&[(Digest::sha256(&both), None), (of(2), None)]);
    let about_one = artifact("application/a", &of(0));
    let about_both = artifact("application/b", &Digest::sha256(&both));
    let [one, two, three] = images;
    [one, two, three, both, nested, about_one, about_both]
}

fn rules(number: usize) -> Vec<QuotaRule> {
    let rule = |place: &str, repositories: &[&str], copies: bool| QuotaRule {
        place: place.into(),
        repositories: repositories.iter().map(|text| text.parse().unwrap()).collect(),
        bytes: Some(1 << 30),
        tags: Some(1000),
        copies,
    };
    let all = [
        rule("1", &["a/**"], false),
        rule("2", &["a/*", "a0", "c/**"], true),
        rule("3", &[], false),
        rule("4", &[], true),
    ];
    let first = number % 3;
    all[first..].to_vec()
}

fn step() -> impl Strategy<Value = Step> {
    let (repository, layer) = (0..REPOSITORY.len(), 0..LAYERS);
    let put = (repository.clone(), 0..MANIFESTS, proptest::option::of(0..TAG.len()), any::<bool>());
    prop_oneof![
        6 => put.clone().prop_map(|(repository, manifest, tag, whole)| Step::Put { repository, manifest, tag, whole }),
        3 => put.prop_map(|(repository, manifest, tag, whole)| Step::PutCopy { repository, manifest, tag, whole }),
        2 => (repository.clone(), layer.clone()).prop_map(|(repository, layer)| Step::Link { repository, layer }),
        1 => (repository.clone(), layer.clone()).prop_map(|(repository, layer)| Step::LinkCopy { repository, layer }),
        1 => (repository.clone(), layer.clone()).prop_map(|(repository, layer)| Step::Unlink { repository, layer }),
        3 => (repository.clone(), 0..TAG.len()).prop_map(|(repository, tag)| Step::DeleteTag { repository, tag }),
        2 => (repository, 0..MANIFESTS)
            .prop_map(|(repository, manifest)| Step::DeleteManifest { repository, manifest }),
        2 => (0..8_usize).prop_map(Step::Undo),
        2 => Just(Step::Collect),
        1 => layer.prop_map(|layer| Step::Lose { layer }),
        1 => (0..3_usize).prop_map(Step::SetQuotas),
        1 => Just(Step::Restart),
    ]
}

struct World {
    root: TempDir,
    store: Option<MetaStore>,
    quotas: usize,
    removals: Vec<(RepoName, Removal)>,
}

impl World {
    fn new() -> World {
        let root = scratch();
        let store = open(root.path());
        store.set_quotas(&rules(0));
        World { store: Some(store), root, quotas: 0, removals: Vec::new() }
    }

    fn store(&self) -> &MetaStore {
        self.store.as_ref().unwrap()
    }

    /// Every part that is a blob, and every part that is a manifest, as far as the repository lacks it.
    fn bring_parts(&self, repository: &str, bytes: &[u8], copies: bool) {
        let manifest = Manifest::parse(bytes, None).unwrap();
        for (_, part) in manifest.references() {
            if let Some(child) = universe().iter().find(|each| Digest::sha256(each) == part.digest) {
                self.put(repository, child, None, true, copies);
            } else if let Some(number) =
                (0..LAYERS).find(|number| Digest::sha256(&layer(*number)) == part.digest)
            {
                self.link(repository, number, copies);
            }
        }
    }

    fn put(&self, repository: &str, bytes: &[u8], tag_of: Option<usize>, whole: bool, copies: bool) {
        if whole {
            self.bring_parts(repository, bytes, copies);
        }
        if !copies {
            let tags: Vec<&str> = tag_of.iter().map(|number| TAG[*number]).collect();
            put(self.store(), repository, bytes, &tags);
            return;
        }
        let content = self.store().blobs.put(&Digest::sha256(bytes), bytes).unwrap();
        let (manifest, tag) = (Manifest::parse(bytes, None).unwrap(), tag_of.map(|number| tag(TAG[number])));
        let put = PutCachedManifest {
            repository: &name(repository),
            content: &content,
            manifest: &manifest,
            tag: tag.as_ref(),
        };
        self.store().put_cached_manifest(&put).unwrap();
    }

    fn link(&self, repository: &str, number: usize, copy: bool) {
        let bytes = layer(number);
        let content = self.store().blobs.put(&Digest::sha256(&bytes), &bytes).unwrap();
        if copy {
            self.store().link_cached_blob(&name(repository), &content).unwrap();
        } else {
            self.store().link_blob(&name(repository), &content).unwrap();
        }
    }

    fn run(&mut self, step: &Step) {
        let mut noted: Vec<(RepoName, Removal)> = Vec::new();
        match step {
            Step::Put { repository, manifest, tag, whole } => {
                self.put(REPOSITORY[*repository], &universe()[*manifest], *tag, *whole, false);
            }
            Step::PutCopy { repository, manifest, tag, whole } => {
                self.put(REPOSITORY[*repository], &universe()[*manifest], *tag, *whole, true);
            }
            Step::Link { repository, layer } => self.link(REPOSITORY[*repository], *layer, false),
            Step::LinkCopy { repository, layer } => self.link(REPOSITORY[*repository], *layer, true),
            Step::Unlink { repository, layer: number } => {
                let repository = name(REPOSITORY[*repository]);
                self.store().unlink_blob(&repository, &Digest::sha256(&layer(*number))).unwrap();
            }
            Step::DeleteTag { repository, tag: number } => {
                let repository = name(REPOSITORY[*repository]);
                let mut note = |removal: &Removal| {
                    noted.push((repository.clone(), removal.clone()));
                    Ok::<(), crate::MetaError>(())
                };
                self.store().delete_tag_noting(&repository, &tag(TAG[*number]), &mut note).unwrap();
            }
            Step::DeleteManifest { repository, manifest } => {
                let repository = name(REPOSITORY[*repository]);
                let digest = Digest::sha256(&universe()[*manifest]);
                let mut note = |removal: &Removal| {
                    noted.push((repository.clone(), removal.clone()));
                    Ok::<(), crate::MetaError>(())
                };
                self.store().delete_manifest_noting(&repository, &digest, &mut note).unwrap();
            }
            Step::Undo(number) => {
                if *number < self.removals.len() {
                    let (repository, removal) = self.removals.remove(*number);
                    self.store().restore(&repository, &removal).unwrap();
                }
            }
            Step::Collect => {
                self.collect();
            }
            Step::Lose { layer: number } => {
                let digest = Digest::sha256(&layer(*number));
                self.store().blobs.remove(&digest).unwrap();
                self.store().content_is_gone(&REPOSITORY.map(name));
                REPOSITORY.iter().for_each(|each| self.store().reconcile(&name(each)).unwrap());
            }
            Step::SetQuotas(number) => {
                self.quotas = *number;
                self.store().set_quotas(&rules(*number));
            }
            Step::Restart => {
                self.store = None;
                let store = open(self.root.path());
                store.set_quotas(&rules(self.quotas));
                reconcile_all(&store);
                self.store = Some(store);
            }
        }
        self.removals.extend(noted);
    }

    /// As the collector does it once every grace time is over; gives the bytes that are free now.
    fn collect(&mut self) -> u64 {
        let mut freed = 0;
        let store = self.store.as_ref().unwrap();
        store.know_every_reference(&AtomicBool::new(false)).unwrap();
        for (repository, removal) in std::mem::take(&mut self.removals) {
            let release = Release {
                repository: &repository,
                manifests: &removal.doomed,
                blobs: &removal.parts,
                may_go: &|_| true,
            };
            let released = store.release(&release).unwrap();
            let doomed = removal.doomed.iter().map(|doomed| doomed.digest);
            let gone = removal.manifest.into_iter().chain(removal.parts).chain(doomed).chain(released.blobs);
            let gone = gone.chain(released.unlinked);
            for digest in gone {
                if !store.index.is_referred_to(&digest).unwrap() {
                    freed += store.blobs.remove(&digest).unwrap().unwrap_or_default();
                }
            }
        }
        freed
    }

    fn size(&self, digest: &Digest) -> u64 {
        self.store().blobs.stat(digest).unwrap().map_or(0, |stat| stat.size)
    }

    fn sum<'a>(&self, contents: impl IntoIterator<Item = &'a Digest>) -> u64 {
        contents.into_iter().collect::<BTreeSet<_>>().into_iter().map(|digest| self.size(digest)).sum()
    }

    /// Everything, counted anew from what the files say.
    fn recount(&self) -> Recount {
        let mut recount = Recount::default();
        for text in REPOSITORY {
            let repository = name(text);
            let contents = self.store().contents(&repository).unwrap();
            let mut held: BTreeSet<Digest> = contents.parts.iter().map(|(_, part)| *part).collect();
            held.extend(contents.manifests.iter().map(|(digest, _)| *digest));
            held.extend(contents.blobs.iter().map(|(digest, _)| *digest));
            let (mut named, mut pushed) = (BTreeSet::new(), BTreeSet::new());
            for (digest, _) in &contents.manifests {
                let parts =
                    contents.parts.iter().filter(|(parent, _)| parent == digest).map(|(_, part)| *part);
                let own: Vec<Digest> = parts.chain([*digest]).collect();
                if self.store().manifest_origin(&repository, digest).unwrap() == Some(Origin::Pushed) {
                    pushed.extend(own.iter().copied());
                }
                named.extend(own);
            }
            let tags =
                TAG.iter().filter_map(|each| self.store().tag_origin(&repository, &tag(each)).unwrap());
            let tags: Vec<bool> = tags.map(|origin| origin == Origin::Pushed).collect();
            recount.repositories.insert(text, Counted { held, named, pushed, tags });
        }
        recount
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (recount, store) = (self.recount(), self.store());
        let total = store.total_usage(100).unwrap();
        let all: BTreeSet<Digest> =
            recount.repositories.values().flat_map(|each| &each.held).copied().collect();
        prop_assert_eq!(total.bytes, self.sum(&all), "everything");
        let mut expected = Vec::new();
        for (text, counted) in &recount.repositories {
            let bytes = self.sum(&counted.held);
            let unique = self.sum(&recount.only_below(|name| name == *text));
            if let Some(usage) = store.repository_usage(&name(text)).unwrap() {
                let tags = counted.tags.len() as u64;
                prop_assert_eq!((usage.bytes, usage.unique, usage.tags), (bytes, unique, tags), "{}", text);
                if bytes > 0 {
                    expected.push((unique, bytes, (*text).to_owned()));
                }
            } else {
                prop_assert_eq!(bytes, 0, "{}", text);
            }
        }
        let listed = total.repositories.items.iter().filter(|each| each.bytes > 0);
        let listed: Vec<(u64, u64)> = listed.map(|each| (each.unique, each.bytes)).collect();
        let mut sorted: Vec<(u64, u64)> =
            expected.iter().map(|(unique, bytes, _)| (*unique, *bytes)).collect();
        sorted.sort_by(|left, right| right.cmp(left));
        prop_assert_eq!(listed, sorted, "biggest first");
        for prefix in PREFIX {
            let is_below = |name: &str| name == prefix || name.starts_with(&format!("{prefix}/"));
            let inside = recount.repositories.iter().filter(|(name, _)| is_below(name));
            let inside: BTreeSet<Digest> = inside.flat_map(|(_, each)| &each.held).copied().collect();
            let usage = store.prefix_usage(&name(prefix)).unwrap();
            let unique = self.sum(&recount.only_below(is_below));
            prop_assert_eq!((usage.bytes, usage.unique), (self.sum(&inside), unique), "below {}", prefix);
        }
        for usage in store.quota_usages().unwrap() {
            let members = recount.repositories.iter().filter(|(text, _)| usage.rule.is_about(&name(text)));
            let members: Vec<&Counted> = members.map(|(_, counted)| counted).collect();
            let copies = usage.rule.copies;
            let bytes =
                self.sum(members.iter().flat_map(|each| if copies { &each.named } else { &each.pushed }));
            let tags = members.iter().flat_map(|each| &each.tags).filter(|pushed| copies || **pushed).count();
            prop_assert_eq!((usage.bytes, usage.tags), (bytes, tags as u64), "quota {}", usage.rule.place);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Recount {
    repositories: BTreeMap<&'static str, Counted>,
}

struct Counted {
    held: BTreeSet<Digest>,
    named: BTreeSet<Digest>,
    pushed: BTreeSet<Digest>,
    /// Whether each was pushed.
    tags: Vec<bool>,
}

impl Recount {
    fn only_below(&self, is_below: impl Fn(&str) -> bool) -> BTreeSet<Digest> {
        let of = |inside: bool| -> BTreeSet<Digest> {
            let some = self.repositories.iter().filter(|(name, _)| is_below(name) == inside);
            some.flat_map(|(_, each)| &each.held).copied().collect()
        };
        of(true).difference(&of(false)).copied().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_counted_along_is_what_a_recount_says(steps in proptest::collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check()?;
        }
    }

    /// The collector is the judge of what a tag's deletion gives back.
    #[test]
    fn deleting_a_tag_frees_what_was_said_before(
        steps in proptest::collection::vec(step(), 1..30), repository in 0..REPOSITORY.len(), tag_of in 0..TAG.len(),
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        // What went before is over.
        world.collect();
        let repository_name = name(REPOSITORY[repository]);
        let said = world.store().tag_usage(&repository_name, &tag(TAG[tag_of])).unwrap();
        let (listed, untagged): (Vec<TagUsage>, u64) = world.store().tag_usages(&repository_name).unwrap();
        let usage = world.store().repository_usage(&repository_name).unwrap();
        prop_assert!(untagged <= usage.map_or(0, |usage| usage.bytes));
        let Some(said) = said else {
            prop_assert!(listed.iter().all(|each| each.tag != tag(TAG[tag_of])));
            return Ok(());
        };
        prop_assert!(listed.contains(&said.usage));
        let shared = said.usage.bytes - said.usage.unique;
        prop_assert_eq!(shared > 0, !said.needed_by.is_empty(), "who needs it is said: {:?}", &said);
        prop_assert!(said.needed_by.iter().all(|(_, bytes)| *bytes <= shared));
        world.run(&Step::DeleteTag { repository, tag: tag_of });
        prop_assert_eq!(world.collect(), said.usage.unique, "{:?}", &said);
        for (needing, _) in &said.needed_by {
            let stays = if let Some((_, digest)) = needing.split_once('@') {
                world.store().manifest(&repository_name, &digest.parse().unwrap()).unwrap().is_some()
            } else if let Some((_, of)) = needing.split_once(':') {
                world.store().tag(&repository_name, &tag(of)).unwrap().is_some()
            } else {
                *needing != *REPOSITORY[repository]
            };
            prop_assert!(stays, "{needing} is gone, and so needs nothing: {:?}", &said);
        }
        world.check()?;
    }
}

/// An index of the version before, in which nothing was counted, is filled from the files; what no file says is kept.
#[test]
fn an_older_index_is_filled_anew_and_keeps_when_things_were_asked_for() {
    let root = scratch();
    let store = open(root.path());
    put(&store, "app", &image("1"), &["v1"]);
    let (digest, at) = (Digest::sha256(&image("1")), SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
    store.note_accesses(&[crate::AccessTime { repository: name("app"), digest, at }]).unwrap();
    let rows = store.index_snapshot().unwrap().rows;
    store.index.alter(
        "PRAGMA user_version = 3;
         DROP TABLE contents; DROP TABLE holdings; DROP TABLE usage; DROP TABLE everything; DROP TABLE quotas;
         DROP TABLE members; DROP TABLE shares;
         DROP TRIGGER repository_added; DROP TRIGGER repository_removed;",
    );
    drop(store);
    let store = open(root.path());
    reconcile_all(&store);
    assert_eq!(store.index_snapshot().unwrap().rows, rows);
    assert_eq!(store.index.accesses(&name("app")).unwrap().get(&digest), Some(&1000));
}
