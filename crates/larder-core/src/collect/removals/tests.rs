#![expect(clippy::disallowed_methods, reason = "tests disturb the directory from outside")]

use std::fs;

use super::*;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(root: &Path) -> Removals {
    Removals::open(Arc::new(Disk::open(root).unwrap())).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn blob(content: &str) -> Removal {
    Removal { blob: Some(digest(content)), ..Removal::default() }
}

fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

fn note(removals: &Removals, seconds: u64, content: &str) {
    removals.note(&app(), "alice".to_owned(), at(seconds), &blob(content)).unwrap();
}

fn app() -> RepoName {
    "team/app".parse().unwrap()
}

fn segments(root: &Path) -> usize {
    fs::read_dir(root.join(DIRECTORY)).map_or(0, Iterator::count)
}

#[test]
fn what_was_noted_is_there_after_a_restart_in_its_order() {
    let root = scratch();
    let removals = open(root.path());
    note(&removals, 1, "a");
    note(&removals, 2, "b");
    drop(removals);
    let removals = open(root.path());
    note(&removals, 3, "c");
    let listed: Vec<_> =
        removals.list().iter().map(|each| (each.at, each.by.clone(), each.what.blob.unwrap())).collect();
    let expected = [(3000, "c"), (2000, "b"), (1000, "a")];
    assert_eq!(listed, expected.map(|(at, content)| (at, "alice".to_owned(), digest(content))));
}

#[test]
fn a_line_that_a_crash_has_torn_is_passed_over() {
    let root = scratch();
    let removals = open(root.path());
    note(&removals, 1, "a");
    note(&removals, 2, "b");
    drop(removals);
    let path = root.path().join(segment(1));
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let found = open(root.path()).list().len();
        let whole = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
        // Without its line break a line may be whole all the same.
        assert!(found == whole || found == whole + 1, "{found} of {whole} lines in {length} bytes");
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn notes_are_due_by_their_time_and_each_is_worked_on_by_one() {
    let root = scratch();
    let removals = open(root.path());
    note(&removals, 1, "a");
    note(&removals, 5, "b");
    assert!(removals.take_due(at(0), false, 0).is_none());
    let first = removals.take_due(at(3), false, 0).unwrap();
    assert_eq!(first.what.blob, Some(digest("a")));
    assert!(removals.take(first.id).is_none(), "somebody works on it");
    assert!(removals.take_due(at(3), false, 0).is_none());
    removals.put_off(first.id, Duration::from_secs(1000));
    assert!(removals.take_due(at(3), false, 0).is_none());
    assert_eq!(removals.take_due(at(3), true, 0).unwrap().id, first.id);
    removals.finish(first.id);
    assert_eq!(removals.count(), 1);
}

#[test]
fn what_a_note_needs_is_known_while_nobody_works_on_it() {
    let root = scratch();
    let removals = open(root.path());
    note(&removals, 1, "a");
    note(&removals, 2, "a");
    assert!(removals.name(&digest("a")) && removals.need(&app(), &digest("a")));
    assert!(!removals.need(&"other".parse().unwrap(), &digest("a")));
    let first = removals.take_due(at(9), false, 0).unwrap();
    assert!(removals.need(&app(), &digest("a")), "the second one needs it");
    removals.finish(first.id);
    let second = removals.take_due(at(9), false, 0).unwrap();
    assert!(!removals.name(&digest("a")) && !removals.need(&app(), &digest("a")));
    removals.put_off(second.id, Duration::ZERO);
    assert!(removals.name(&digest("a")));
}

#[test]
fn segments_go_when_all_their_notes_are_done_oldest_first() {
    let root = scratch();
    let removals = open(root.path());
    note(&removals, 1, "a");
    drop(removals);
    let removals = open(root.path());
    note(&removals, 2, "b");
    assert_eq!(segments(root.path()), 2);
    let b = removals.list()[0].id;
    removals.take(b).unwrap();
    removals.undone(b).unwrap();
    assert_eq!(segments(root.path()), 2, "the older one holds a note that isn't done");
    drop(removals);
    let removals = open(root.path());
    assert_eq!(removals.list().len(), 1, "the undone one is gone, also for a restart");
    let a = removals.list()[0].id;
    removals.take(a).unwrap();
    removals.finish(a);
    assert_eq!(segments(root.path()), 0);
    note(&removals, 3, "c");
    drop(removals);
    assert_eq!(open(root.path()).list().len(), 1);
}
