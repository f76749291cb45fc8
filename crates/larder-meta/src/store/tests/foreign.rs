//! registry:2, an operator or a restored backup worked on the directory while Larder was down.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A directory with two repositories, and a store that has read all of it into its index.
struct Ground {
    root: TempDir,
    one: Digest,
    two: Digest,
    blob: Digest,
}

fn ground() -> Ground {
    let root = scratch();
    let store = open(root.path());
    let one = put(&store, "team/app", &image("1"), &["v1", "latest"]);
    let two = put(&store, "team/app", &image("2"), &["latest"]);
    put(&store, "team/app", &artifact("application/a", &one), &["signed"]);
    let blob = link(&store, "team/app", b"layer");
    put(&store, "other", &image("1"), &["v1"]);
    link(&store, "other", b"layer");
    reconcile_all(&store);
    assert_eq!(store.index_snapshot().unwrap().rows, rebuilt(root.path()));
    Ground { root, one, two, blob }
}

impl Ground {
    fn at(&self, below: &str) -> std::path::PathBuf {
        self.root.path().join(REPOSITORIES).join(below)
    }

    /// The index after a restart says what the files say, whichever way it is asked for.
    fn check(&self) -> MetaStore {
        let expected = rebuilt(self.root.path());
        let store = open(self.root.path());
        reconcile_all(&store);
        assert_eq!(store.index_snapshot().unwrap().rows, expected);
        drop(store);
        // The background pass again, from an index of which everything is known.
        let store = open(self.root.path());
        reconcile_all(&store);
        assert_eq!(store.index_snapshot().unwrap().rows, expected);
        store
    }
}

fn tags(store: &MetaStore, repository: &str) -> Vec<String> {
    store.tags(&name(repository), &page()).unwrap().map(|listing| listing.items).unwrap_or_default()
}

#[test]
fn a_tag_rewritten_in_place_is_seen() {
    let ground = ground();
    let current = ground.at("team/app/_manifests/tags/latest/current/link");
    write_in_place(&current, &ground.one.to_string(), HOUR);
    // Asked directly, before any pass: tags pointing at it must be removed with a manifest.
    let store = open(ground.root.path());
    let removed = store.delete_manifest(&name("team/app"), &ground.one).unwrap().unwrap();
    assert_eq!(removed, [tag("latest"), tag("v1")]);
    drop(store);
    assert_eq!(tags(&ground.check(), "team/app"), ["signed"]);
}

#[test]
fn a_tag_truncated_by_a_crash_is_read_from_its_history_each_time() {
    let ground = ground();
    write_in_place(&ground.at("team/app/_manifests/tags/latest/current/link"), "", HOUR);
    let store = ground.check();
    assert_eq!(store.tag(&name("team/app"), &tag("latest")).unwrap(), Some(ground.two));
    drop(store);
    // Its newest manifest goes as well: then it points at the one before, in the index too.
    let revision = ground.at(&format!("team/app/_manifests/revisions/sha256/{}/link", ground.two.hex()));
    std::fs::remove_file(revision).unwrap();
    let store = ground.check();
    assert_eq!(store.tag(&name("team/app"), &tag("latest")).unwrap(), Some(ground.one));
    let removed = store.delete_manifest(&name("team/app"), &ground.one).unwrap().unwrap();
    assert_eq!(removed, [tag("latest"), tag("v1")]);
}

#[test]
fn new_repositories_and_removed_ones_are_seen() {
    let ground = ground();
    let revision = format!("brand/new/_manifests/revisions/sha256/{}/link", ground.one.hex());
    write_in_place(&ground.at(&revision), &ground.one.to_string(), HOUR);
    write_in_place(&ground.at("brand/new/_manifests/tags/v9/current/link"), &ground.one.to_string(), HOUR);
    std::fs::remove_dir_all(ground.at("other")).unwrap();
    let store = open(ground.root.path());
    assert_eq!(store.catalog(&page()).unwrap().items, ["brand/new", "team/app"]);
    assert_eq!(tags(&store, "brand/new"), ["v9"]);
    assert_eq!(store.tags(&name("other"), &page()).unwrap(), None);
    assert_eq!(store.repositories_with_blob(&ground.blob, 9).unwrap(), [name("team/app")]);
    drop(store);
    ground.check();
}

