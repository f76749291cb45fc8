use std::path::Path;

use larder_auth::Identity;

use super::*;
use crate::lines::LineWriter;
use crate::telemetry;

const START: &str = "version: 0.1\nhttp: {addr: '127.0.0.1:0'}\n";

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A process in miniature: everything but the port.
fn start(directory: &Path, text: &str) -> Reloader {
    let path = directory.join("config.yml");
    write(&path, text);
    let (source, environment) = (Source::File(path), Environment::default());
    let loaded = config::load(&source, &environment).unwrap();
    let (config, files) = (loaded.config, loaded.files);
    let root = directory.join("data");
    let registry =
        Registry::open(&root, serve::settings(&config), larder_core::Environment::system()).unwrap();
    let access_log = LineWriter::start("test", std::io::sink());
    let gate = serve::gate(&config, 0).unwrap();
    let app = Arc::new(App::new(registry.clone(), gate, serve::options(&config, &access_log, None, None)));
    let log = telemetry::start(&config.log);
    Reloader::new(
        Told { source, environment, config, files },
        Handles {
            registry,
            app,
            certificates: crate::certificates::Certificates::default(),
            log,
            access_log,
            notifications: None,
            audit_log: None,
            remotes: crate::upstreams::Remotes::default(),
        },
    )
}

#[test]
fn what_can_change_does_and_what_cannot_is_named_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let with = |rest: &str| format!("{START}storage: {{filesystem: {{rootdirectory: {data}}}{rest}\n");
    let mut reloader = start(directory.path(), &with("}"));
    let path = directory.path().join("config.yml");
    write(
        &path,
        &with(", delete: {enabled: true}, maintenance: {readonly: {enabled: true}}}\nlog: {level: debug}"),
    );
    reloader.reload();
    let config = &reloader.told.config;
    assert!(config.storage.read_only && config.storage.delete_enabled);
    assert_eq!(config.log.level, config::Level::Debug);
    // Another data directory is another registry.
    write(
        &path,
        &format!("{START}storage: {{filesystem: {{rootdirectory: /elsewhere}}}}\nlog: {{formatter: json}}\n"),
    );
    for _ in 0..2 {
        let mut new = config::load(&reloader.told.source, &reloader.told.environment).unwrap().config;
        assert_eq!(
            keep_what_needs_a_restart(&reloader.told.config, &mut new),
            ["storage.filesystem.rootdirectory", "log.formatter"]
        );
        reloader.reload();
        assert_eq!(reloader.told.config.storage.root_directory, Path::new(&data));
        assert!(!reloader.told.config.storage.read_only);
    }
}

/// Of each key that a running process can't change the log says so, and the running process keeps it.
#[test]
fn each_key_that_needs_a_restart_is_named() {
    let load = |text: &str| {
        let text = format!("version: 0.1\n{text}\n");
        config::Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap().config
    };
    let old = load("storage: filesystem");
    for (key, text) in [
        ("storage.filesystem.rootdirectory", "storage: {filesystem: {rootdirectory: /b}}"),
        (
            "storage.maintenance.uploadpurging",
            "storage: {filesystem: , maintenance: {uploadpurging: {age: 1h}}}",
        ),
        ("storage.maintenance.gc", "storage: {filesystem: , maintenance: {gc: {enabled: false}}}"),
        ("http.addr", "storage: filesystem\nhttp: {addr: ':1'}"),
        ("http.debug", "storage: filesystem\nhttp: {debug: {addr: ':1'}}"),
        ("http.net", "storage: filesystem\nhttp: {net: unix, addr: /a}"),
        ("http.draintimeout", "storage: filesystem\nhttp: {draintimeout: 1s}"),
        ("http.tls", "storage: filesystem\nhttp: {tls: {certificate: /c, key: /k}}"),
        ("auth", "storage: filesystem\nauth: {htpasswd: {realm: r, path: /p}}"),
        ("audit", "storage: filesystem\naudit: {path: /a}"),
        ("notifications", "storage: filesystem\nnotifications: {endpoints: [{name: a, url: 'http://a'}]}"),
        ("health", "storage: filesystem\nhealth: {storagedriver: {enabled: true}}"),
        ("log.formatter", "storage: filesystem\nlog: {formatter: json}"),
        ("log.fields", "storage: filesystem\nlog: {fields: {a: b}}"),
    ] {
        let mut new = load(text);
        assert_eq!(keep_what_needs_a_restart(&old, &mut new), [key]);
        assert_eq!(new, old, "{key}");
    }
}

