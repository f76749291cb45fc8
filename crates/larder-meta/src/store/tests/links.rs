use larder_oci::Algorithm;

use super::*;
use crate::MetaError;

#[test]
fn every_file_lies_where_distribution_looks_and_holds_what_it_expects() {
    let root = scratch();
    let store = open(root.path());
    let bytes = image("1");
    let manifest = put(&store, "library/app", &bytes, &["v1"]);
    let blob = link(&store, "library/app", b"layer");
    let long = Digest::of(Algorithm::Sha512, b"layer");
    let content = store.blobs.put(&long, b"layer").unwrap();
    store.link_blob(&name("library/app"), &content).unwrap();
    let (m, b, l) = (manifest.hex(), blob.hex(), long.hex());
    let mut expected = vec![
        (format!("library/app/_layers/sha256/{b}/link"), format!("sha256:{b}")),
        (format!("library/app/_layers/sha512/{l}/link"), format!("sha512:{l}")),
        (format!("library/app/_manifests/revisions/sha256/{m}/link"), format!("sha256:{m}")),
        ("library/app/_manifests/tags/v1/current/link".to_owned(), format!("sha256:{m}")),
        (format!("library/app/_manifests/tags/v1/index/sha256/{m}/link"), format!("sha256:{m}")),
    ];
    expected.sort();
    assert_eq!(files(root.path()), expected);
}

#[test]
fn a_tag_that_moves_keeps_its_history_newest_first() {
    let root = scratch();
    let store = open(root.path());
    let (app, v1) = (name("app"), tag("v1"));
    let history = |store: &MetaStore| store.tag_history(&app, &v1).unwrap();
    let one = put(&store, "app", &image("1"), &["v1"]);
    let two = put(&store, "app", &image("2"), &["v1"]);
    let three = put(&store, "app", &image("3"), &["v1", "other"]);
    assert_eq!(history(&store), [three, two, one]);
    assert_eq!(store.tag(&app, &v1).unwrap(), Some(three));
    put(&store, "app", &image("1"), &["v1"]);
    assert_eq!(history(&store), [one, three, two], "a move back is a move");
    // What can't be gone back to is not in it.
    store.delete_manifest(&app, &two).unwrap();
    assert_eq!(history(&store), [one, three]);
    store.delete_tag(&app, &v1).unwrap();
    assert_eq!(history(&store), []);
}

#[test]
fn deletes_leave_what_distribution_leaves() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    let blob = link(&store, "app", b"layer");
    let one = put(&store, "app", &image("1"), &["v1", "v2"]);
    let two = put(&store, "app", &image("2"), &["v2", "v3"]);

    assert!(store.unlink_blob(&app, &blob).unwrap());
    assert!(!store.unlink_blob(&app, &blob).unwrap());
    assert_eq!(store.blob(&app, &blob).unwrap(), None);
    assert!(store.blobs.find(&blob).unwrap().is_some(), "the bytes stay");

    // v1 points at it, v2 did.
    assert_eq!(store.delete_manifest(&app, &one).unwrap(), Some(vec![tag("v1")]));
    assert_eq!(store.delete_manifest(&app, &one).unwrap(), None);
    assert!(store.blobs.find(&one).unwrap().is_some(), "the bytes stay");
    let (m, o) = (two.hex(), one.hex());
    assert_eq!(
        files(root.path()).into_iter().map(|(path, _)| path).collect::<Vec<_>>(),
        {
            let mut left = vec![
                format!("app/_manifests/revisions/sha256/{m}/link"),
                "app/_manifests/tags/v2/current/link".to_owned(),
                format!("app/_manifests/tags/v2/index/sha256/{m}/link"),
                format!("app/_manifests/tags/v2/index/sha256/{o}/link"),
                "app/_manifests/tags/v3/current/link".to_owned(),
                format!("app/_manifests/tags/v3/index/sha256/{m}/link"),
            ];
            left.sort();
            left
        },
        "other tags' history entries stay"
    );
    assert!(!root.path().join(REPOSITORIES).join("app/_manifests/tags/v1").try_exists().unwrap());

    assert!(store.delete_tag(&app, &tag("v2")).unwrap());
    assert!(!store.delete_tag(&app, &tag("v2")).unwrap());
    assert!(!root.path().join(REPOSITORIES).join("app/_manifests/tags/v2").try_exists().unwrap());
    assert_eq!(store.manifest(&app, &two).unwrap(), Some(two), "the manifest stays");
    store.delete_tag(&app, &tag("v3")).unwrap();
    store.delete_manifest(&app, &two).unwrap();
    assert_eq!(store.catalog(&page()).unwrap().items, ["app"], "an emptied repository stays in the catalog");
    assert_eq!(store.tags(&app, &page()).unwrap().unwrap().items, Vec::<String>::new());
    assert_eq!(rebuilt(root.path()), store.index_snapshot().unwrap().rows);
}

