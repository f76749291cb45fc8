use crate::config::{Config, Environment, Notifications};
use std::time::Duration;

/// A file with one endpoint.
macro_rules! endpoint {
    ($keys:literal) => {
        concat!("storage: filesystem\nnotifications: {endpoints: [{", $keys, "}]}")
    };
}

/// A file with the usual endpoint and something beside it.
macro_rules! told {
    ($keys:literal) => {
        concat!("storage: filesystem\nnotifications: {endpoints: [{name: a, url: 'http://a'}], ", $keys, "}")
    };
}

/// As the rows of all other keys: the key, and files with and without it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("notifications.events.includereferences", TOLD, told!("events: {includereferences: true}")),
    ("notifications.events.generation", TOLD, told!("events: {generation: v2}")),
    ("notifications.queue.maxevents", TOLD, told!("queue: {maxevents: 5000}")),
    ("notifications.queue.maxbytes", TOLD, told!("queue: {maxbytes: 5000000}")),
    ("notifications.endpoints", "storage: filesystem", TOLD),
    ("notifications.endpoints[].name", TOLD, endpoint!("name: b, url: 'http://a'")),
    ("notifications.endpoints[].disabled", TOLD, endpoint!("name: a, url: 'http://a', disabled: true")),
    ("notifications.endpoints[].url", TOLD, endpoint!("name: a, url: 'http://b'")),
    ("notifications.endpoints[].headers", TOLD, endpoint!("name: a, url: 'http://a', headers: {X-A: [b]}")),
    ("notifications.endpoints[].timeout", TOLD, endpoint!("name: a, url: 'http://a', timeout: 3s")),
    ("notifications.endpoints[].threshold", TOLD, endpoint!("name: a, url: 'http://a', threshold: 3")),
    ("notifications.endpoints[].backoff", TOLD, endpoint!("name: a, url: 'http://a', backoff: 3s")),
    (
        "notifications.endpoints[].ignoredmediatypes",
        TOLD,
        endpoint!("name: a, url: 'http://a', ignoredmediatypes: [a/b]"),
    ),
    (
        "notifications.endpoints[].ignore.mediatypes",
        TOLD,
        endpoint!("name: a, url: 'http://a', ignore: {mediatypes: [a/b]}"),
    ),
    (
        "notifications.endpoints[].ignore.actions",
        TOLD,
        endpoint!("name: a, url: 'http://a', ignore: {actions: [pull]}"),
    ),
];
const TOLD: &str = endpoint!("name: a, url: 'http://a'");

const START: &str = "version: 0.1\nstorage: filesystem\nnotifications:\n";

fn load(text: &str) -> Result<(Option<Notifications>, Vec<String>), String> {
    let loaded = Config::from_yaml(&format!("{START}{text}"), "config.yml", &Environment::default());
    loaded.map(|loaded| (loaded.config.notifications, loaded.warnings)).map_err(|errors| errors.to_string())
}

#[test]
fn an_endpoint_with_everything() {
    let (notifications, warnings) = load(
        "  events: {includereferences: true, generation: v2}\n  queue: {maxevents: 2000, maxbytes: 2097152}\n  endpoints:\n  \
         - name: hook\n    url: https://user:word@hook.example.com/x\n    headers: {Authorization: [Bearer x], X-A: [b, c]}\n    \
         timeout: 2s\n    threshold: 3\n    backoff: 5s\n    ignoredmediatypes: [a/b]\n    \
         ignore: {mediatypes: [c/d], actions: [pull, mount]}\n",
    )
    .unwrap();
    let notifications = notifications.unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(notifications.second_generation && notifications.include_references);
    assert_eq!((notifications.queue_events, notifications.queue_bytes), (2000, 2 << 20));
    let endpoint = &notifications.endpoints[0];
    assert_eq!(endpoint.url, "https://user:word@hook.example.com/x");
    let headers: Vec<String> =
        endpoint.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(headers, ["authorization: Bearer x", "x-a: b", "x-a: c"]);
    assert_eq!((endpoint.timeout, endpoint.backoff), (Duration::from_secs(2), Duration::from_secs(5)));
    assert_eq!(endpoint.threshold, 3);
    assert_eq!(endpoint.ignored_media_types, ["a/b", "c/d"]);
    assert_eq!(endpoint.ignored_actions, ["pull", "mount"]);
    // Whatever prints a configuration doesn't print passwords.
    assert!(!format!("{notifications:?}").contains("word"), "{notifications:?}");
}

#[test]
fn what_is_left_out_is_registry_2s() {
    // registry:2 takes its defaults for zero and less.
    for text in
        ["", ", timeout: 0s, threshold: 0, backoff: 0s", ", timeout: -1s, threshold: -1, backoff: -1s"]
    {
        let (notifications, warnings) =
            load(&format!("  endpoints: [{{name: a, url: 'http://a'{text}}}]\n")).unwrap();
        let notifications = notifications.unwrap();
        assert_eq!(warnings, [""; 0], "{text}");
        assert!(!notifications.second_generation && !notifications.include_references);
        assert_eq!((notifications.queue_events, notifications.queue_bytes), (100_000, 256 << 20));
        let endpoint = &notifications.endpoints[0];
        assert_eq!((endpoint.timeout, endpoint.backoff), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!(endpoint.threshold, 10, "{text}");
    }
}

#[test]
fn nobody_is_told_anything_where_no_endpoint_is_in_use() {
    for text in [
        "  endpoints: []\n",
        "  events: {includereferences: true}\n",
        "  endpoints: [{name: a, disabled: true}]\n",
    ] {
        assert_eq!(load(text).unwrap(), (None, Vec::new()), "{text}");
    }
}

#[test]
fn mistakes_name_their_place() {
    for (text, expected) in [
        ("[{url: 'http://a'}]", "notifications.endpoints[].name"),
        ("[{name: a}]", "notifications.endpoints[].url"),
        ("[{name: a, url: hook.example.com/secret}]", "must be a URL that begins with http:// or https://"),
        ("[{name: a, url: 'ftp://secret'}]", "must be a URL that begins with http:// or https://"),
        ("[{name: a, url: 'http:///secret'}]", "must be a URL that begins with http:// or https://"),
        ("[{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]", "is \"a\" a second time"),
        ("[{name: a, url: 'http://a', headers: {'b c': [secret]}}]", "is not a header's name"),
    ] {
        let error = load(&format!("  endpoints: {text}\n")).unwrap_err();
        assert!(error.contains("config.yml:4:") && error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let error = load("  queue: {maxevents: 10, maxbytes: 10}\n").unwrap_err();
    assert!(error.contains("must be 1000 at least") && error.contains("must be 1048576 at least"), "{error}");
    let (_, warnings) =
        load("  endpoints: [{name: a, url: 'http://a', ignore: {actions: [push, pul]}}]\n").unwrap();
    assert!(warnings[0].contains("\"pul\""), "{warnings:?}");
}
