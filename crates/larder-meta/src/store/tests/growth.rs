//! What a request costs must not depend on how much the registry holds.
//!
//! Counted is work, never time: the steps of SQLite's machine and the changes of the disk. One step
//! moves to a row, whether the table has a hundred or a hundred thousand: what grows with the tables
//! is then only the depth of SQLite's trees, two pages more from the smallest size here to the
//! largest. So the counts at all sizes must be *equal*. Work that grows needs something to go through,
//! and that is rows, which the steps count, or a directory's entries, which `files` watches.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_oci::{Algorithm, Descriptor};
use larder_storage::hook::{DiskHook, Mutation};

use super::*;
use crate::index::{Changes, ManifestRow, TagRow, work};
use crate::{Listing, QuotaRule, Release};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// So short that a page from the middle is full at the smallest size, too.
const PAGE: usize = 20;

/// An image of a config and a layer.
fn image_of(config: &Digest, layer: &[u8]) -> Vec<u8> {
    let layer = Digest::sha256(layer);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":1}}]}}"#
    )
    .into_bytes()
}

const COMMON: &str = "application/common";
const RARE: &str = "application/rare";

/// Counts the changes of the disk.
#[derive(Default)]
struct Changed {
    times: AtomicUsize,
}

impl DiskHook for Changed {
    fn before(&self, _: Mutation<'_>) -> io::Result<usize> {
        self.times.fetch_add(1, Ordering::SeqCst);
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

/// A registry in which everything that can be many is: tags and manifests and blobs of one repository,
/// referrers of one manifest, repositories, repositories that no list shows, holders of one blob.
///
/// What requests touch is there as files and rows; the many are rows alone.
struct Ground {
    size: usize,
    changed: Arc<Changed>,
    store: MetaStore,
    root: TempDir,
}

/// What one request did.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cost {
    steps: i64,
    changes: usize,
}

/// The `number`th of the many digests of a kind, spread over all digests.
fn filler(kind: u8, number: usize) -> Digest {
    let mut hash = [kind; 32];
    hash[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    Digest::from_hash(Algorithm::Sha256, &hash).unwrap()
}

/// Half of all digests are greater.
fn middle() -> Digest {
    Digest::from_hash(Algorithm::Sha256, &[0x80; 32]).unwrap()
}

fn app() -> RepoName {
    name("team/app")
}

fn put_app(store: &MetaStore, bytes: &[u8], tags: &[&str]) -> Digest {
    put(store, "team/app", bytes, tags)
}

/// Has half of the many manifests as its referrers.
fn busy_subject() -> Digest {
    Digest::sha256(&image("busy subject"))
}

/// Has five referrers, among the many of others.
fn quiet_subject() -> Digest {
    Digest::sha256(&image("quiet subject"))
}

/// Has three tags, among the many of others.
fn doomed() -> Digest {
    Digest::sha256(&image("doomed"))
}

fn common_layer() -> Digest {
    Digest::sha256(b"a layer that every repository holds")
}

/// Every push is judged by it.
fn quota_of_all() -> QuotaRule {
    QuotaRule {
        place: "quota 1".into(),
        repositories: Vec::new(),
        bytes: Some(1 << 40),
        tags: Some(1 << 30),
        copies: false,
    }
}

fn many_manifests(size: usize) -> Vec<ManifestRow> {
    let row = |number: usize| {
        // Half are about one subject, a quarter about one each, a quarter are images.
        let subject = match number % 4 {
            0 | 1 => Some(busy_subject()),
            2 => Some(filler(b's', number)),
            _ => None,
        };
        let digest = filler(b'm', number);
        let descriptor = format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1}}"#
        );
        ManifestRow {
            digest,
            size: 1,
            subject,
            artifact_type: subject.map(|_| COMMON.to_owned()),
            descriptor: subject.map(|_| descriptor),
            edges: vec![(0, filler(b'c', number)), (1, common_layer())],
            copied: false,
        }
    };
    (0..size).map(row).collect()
}

