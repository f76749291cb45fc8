use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Bound;

use larder_oci::Actor;

use super::*;

/// The names behind each other, as the index lists them, and how many of them were handed out.
struct Index {
    names: BTreeSet<String>,
    handed_out: RefCell<usize>,
}

impl Index {
    fn of(names: impl IntoIterator<Item = String>) -> Index {
        Index { names: names.into_iter().collect(), handed_out: RefCell::new(0) }
    }

    fn read(&self, page: &Page<String>) -> Result<Listing<String>, RegistryError> {
        let after = page.after.clone().unwrap_or_default();
        let mut behind = self.names.range((Bound::Excluded(after), Bound::Unbounded));
        let items: Vec<String> = behind.by_ref().take(page.limit).cloned().collect();
        *self.handed_out.borrow_mut() += items.len();
        Ok(Listing { items, more: behind.next().is_some() })
    }

    /// All pages of this size, each with its `next`.
    fn pages(&self, access: &CatalogAccess, limit: usize) -> Vec<CatalogPage> {
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = shown_page(access, Page { after, limit }, |page| self.read(page)).unwrap();
            after = page.next.clone();
            pages.push(page);
            if after.is_none() {
                return pages;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test plays the policy")]
fn everything() -> CatalogAccess {
    CatalogAccess::granted_by_policy(Actor::Anonymous)
}

fn below(beginnings: &[&str], shows: fn(&RepoName) -> bool) -> CatalogAccess {
    let beginnings = beginnings.iter().map(|text| (*text).to_owned()).collect();
    everything().showing_only(beginnings, shows)
}

fn even(name: &RepoName) -> bool {
    name.as_str().ends_with(['0', '2', '4', '6', '8'])
}

#[test]
fn pages_are_full_and_nothing_is_missed_or_shown_twice() {
    let index = Index::of((0..1000).map(|number| format!("team/{number:04}")));
    let shown: Vec<&String> = index.names.iter().filter(|name| even(&name.parse().unwrap())).collect();
    for limit in [1, 7, 100, 250, 499, 500, 501] {
        let pages = index.pages(&below(&[""], even), limit);
        let (last, full) = pages.split_last().unwrap();
        assert!(full.iter().all(|page| page.items.len() == limit), "{limit}");
        assert!(!last.items.is_empty() && last.items.len() <= limit, "no page is empty: {limit}");
        let all: Vec<&String> = pages.iter().flat_map(|page| &page.items).collect();
        assert_eq!(all, shown, "{limit}");
    }
    let all = index.pages(&everything(), 300);
    assert_eq!(all.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert_eq!(index.pages(&below(&[""], |_| false), 10), [CatalogPage { items: vec![], next: None }]);
}

fn shown(name: &RepoName) -> bool {
    name.as_str().starts_with("m/") || name.as_str().starts_with("team/")
}

#[test]
fn names_that_can_not_be_shown_are_skipped_unseen() {
    let names = ["a", "m", "team-x", "team", "teams", "z"];
    let index =
        Index::of(names.iter().flat_map(|name| (0..5000).map(move |number| format!("{name}/{number:04}"))));
    let pages = index.pages(&below(&["m/", "team/"], shown), 10_000);
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].items.len(), 10_000);
    assert!(pages[0].items.iter().all(|name| name.starts_with("m/") || name.starts_with("team/")));
    assert_eq!(pages[0].next, None);
    assert!(*index.handed_out.borrow() < 20_200, "{}", index.handed_out.borrow());
    // Behind the last of them, and before the first.
    let page = |after: &str| {
        let page = Page { after: Some(after.to_owned()), limit: 1 };
        shown_page(&below(&["m/", "team/"], shown), page, |page| index.read(page)).unwrap().items
    };
    assert_eq!(page("team/4999"), [""; 0]);
    assert_eq!(page("zzz"), [""; 0]);
    assert_eq!(page(""), ["m/0000"]);
    assert_eq!(page("m/4999"), ["team/0000"]);
}

#[test]
fn a_request_looks_at_so_many_names_and_the_next_goes_on() {
    let index = Index::of((0..120_000).map(|number| format!("a/{number:06}")));
    let pages = index.pages(&below(&["a/"], |name| name.as_str() == "a/119999"), 10);
    assert_eq!(pages.len(), 3, "each looks at 50,000 names");
    assert_eq!(pages[2].items, ["a/119999"]);
    assert_eq!(*index.handed_out.borrow(), 120_000);
}
