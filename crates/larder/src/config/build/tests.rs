use super::*;
use crate::config::{Environment, Loaded, keys};
use larder_core::Collection;
use larder_server::{Limits, Network};
use std::collections::BTreeSet;

const START: &str = "version: 0.1\n";

fn load(text: &str) -> Result<Loaded, String> {
    Config::from_yaml(text, "config.yml", &Environment::default()).map_err(|errors| errors.to_string())
}

fn config(text: &str) -> Config {
    load(&format!("{START}{text}")).unwrap_or_else(|errors| panic!("{text}: {errors}")).config
}

/// A file for each key that works, and the key set to what isn't its default: `|` separates the two.
///
/// A key that the table calls working and that nothing reads would be a lie; this finds it.
const ROWS: &[(&str, &str, &str)] = &[
    ("loglevel", "storage: filesystem", "storage: filesystem\nloglevel: debug"),
    (
        "log.accesslog.disabled",
        "storage: filesystem",
        "storage: filesystem\nlog: {accesslog: {disabled: on}}",
    ),
    (
        "log.level",
        "storage: filesystem\nloglevel: warn",
        "storage: filesystem\nloglevel: warn\nlog: {level: ERROR}",
    ),
    ("log.formatter", "storage: filesystem", "storage: filesystem\nlog: {formatter: json}"),
    ("log.fields", "storage: filesystem", "storage: filesystem\nlog: {fields: {a: b}}"),
    ("storage.filesystem.rootdirectory", "storage: filesystem", "storage: {filesystem: {rootdirectory: /x}}"),
    (
        "storage.maintenance.uploadpurging.enabled",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {uploadpurging: {enabled: false}}}",
    ),
    (
        "storage.maintenance.uploadpurging.age",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {uploadpurging: {age: 1h}}}",
    ),
    (
        "storage.maintenance.uploadpurging.interval",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {uploadpurging: {interval: 1h}}}",
    ),
    (
        "storage.maintenance.uploadpurging.dryrun",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {uploadpurging: {dryrun: true}}}",
    ),
    (
        "storage.maintenance.gc.enabled",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {gc: {enabled: false}}}",
    ),
    (
        "storage.maintenance.gc.grace",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {gc: {grace: 1h}}}",
    ),
    (
        "storage.maintenance.gc.unreferenced",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {gc: {unreferenced: 1h}}}",
    ),
    ("storage.delete.enabled", "storage: filesystem", "storage: {filesystem: , delete: {enabled: true}}"),
    (
        "auth.htpasswd.realm",
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}",
        "storage: filesystem\nauth: {htpasswd: {realm: b, path: /p}}",
    ),
    (
        "auth.htpasswd.path",
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}",
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /q}}",
    ),
    (
        "access.groups",
        ACCESS,
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
         access: {groups: {a: [c]}, rules: [{who: a, may: pull, in: a}, {who: b, may_not: push}]}",
    ),
    (
        "access.rules",
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}",
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\naccess: {rules: [{who: a, may: pull}]}",
    ),
    (
        "access.rules[].who",
        ACCESS,
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
         access: {groups: {a: [b]}, rules: [{who: [a, c], may: pull, in: a}, {who: b, may_not: push}]}",
    ),
    (
        "access.rules[].may",
        ACCESS,
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
         access: {groups: {a: [b]}, rules: [{who: a, may: [pull, push], in: a}, {who: b, may_not: push}]}",
    ),
    (
        "access.rules[].may_not",
        ACCESS,
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
         access: {groups: {a: [b]}, rules: [{who: a, may: pull, in: a}, {who: b, may_not: delete}]}",
    ),
    (
        "access.rules[].in",
        ACCESS,
        "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
         access: {groups: {a: [b]}, rules: [{who: a, may: pull, in: b}, {who: b, may_not: push}]}",
    ),
    ("http.addr", "storage: filesystem", "storage: filesystem\nhttp: {addr: '127.0.0.1:80'}"),
    (
        "http.net",
        "storage: filesystem\nhttp: {addr: ':5000'}",
        "storage: filesystem\nhttp: {net: unix, addr: /x}",
    ),
    ("http.trustedproxies", "storage: filesystem", "storage: filesystem\nhttp: {trustedproxies: []}"),
    (
        "http.limits.connections",
        "storage: filesystem",
        "storage: filesystem\nhttp: {limits: {connections: 5}}",
    ),
    (
        "http.limits.connectionsperaddress",
        "storage: filesystem",
        "storage: filesystem\nhttp: {limits: {connectionsperaddress: 5}}",
    ),
    (
        "http.limits.headbytes",
        "storage: filesystem",
        "storage: filesystem\nhttp: {limits: {headbytes: 20000}}",
    ),
    ("http.limits.idletime", "storage: filesystem", "storage: filesystem\nhttp: {limits: {idletime: 90s}}"),
    (
        "http.limits.bodysilence",
        "storage: filesystem",
        "storage: filesystem\nhttp: {limits: {bodysilence: 90s}}",
    ),
    ("http.debug.addr", "storage: filesystem", "storage: filesystem\nhttp: {debug: {addr: ':1'}}"),
    (
        "http.debug.prometheus.enabled",
        "storage: filesystem\nhttp: {debug: {addr: ':1'}}",
        "storage: filesystem\nhttp: {debug: {addr: ':1', prometheus: {enabled: true}}}",
    ),
    (
        "http.debug.prometheus.path",
        "storage: filesystem\nhttp: {debug: {addr: ':1', prometheus: {enabled: true}}}",
        "storage: filesystem\nhttp: {debug: {addr: ':1', prometheus: {enabled: true, path: /m}}}",
    ),
    (
        "health.storagedriver.enabled",
        "storage: filesystem",
        "storage: filesystem\nhealth: {storagedriver: {enabled: true}}",
    ),
    (
        "health.storagedriver.interval",
        "storage: filesystem\nhealth: {storagedriver: {enabled: true}}",
        "storage: filesystem\nhealth: {storagedriver: {enabled: true, interval: 5s}}",
    ),
    (
        "health.storagedriver.threshold",
        "storage: filesystem\nhealth: {storagedriver: {enabled: true}}",
        "storage: filesystem\nhealth: {storagedriver: {enabled: true, threshold: 5}}",
    ),
    ("health.file", "storage: filesystem", "storage: filesystem\nhealth: {file: [{file: /x}]}"),
    (
        "health.file[].file",
        "storage: filesystem\nhealth: {file: [{file: /x}]}",
        "storage: filesystem\nhealth: {file: [{file: /y}]}",
    ),
    (
        "health.file[].interval",
        "storage: filesystem\nhealth: {file: [{file: /x}]}",
        "storage: filesystem\nhealth: {file: [{file: /x, interval: 5s}]}",
    ),
    ("health.http", "storage: filesystem", "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}"),
    (
        "health.http[].uri",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://y/'}]}",
    ),
    (
        "health.http[].headers",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/', headers: {X-A: [b]}}]}",
    ),
    (
        "health.http[].statuscode",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/', statuscode: 204}]}",
    ),
    (
        "health.http[].timeout",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/', timeout: 5s}]}",
    ),
    (
        "health.http[].interval",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/', interval: 5s}]}",
    ),
    (
        "health.http[].threshold",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/'}]}",
        "storage: filesystem\nhealth: {http: [{uri: 'http://x/', threshold: 5}]}",
    ),
    ("health.tcp", "storage: filesystem", "storage: filesystem\nhealth: {tcp: [{addr: 'x:1'}]}"),
    (
        "health.tcp[].addr",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1'}]}",
        "storage: filesystem\nhealth: {tcp: [{addr: 'y:1'}]}",
    ),
    (
        "health.tcp[].timeout",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1'}]}",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1', timeout: 5s}]}",
    ),
    (
        "health.tcp[].interval",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1'}]}",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1', interval: 5s}]}",
    ),
    (
        "health.tcp[].threshold",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1'}]}",
        "storage: filesystem\nhealth: {tcp: [{addr: 'x:1', threshold: 5}]}",
    ),
    ("http.host", "storage: filesystem", "storage: filesystem\nhttp: {host: 'https://r.example.com'}"),
    ("http.prefix", "storage: filesystem", "storage: filesystem\nhttp: {prefix: /x/}"),
    ("http.draintimeout", "storage: filesystem", "storage: filesystem\nhttp: {draintimeout: 0}"),
    ("http.headers", "storage: filesystem", "storage: filesystem\nhttp: {headers: {X-A: [b]}}"),
    ("http.http2.disabled", "storage: filesystem", "storage: filesystem\nhttp: {http2: {disabled: true}}"),
    ("catalog.maxentries", "storage: filesystem", "storage: filesystem\ncatalog: {maxentries: 5}"),
    ("tags.maxtags", "storage: filesystem", "storage: filesystem\ntags: {maxtags: 5}"),
];
const ACCESS: &str = "storage: filesystem\nauth: {htpasswd: {realm: a, path: /p}}\n\
                      access: {groups: {a: [b]}, rules: [{who: a, may: pull, in: a}, {who: b, may_not: push}]}";

