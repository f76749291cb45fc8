use larder_oci::Descriptor;

use super::*;
use crate::Listing;

fn after(text: &str, limit: usize) -> Page<String> {
    Page { after: Some(text.to_owned()), limit }
}

fn listing(items: &[&str], more: bool) -> Listing<String> {
    Listing { items: items.iter().map(|&item| item.to_owned()).collect(), more }
}

#[test]
fn tags_are_listed_in_byte_order_page_by_page() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    assert_eq!(store.tags(&app, &page()).unwrap(), None);
    link(&store, "app", b"layer");
    assert_eq!(store.tags(&app, &page()).unwrap(), None, "a repository without manifests has no tag list");
    put(&store, "app", &image("1"), &[]);
    assert_eq!(store.tags(&app, &page()).unwrap(), Some(listing(&[], false)));
    put(&store, "app", &image("1"), &["b", "a", "B", "_", "1.10", "1.9", "a-"]);
    let sorted = ["1.10", "1.9", "B", "_", "a", "a-", "b"];
    let tags = |page: &Page<String>| store.tags(&app, page).unwrap().unwrap();
    assert_eq!(tags(&page()), listing(&sorted, false));
    assert_eq!(tags(&Page { after: None, limit: 7 }), listing(&sorted, false));
    assert_eq!(tags(&Page { after: None, limit: 6 }), listing(&sorted[..6], true));
    assert_eq!(tags(&Page { after: None, limit: 0 }), listing(&[], true));
    assert_eq!(tags(&after("B", 2)), listing(&["_", "a"], true));
    assert_eq!(tags(&after("C", 100)), listing(&["_", "a", "a-", "b"], false), "after what is no tag");
    assert_eq!(tags(&after("b", 100)), listing(&[], false));
    assert_eq!(tags(&after("", 1)), listing(&["1.10"], true));
    assert_eq!(tags(&after("ü", 1)), listing(&[], false));
    // Page by page it is the same list.
    let (mut walked, mut next) = (Vec::new(), None);
    loop {
        let part = tags(&Page { after: next, limit: 2 });
        walked.extend(part.items.clone());
        next = part.items.last().cloned();
        if !part.more {
            break;
        }
    }
    assert_eq!(walked, sorted);
}

#[test]
fn the_catalog_is_in_byte_order_and_shows_what_has_manifests_or_blobs() {
    let root = scratch();
    let store = open(root.path());
    assert_eq!(store.catalog(&page()).unwrap(), listing(&[], false));
    for repository in ["b", "a/b", "a", "a-b", "a.b", "a/b/c"] {
        put(&store, repository, &image("1"), &["v1"]);
    }
    link(&store, "only/blobs", b"layer");
    let sorted = ["a", "a-b", "a.b", "a/b", "a/b/c", "b", "only/blobs"];
    assert_eq!(store.catalog(&page()).unwrap(), listing(&sorted, false));
    assert_eq!(store.catalog(&after("a.b", 2)).unwrap(), listing(&["a/b", "a/b/c"], true));
    assert_eq!(
        store.catalog(&after("a/a", 9)).unwrap(),
        listing(&["a/b", "a/b/c", "b", "only/blobs"], false)
    );
    drop(store);
    remove_index(root.path());
    assert_eq!(open(root.path()).catalog(&page()).unwrap(), listing(&sorted, false));
}

#[test]
fn blobs_and_parents_are_found_backwards() {
    let root = scratch();
    let store = open(root.path());
    let (one, two) = (put(&store, "app", &image("1"), &[]), put(&store, "app", &image("2"), &[]));
    let both = put(&store, "app", &index(&[(one, None), (two, None), (one, None)]), &["multi"]);
    assert_eq!(store.parents(&name("app"), &one).unwrap(), [both]);
    assert_eq!(store.parents(&name("app"), &Digest::sha256(b"1")).unwrap(), [one], "the config's image");
    assert_eq!(store.parents(&name("app"), &both).unwrap(), []);
    let blob = link(&store, "a", b"layer");
    link(&store, "b", b"layer");
    let mut holders = store.repositories_with_blob(&blob, 10).unwrap();
    holders.sort();
    assert_eq!(holders, [name("a"), name("b")]);
    assert_eq!(store.repositories_with_blob(&blob, 1).unwrap().len(), 1);
    store.unlink_blob(&name("a"), &blob).unwrap();
    assert_eq!(store.repositories_with_blob(&blob, 10).unwrap(), [name("b")]);
}

