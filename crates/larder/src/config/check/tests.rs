use super::*;
use crate::config::yaml;

/// Everything that the check alone says about a file: errors first, else warnings.
fn said(text: &str) -> Vec<String> {
    let root = yaml::parse(text, &yaml::Source::File("config.yml".into())).value.unwrap();
    let mut report = Report::default();
    check(&root, &mut report);
    match report.finish() {
        Ok(remarks) => [remarks.warnings, remarks.notes].concat(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_place_for_anchors_is_left_alone() {
    let text = "version: 0.1\nx-shared: &shared {rootdirectory: /r}\nstorage:\n  filesystem: *shared\n";
    let loaded = crate::config::Config::from_yaml(text, "config.yml", &Default::default()).unwrap();
    assert_eq!(loaded.config.storage.root_directory, std::path::Path::new("/r"));
}

#[test]
fn unknown_keys_and_their_suggestions() {
    for (text, expected) in [
        ("htpp: {}", "config.yml:1:1: unknown key \"htpp\" at the top level; did you mean \"http\"?"),
        (
            "auth:\n  htpaswd: {realm: r}",
            "config.yml:2:3: unknown key \"htpaswd\" below \"auth\"; did you mean \"htpasswd\"?",
        ),
        ("http:\n  Addr: :80", "config.yml:2:3: unknown key \"Addr\" below \"http\"; did you mean \"addr\"?"),
        (
            "storage:\n  filesystem:\n  clientcas: /x",
            "config.yml:3:3: unknown key \"clientcas\" below \"storage\"; did you mean \"http.tls.clientcas\"?",
        ),
        (
            "notifications: {endpoints: [{nam: x}]}",
            "config.yml:1:30: unknown key \"nam\" below \"notifications.endpoints[]\"; did you mean \"name\"?",
        ),
        (
            "storage:\n  maintenance: {uploadpurging: {dry_run: true}}",
            "config.yml:2:33: unknown key \"dry_run\" below \"storage.maintenance.uploadpurging\"; \
             did you mean \"dryrun\"?",
        ),
    ] {
        assert!(said(text).iter().any(|line| line == expected), "{text}: {:?}", said(text));
    }
}

#[test]
fn values_of_the_wrong_kind() {
    for (text, expected) in [
        ("http: 5", "\"http\" must be a map of keys, not a single value"),
        ("http: [a]", "\"http\" must be a map of keys, not a list"),
        ("storage: [a]", "\"storage\" must be a map of keys, or the name of one, not a list"),
        ("http: {addr: [a]}", "\"http.addr\" must be text, not a list"),
        ("http: {addr: {a: b}}", "\"http.addr\" must be text, not a map"),
        ("http: {http2: {disabled: 1}}", "\"http.http2.disabled\" must be true or false, not other text"),
        ("catalog: {maxentries: many}", "\"catalog.maxentries\" must be a whole number, not other text"),
        (
            "http: {draintimeout: 5 minutes}",
            "\"http.draintimeout\" must be a duration such as 30s, 5m or 168h, not other text",
        ),
        ("log: {level: loud}", "\"log.level\" must be one of error, warn, info, debug, not another word"),
        (
            "http: {tls: {clientcas: /a}}",
            "\"http.tls.clientcas\" must be a list such as [one, two], not a single value",
        ),
        ("http: {tls: {clientcas: [[a]]}}", "\"http.tls.clientcas[]\" must be text, not a list"),
        (
            "http: {headers: {X-A: b}}",
            "\"http.headers.X-A\" must be a list such as [one, two], not a single value",
        ),
        (
            "notifications: {endpoints: {a: b}}",
            "\"notifications.endpoints\" must be a list of maps, not a map",
        ),
        ("redis: {db: {}}", "\"redis.db\" must be a whole number, not a map"),
        (
            "storage: {maintenance: {readonly: true}}",
            "\"storage.maintenance.readonly\" must be a map of keys",
        ),
    ] {
        let lines = said(text);
        assert!(lines.iter().any(|line| line.contains(expected)), "{text}: {lines:?}");
    }
}

#[test]
fn a_secret_is_never_repeated() {
    for text in [
        "http: {secret: [hunter2]}",
        "proxy: {remoteurl: 'https://u:hunter2@x'}",
        "redis: {password: {hunter2: x}}",
    ] {
        assert!(said(text).iter().all(|line| !line.contains("hunter2")), "{:?}", said(text));
    }
}

#[test]
fn statuses_are_told_once_and_only_for_what_is_set() {
    for (text, expected) in [
        ("health:", vec![]),
        ("health: {}", vec![]),
        ("notifications: {endpoints: []}", vec![]),
        ("notifications: {endpoints: [{name: a, url: b}]}", vec![]),
        (
            "middleware: {storage: [{name: redirect, options: {baseurl: x}}]}",
            vec!["\"middleware.storage\" is ignored."],
        ),
        ("log: {hooks: [{type: mail, options: {smtp: {addr: x}}}]}", vec!["\"log.hooks\" is ignored."]),
        ("redis: {addr: x}", vec!["\"redis\" is ignored."]),
        ("validation: {disabled: true}", vec!["\"validation\" is ignored."]),
        ("policy: {repository: {classes: [image]}}", vec!["\"policy\" is ignored."]),
        ("reporting: {bugsnag: {apikey: x}}", vec!["\"reporting\" is ignored."]),
        ("compatibility: {schema1: {enabled: true}}", vec!["\"compatibility\" is ignored."]),
        // Nothing is lost by these.
        (
            "storage: {cache: {blobdescriptor: inmemory}, redirect: {disable: true}}",
            vec!["\"storage.cache\" has no effect, and needs none.", "\"storage.redirect\" has no effect"],
        ),
        (
            "http: {secret: x, relativeurls: true}",
            vec!["\"http.secret\" has no effect, and needs none.", "\"http.relativeurls\" has no effect"],
        ),
        ("proxy: {ttl: 1h, password: ''}", vec![]),
        ("proxy: {cachewritetimeout: 1h}", vec!["\"proxy.cachewritetimeout\" has no effect"]),
        // What would be a lie to ignore.
        ("proxy: {remoteurl: ''}", vec![]),
        ("proxy: {remoteurl: 'https://x'}", vec![]),
        ("storage: {inmemory: }", vec!["\"storage.inmemory\" is not supported yet:"]),
        ("storage: {s3: {bucket: b, region: r}}", vec!["\"storage.s3\" is not supported yet:"]),
        ("storage: {swift: {anything: [goes]}}", vec!["\"storage.swift\" is not supported yet:"]),
        ("auth: {silly: {realm: r}}", vec!["\"auth.silly\" is not supported yet:"]),
        ("auth: {silly: }", vec!["\"auth.silly\" is not supported yet:"]),
    ] {
        let lines = said(text);
        assert_eq!(lines.len(), expected.len(), "{text}: {lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{text}: {line}");
        }
    }
}

#[test]
fn a_bare_number_of_nanoseconds_is_pointed_out() {
    assert_eq!(
        said("http: {draintimeout: 30}"),
        [
            "config.yml:1:22: \"http.draintimeout\" is 30 nanoseconds, as registry:2 reads it; write 30s for seconds."
        ]
    );
    for text in ["http: {draintimeout: 0}", "http: {draintimeout: 30s}", "http: {draintimeout: 30000000000}"]
    {
        assert_eq!(said(text), Vec::<String>::new(), "{text}");
    }
}