#[test]
fn a_repository_that_is_only_on_the_way_to_another_one_is_none() {
    let ground = ground();
    let store = open(ground.root.path());
    put(&store, "team/app/nested", &image("1"), &["v1"]);
    drop(store);
    for part in ["_manifests", "_layers"] {
        std::fs::remove_dir_all(ground.at("team/app").join(part)).unwrap();
    }
    assert_eq!(ground.check().catalog(&page()).unwrap().items, ["other", "team/app/nested"]);
}

#[test]
fn removed_links_are_seen_also_where_their_directories_stay() {
    let ground = ground();
    let layer = ground.at(&format!("team/app/_layers/sha256/{}/link", ground.blob.hex()));
    std::fs::remove_file(layer).unwrap();
    let revision = ground.at(&format!("team/app/_manifests/revisions/sha256/{}", ground.one.hex()));
    std::fs::remove_file(revision.join("link")).unwrap();
    std::fs::remove_dir_all(ground.at("team/app/_manifests/tags/v1")).unwrap();
    let store = ground.check();
    assert_eq!(store.repositories_with_blob(&ground.blob, 9).unwrap(), [name("other")]);
    assert_eq!(tags(&store, "team/app"), ["latest", "signed"]);
    assert_eq!(store.manifest(&name("team/app"), &ground.one).unwrap(), None);
}

#[test]
fn a_manifest_whose_bytes_are_gone_is_no_referrer_until_they_are_back() {
    let ground = ground();
    let bytes = artifact("application/a", &ground.one);
    let digest = Digest::sha256(&bytes);
    let hex = digest.hex();
    let data = ground.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    std::fs::remove_file(&data).unwrap();
    let referrers = |store: &MetaStore| {
        store.referrers(&name("team/app"), &ground.one, &[], &page()).unwrap().items.len()
    };
    assert_eq!(referrers(&ground.check()), 0);
    std::fs::write(&data, &bytes).unwrap();
    assert_eq!(referrers(&ground.check()), 1);
}

#[test]
fn what_is_no_tag_or_digest_is_passed_over() {
    let ground = ground();
    write_in_place(&ground.at("team/app/_manifests/tags/.DS_Store"), "x", HOUR);
    write_in_place(&ground.at("team/app/_manifests/tags/v1.file"), "x", HOUR);
    write_in_place(&ground.at("team/app/_manifests/revisions/sha256/nonsense/link"), "x", HOUR);
    write_in_place(&ground.at("team/app/_layers/md5/abc/link"), "md5:abc", HOUR);
    write_in_place(&ground.at("Upper/_manifests/tags/v1/current/link"), &ground.one.to_string(), HOUR);
    std::fs::create_dir_all(ground.at("team/app/_manifests/tags/empty/current")).unwrap();
    assert_eq!(tags(&ground.check(), "team/app"), ["latest", "signed", "v1"]);
}

#[test]
fn an_index_that_cannot_be_used_is_built_again() {
    let break_it: [fn(&Path); 6] = [
        remove_index,
        |root| std::fs::remove_file(root.join("larder/index.db")).unwrap(),
        |root| std::fs::write(root.join("larder/index.db"), "garbage, and not even a page of it").unwrap(),
        |root| std::fs::write(root.join("larder/index.db"), vec![0xA5; 64 << 10]).unwrap(),
        |root| std::fs::write(root.join("larder/index.db"), "").unwrap(),
        |root| {
            let connection = rusqlite::Connection::open(root.join("larder/index.db")).unwrap();
            connection.execute_batch("DROP TABLE tags; PRAGMA user_version = 99;").unwrap();
        },
    ];
    for break_it in break_it {
        let ground = ground();
        break_it(ground.root.path());
        let store = open(ground.root.path());
        assert_eq!(tags(&store, "team/app"), ["latest", "signed", "v1"]);
        assert_eq!(store.catalog(&page()).unwrap().items, ["other", "team/app"]);
        drop(store);
        ground.check();
    }
}

