use super::*;

/// Where the page lies, seen from this crate.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

#[test]
fn the_page_in_docs_is_what_is_printed() {
    let kept = std::fs::read_to_string(PAGE).unwrap();
    let differing = kept.lines().zip(page().lines()).position(|(kept, printed)| kept != printed);
    assert!(
        kept == page(),
        "docs/configuration.md is out of date from line {} on; write it anew with\n    \
         cargo run -q -p larder -- config reference > docs/configuration.md",
        differing.unwrap_or(kept.lines().count().min(page().lines().count())) + 1
    );
}

#[test]
fn every_key_has_a_row_of_five_cells() {
    let page = page();
    for key in keys::all() {
        let start = format!("| `{}` | ", key.path);
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(rows.len(), 1, "{}", key.path);
        assert_eq!(rows[0].matches('|').count(), 6, "{}", rows[0]);
    }
}

#[test]
fn why_a_key_does_nothing_is_said_once_for_its_section() {
    let page = page();
    assert_eq!(page.matches("Larder doesn't connect to Redis").count(), 1);
    assert!(page.contains("| `redis.password` | secret |  | ignored | The password. |"));
    assert!(page.contains("| `http.limits.connections` | number | `10000` | own |"));
    assert!(page.contains("| `cache.maxbytes` | size | `0` | own |"));
}