impl Ground {
    fn new(size: usize) -> Ground {
        let root = scratch();
        let changed = Arc::new(Changed::default());
        let disk = Arc::new(Disk::open_with(root.path(), Some(changed.clone())).unwrap());
        let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
        store.set_quotas(&[quota_of_all()]);
        put_app(&store, &image("first"), &["moved"]);
        put_app(&store, &image("busy subject"), &[]);
        put_app(&store, &image("quiet subject"), &[]);
        put_app(&store, &artifact(RARE, &busy_subject()), &[]);
        for number in 0..5 {
            put_app(&store, &artifact(&format!("application/{number}"), &quiet_subject()), &[]);
        }
        put_app(&store, &image("doomed"), &["doomed-1", "doomed-2", "doomed-3"]);
        link(&store, "team/app", b"layer");
        link(&store, "team/app", b"doomed layer");
        // The rows are believed from here on, so what is added to them is not looked for on disk.
        reconcile_all(&store);
        let tag_row = |number: usize| TagRow {
            tag: tag(&format!("t{number:06}")),
            digest: filler(b'm', number),
            modified: 1,
            inode: 1,
            copied: false,
        };
        let changes = Changes {
            tags: (0..size).map(tag_row).collect(),
            manifests: many_manifests(size),
            blobs: (0..size).map(|number| (filler(b'b', number), None)).collect(),
            sizes: (0..size).map(|number| (filler(b'b', number), 1)).chain([(common_layer(), 10)]).collect(),
            ..Changes::default()
        };
        store.index.apply(&app(), true, &changes).unwrap();
        // The listed ones are parted by all those that aren't.
        let repository = |kind: &str, number: usize| name(&format!("{kind}/{number:06}"));
        let listed = ["a", "z"].into_iter().flat_map(|kind| {
            (0..size / 2).map(move |number| (repository(kind, number), true, Some(common_layer())))
        });
        let unlisted = (0..size).map(|number| (repository("m", number), false, None));
        store.index.add_repositories(listed.chain(unlisted)).unwrap();
        Ground { size, changed, store, root }
    }

    fn cost(&self, request: impl FnOnce(&Ground), statements: &mut BTreeSet<String>) -> Cost {
        work::take();
        let before = self.changed.times.load(Ordering::SeqCst);
        request(self);
        let work = work::take();
        assert_eq!((work.scanned, work.sorted), (0, 0), "a table was scanned or sorted: {work:?}");
        statements.extend(work.statements);
        Cost { steps: work.steps, changes: self.changed.times.load(Ordering::SeqCst) - before }
    }

    fn tags_after(&self, after: &str) -> Listing<String> {
        self.store.tags(&app(), &Page { after: Some(after.to_owned()), limit: PAGE }).unwrap().unwrap()
    }

    fn catalog_after(&self, after: &str) -> Listing<String> {
        self.store.catalog(&Page { after: Some(after.to_owned()), limit: PAGE }).unwrap()
    }

    fn referrers(&self, subject: &Digest, types: &[&str], after: Option<Digest>) -> Listing<Descriptor> {
        let types: Vec<String> = types.iter().map(|&kind| kind.to_owned()).collect();
        self.store.referrers(&app(), subject, &types, &Page { after, limit: PAGE }).unwrap()
    }
}

