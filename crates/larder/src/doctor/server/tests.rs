use larder_storage::{FileSystem, Semantics};

use super::*;

/// A disk on which nothing is wrong.
fn sound() -> Semantics {
    Semantics {
        kind: FileSystem::Local,
        rename_replaces: true,
        rename_is_seen: true,
        sync_file: Ok(()),
        sync_directory: Ok(()),
        tells_case_apart: true,
        takes_names: Ok(()),
        locks: Ok(()),
        durable_in: Duration::from_millis(3),
        free_bytes: 50_000_000_000,
        total_bytes: 100_000_000_000,
        free_files: Some((900_000, 1_000_000)),
    }
}

#[test]
fn each_fault_of_a_disk_has_its_row_its_cause_and_its_fix() {
    let no = || Err("Operation not supported".to_owned());
    let cases: Vec<(Semantics, Row, Severity, &str, &str)> = vec![
        (
            Semantics { rename_replaces: false, ..sound() },
            Row::DiskRename,
            Severity::Failure,
            "pushes be lost",
            "noac",
        ),
        (
            Semantics { rename_is_seen: false, ..sound() },
            Row::DiskRename,
            Severity::Failure,
            "tags",
            "local disk",
        ),
        (Semantics { sync_file: no(), ..sound() }, Row::DiskSync, Severity::Failure, "fails", "local disk"),
        (
            Semantics { sync_directory: no(), ..sound() },
            Row::DiskSync,
            Severity::Failure,
            "fails",
            "local disk",
        ),
        (
            Semantics { tells_case_apart: false, ..sound() },
            Row::DiskCase,
            Severity::Failure,
            "`V1`",
            "case-sensitive",
        ),
        (
            Semantics { takes_names: no(), ..sound() },
            Row::DiskNames,
            Severity::Failure,
            "pushes fail",
            "ext4",
        ),
        (Semantics { locks: no(), ..sound() }, Row::DiskLocks, Severity::Warning, "second server", "nolock"),
        (
            Semantics { kind: FileSystem::Network("NFS"), ..sound() },
            Row::DiskNetwork,
            Severity::Warning,
            "other machines",
            "sync",
        ),
        (
            Semantics { kind: FileSystem::Memory, ..sound() },
            Row::DiskVolatile,
            Severity::Warning,
            "gone",
            "on a disk",
        ),
        (
            Semantics { kind: FileSystem::ContainerLayer, ..sound() },
            Row::DiskVolatile,
            Severity::Warning,
            "made anew",
            "docker run -v registry:/srv",
        ),
        (
            Semantics { durable_in: Duration::from_secs(1), ..sound() },
            Row::DiskSlow,
            Severity::Warning,
            "waits",
            "SSD",
        ),
        (Semantics { free_bytes: 1000, ..sound() }, Row::DiskFull, Severity::Failure, "507", "larder gc"),
        (
            Semantics { free_bytes: 4_000_000_000, ..sound() },
            Row::DiskFull,
            Severity::Warning,
            "full",
            "larder gc",
        ),
        (
            Semantics { free_files: Some((10, 1_000_000)), ..sound() },
            Row::DiskFiles,
            Severity::Failure,
            "file",
            "df -i",
        ),
        (
            Semantics { free_files: Some((40_000, 1_000_000)), ..sound() },
            Row::DiskFiles,
            Severity::Warning,
            "file",
            "df -i",
        ),
    ];
    let root = Path::new("/srv");
    assert_eq!(disk::findings(&sound(), root), []);
    assert_eq!(disk::findings(&Semantics { free_files: None, ..sound() }, root), []);
    for (seen, row, severity, cause, fix) in cases {
        let found = disk::findings(&seen, root);
        let [found] = found.as_slice() else { panic!("{row:?}: {found:?}") };
        assert_eq!((found.row, found.severity, &found.hop), (row, severity, &Hop::Server));
        assert!(found.cause.contains(cause) && found.fix.contains(fix), "{found:?}");
        assert!(found.seen.contains("/srv"), "{found:?}");
    }
}

