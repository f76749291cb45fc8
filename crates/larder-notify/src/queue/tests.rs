use std::fs::OpenOptions;
use std::io::Write as _;

use tempfile::TempDir;

use super::*;

const LIMITS: Limits = Limits { events: 1000, bytes: 1 << 20 };

struct World {
    directory: TempDir,
    disk: Arc<Disk>,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(directory.path()).unwrap());
        World { directory, disk }
    }

    fn open(&self, limits: Limits) -> (Queue, u64) {
        Queue::open(&self.disk, Path::new("larder/queue"), limits).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new("larder/queue")).unwrap().unwrap_or_default();
        let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("larder/queue").join(name)
    }

    /// What a process that is killed in the middle of a line leaves at the end of a file.
    fn tear(&self, name: &str, bytes: &[u8]) {
        OpenOptions::new().append(true).open(self.path(name)).unwrap().write_all(bytes).unwrap();
    }
}

fn entries(bodies: &[&str]) -> Vec<Entry> {
    bodies.iter().map(|body| Entry { seconds: 7, body: body.as_bytes().to_vec() }).collect()
}

fn numbered(from: usize, to: usize) -> Vec<Entry> {
    (from..to).map(|number| Entry { seconds: 7, body: format!("event {number}").into_bytes() }).collect()
}

/// Takes everything from the queue.
fn drain(queue: &Queue) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(head) = queue.head().unwrap() {
        match head {
            Head::Event(line) => {
                bodies.push(String::from_utf8(line.body).unwrap());
                queue.finish(line.number).unwrap();
            }
            Head::Damaged(number) => {
                bodies.push("damaged".to_owned());
                queue.finish(number).unwrap();
            }
        }
    }
    bodies
}

fn first(queue: &Queue) -> Line {
    match queue.head().unwrap() {
        Some(Head::Event(line)) => line,
        Some(Head::Damaged(_)) | None => panic!("no event"),
    }
}

#[test]
fn changes_and_pulls_are_one_order() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    assert!(queue.head().unwrap().is_none());
    queue.append(Kind::Change, &entries(&["a", "b"])).unwrap();
    queue.append(Kind::Pull, &entries(&["c"])).unwrap();
    queue.append(Kind::Change, &entries(&["d"])).unwrap();
    assert_eq!((queue.pending(), first(&queue).seconds), (4, 7));
    assert_eq!(drain(&queue), ["a", "b", "c", "d"]);
    assert_eq!(queue.pending(), 0);
}

#[test]
fn a_restart_goes_on_where_the_cursor_stands() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["a", "b"])).unwrap();
    queue.append(Kind::Pull, &entries(&["c"])).unwrap();
    queue.finish(first(&queue).number).unwrap();
    drop(queue);
    let (queue, dropped) = world.open(LIMITS);
    assert_eq!(dropped, 0);
    // What comes later is behind it, in a file of its own.
    queue.append(Kind::Change, &entries(&["d"])).unwrap();
    assert_eq!(drain(&queue), ["b", "c", "d"]);
    drop(queue);
    let (queue, _) = world.open(LIMITS);
    assert_eq!(drain(&queue), [""; 0]);
    // Everything is done with: nothing but the cursor is left.
    assert_eq!(world.files(), ["cursor"]);
}

#[test]
fn what_a_crash_has_torn_is_passed_over_and_nothing_is_lost_behind_it() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["a", "b"])).unwrap();
    queue.finish(first(&queue).number).unwrap();
    drop(queue);
    let segment = "00000000000000000001.changes";
    world.tear(segment, b"0123456789abcdef 3 7 {\"half");
    world.tear("cursor", b"0123456789abcdef 99");
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["c"])).unwrap();
    drop(queue);
    let (queue, _) = world.open(LIMITS);
    assert_eq!(drain(&queue), ["b", "c"]);
}

#[test]
fn a_line_that_was_damaged_later_is_told_and_the_next_one_is_sent() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["aaaa", "b"])).unwrap();
    let path = world.path("00000000000000000001.changes");
    let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(text.contains(" 1 7 aaaa\n"), "{text}");
    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    file.write_all(text.replace("aaaa", "aaxa").as_bytes()).unwrap();
    assert_eq!(drain(&queue), ["damaged", "b"]);
}

#[test]
fn a_cursor_that_is_lost_brings_events_back_and_loses_none() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["a", "b"])).unwrap();
    queue.finish(first(&queue).number).unwrap();
    drop(queue);
    world.disk.remove_file(Path::new("larder/queue/cursor")).unwrap();
    let (queue, _) = world.open(LIMITS);
    assert_eq!(drain(&queue), ["a", "b"]);
}

#[test]
fn a_full_queue_forgets_the_oldest_pulls_then_the_oldest_changes() {
    let world = World::new();
    let limits = Limits { events: 160, bytes: 1 << 20 };
    let (queue, _) = world.open(limits);
    queue.append(Kind::Change, &numbered(0, 50)).unwrap();
    queue.append(Kind::Pull, &numbered(50, 150)).unwrap();
    assert_eq!(queue.append(Kind::Change, &numbered(150, 160)).unwrap().dropped, 0);
    assert_eq!(queue.pending(), 160);
    // One more: the oldest segment of pulls goes.
    assert_eq!(queue.append(Kind::Change, &numbered(160, 161)).unwrap().dropped, 10);
    // Many more: all pulls, then the oldest changes.
    let written = queue.append(Kind::Change, &numbered(161, 300)).unwrap();
    assert!(queue.pending() <= 160);
    assert_eq!(written.dropped + 10, 300 - queue.pending() as u64);
    let left = drain(&queue);
    let expected: Vec<String> = (40..50).chain(150..300).map(|number| format!("event {number}")).collect();
    assert_eq!(left, expected);
}

#[test]
fn a_queue_is_bounded_in_bytes_on_the_disk_and_after_a_restart() {
    let world = World::new();
    let limits = Limits { events: 1000, bytes: 64 << 10 };
    let (queue, _) = world.open(limits);
    let large = "x".repeat(1000);
    for _ in 0..200 {
        queue.append(Kind::Change, &entries(&[&large])).unwrap();
        let sizes = world.files().into_iter().filter(|name| name != "cursor");
        let bytes: u64 = sizes.map(|name| std::fs::metadata(world.path(&name)).unwrap().len()).sum();
        assert!(bytes <= 64 << 10, "{bytes}");
    }
    let pending = queue.pending();
    assert!((50..=64).contains(&pending), "{pending}");
    drop(queue);
    let (queue, dropped) = world.open(Limits { events: 1000, bytes: 32 << 10 });
    assert_eq!(queue.pending() as u64 + dropped, pending as u64);
    assert!((20..=32).contains(&queue.pending()), "{}", queue.pending());
}

#[test]
fn the_cursors_file_stays_small() {
    let world = World::new();
    let (queue, _) = world.open(LIMITS);
    for round in 0..5 {
        queue.append(Kind::Pull, &numbered(round * 900, (round + 1) * 900)).unwrap();
        assert_eq!(drain(&queue).len(), 900);
    }
    let length = std::fs::metadata(world.path("cursor")).unwrap().len();
    assert!(length < 66 << 10, "{length}");
    drop(queue);
    let (queue, _) = world.open(LIMITS);
    queue.append(Kind::Change, &entries(&["next"])).unwrap();
    assert_eq!(first(&queue).number, 4501);
}
