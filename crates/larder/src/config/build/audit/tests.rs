use crate::config::{Config, Environment};

fn config(text: &str) -> Config {
    Config::from_yaml(text, "config.yml", &Environment::default()).unwrap().config
}

/// As the rows of all other keys: the key, and files with and without it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("audit.path", BARE, "storage: filesystem\naudit: {path: /b}"),
    ("audit.pulls", BARE, "storage: filesystem\naudit: {path: /a, pulls: false}"),
    ("audit.required", BARE, "storage: filesystem\naudit: {path: /a, required: true}"),
    ("audit.maxbytes", BARE, "storage: filesystem\naudit: {path: /a, maxbytes: 5}"),
    ("audit.maxfiles", BARE, "storage: filesystem\naudit: {path: /a, maxfiles: 5}"),
];

const BARE: &str = "storage: filesystem\naudit: {path: /a}";

#[test]
fn zero_is_without_end_and_the_path_must_be_one() {
    let audit =
        config("version: 0.1\nstorage: filesystem\naudit: {path: /var/log/audit, maxbytes: 0, maxfiles: 0}")
            .audit
            .unwrap();
    assert_eq!((audit.file.max_bytes, audit.file.max_files), (None, None));
    assert!(audit.pulls && !audit.required);
    for (text, problem) in [
        ("audit: {pulls: false}", "audit.path"),
        ("audit: {path: audit.jsonl}", "must be the absolute path of a file"),
        ("audit: {path: /}", "must be the absolute path of a file"),
        ("audit: {path: /a, maxbytes: -1}", "must be at least 0"),
    ] {
        let text = format!("version: 0.1\nstorage: filesystem\n{text}");
        let errors = Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap_err().to_string();
        assert!(errors.contains(problem), "{text}: {errors}");
    }
}
