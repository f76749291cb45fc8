#![expect(clippy::disallowed_methods, reason = "these tests are the other program that moves the file away")]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NEVER: LogRotation = LogRotation { file_bytes: None, files_kept: None };

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The names in the directory, and what they hold.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), read(&entry.path())))
        .collect();
    files.sort();
    files
}

fn named(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_log_goes_on_where_it_ended_and_belongs_to_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    LogFile::open(&path, NEVER).unwrap().append(b"one\n").unwrap();
    let mut log = LogFile::open(&path, NEVER).unwrap();
    let done = log.append(b"two\nthree\n").unwrap();
    assert!(done.rotated.is_none() && done.removed.is_empty() && done.problem.is_none(), "{done:?}");
    log.sync().unwrap();
    assert_eq!(read(&path), "one\ntwo\nthree\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // What a crash has torn ends where it ended.
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"to").unwrap();
    let mut log = LogFile::open(&path, NEVER).unwrap();
    log.append(b"four\n").unwrap();
    log.append(b"five\n").unwrap();
    assert_eq!(read(&path), "one\ntwo\nthree\nto\nfour\nfive\n");
    assert!(LogFile::open(&directory.path().join("nowhere/audit"), NEVER).is_err());
}

#[test]
fn full_files_get_numbers_and_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    // What others have made is left alone.
    std::fs::File::create(directory.path().join("audit.1")).unwrap();
    std::fs::File::create(directory.path().join("audit.000000.gz")).unwrap();
    let rotation = LogRotation { file_bytes: Some(10), files_kept: Some(2) };
    let mut log = LogFile::open(&path, rotation).unwrap();
    let mut rotated = Vec::new();
    let mut removed = Vec::new();
    for line in ["1234\n", "5678\n", "a\n", "longer than a file\n", "b\n", "c\n", "123456\n", "d\n"] {
        let done = log.append(line.as_bytes()).unwrap();
        rotated.extend(done.rotated);
        removed.extend(done.removed);
    }
    let expected = [
        ("audit", "123456\nd\n"),
        ("audit.000000.gz", ""),
        ("audit.000003", "longer than a file\n"),
        ("audit.000004", "b\nc\n"),
        ("audit.1", ""),
    ];
    let mut expected = named(&expected);
    // The third number is the long line, behind "a".
    expected.sort();
    assert_eq!(files(directory.path()), expected);
    let path_of = |number: u64| directory.path().join(format!("audit.{number:06}"));
    assert_eq!(rotated, [path_of(1), path_of(2), path_of(3), path_of(4)]);
    assert_eq!(removed, [path_of(1), path_of(2)]);
    // Numbers go on after a restart, also when all are gone but the last.
    std::fs::rename(path_of(4), path_of(900)).unwrap();
    let mut log = LogFile::open(&path, rotation).unwrap();
    assert_eq!(log.append(b"efgh\n").unwrap().rotated, Some(path_of(901)));
}

#[test]
fn a_file_that_was_moved_away_or_removed_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let mut log = LogFile::open(&path, NEVER).unwrap();
    log.append(b"one\n").unwrap();
    std::fs::rename(&path, directory.path().join("audit.1")).unwrap();
    log.append(b"two\n").unwrap();
    std::fs::remove_file(&path).unwrap();
    log.append(b"three\n").unwrap();
    assert_eq!(files(directory.path()), named(&[("audit", "three\n"), ("audit.1", "one\n")]));
}

#[test]
fn a_full_disk_is_an_error_and_the_lines_can_be_written_again() {
    // What is written to this file is always too much for its device.
    let full = Path::new("/dev/full");
    let mut log = OpenLog {
        file: OpenOptions::new().write(true).open(full).unwrap(),
        identity: (0, 0),
        length: 0,
        is_torn: false,
    };
    let error = log.write(b"one\n").unwrap_err();
    assert!(matches!(
        StorageError::io(DiskOperation::Write, full, error),
        StorageError::NoSpace { operation: DiskOperation::Write, .. }
    ));
    assert!(log.is_torn, "nobody can tell what the device has taken");
}

#[test]
fn an_old_file_that_can_not_be_removed_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    std::fs::create_dir(directory.path().join("audit.000001")).unwrap();
    let mut log = LogFile::open(&path, LogRotation { file_bytes: Some(5), files_kept: Some(1) }).unwrap();
    log.append(b"one\n").unwrap();
    let done = log.append(b"two\n").unwrap();
    assert!(
        matches!(done.problem, Some(StorageError::Io { operation: DiskOperation::Remove, .. })),
        "{done:?}"
    );
    assert_eq!(done.rotated, Some(directory.path().join("audit.000002")));
    assert_eq!(read(&path), "two\n");
}