type Request = (&'static str, fn(&Ground));

const QUESTIONS: [Request; 20] = [
    ("tags, first page", |ground| assert_full(&ground.tags_after(""))),
    ("tags, a page from the middle", |ground| {
        assert_full(&ground.tags_after(&format!("t{:06}", ground.size / 2)));
    }),
    ("tags, last page", |ground| {
        let last = ground.tags_after(&format!("t{:06}", ground.size - 1 - PAGE));
        assert_eq!((last.items.len(), last.more), (PAGE, false));
    }),
    ("tags, beyond the end", |ground| assert_eq!(ground.tags_after("zzz"), EMPTY)),
    ("catalog, first page", |ground| assert_full(&ground.catalog_after(""))),
    ("catalog, a page across all that is not listed", |ground| {
        assert_full(&ground.catalog_after(&format!("a/{:06}", ground.size / 2 - 10)));
    }),
    ("catalog, last page", |ground| {
        let last = ground.catalog_after(&format!("z/{:06}", ground.size / 2 - 1 - PAGE));
        assert_eq!((last.items.len(), last.more), (PAGE, false));
    }),
    ("catalog, beyond the end", |ground| assert_eq!(ground.catalog_after("zzz"), EMPTY)),
    ("referrers, a few among many", |ground| {
        assert_eq!(ground.referrers(&quiet_subject(), &[], None).items.len(), 5);
    }),
    ("referrers, a few of two types", |ground| {
        let types = ["application/1", "application/2"];
        assert_eq!(ground.referrers(&quiet_subject(), &types, None).items.len(), 2);
    }),
    ("referrers, none", |ground| assert_eq!(ground.referrers(&doomed(), &[], None).items, [])),
    ("referrers, a page from the middle of many", |ground| {
        assert_full(&ground.referrers(&busy_subject(), &[], Some(middle())));
    }),
    ("referrers, a page of many of one type", |ground| {
        assert_full(&ground.referrers(&busy_subject(), &[COMMON], None));
    }),
    ("referrers, the only one of its type among many", |ground| {
        assert_eq!(ground.referrers(&busy_subject(), &[RARE], None).items.len(), 1);
    }),
    ("who holds a blob that all hold", |ground| {
        assert_eq!(ground.store.repositories_with_blob(&common_layer(), 32).unwrap().len(), 32);
    }),
    ("the manifests that refer to a config", |ground| {
        assert_eq!(ground.store.parents(&app(), &Digest::sha256(b"doomed")).unwrap(), [doomed()]);
    }),
    ("the tags of a manifest", |ground| {
        assert_eq!(ground.store.index.tags_of(&app(), &doomed()).unwrap().len(), 3);
    }),
    ("what all repositories take, and the largest", |ground| {
        let usage = ground.store.total_usage(PAGE).unwrap();
        assert!(usage.bytes > ground.size as u64);
        assert_eq!((usage.repositories.items.len(), usage.repositories.more), (PAGE, true));
        assert_eq!(usage.repositories.items[0].repository, app());
    }),
    ("what one repository takes", |ground| {
        assert_eq!(ground.store.repository_usage(&name("a/000001")).unwrap().unwrap().unique, 0);
    }),
    ("how it stands with a quota of all", |ground| {
        let [quota] = ground.store.quota_usages().unwrap().try_into().unwrap();
        assert!(quota.bytes > ground.size as u64 && quota.tags > ground.size as u64);
    }),
];

/// In this order: each finds what the ones before it have left.
const CHANGES: [Request; 13] = [
    ("a tag moves to a new manifest", |ground| {
        put_app(&ground.store, &image("second"), &["moved"]);
    }),
    ("a tag moves back", |ground| {
        put_app(&ground.store, &image("first"), &["moved"]);
    }),
    ("a tag moves if it points at what it should", |ground| {
        let expected = Precondition::PointsAtOneOf(vec![Digest::sha256(&image("first"))]);
        let outcome = put_if(&ground.store, "team/app", &image("second"), &["moved"], expected);
        assert_eq!(outcome, PutOutcome::Stored);
    }),
    ("a new tag", |ground| {
        put_app(&ground.store, &image("second"), &["new"]);
    }),
    ("one referrer more of many", |ground| {
        put_app(&ground.store, &artifact("application/late", &busy_subject()), &[]);
    }),
    ("a tag is deleted", |ground| {
        assert!(ground.store.delete_tag(&app(), &tag("new")).unwrap());
    }),
    ("a manifest with three tags is deleted", |ground| {
        assert_eq!(ground.store.delete_manifest(&app(), &doomed()).unwrap().unwrap().len(), 3);
    }),
    ("a referrer is deleted", |ground| {
        let digest = Digest::sha256(&artifact(RARE, &busy_subject()));
        assert!(ground.store.delete_manifest(&app(), &digest).unwrap().is_some());
    }),
    ("a blob is linked", |ground| {
        link(&ground.store, "team/app", b"new layer");
    }),
    ("a blob is judged by a quota", |ground| {
        let (digest, whole) = (filler(b'q', 1), ground.size as u64);
        assert_eq!(ground.store.room_for_blob(&app(), &common_layer(), u64::MAX).unwrap(), None);
        assert!(ground.store.room_for_blob(&app(), &digest, u64::MAX).unwrap().unwrap().used > whole);
    }),
    ("a blob comes into a new repository", |ground| {
        link(&ground.store, "newcomer", b"layer");
    }),
    ("a tag is deleted, and what hung on it is let go", |ground| {
        // Its layer is its own; its config is one that half of all manifests have.
        let bytes = image_of(&common_layer(), b"layer of its own");
        let own = link(&ground.store, "team/app", b"layer of its own");
        let digest = put_app(&ground.store, &bytes, &["let-go"]);
        let mut doomed = Vec::new();
        let deleted = ground.store.delete_tag_noting(&app(), &tag("let-go"), |removal| {
            doomed = removal.doomed.clone();
            Ok::<(), crate::MetaError>(())
        });
        assert!(deleted.unwrap());
        let release = Release { repository: &app(), manifests: &doomed, blobs: &[], may_go: &|_| true };
        let released = ground.store.release(&release).unwrap();
        assert_eq!((released.manifests, released.blobs), (vec![digest], vec![own]));
        for content in [digest, own] {
            assert!(!ground.store.index.is_referred_to(&content).unwrap());
            assert!(ground.store.blobs.remove(&content).unwrap().is_some());
        }
        assert!(ground.store.index.is_referred_to(&common_layer()).unwrap());
    }),
    ("a blob is unlinked", |ground| {
        assert!(ground.store.unlink_blob(&app(), &Digest::sha256(b"doomed layer")).unwrap());
    }),
];

const PULLS: [Request; 4] = [
    ("a tag is resolved", |ground| {
        assert!(ground.store.tag(&app(), &tag("moved")).unwrap().is_some());
    }),
    ("a tag that is not there", |ground| {
        assert_eq!(ground.store.tag(&app(), &tag("absent")).unwrap(), None);
    }),
    ("a manifest is looked for", |ground| {
        assert!(ground.store.manifest(&app(), &quiet_subject()).unwrap().is_some());
    }),
    ("a blob is looked for", |ground| {
        assert!(ground.store.blob(&app(), &Digest::sha256(b"layer")).unwrap().is_some());
    }),
];

const EMPTY: Listing<String> = Listing { items: Vec::new(), more: false };

fn assert_full<T>(page: &Listing<T>) {
    assert_eq!((page.items.len(), page.more), (PAGE, true));
}

#[test]
fn every_request_costs_the_same_whatever_the_registry_holds() {
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    let mut statements = BTreeSet::new();
    for size in SIZES {
        let ground = Ground::new(size);
        for (what, request) in PULLS {
            let cost = ground.cost(request, &mut statements);
            assert_eq!(cost, Cost { steps: 0, changes: 0 }, "{what}: a pull reads no index");
        }
        for (what, request) in QUESTIONS.into_iter().chain(CHANGES) {
            costs.entry(what).or_default().push(ground.cost(request, &mut statements));
        }
        if size == SIZES[0] {
            assert_plans(&ground.store, &statements);
        }
    }
    for (what, costs) in &costs {
        println!("{what}: {costs:?}");
        assert!(costs[0].steps > 0, "{what} was not counted");
    }
    costs.retain(|_, costs| costs.iter().any(|cost| *cost != costs[0]));
    assert_eq!(costs, BTreeMap::new(), "these grow: costs at {SIZES:?} entries");
}

/// Every statement seeks its rows in a tree; none goes through a table or sorts.
fn assert_plans(store: &MetaStore, statements: &BTreeSet<String>) {
    for statement in statements {
        for line in store.index.plan(statement) {
            let seeks = line.starts_with("SEARCH ")
                || line.starts_with("SCALAR SUBQUERY ")
                || line == "SCAN CONSTANT ROW";
            assert!(seeks, "{line}, in {statement}");
        }
    }
}

/// The list that clients kept under the fallback tag is read whole, which its length bounds; but what it
/// names is looked up for one page only.
#[test]
fn a_page_of_a_long_fallback_list_looks_up_no_more_than_it_shows() {
    let costs = [100, 3_000].map(|size| {
        let ground = Ground::new(100);
        let listed: Vec<Digest> = (0..size).map(|number| filler(b'f', number)).collect();
        for digest in &listed {
            let directory = format!("{REPOSITORIES}/team/app/_manifests/revisions/sha256/{}", digest.hex());
            write_in_place(&ground.root.path().join(directory).join("link"), "", Duration::ZERO);
        }
        let own = Digest::sha256(&artifact(RARE, &busy_subject()));
        let list: Vec<_> = listed.iter().chain([&own]).map(|digest| (*digest, Some(RARE))).collect();
        put_app(&ground.store, &index(&list), &[Tag::referrers_fallback(&busy_subject()).as_str()]);

        let mut expected: Vec<Digest> = list.iter().map(|(digest, _)| *digest).collect();
        expected.sort();
        let (mut walked, mut after) = (Vec::new(), None);
        while walked.len() < expected.len() {
            let part = ground.referrers(&busy_subject(), &[RARE], after);
            assert_eq!(part.more, walked.len() + part.items.len() < expected.len());
            walked.extend(part.items.iter().map(|descriptor| descriptor.digest));
            after = walked.last().copied();
        }
        assert_eq!(walked, expected);
        let types: [&[&str]; 3] = [&[RARE], &[COMMON], &[RARE, COMMON]];
        types.map(|types| {
            ground.cost(|ground| drop(ground.referrers(&busy_subject(), types, None)), &mut BTreeSet::new())
        })
    });
    assert_eq!(costs[0], costs[1]);
}

/// The count is worth nothing if it can't tell: without its index, each of these must grow.
#[test]
fn the_count_sees_a_missing_index() {
    let cases = [
        ("tags_by_digest", "the tags of a manifest"),
        ("edges_by_child", "the manifests that refer to a config"),
        ("repositories_listed", "catalog, a page across all that is not listed"),
    ];
    let grounds = [100, 400].map(Ground::new);
    for (index, what) in cases {
        let (_, request) = QUESTIONS.into_iter().find(|(name, _)| *name == what).unwrap();
        let [small, large] = grounds.each_ref().map(|ground| {
            ground.store.index.alter(&format!("DROP INDEX {index}"));
            work::take();
            request(ground);
            work::take().steps
        });
        assert!(large > 2 * small, "{what}: {small} steps, and {large} with four times the entries");
    }
}