#[test]
fn what_the_server_has_seen_of_a_proxy_is_judged() {
    let answer = serde_json::json!({
        "fronts": [
            {"proxy": "10.0.0.1", "trusted": true, "names_client": true, "proto": "https", "host": "reg.lan", "via": null},
            {"proxy": "127.0.0.1", "trusted": true, "names_client": false, "proto": null, "via": null},
            {"proxy": "203.0.113.7", "trusted": false, "names_client": true, "proto": "https", "via": "1.1 Caddy"},
        ],
        "problems": [
            {"client": "10.0.0.1", "reason": "the proxy in front sends X-Forwarded-Proto: http", "hop": "proxy",
             "fix": "proxy_set_header X-Forwarded-Proto $scheme;", "last": "2026-01-02T03:04:05Z", "count": 3},
        ],
    });
    let mut journal = Journal::new(|_| {});
    front::told(&mut journal, &answer, true);
    let found: Vec<&Finding> = journal.findings().collect();
    let [silent, untrusted, refused] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(silent.row, Row::FrontSilent);
    assert!(
        silent.seen.contains("X-Forwarded-For") && silent.seen.contains("X-Forwarded-Proto"),
        "{silent:?}"
    );
    assert!(silent.cause.contains("sent to http://") && silent.fix.contains("$scheme"), "{silent:?}");
    assert_eq!((untrusted.row, refused.row), (Row::FrontUntrusted, Row::RefusedLately));
    assert_eq!(untrusted.fix, "http.trustedproxies: [203.0.113.7]");
    assert!(untrusted.seen.contains("Caddy") && refused.seen.ends_with("3 times"), "{found:?}");
    assert_eq!((refused.hop.to_string().as_str(), journal.exit_code()), ("proxy", 0));
    let told = journal.to_json().to_string();
    assert!(told.contains("the proxy at 10.0.0.1 passes https on for reg.lan"), "{told}");
    // Where the address is written down, the scheme is nothing that a proxy has to say.
    let mut journal = Journal::new(|_| {});
    front::told(&mut journal, &answer, false);
    let silent = journal.findings().next().expect("a finding");
    assert!(silent.seen.ends_with("doesn't say who its clients are (X-Forwarded-For)"), "{silent:?}");
}

/// A place whose configuration is this text.
async fn looked_at(text: &str, directory: &Path) -> (Vec<(Row, String, String)>, u8) {
    let file = directory.join("config.yml");
    larder_storage::replace_file(&file, text.as_bytes(), None).expect("written");
    let environment = Environment::default();
    let place =
        Place { config: Some(&file), data: None, environment: &environment, may_use_system_directory: false };
    let mut journal = Journal::new(|_| {});
    examine(&place, &mut journal).await.expect("examined");
    let found = journal.findings().map(|finding| (finding.row, finding.seen.clone(), finding.fix.clone()));
    (found.collect(), journal.exit_code())
}

/// What the disk of whoever runs the tests is warned of: it may be in memory, slow, or nearly full.
fn is_not_of_this_machine(row: &Row) -> bool {
    use Row::{DiskFiles, DiskFull, DiskNetwork, DiskSlow, DiskVolatile};
    ![DiskFiles, DiskFull, DiskNetwork, DiskSlow, DiskVolatile].contains(row)
}

#[tokio::test]
async fn a_registry_without_faults_and_ones_with_each() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().display();
    let data = home.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let config = |more: &str| {
        format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {path}/data\nhttp:\n  addr: 127.0.0.1:0\n{more}"
        )
    };
    let (found, code) = looked_at(&config(""), home.path()).await;
    let found: Vec<Row> = found.into_iter().map(|(row, ..)| row).filter(is_not_of_this_machine).collect();
    assert_eq!((found, code), (vec![], 0));
    let (found, code) = looked_at(&config("htpp: {}\n"), home.path()).await;
    assert_eq!((found[0].0, code), (Row::ConfigInvalid, 20), "{found:?}");
    assert!(found[0].1.contains("did you mean \"http\"?"), "{found:?}");
    larder_storage::replace_file(&home.path().join("users"), b"bob:$apr1$x$y\n", None).expect("written");
    let users = config(&format!("auth:\n  htpasswd:\n    realm: r\n    path: {path}/users\n"));
    let (found, code) = looked_at(&users, home.path()).await;
    assert_eq!((found[0].0, code), (Row::UsersFile, 20), "{found:?}");
    let gone = config("").replace("/data", "/gone");
    let (found, code) = looked_at(&gone, home.path()).await;
    assert_eq!((found[0].0, code), (Row::DataDirectory, 21), "{found:?}");
    // Nobody listens at the first, and the second has no name.
    let upstreams = config(
        "upstreams:\n  - name: deaf\n    urls: [http://127.0.0.1:1]\n  - name: nameless\n    urls: [http://registry.invalid]\n",
    );
    let (found, code) = looked_at(&upstreams, home.path()).await;
    let found: Vec<_> = found.into_iter().filter(|(row, ..)| is_not_of_this_machine(row)).collect();
    let rows: Vec<Row> = found.iter().map(|(row, ..)| *row).collect();
    assert_eq!((rows, code), (vec![Row::UpstreamUnreachable, Row::UpstreamName], 23), "{found:?}");
    assert!(
        found[0].2.contains("127.0.0.1:1") && found[1].2.contains("getent hosts registry.invalid"),
        "{found:?}"
    );
}