#[test]
fn deletes_in_repositories_that_are_not_there_leave_no_trace() {
    let root = scratch();
    let store = open(root.path());
    let (nobody, digest) = (name("nobody"), Digest::sha256(b"x"));
    assert!(!store.delete_tag(&nobody, &tag("v1")).unwrap());
    assert_eq!(store.delete_manifest(&nobody, &digest).unwrap(), None);
    assert!(!store.unlink_blob(&nobody, &digest).unwrap());
    assert_eq!(store.parents(&nobody, &digest).unwrap(), []);
    assert_eq!(store.tags(&nobody, &page()).unwrap(), None);
    assert_eq!(store.referrers(&nobody, &digest, &[], &page()).unwrap().items, []);
    assert_eq!(store.index_snapshot().unwrap().rows, Vec::<String>::new());
    assert_eq!(files(root.path()), []);
}

#[test]
fn a_damaged_tag_is_healed_from_its_history_and_else_reported() {
    let root = scratch();
    let store = open(root.path());
    let (app, v1) = (name("app"), tag("v1"));
    put(&store, "app", &image("1"), &["v1"]);
    let two = put(&store, "app", &image("2"), &["v1"]);
    let current = root.path().join(REPOSITORIES).join("app/_manifests/tags/v1/current/link");
    for (held, read) in [
        (String::new(), two),
        ("sha256:".to_owned(), two),
        ("\0\0\0".to_owned(), two),
        (format!("{two}\n"), two),
        (format!(" {two}\r\n"), two),
    ] {
        std::fs::write(&current, &held).unwrap();
        assert_eq!(store.tag(&app, &v1).unwrap(), Some(read), "{held:?}");
    }
    std::fs::write(&current, "garbage").unwrap();
    std::fs::remove_dir_all(current.parent().unwrap().with_file_name("index")).unwrap();
    match store.tag(&app, &v1) {
        Err(MetaError::DamagedLink { path, held }) => {
            assert_eq!(held, "garbage");
            assert!(path.ends_with("app/_manifests/tags/v1/current/link"));
        }
        other => panic!("{other:?}"),
    }
    // It doesn't keep the other tags from being listed, and a push mends it.
    put(&store, "app", &image("1"), &["v2"]);
    drop(store);
    let store = open(root.path());
    assert_eq!(store.tags(&app, &page()).unwrap().unwrap().items, ["v2"]);
    put(&store, "app", &image("2"), &["v1"]);
    assert_eq!(store.tags(&app, &page()).unwrap().unwrap().items, ["v1", "v2"]);
    std::fs::write(&current, [b'x'; 300]).unwrap();
    assert!(store.tag(&app, &v1).is_err(), "too long for a link");
}