#[test]
fn every_key_that_works_changes_the_configuration() {
    let rows = || {
        let here = ROWS.iter().chain(super::notifications::tests::ROWS);
        here.chain(super::verify::tests::ROWS)
            .chain(super::upstreams::tests::ROWS)
            .chain(super::audit::tests::ROWS)
            .chain(super::cache::tests::ROWS)
            .chain(super::retention::tests::ROWS)
            .chain(super::quotas::tests::ROWS)
            .chain(super::token::tests::ROWS)
            .chain(super::token_service::tests::ROWS)
            .chain(super::serving::tests::ROWS)
            .chain(super::tls::tests::ROWS)
            .chain(super::letsencrypt::tests::ROWS)
    };
    for (key, without, with) in rows() {
        assert_ne!(config(without), config(with), "{key} changes nothing");
    }
    let tested: BTreeSet<&str> = rows().map(|(key, _, _)| *key).collect();
    // `version` and `auth: none` can only say what is so anyway.
    let confirmations = ["version", "auth.none"];
    let is_leaf = |key: &&keys::Key| !matches!(key.kind, keys::Kind::Section | keys::Kind::Choice);
    let working =
        keys::all().filter(is_leaf).filter(|key| key.status == keys::Status::Works).map(|key| key.path);
    let working: BTreeSet<&str> = working.filter(|path| !confirmations.contains(path)).collect();
    assert_eq!(tested, working);
}