#[test]
fn a_broken_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let good = format!("{START}storage: {{filesystem: {{rootdirectory: {data}}}}}\n");
    let mut reloader = start(directory.path(), &good);
    let before = reloader.told.config.clone();
    let path = directory.path().join("config.yml");
    for broken in
        ["", "version: 0.1\nstorage: {filesystem: , maintenance: {readonly: {enabled: maybe}}}\n", ": ["]
    {
        write(&path, broken);
        reloader.reload();
        assert_eq!(reloader.told.config, before, "{broken}");
    }
    larder_storage::replace_file(&path, good.as_bytes(), None).unwrap();
    reloader.reload();
    assert_eq!(reloader.told.config, before);
}

#[test]
fn a_changed_file_is_read_when_it_stands_still() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let storage = format!("storage: {{filesystem: {{rootdirectory: {data}}}}}\n");
    let mut reloader = start(directory.path(), &format!("{START}{storage}"));
    let path = directory.path().join("config.yml");
    reloader.look();
    write(&path, &format!("{START}{storage}catalog: {{maxentries: 7}}\n"));
    reloader.look();
    assert_eq!(reloader.told.config.catalog_max_entries, 1000);
    reloader.look();
    assert_eq!(reloader.told.config.catalog_max_entries, 7);
    // Gone for a moment, as editors have it.
    std::fs::File::create(&path).unwrap();
    reloader.look();
    assert_eq!(reloader.told.config.catalog_max_entries, 7);
}

#[test]
fn a_changed_file_of_a_secret_has_the_configuration_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let secret = directory.path().join("secret");
    write(&secret, "http://one\n");
    let text = format!(
        "{START}storage: {{filesystem: {{rootdirectory: {data}}}}}\n\
         notifications: {{endpoints: [{{name: a, url: {{file: {}}}}}]}}\n",
        secret.display()
    );
    let mut reloader = start(directory.path(), &text);
    let reads = |reloader: &mut Reloader| {
        let before = reloader.looks.read.clone();
        reloader.look();
        reloader.looks.read != before
    };
    assert!(!reads(&mut reloader));
    write(&secret, "http://another\n");
    assert!(!reads(&mut reloader), "it may still be being written");
    assert!(reads(&mut reloader));
    // One that can't be read leaves everything as it was.
    write(&secret, "");
    reloader.look();
    assert!(reads(&mut reloader));
    assert_eq!(reloader.told.config.notifications.as_ref().unwrap().endpoints[0].url, "http://one");
}

/// Who may do what follows the file; what would change how clients are asked for their users does not.
#[test]
fn rules_are_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    // What bcrypt makes of "builder" at its lowest cost.
    write(&users, "bob:$2b$04$yNsoXW3ucX5.KLUKNlZNQuHMGa8v7.l/Lqk26O2CymWG40s9hnTEK\n");
    let head = format!(
        "{START}storage: {{filesystem: {{rootdirectory: {}}}}}\nauth: {{htpasswd: {{realm: r, path: {}}}}}\n",
        directory.path().join("data").display(),
        users.display()
    );
    let rules = |rules: &str| format!("{head}access: {{rules: [{rules}]}}\n");
    let mut reloader = start(directory.path(), &rules("{who: bob, may: pull}"));
    let path = directory.path().join("config.yml");
    let repository = "team/app".parse().unwrap();
    let bob = Identity::User("bob".into());
    let may_push = |reloader: &Reloader| reloader.handles.app.gate().policy().push(&bob, &repository).is_ok();
    assert!(!may_push(&reloader));
    write(&path, &rules("{who: bob, may: [pull, push]}"));
    reloader.reload();
    assert!(may_push(&reloader));
    // Without a login only tokens work, and this registry asks for passwords.
    for unfit in [rules("{who: anonymous, may: all}"), head.clone()] {
        write(&path, &unfit);
        reloader.reload();
        let anybody = reloader.handles.app.gate().policy().pull(&Identity::Anonymous, &repository);
        assert!(anybody.is_err() && may_push(&reloader), "{unfit}");
    }
    write(&path, &rules("{who: bob, may: pull}"));
    reloader.reload();
    assert!(!may_push(&reloader));
}