#[test]
fn a_link_that_names_something_else_never_serves_it() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    let (one, two) = (put(&store, "app", &image("1"), &[]), put(&store, "app", &image("2"), &[]));
    let (a, b) = (link(&store, "app", b"a"), link(&store, "app", b"b"));
    let below = root.path().join(REPOSITORIES).join("app");
    let revision = below.join(format!("_manifests/revisions/sha256/{}/link", one.hex()));
    let layer = below.join(format!("_layers/sha256/{}/link", a.hex()));
    for held in [two.to_string(), String::new(), "garbage".to_owned()] {
        std::fs::write(&revision, held).unwrap();
        assert_eq!(store.manifest(&app, &one).unwrap(), Some(one));
    }
    for held in [b.to_string(), String::new(), "garbage".to_owned()] {
        std::fs::write(&layer, held).unwrap();
        assert_eq!(store.blob(&app, &a).unwrap(), Some(a));
    }
    // registry:2 keeps a blob that was pushed by its sha512 as an alias of its sha256.
    let alias = Digest::of(Algorithm::Sha512, b"a");
    write_in_place(
        &below.join(format!("_layers/sha512/{}/link", alias.hex())),
        &a.to_string(),
        Duration::ZERO,
    );
    assert_eq!(store.blob(&app, &alias).unwrap(), Some(a));
}

#[test]
fn a_layer_link_whose_content_is_gone_dangles() {
    let root = scratch();
    let store = open(root.path());
    let blob = link(&store, "app", b"layer");
    std::fs::remove_dir_all(root.path().join("docker/registry/v2/blobs")).unwrap();
    assert_eq!(store.blob(&name("app"), &blob).unwrap(), Some(blob));
    assert!(store.blobs.open(&blob).unwrap().is_none());
    assert_eq!(link(&store, "app", b"layer"), blob);
    assert!(store.blobs.open(&blob).unwrap().is_some());
}

#[test]
fn preconditions_hold_for_every_tag_or_nothing_happens() {
    let root = scratch();
    let store = open(root.path());
    let (one, two) = (put(&store, "app", &image("1"), &["v1"]), put(&store, "app", &image("2"), &["v2"]));
    use Precondition::{Absent, PointsAtNoneOf, PointsAtOneOf, Present};
    let cases = [
        (Absent, "new", true),
        (Absent, "v1", false),
        (Present, "new", false),
        (Present, "v1", true),
        (PointsAtOneOf(vec![one, two]), "v1", true),
        (PointsAtOneOf(vec![two]), "v1", false),
        (PointsAtOneOf(vec![one]), "new", false),
        (PointsAtOneOf(vec![]), "v1", false),
        (PointsAtNoneOf(vec![one]), "v1", false),
        (PointsAtNoneOf(vec![two]), "v1", true),
        (PointsAtNoneOf(vec![one]), "new", true),
    ];
    for (precondition, on, holds) in cases {
        let before = files(root.path());
        let third = image("3");
        let outcome = put_if(&store, "app", &third, &["free", on], precondition.clone());
        // The first tag stands for the ones that the condition allows; `Present` and `If-Match` don't.
        let free_holds = matches!(precondition, Absent | PointsAtNoneOf(_));
        match outcome {
            PutOutcome::Stored => assert!(holds && free_holds, "{precondition:?} on {on}"),
            PutOutcome::PreconditionFailed { tag: failed, current } => {
                assert!(!holds || !free_holds, "{precondition:?} on {on}");
                assert_eq!(files(root.path()), before, "something happened all the same");
                assert_eq!(store.tag(&name("app"), &failed).unwrap(), current);
            }
            PutOutcome::Immutable { tag, .. } => panic!("nobody has said that {tag} is immutable"),
            PutOutcome::QuotaExceeded(exceeded) => panic!("nobody has set a quota: {exceeded}"),
        }
        if files(root.path()) != before {
            for name_of in ["free", "new"] {
                store.delete_tag(&name("app"), &tag(name_of)).unwrap();
            }
            put(&store, "app", &image("1"), &["v1"]);
            store.delete_manifest(&name("app"), &Digest::sha256(&third)).unwrap();
        }
    }
    // On one tag alone.
    assert_eq!(put_if(&store, "app", &image("3"), &["v1"], PointsAtOneOf(vec![one])), PutOutcome::Stored);
    assert_eq!(put_if(&store, "app", &image("1"), &["v1"], Present), PutOutcome::Stored);
}