fn digests(listing: &Listing<Descriptor>) -> Vec<Digest> {
    listing.items.iter().map(|descriptor| descriptor.digest).collect()
}

#[test]
fn referrers_are_filtered_and_paged() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    let subject = put(&store, "app", &image("subject"), &[]);
    let missing = Digest::sha256(b"a subject that is not there");
    let kinds = ["application/one", "application/two", "application/three"];
    let mut all: Vec<Digest> =
        kinds.iter().map(|kind| put(&store, "app", &artifact(kind, &subject), &[])).collect();
    let [one, two, _] = all[..] else { unreachable!() };
    all.sort();
    let about_missing = put(&store, "app", &artifact("application/one", &missing), &[]);
    let ask = |types: &[&str], page: &Page<Digest>| {
        let types: Vec<String> = types.iter().map(|&kind| kind.to_owned()).collect();
        store.referrers(&app, &subject, &types, page).unwrap()
    };
    assert_eq!(digests(&ask(&[], &page())), all);
    assert_eq!(digests(&ask(&["application/one"], &page())), [one]);
    assert_eq!(digests(&ask(&["application/none"], &page())), []);
    let mut first_two = vec![one, two];
    first_two.sort();
    let types = ["application/two", "application/one", "application/two"];
    assert_eq!(digests(&ask(&types, &page())), first_two);
    for limit in 1..4 {
        let (mut walked, mut next) = (Vec::new(), None);
        loop {
            let part = ask(&[], &Page { after: next, limit });
            assert!(part.items.len() <= limit);
            walked.extend(digests(&part));
            next = walked.last().copied();
            if !part.more {
                break;
            }
        }
        assert_eq!(walked, all, "by {limit}");
    }
    let listed = store.referrers(&app, &missing, &[], &page()).unwrap();
    assert_eq!(digests(&listed), [about_missing]);
    assert_eq!(listed.items[0].artifact_type.as_deref(), Some("application/one"));
    store.delete_manifest(&app, &about_missing).unwrap();
    assert_eq!(digests(&store.referrers(&app, &missing, &[], &page()).unwrap()), []);
}

#[test]
fn a_list_under_the_fallback_tag_is_merged_in() {
    let root = scratch();
    let store = open(root.path());
    let app = name("app");
    let subject = put(&store, "app", &image("subject"), &[]);
    let own = put(&store, "app", &artifact("application/own", &subject), &[]);
    // Pushed by a client that knew no referrers API: the manifest may not even name its subject.
    let listed = put(&store, "app", &image("listed"), &[]);
    let gone = Digest::sha256(b"a manifest that is gone");
    let list = index(&[
        (listed, Some("application/listed")),
        (gone, Some("application/listed")),
        (own, Some("application/stale")),
    ]);
    let fallback = Tag::referrers_fallback(&subject);
    put(&store, "app", &list, &[fallback.as_str()]);
    let ask = |types: &[&str], page: &Page<Digest>| {
        let types: Vec<String> = types.iter().map(|&kind| kind.to_owned()).collect();
        store.referrers(&app, &subject, &types, page).unwrap()
    };
    let mut both = vec![own, listed];
    both.sort();
    let all = ask(&[], &page());
    assert_eq!(digests(&all), both);
    let kind = all.items.iter().find(|found| found.digest == own).unwrap().artifact_type.as_deref();
    assert_eq!(kind, Some("application/own"), "what the manifest says wins");
    assert_eq!(digests(&ask(&["application/listed"], &page())), [listed]);
    assert_eq!(digests(&ask(&["application/own"], &page())), [own]);
    assert_eq!(digests(&ask(&["application/stale"], &page())), [], "the manifest says otherwise");
    let first = ask(&[], &Page { after: None, limit: 1 });
    assert_eq!((digests(&first), first.more), (vec![both[0]], true));
    let second = ask(&[], &Page { after: Some(both[0]), limit: 1 });
    assert_eq!((digests(&second), second.more), (vec![both[1]], false));
    // Under the tag may be anything.
    put(&store, "app", &image("somebody's image"), &[fallback.as_str()]);
    assert_eq!(digests(&ask(&[], &page())), [own]);
}