#[test]
fn defaults_of_a_file_that_says_little() {
    let seconds = Duration::from_secs;
    assert_eq!(
        config("storage: filesystem"),
        Config {
            storage: Storage {
                root_directory: "/var/lib/registry".into(),
                delete_enabled: false,
                upload_purging: UploadPurging {
                    enabled: true,
                    age: seconds(168 * 3600),
                    interval: seconds(24 * 3600),
                    dry_run: false,
                },
                collection: Collection {
                    enabled: true,
                    grace: seconds(15 * 60),
                    unreferenced: seconds(168 * 3600),
                },
                read_only: false,
                verify: crate::config::Verify { every: seconds(720 * 3600), bytes_per_second: 32 << 20 },
            },
            http: Http {
                addr: ListenAddress { host: String::new(), port: 5000 },
                prefix: String::new(),
                host: None,
                headers: Vec::new(),
                drain_timeout: seconds(30),
                tls: None,
                http2_disabled: false,
                debug: None,
                unix_socket: None,
                trusted_proxies: Network::private(),
                limits: Limits::default(),
            },
            auth: Auth::None,
            access: None,
            audit: None,
            log: Log {
                level: Level::Info,
                formatter: Formatter::Text,
                fields: Vec::new(),
                access_log_disabled: false,
            },
            token_services: Vec::new(),
            cache: super::cache::tests::unbounded_for_a_week(),
            retention: super::retention::tests::no_rules(),
            quotas: Vec::new(),
            upstreams: Vec::new(),
            is_open_proxy: false,
            notifications: None,
            health: Vec::new(),
            catalog_max_entries: 1000,
            tags_max: 1000,
        }
    );
}

