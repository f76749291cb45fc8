use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span;
use tracing::{Event, Level, Metadata as EventMetadata, Subscriber};

use super::*;
use crate::testing::{Home, USERS};
use crate::users_file::{LARGEST_FILE_BYTES, UsersFile};
use std::os::unix::fs::MetadataExt as _;

const BOB: &str = "bob:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My\n";

/// Counts what is logged at error.
#[derive(Clone, Default)]
struct Errors(Arc<AtomicUsize>);

impl Subscriber for Errors {
    fn enabled(&self, _: &EventMetadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == Level::ERROR {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Looks three times, as three requests do, and tells how many errors that logged.
fn errors_of_three_uses(users: &UsersFile) -> usize {
    let errors = Errors::default();
    tracing::subscriber::with_default(errors.clone(), || {
        for _ in 0..3 {
            users.current();
        }
    });
    errors.0.load(Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "the test plays the operator, who knows no Disk")]
fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[test]
fn a_file_that_can_not_stand_keeps_the_server_from_starting() {
    let home = Home::with_users("bob:hunter2\n");
    let error = UsersFile::open(home.users_path()).unwrap_err();
    assert!(matches!(error, AuthError::UsersFileMistaken { .. }), "{error}");
    let error = UsersFile::open(home.users_path().with_file_name("missing")).unwrap_err();
    assert!(matches!(error, AuthError::FileUnreadable { .. }), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    let error = UsersFile::open(home.users_path().parent().unwrap()).unwrap_err();
    assert!(matches!(error, AuthError::FileUnreadable { .. }), "{error}");
}

#[test]
fn an_unchanged_file_is_read_once() {
    let home = Home::with_users(USERS);
    let users = UsersFile::open(home.users_path()).unwrap();
    let first = users.current();
    assert!(Arc::ptr_eq(&first, &users.current()));
}

#[test]
fn a_changed_file_is_read_at_the_next_use() {
    let home = Home::with_users(USERS);
    let users = UsersFile::open(home.users_path()).unwrap();
    let before = users.current();
    assert!(before.contains("alice"));
    home.write(BOB);
    let after = users.current();
    assert!(!after.contains("alice") && after.contains("bob"));
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&after, &users.current()));
}

#[test]
fn a_file_put_in_place_of_another_is_read_though_size_and_time_are_the_same() {
    let home = Home::with_users(BOB);
    let path = home.users_path();
    let users = UsersFile::open(&path).unwrap();
    let other = path.with_extension("new");
    crate::testing::write(&other, BOB.replace("bob", "eve").as_bytes());
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
    rename(&other, &path);
    assert!(users.current().contains("eve"));
}

#[test]
fn a_file_rewritten_in_place_is_read_though_size_and_time_are_the_same() {
    let home = Home::with_users(BOB);
    let path = home.users_path();
    let users = UsersFile::open(&path).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    // The kernel's time for inodes goes in steps of milliseconds: write until the next one.
    loop {
        home.write(&BOB.replace("bob", "eve"));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        let after = file.metadata().unwrap();
        if (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            break;
        }
    }
    assert!(users.current().contains("eve"));
}

#[test]
fn a_change_that_can_not_be_used_leaves_the_users_and_is_logged_once() {
    let home = Home::with_users(USERS);
    let users = UsersFile::open(home.users_path()).unwrap();
    let before = users.current();
    home.write("bob:hunter2\n");
    assert_eq!(errors_of_three_uses(&users), 1);
    assert!(users.current().contains("alice"));
    assert!(Arc::ptr_eq(&users.current(), &before));
    home.write("bob:hunter2hunter2\n");
    assert_eq!(errors_of_three_uses(&users), 1, "another change, another line in the log");
    home.write(BOB);
    assert_eq!(errors_of_three_uses(&users), 0);
    assert!(!users.current().contains("alice"));
}

#[test]
fn a_file_that_disappears_leaves_the_users_and_is_logged_once() {
    let home = Home::with_users(USERS);
    let path = home.users_path();
    let users = UsersFile::open(&path).unwrap();
    rename(&path, &path.with_extension("away"));
    assert_eq!(errors_of_three_uses(&users), 1);
    assert!(users.current().contains("alice"));
    home.write(BOB);
    assert_eq!(errors_of_three_uses(&users), 0);
    assert!(!users.current().contains("alice"));
}

#[test]
fn a_file_that_is_too_large_leaves_the_users() {
    let home = Home::with_users(BOB);
    let users = UsersFile::open(home.users_path()).unwrap();
    File::options().write(true).open(home.users_path()).unwrap().set_len(LARGEST_FILE_BYTES + 1).unwrap();
    assert_eq!(errors_of_three_uses(&users), 1);
    assert!(users.current().contains("bob"));
}