#[test]
fn an_index_that_is_damaged_while_in_use_stops_no_pull_and_no_push() {
    let ground = ground();
    let path = ground.root.path().join("larder/index.db");
    let length = std::fs::metadata(&path).unwrap().len();
    let mut bytes = std::fs::read(&path).unwrap();
    // The header and the schema stay; every other page is noise.
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    assert!(length > 8192);
    let store = open(ground.root.path());
    let _ = store.tags(&name("team/app"), &page());
    let _ = store.catalog(&page());
    let three = put(&store, "team/app", &image("3"), &["v3"]);
    assert_eq!(store.tag(&name("team/app"), &tag("v3")).unwrap(), Some(three));
    assert_eq!(store.manifest(&name("team/app"), &ground.one).unwrap(), Some(ground.one));
    link(&store, "team/app", b"more");
    assert!(store.delete_tag(&name("team/app"), &tag("v1")).unwrap());
    drop(store);
    assert_eq!(tags(&ground.check(), "team/app"), ["latest", "signed", "v3"]);
}

#[test]
fn a_restored_backup_with_times_kept_is_seen() {
    let ground = ground();
    let current = ground.at("team/app/_manifests/tags/latest/current/link");
    let modified = std::fs::metadata(&current).unwrap().modified().unwrap();
    // As rsync does: a new file is renamed over the old one and gets the times of the copy.
    let beside = current.with_file_name("link.tmp");
    std::fs::write(&beside, ground.one.to_string()).unwrap();
    std::fs::File::options().write(true).open(&beside).unwrap().set_modified(modified).unwrap();
    std::fs::rename(&beside, &current).unwrap();
    let store = ground.check();
    let removed = store.delete_manifest(&name("team/app"), &ground.one).unwrap().unwrap();
    assert_eq!(removed, [tag("latest"), tag("v1")]);
}

#[test]
fn an_index_that_cannot_be_written_is_kept_in_memory_and_stops_nobody() {
    let root = scratch();
    // Stands for a full or read-only disk: SQLite can't open this for writing.
    std::fs::create_dir_all(root.path().join("larder/index.db")).unwrap();
    let store = open(root.path());
    put(&store, "team/app", &image("one"), &["latest"]);
    assert_eq!(store.tags(&name("team/app"), &page()).unwrap().unwrap().items, ["latest"]);
    assert_eq!(store.catalog(&page()).unwrap().items, ["team/app"]);
    let second = scratch();
    std::fs::create_dir_all(second.path().join("larder/index.db")).unwrap();
    assert_eq!(open(second.path()).catalog(&page()).unwrap().items, [""; 0], "each store has its own");
}

#[test]
fn content_that_comes_back_brings_its_manifest_back_everywhere() {
    let root = scratch();
    let bytes = artifact("a/b", &Digest::sha256(b"subject"));
    let digest = {
        let store = open(root.path());
        put(&store, "one", &bytes, &[])
    };
    let hex = digest.hex();
    let data = root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    std::fs::remove_file(data).unwrap();
    let store = open(root.path());
    let referrers =
        || store.referrers(&name("one"), &Digest::sha256(b"subject"), &[], &page()).unwrap().items;
    assert_eq!(referrers().len(), 0, "what can't be served is not listed");
    put(&store, "two", &bytes, &[]);
    assert_eq!(referrers().len(), 1, "pushed elsewhere, it can be served here again");
}

#[test]
fn who_asks_while_a_repository_is_read_gets_all_of_it() {
    let root = scratch();
    let tags: Vec<String> = (0..60).map(|at| format!("t{at:02}")).collect();
    {
        let store = open(root.path());
        for (at, tag) in tags.iter().enumerate() {
            put(&store, "team/app", &image(&at.to_string()), &[tag]);
        }
    }
    for _ in 0..20 {
        remove_index(root.path());
        let store = open(root.path());
        let all_here = std::sync::Barrier::new(6);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    all_here.wait();
                    assert_eq!(store.tags(&name("team/app"), &page()).unwrap().unwrap().items, tags);
                });
            }
        });
    }
}
