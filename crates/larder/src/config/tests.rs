use super::*;
use proptest::prelude::*;
use std::{ffi::OsString, time::Duration};

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// `/etc/docker/registry/config.yml` of the image registry:2.8.3.
const REGISTRY_2: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

/// `/etc/distribution/config.yml` of the image registry:3.0.0.
const REGISTRY_3: &str = "\
version: 0.1
log:
  level: debug
  fields:
    service: registry
    environment: development
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  tag:
    concurrencylimit: 5
http:
  addr: :5000
  debug:
    addr: :5001
    prometheus:
      enabled: true
      path: /metrics
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

#[test]
fn the_configurations_of_the_shipped_images_load() {
    let loaded = Config::from_yaml(REGISTRY_2, "config.yml", &environment(&[])).unwrap();
    assert_eq!(loaded.config.storage.root_directory, PathBuf::from("/var/lib/registry"));
    assert!(!loaded.config.storage.delete_enabled);
    assert_eq!(loaded.config.http.addr.to_string(), ":5000");
    assert_eq!(loaded.config.http.headers[0].0, "x-content-type-options");
    assert_eq!(loaded.config.log.fields, [("service".to_owned(), "registry".to_owned())]);
    assert_eq!(loaded.warnings, [] as [&str; 0]);
    let [check] = loaded.config.health.as_slice() else { panic!("one check") };
    assert_eq!((check.name.as_str(), check.threshold), ("storagedriver_filesystem", 3));

    let loaded = Config::from_yaml(REGISTRY_3, "config.yml", &environment(&[])).unwrap();
    assert!(loaded.config.storage.delete_enabled);
    assert_eq!(loaded.config.log.level, Level::Debug);
    assert_eq!(loaded.warnings, [] as [&str; 0]);
    let debug = loaded.config.http.debug.unwrap();
    assert_eq!((debug.addr.port, debug.metrics_path.as_deref()), (5001, Some("/metrics")));
}

#[test]
fn versions() {
    let load = |version: &str| {
        let text = format!("{version}\nstorage: filesystem\n");
        Config::from_yaml(&text, "config.yml", &environment(&[])).map_err(|errors| errors.to_string())
    };
    for good in ["version: 0.1", "version: '0.1'", "---\nversion: 0.1"] {
        assert!(load(good).is_ok(), "{good}");
    }
    for (bad, expected) in [
        ("", "config.yml:1:1: \"version\" is missing: begin the file with version: 0.1"),
        ("version:", "config.yml:1:1: \"version\" is missing: begin the file with version: 0.1"),
        ("version: 0.10", "config.yml:1:10: \"version\" is \"0.10\", and the only version there is is 0.1"),
        ("version: 2", "config.yml:1:10: \"version\" is \"2\", and the only version there is is 0.1"),
        ("version: [0.1]", "config.yml:1:10: \"version\" must be text, not a list"),
    ] {
        assert_eq!(load(bad).unwrap_err(), expected, "{bad}");
    }
}

#[test]
fn five_mistakes_are_reported_as_five() {
    let text = "\
version: 0.1
log:
  level: loud
storage:
  filesystem:
    rootdirectory: /x
    maxthreds: 5
http:
  addr: 5000
  tls:
    certificate: /c
auth:
  htpaswd:
    realm: r
";
    let errors = Config::from_yaml(text, "config.yml", &environment(&[])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "config.yml:3:10: \"log.level\" must be one of error, warn, info, debug, not another word\n\
         config.yml:7:5: unknown key \"maxthreds\" below \"storage.filesystem\"; did you mean \"maxthreads\"?\n\
         config.yml:9:9: \"http.addr\" is \"5000\"; write host:port, or :5000 for every interface\n\
         config.yml:11:18: \"http.tls.key\" is missing: a certificate needs its private key\n\
         config.yml:13:3: unknown key \"htpaswd\" below \"auth\"; did you mean \"htpasswd\"?"
    );
    assert_eq!(errors.0.len(), 5);
}

