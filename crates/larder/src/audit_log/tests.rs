use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use larder_storage::DiskOperation;

use super::*;

const NEVER: LogRotation = LogRotation { file_bytes: None, files_kept: None };

/// A disk that is full until it isn't.
struct Full {
    is_full: Arc<AtomicBool>,
    written: Arc<Mutex<String>>,
    synced: Sender<usize>,
    tried: Sender<()>,
}

impl Destination for Full {
    fn append(&mut self, lines: &[u8]) -> Result<(), StorageError> {
        let _ = self.tried.send(());
        if self.is_full.load(Ordering::SeqCst) {
            let (operation, path) = (DiskOperation::Write, "audit".into());
            return Err(StorageError::Io { operation, path, source: io::ErrorKind::StorageFull.into() });
        }
        self.written.lock().unwrap().push_str(std::str::from_utf8(lines).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.synced.send(self.written.lock().unwrap().len()).unwrap();
        Ok(())
    }
}

struct World {
    log: AuditLog,
    is_full: Arc<AtomicBool>,
    written: Arc<Mutex<String>>,
    synced: Receiver<usize>,
    tried: Receiver<()>,
}

fn world(is_full: bool) -> World {
    let (is_full, written) = (Arc::new(AtomicBool::new(is_full)), Arc::new(Mutex::new(String::new())));
    let ((synced, syncs), (tried, tries)) = (channel(), channel());
    let disk = Full { is_full: Arc::clone(&is_full), written: Arc::clone(&written), synced, tried };
    World { log: AuditLog::over(disk), is_full, written, synced: syncs, tried: tries }
}

#[test]
fn lines_are_written_in_order_and_those_of_changes_are_synced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let log = AuditLog::open(&path, NEVER).unwrap();
    log.offer("one");
    let kept = log.keep("two");
    kept.blocking_recv().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n", "it is there when it is said to be");
    log.offer("three");
    log.close();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    assert!(AuditLog::open(&directory.path().join("none/audit"), NEVER).is_err());
    let world = world(false);
    world.log.keep("four").blocking_recv().unwrap();
    assert_eq!(world.synced.try_recv(), Ok("four\n".len()), "synced with the line in it");
}

#[test]
fn a_full_disk_keeps_nobody_waiting_and_loses_no_line_of_a_change() {
    let world = world(true);
    let first = world.log.keep("first");
    assert!(first.blocking_recv().is_err(), "it is said that it is not there");
    assert!(world.log.is_failing());
    let second = world.log.keep("second");
    assert!(second.blocking_recv().is_err());
    world.is_full.store(false, Ordering::SeqCst);
    world.log.keep("third");
    while world.log.is_failing() {
        world.tried.recv_timeout(Duration::from_secs(30)).unwrap();
        let until = Instant::now() + Duration::from_millis(100);
        while world.log.is_failing() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
    world.log.close();
    assert_eq!(*world.written.lock().unwrap(), "first\nsecond\nthird\n");
}

#[test]
fn what_there_is_no_room_for_is_counted_in_the_log_itself() {
    let world = world(true);
    assert!(world.log.keep("begin").blocking_recv().is_err());
    let line = "x".repeat(1023);
    for _ in 0..MOST_OFFERED / 1024 + 7 {
        world.log.offer(&line);
    }
    // A change still has its place.
    for _ in 0..(MOST_KEPT - MOST_OFFERED) / 1024 + 5 {
        drop(world.log.keep(&line));
    }
    world.is_full.store(false, Ordering::SeqCst);
    world.log.close();
    let written = world.written.lock().unwrap();
    let last: serde_json::Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    assert_eq!(last["action"], "lost");
    let number = |name: &str| last[name].as_u64().unwrap();
    let whole = written.lines().filter(|written| **written == line).count() as u64;
    let told = (MOST_OFFERED / 1024 + 7 + (MOST_KEPT - MOST_OFFERED) / 1024 + 5) as u64;
    assert_eq!(whole + number("changes") + number("others"), told);
    assert!(number("others") >= 7 && number("changes") >= 4, "{last}");
    assert!(last["since"].as_str().unwrap() <= last["time"].as_str().unwrap());
}
