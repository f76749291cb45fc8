use super::*;

#[test]
fn a_common_disk_does_what_durability_stands_on_and_keeps_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let seen = try_semantics(root.path()).unwrap();
    assert!(seen.rename_replaces && seen.rename_is_seen && seen.tells_case_apart, "{seen:?}");
    assert_eq!((&seen.sync_file, &seen.sync_directory), (&Ok(()), &Ok(())));
    assert_eq!((&seen.takes_names, &seen.locks), (&Ok(()), &Ok(())));
    assert!(seen.free_bytes > 0 && seen.free_bytes <= seen.total_bytes, "{seen:?}");
    let left = fs::read_dir(root.path().join("larder")).unwrap().count();
    assert_eq!(left, 0, "the trial is taken away");
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let gone = root.path().join("gone");
    assert!(try_semantics(&gone).is_err());
    assert!(!gone.try_exists().unwrap());
}

#[test]
fn file_systems_are_known_by_their_numbers() {
    assert_eq!(kind_of(0x6969), FileSystem::Network("NFS"));
    assert_eq!(kind_of(0xffff_ffff_ff53_4d42), FileSystem::Network("SMB"));
    assert_eq!(kind_of(0x0102_1994), FileSystem::Memory);
    assert_eq!(kind_of(0xef53), FileSystem::Local, "ext4");
}