#[test]
fn values_and_what_they_become() {
    let storage = |rest: &str| config(&format!("storage: {{filesystem: , {rest}}}")).storage;
    let http = |rest: &str| config(&format!("storage: filesystem\nhttp: {{{rest}}}")).http;
    let rest = |rest: &str| config(&format!("storage: filesystem\n{rest}"));

    for quoted in ["\"true\"", "'yes'", "on"] {
        assert!(storage(&format!("delete: {{enabled: {quoted}}}")).delete_enabled, "{quoted}");
    }
    // registry:2 panics at both of these.
    assert!(storage("maintenance: {uploadpurging: {enabled: true}}").upload_purging.enabled);
    assert!(!storage("maintenance: {readonly: }").read_only);
    assert_eq!(storage("maintenance: {uploadpurging: {age: 60000000000}}").upload_purging.age.as_secs(), 60);

    for (text, host, port) in [
        (":5000", "", 5000),
        ("localhost:0", "localhost", 0),
        ("'[::1]:443'", "::1", 443),
        ("0.0.0.0:1", "0.0.0.0", 1),
    ] {
        let addr = http(&format!("addr: {text}")).addr;
        assert_eq!(addr, ListenAddress { host: host.to_owned(), port });
        assert_eq!(addr.to_string(), text.trim_matches('\''));
    }
    for (text, expected) in [("/x/", "/x"), ("/x", "/x"), ("/x/y/", "/x/y"), ("/", "")] {
        assert_eq!(http(&format!("prefix: {text}")).prefix, expected);
    }
    for (text, expected) in [
        ("https://r.example.com", "https://r.example.com/"),
        ("http://r.example.com:5000/", "http://r.example.com:5000/"),
        ("https://r.example.com/x/", "https://r.example.com/x/"),
        ("https://r.example.com/x", "https://r.example.com/"),
    ] {
        assert_eq!(http(&format!("host: '{text}'")).host.unwrap().to_string(), expected);
    }
    let headers = http("headers: {X-B: [two, three], x-a: ['max-age=1; x']}").headers;
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("x-b", "two"), ("x-b", "three"), ("x-a", "max-age=1; x")]);

    for (text, expected) in [("0", 1000), ("-5", 1000), ("7", 7)] {
        assert_eq!(rest(&format!("catalog: {{maxentries: {text}}}")).catalog_max_entries, expected);
    }
    assert_eq!(rest("tags: {maxtags: 0}").tags_max, 1000);
    assert_eq!(
        rest("log: {fields: {service: registry, number: 5, list: [a, {b: c}]}}").log.fields,
        [("service", "registry"), ("number", "5"), ("list", "[a, {b: c}]")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    for auth in ["none", "{none: }", "{NONE: {}}", "{}", ""] {
        assert_eq!(rest(&format!("auth: {auth}")).auth, Auth::None, "{auth}");
    }
}

#[test]
fn mistakes_between_keys() {
    for (text, expected) in [
        ("", "config.yml:1:1: \"storage\" is missing: say where images are kept"),
        ("storage:", "config.yml:2:1: \"storage\" is missing"),
        ("storage: {delete: {enabled: true}}", "config.yml:2:1: \"storage\" is missing"),
        (
            "storage: {filesystem: , inmemory: }",
            "config.yml:2:25: \"storage\" must name exactly one driver, and names \"filesystem\" (config.yml:2:11) and \
             \"inmemory\" (config.yml:2:25)",
        ),
        ("storage: filesytem", "config.yml:2:10: unknown key \"filesytem\" below \"storage\"; did you mean"),
        ("auth: {htpasswd: {realm: r}}", "config.yml:2:8: \"auth.htpasswd.path\" is missing"),
        ("auth: htpasswd", "config.yml:2:7: \"auth.htpasswd.realm\" is missing"),
        (
            "auth: {htpasswd: {realm: r, path: p}, none: }",
            "config.yml:2:39: \"auth\" must name exactly one kind of authentication, and names \"htpasswd\"",
        ),
        ("http: {net: unix, addr: ':5000'}", "\"http.addr\" must be the absolute path of a socket file"),
        ("http: {net: unix}", "\"http.addr\" is missing"),
        ("http: {trustedproxies: [10.0.0.0/8, proxy]}", "\"http.trustedproxies\" holds \"proxy\""),
        ("http: {debug: {addr: '5001'}}", "\"http.debug.addr\" is \"5001\"; write host:port"),
        (
            "http: {debug: {addr: ':1', prometheus: {path: m}}}",
            "\"http.debug.prometheus.path\" must be a path",
        ),
        ("health: {file: [{interval: 5s}]}", "config.yml:2:17: \"health.file[].file\" is missing"),
        ("health: {http: [{uri: 'ftp://x'}]}", "\"health.http[].uri\" can't be used"),
        ("health: {tcp: [{addr: 'x:1'}, {addr: 'x:1'}]}", "\"health.tcp\" names the same thing twice"),
        ("http: {limits: {connections: 0}}", "\"http.limits.connections\" must be at least 1"),
        ("http: {limits: {headbytes: 100}}", "\"http.limits.headbytes\" must be at least 16384 and at most"),
        ("http: {limits: {idletime: 5ms}}", "\"http.limits.idletime\" must be at least 1s"),
        ("http: {addr: '5000'}", "config.yml:2:14: \"http.addr\" is \"5000\"; write host:port"),
        ("http: {addr: ':http'}", "\"http.addr\" is \":http\""),
        ("http: {addr: ':70000'}", "\"http.addr\" is \":70000\""),
        ("http: {addr: ':+80'}", "\"http.addr\" is \":+80\""),
        ("http: {addr: '::1:80'}", "\"http.addr\" is \"::1:80\""),
        ("http: {prefix: x}", "\"http.prefix\" must be a path that starts with /"),
        ("http: {draintimeout: -1s}", "\"http.draintimeout\" must not be negative"),
        ("http: {headers: {'X A': [b]}}", "\"http.headers.X A\" is not a header's name"),
        ("http: {headers: {X-A: [\"b\\nc\"]}}", "\"http.headers.X-A\" holds characters that a header can't"),
        ("http: {tls: {certificate: c}}", "\"http.tls.key\" is missing"),
        ("http: {tls: {key: c}}", "\"http.tls.certificate\" is missing"),
        ("http: {tls: {clientcas: [c]}}", "\"http.tls.certificate\" is missing"),
        (
            "http: {tls: {certificate: c, key: k, ciphersuites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "\"http.tls.ciphersuites\" names no suite that Larder offers",
        ),
        ("tags: {maxtags: -1}", "\"tags.maxtags\" must not be negative"),
        (
            "storage: {filesystem: , maintenance: {uploadpurging: {interval: 0s}}}",
            "\"storage.maintenance.uploadpurging.interval\" must be longer than nothing",
        ),
    ] {
        let storage =
            if text.starts_with("storage") || text.is_empty() { "" } else { "\nstorage: filesystem" };
        let errors = load(&format!("{START}{text}{storage}")).expect_err(text);
        assert!(errors.lines().any(|line| line.contains(expected)), "{text}: {errors}");
    }
}

#[test]
fn an_unknown_driver_is_one_mistake() {
    let errors = load("version: 0.1\nstorage: {filesytem: {rootdirectory: /x}}\n").unwrap_err();
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn warnings_between_keys() {
    for (text, expected) in [
        ("http: {host: registry.example.com}", "\"http.host\" is ignored, as by registry:2"),
        ("http: {host: 'registry.example.com:5000'}", "\"http.host\" is ignored, as by registry:2"),
        (
            "http: {tls: {certificate: c, key: k, minimumtls: tls1.0}}",
            "the oldest version offered is TLS 1.2",
        ),
        (
            "http: {tls: {certificate: c, key: k, clientauth: request-client-cert}}",
            "has no effect without http.tls.clientcas",
        ),
        (
            "http: {tls: {certificate: c, key: k, ciphersuites: [TLS_RSA_WITH_RC4_128_SHA, TLS_AES_128_GCM_SHA256]}}",
            "names \"TLS_RSA_WITH_RC4_128_SHA\", which is not offered",
        ),
        (
            "http: {tls: {certificate: c, key: k, minimumtls: tls1.3, ciphersuites: [TLS_AES_128_GCM_SHA256]}}",
            "\"http.tls.ciphersuites\" has no effect with minimumtls tls1.3",
        ),
    ] {
        let loaded = load(&format!("{START}{text}\nstorage: filesystem")).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{text}: {:?}", loaded.warnings);
        assert!(loaded.warnings[0].contains(expected), "{text}: {:?}", loaded.warnings);
    }
    let loaded = load("version: 0.1\nstorage: {filesystem: , delete: {enabled: \"true\"}}").unwrap();
    assert!(loaded.warnings[0].contains("because of the quotes"), "{:?}", loaded.warnings);
}

#[test]
fn a_mirror_that_wants_a_login_is_said_to_be_passed_by() {
    let auth = "storage: filesystem\nauth: {htpasswd: {realm: r, path: /u}}\n";
    let notes = |text: &str| load(&format!("{START}{text}")).unwrap().notes.join("\n");
    let said = "config.yml:3:1: everybody has to log in, and dockerd shows no login to a mirror";
    for cache in
        ["proxy: {remoteurl: https://hub.example}", "upstreams: [{name: ghcr.io}, {name: docker.io}]"]
    {
        assert!(notes(&format!("{auth}{cache}")).contains(said), "{}", notes(&format!("{auth}{cache}")));
        let open = "access: {rules: [{who: anonymous, may: pull}, {who: authenticated, may: all}]}";
        assert_eq!(notes(&format!("{auth}{cache}\n{open}")), "");
        let closed = "access: {rules: [{who: anonymous, may_not: push}, {who: authenticated, may: all}]}";
        assert!(notes(&format!("{auth}{cache}\n{closed}")).contains("dockerd shows no login"));
        assert_eq!(notes(&format!("storage: filesystem\n{cache}")), "");
    }
    assert_eq!(notes(auth), "");
    assert_eq!(notes(&format!("{auth}upstreams: [{{name: ghcr.io}}]")), "");
}