#[test]
fn a_duplicate_key_hides_no_other_mistake() {
    let text = "version: 0.1\nstorage: filesystem\nhttp: {addr: :80, addr: :81, adr: :82}\n";
    let errors = Config::from_yaml(text, "config.yml", &environment(&[])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "config.yml:3:19: \"addr\" was already written in line 3\n\
         config.yml:3:30: unknown key \"adr\" below \"http\"; did you mean \"addr\"?"
    );
}

#[test]
fn texts_that_are_no_configuration() {
    for (text, expected) in [
        ("", "config.yml:1:1: \"version\" is missing"),
        ("just text", "config.yml:1:1: \"configuration\" must be a map of keys"),
        ("- a", "\"configuration\" must be a map of keys, not a list"),
    ] {
        let errors = Config::from_yaml(text, "config.yml", &environment(&[])).unwrap_err().to_string();
        assert!(errors.contains(expected), "{text:?}: {errors}");
    }
    let long = "#".repeat(TEXT_BYTES_LIMIT + 1);
    let errors = Config::from_yaml(&long, "config.yml", &environment(&[])).unwrap_err().to_string();
    assert!(errors.contains("and Larder reads at most"), "{errors}");
}

#[test]
fn the_built_in_configuration() {
    let Loaded { config, warnings, notes, .. } =
        Config::builtin(Path::new("/data"), &environment(&[])).unwrap();
    assert_eq!((warnings, notes), (Vec::new(), Vec::new()));
    assert_eq!(config.storage.root_directory, PathBuf::from("/data"));
    assert!(config.storage.delete_enabled && config.storage.upload_purging.enabled);
    assert_eq!(config.http.addr.to_string(), ":5000");
    assert_eq!(config.http.headers[0].0, "x-content-type-options");
    assert_eq!(config.http.headers[0].1, "nosniff");
    assert_eq!(config.http.drain_timeout, Duration::from_secs(30));
    assert_eq!(
        config.auth,
        Auth::BuiltIn { users_file: "/data/larder/users.htpasswd".into(), service: "larder".to_owned() }
    );
}

#[test]
fn variables_over_the_built_in_configuration() {
    let load = |variables: &[(&str, &str)]| {
        Config::builtin(Path::new("/data"), &environment(variables)).map_err(|errors| errors.to_string())
    };
    let config = |variables: &[(&str, &str)]| load(variables).unwrap().config;
    assert_eq!(config(&[("REGISTRY_HTTP_ADDR", "localhost:80")]).http.addr.port, 80);
    assert_eq!(config(&[("REGISTRY_AUTH", "none")]).auth, Auth::None);
    assert_eq!(
        config(&[
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/p")
        ])
        .auth,
        Auth::Htpasswd { realm: "Realm".to_owned(), path: "/p".into() }
    );
    assert!(!config(&[("REGISTRY_STORAGE_DELETE_ENABLED", "false")]).storage.delete_enabled);
    // Replacing the section drops what the built-in one said of it, and the data stays where it is.
    let storage = config(&[("REGISTRY_STORAGE", "filesystem")]).storage;
    assert_eq!((storage.root_directory, storage.delete_enabled), (PathBuf::from("/data"), false));
    // The users lie with the images, wherever a variable moves them.
    let moved = config(&[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /moved}}")]);
    assert_eq!(
        moved.auth,
        Auth::BuiltIn { users_file: "/moved/larder/users.htpasswd".into(), service: "larder".to_owned() }
    );
    // The built-in driver gives way, so that the mistake is about what the operator wrote.
    let errors = load(&[("REGISTRY_STORAGE_S3_BUCKET", "b")]).unwrap_err();
    assert!(
        errors.starts_with("REGISTRY_STORAGE_S3_BUCKET: \"storage.s3\" is not supported yet"),
        "{errors}"
    );

    // The root directory has been weighed before; a variable that lost is worth a word.
    let same = load(&[(ROOT_DIRECTORY, "/data")]).unwrap();
    assert_eq!(same.warnings, Vec::<String>::new());
    let other = load(&[(ROOT_DIRECTORY, "/other")]).unwrap();
    assert_eq!(other.config.storage.root_directory, PathBuf::from("/data"));
    assert_eq!(other.warnings, [format!("{ROOT_DIRECTORY}: has no effect, since --data names /data.")]);
}

