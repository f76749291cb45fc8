//! Distribution's contract held against Larder: every key of the list in `contract/keys.txt`, set by file and by variable,
//! has its effect, or start-up says that it has none, or why Larder doesn't start.

use super::{
    Config, ConfigErrors, Loaded,
    environment::Environment,
    keys::{self, Key, Status},
};
use serde_json::{Value, json};
use std::path::PathBuf;

mod files;

const KEYS: &str = include_str!("contract/keys.txt");

/// What distribution calls elements of a path in variables, where it isn't what files call them.
const VARIABLES: [(&str, &str); 6] = [
    ("notifications.events", "REGISTRY_NOTIFICATIONS_EVENTCONFIG"),
    ("health.file", "REGISTRY_HEALTH_FILECHECKERS"),
    ("health.http", "REGISTRY_HEALTH_HTTPCHECKERS"),
    ("health.tcp", "REGISTRY_HEALTH_TCPCHECKERS"),
    ("log.hooks[].options", "REGISTRY_LOG_HOOKS_0_MAILOPTIONS"),
    ("compatibility.schema1.signingkeyfile", "REGISTRY_COMPATIBILITY_SCHEMA1_TRUSTKEY"),
];

/// A key of the contract and a value that isn't its default.
struct Case {
    path: &'static str,
    value: Value,
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = KEYS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (path, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        Case { path, value: serde_json::from_str(value).unwrap_or_else(|error| panic!("{line}: {error}")) }
    })
}

/// What a start makes of it.
#[derive(Debug, PartialEq)]
struct Outcome {
    config: Result<Config, Vec<String>>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl Outcome {
    fn of(file: &Value, variables: &[(String, String)]) -> Self {
        let environment: Environment =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        // JSON is YAML.
        match Config::from_yaml(&file.to_string(), "config.yml", &environment) {
            Ok(Loaded { config, warnings, notes, .. }) => {
                Self { config: Ok(config), warnings: without_places(warnings), notes: without_places(notes) }
            }
            Err(ConfigErrors(errors)) => Self {
                config: Err(errors.iter().map(|error| error.mistake.to_string()).collect()),
                warnings: Vec::new(),
                notes: Vec::new(),
            },
        }
    }
}

/// What was said, without where: that differs between a file and a variable.
fn without_places(sentences: Vec<String>) -> Vec<String> {
    let rest = |sentence: String| sentence.find('"').map(|start| sentence[start..].to_owned());
    sentences.into_iter().map(|sentence| rest(sentence.clone()).unwrap_or(sentence)).collect()
}

/// A file in which the key, added to it, can have its effect.
fn file_around(path: &str) -> Value {
    let mut file = json!({
        "version": 0.1,
        "storage": { "filesystem": { "rootdirectory": "/r" } },
        "auth": { "htpasswd": { "realm": "r", "path": "/p" } },
        "http": {
            "debug": { "addr": ":5001", "prometheus": { "enabled": true } },
            "tls": { "certificate": "/c", "key": "/k", "clientcas": ["/a"] },
        },
        "notifications": { "endpoints": [{ "name": "a", "url": "http://a" }] },
        "health": {
            "storagedriver": { "enabled": true },
            "file": [{ "file": "/f" }],
            "http": [{ "uri": "http://a" }],
            "tcp": [{ "addr": "a:1" }],
        },
    });
    match path.split('.').take(2).collect::<Vec<_>>().join(".").as_str() {
        "http.tls" if path.starts_with("http.tls.letsencrypt.") => {
            file["http"]["tls"] =
                json!({ "letsencrypt": { "hosts": ["r.example.com"], "email": "r@example.com" } });
        }
        "http.tls" if path == "http.tls.letsencrypt" => file["http"]["tls"] = json!({}),
        "http.net" => file["http"]["addr"] = json!("/run/registry.sock"),
        "auth.none" | "auth.silly" => file["auth"] = json!({}),
        "auth.token" => {
            file["auth"] = json!({ "token": {
                "realm": "https://auth.example.com/token", "service": "s", "issuer": "i", "rootcertbundle": "/b",
            } });
            if path == "auth.token.autoredirectpath" {
                file["auth"]["token"]["autoredirect"] = json!(true);
            }
        }
        "proxy.username" | "proxy.password" => {
            file["proxy"] = json!({ "remoteurl": "https://r.example.com", "username": "a", "password": "b" });
        }
        "proxy.exec" if path.ends_with("lifetime") => {
            file["proxy"] = json!({ "remoteurl": "https://r.example.com", "exec": { "command": "c" } });
        }
        "proxy.exec" => file["proxy"] = json!({ "remoteurl": "https://r.example.com" }),
        driver @ ("storage.s3" | "storage.s3aws") => {
            let name = driver.trim_start_matches("storage.");
            file["storage"] = json!({ name: { "bucket": "b", "region": "us-east-1" } });
        }
        "storage.inmemory" | "storage.azure" | "storage.gcs" | "storage.oss" | "storage.swift" => {
            file["storage"] = json!({});
        }
        _ => {}
    }
    file
}

/// Sets a key of the file; an item of a list is its first.
fn set(file: &mut Value, path: &str, value: &Value) {
    let mut place = file;
    for element in path.split('.') {
        let (name, is_list) = element.strip_suffix("[]").map_or((element, false), |name| (name, true));
        place = &mut place[name];
        if is_list {
            if place.is_null() {
                *place = json!([{}]);
            }
            place = &mut place[0];
        }
    }
    *place = value.clone();
}

/// The variable by which distribution knows the key.
fn variable(path: &str) -> String {
    let special = VARIABLES.iter().find_map(|(start, variable)| Some((path.strip_prefix(start)?, variable)));
    let (rest, start) = special.map_or((path, "REGISTRY"), |(rest, variable)| (rest, *variable));
    let rest = rest.trim_start_matches('.').replace("[]", "_0").replace('.', "_").to_uppercase();
    match (rest.is_empty(), rest.starts_with('_')) {
        (true, _) => start.to_owned(),
        (false, true) => format!("{start}{rest}"),
        (false, false) => format!("{start}_{rest}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn key(path: &str) -> &'static Key {
    keys::all().find(|key| key.path == path).unwrap_or_else(|| panic!("{path} is missing from the table"))
}

/// Whether a sentence speaks of this key or of a section that it stands in.
fn speaks_of(sentence: &str, path: &str) -> bool {
    let places = path.match_indices(['.', '[']).map(|(end, _)| &path[..end]).chain([path]);
    places.into_iter().any(|place| sentence.contains(&format!("{place:?}")))
}

#[test]
fn the_table_has_the_contract_and_nothing_else_that_is_not_larders_own() {
    let contract: Vec<&str> = cases().map(|case| case.path).collect();
    for path in &contract {
        assert!(!key(path).is_larders_own, "{path} is distribution's");
    }
    for key in keys::all().filter(|key| !key.is_larders_own) {
        assert!(contract.contains(&key.path), "{} is Larder's own", key.path);
    }
}

#[test]
fn every_key_of_the_contract_by_file_and_by_variable() {
    let mut counts = [0; 4];
    for Case { path, value } in cases().filter(|case| case.path != "version") {
        let without = file_around(path);
        let before = Outcome::of(&without, &[]);
        let mut with = without.clone();
        set(&mut with, path, &value);
        let by_file = Outcome::of(&with, &[]);
        let by_variable = Outcome::of(&without, &[(variable(path), text(&value))]);
        assert_eq!(by_file, by_variable, "{path} by {}", variable(path));
        let index = match key(path).status {
            Status::Works => {
                let errors = by_file.config.as_ref().err();
                // A section works that holds something which doesn't.
                let is_told =
                    |errors: &&Vec<String>| errors.iter().all(|error| error.contains("not supported yet"));
                assert!(errors.is_none_or(|errors| is_told(&errors)), "{path}: {errors:?}");
                let is_the_same = before == by_file && path != "auth.none";
                assert!(!is_the_same, "{path} works and has no effect");
                0
            }
            Status::Unneeded(sentence) => {
                assert_eq!(by_file.config, before.config, "{path}");
                let is_said =
                    by_file.notes.iter().any(|note| speaks_of(note, path) && note.contains(sentence));
                assert!(is_said, "{path}: {by_file:?}");
                1
            }
            Status::Ignored(sentence) => {
                assert_eq!(by_file.config, before.config, "{path}");
                let is_said = by_file
                    .warnings
                    .iter()
                    .any(|warning| speaks_of(warning, path) && warning.contains(sentence));
                assert!(is_said, "{path}: {by_file:?}");
                2
            }
            Status::NotYet(sentence) => {
                let errors = by_file.config.err().unwrap_or_else(|| panic!("{path} is taken"));
                assert!(
                    errors.iter().any(|error| speaks_of(error, path) && error.contains(sentence)),
                    "{errors:?}"
                );
                3
            }
        };
        counts[index] += 1;
    }
    assert!(counts[0] > 80, "only {} keys work", counts[0]);
    println!(
        "{} work, {} need nothing, {} are ignored, {} are refused",
        counts[0], counts[1], counts[2], counts[3]
    );
}

#[test]
fn the_version_is_the_files_alone() {
    let file = file_around("version");
    let outcome = Outcome::of(&file, &[("REGISTRY_VERSION".to_owned(), "0.2".to_owned())]);
    assert!(
        outcome.config.is_ok() && outcome.warnings[0].contains("only the file itself can say its version")
    );
}

/// What is broken in distribution and works here.
#[test]
fn what_distribution_gets_wrong() {
    let without = file_around("http");
    let by_variable = |name: &str, value: &str| {
        Outcome::of(&without, &[(name.to_owned(), value.to_owned())])
            .config
            .unwrap_or_else(|errors| panic!("{errors:?}"))
    };
    // registry:2 and :3 panic.
    assert!(by_variable("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true").storage.read_only);
    let purging =
        by_variable("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", "false").storage.upload_purging;
    assert!(!purging.enabled);
    // They pass over items of lists of texts.
    let tls = by_variable("REGISTRY_HTTP_TLS_CLIENTCAS_1", "/b").http.tls.unwrap();
    assert_eq!(tls.client_cas, [PathBuf::from("/a"), PathBuf::from("/b")]);
    // They take text for false.
    let mut file = without.clone();
    set(&mut file, "storage.delete.enabled", &json!("true"));
    let outcome = Outcome::of(&file, &[]);
    assert!(outcome.config.unwrap().storage.delete_enabled);
    assert!(outcome.warnings[0].contains("registry:2 takes it for false"), "{:?}", outcome.warnings);
    // They choose one at random.
    let errors = Outcome::of(&without, &[("REGISTRY_AUTH_TOKEN_REALM".to_owned(), "r".to_owned())])
        .config
        .unwrap_err();
    assert!(errors.iter().any(|error| error.contains("exactly one kind of authentication")), "{errors:?}");
}