#[test]
fn a_file_is_read_and_an_unreadable_one_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    let error = load(&Source::File(path.clone()), &environment(&[])).unwrap_err().to_string();
    assert!(error.contains("config.yml:1:1: cannot read the config file: No such file"), "{error}");

    File::create(&path).and_then(|mut file| std::io::Write::write_all(&mut file, b"\xff")).unwrap();
    let error = load(&Source::File(path.clone()), &environment(&[])).unwrap_err().to_string();
    assert!(error.contains("it is not UTF-8 text"), "{error}");

    File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, REGISTRY_2.as_bytes()))
        .unwrap();
    assert!(load(&Source::File(path), &environment(&[])).is_ok());
    assert!(load(&Source::BuiltIn(directory.path().to_owned()), &environment(&[])).is_ok());
}

/// The reference page's defaults are what happens: written out, each of them changes nothing.
#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    let lists = "\
version: 0.1
storage: filesystem
audit: {path: /a}
auth: {token: {realm: r, service: s, issuer: i, jwks: /k}}
notifications: {endpoints: [{name: a, url: 'http://a'}]}
health: {file: [{file: /f}], http: [{uri: 'http://a'}], tcp: [{addr: 'a:1'}]}
";
    let switched_on = "\
version: 0.1
storage: {filesystem: {rootdirectory: /r}}
audit: {path: /a}
auth: {token: {realm: r, service: s, issuer: i, jwks: /k, autoredirect: true}}
http: {debug: {addr: ':1', prometheus: {enabled: true}}, tls: {certificate: /c, key: /k, clientcas: [/a]}}
health: {storagedriver: {enabled: true}}
";
    for text in [lists, switched_on] {
        let load = |variables: &[(&str, &str)]| {
            let environment =
                variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Config::from_yaml(text, "config.yml", &environment).unwrap().config
        };
        let expected = load(&[]);
        let root = yaml::parse(text, &yaml::Source::File("config.yml".into())).value.unwrap();
        let is_written = |path: &str| root.entry_at(path).is_some();
        for key in keys::all().filter(|key| !key.default.is_empty() && !is_written(key.path)) {
            // A key of a list's items needs an item.
            if key.path.split_once("[]").is_some_and(|(list, _)| !is_written(list)) {
                continue;
            }
            assert_eq!(load(&[(&key.variable(), key.default)]), expected, "{}: {}", key.path, key.default);
        }
    }
}

fn any_configuration() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("version: 0.1".to_owned()),
        Just("storage".to_owned()),
        Just("http".to_owned()),
        Just("auth".to_owned()),
        Just("log".to_owned()),
        Just("fields".to_owned()),
        Just("headers".to_owned()),
        Just("tls".to_owned()),
        "[a-z]{1,6}",
        "[-:{}\\[\\],&*!|>#%@`'\" \\n]{1,4}",
        "\\PC{0,5}",
    ];
    proptest::collection::vec((word, 0..6_usize, any::<bool>()), 0..20).prop_map(|words| {
        words
            .into_iter()
            .map(|(word, indent, key)| {
                format!("{}{word}{}\n", "  ".repeat(indent), if key { ":" } else { "" })
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_and_no_variable_panics(text in any_configuration(), name in "[A-Z0-9_]{0,30}", value in "\\PC{0,20}") {
        let name = format!("REGISTRY_{name}");
        let _ = Config::from_yaml(&text, "config.yml", &environment(&[(&name, &value)]));
    }

    #[test]
    fn every_key_takes_any_value_without_panic(index in 0..1_000_usize, value in any_configuration()) {
        let keys: Vec<_> = keys::all().collect();
        let name = keys[index % keys.len()].variable();
        let variables = [(name.as_str(), value.as_str())];
        let _ = Config::from_yaml(REGISTRY_2, "config.yml", &environment(&variables));
        let _ = Config::builtin(Path::new("/data"), &environment(&variables));
    }
}
