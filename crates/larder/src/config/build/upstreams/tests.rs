use super::*;
use crate::config::{Config, Environment};
use std::{ffi::OsString, path::Path};

fn load(text: &str) -> Result<Vec<Upstream>, String> {
    let text = format!("version: 0.1\nstorage: filesystem\n{text}");
    let loaded =
        Config::from_yaml(&text, "config.yml", &Environment::from_iter([] as [(OsString, OsString); 0]));
    loaded.map(|loaded| loaded.config.upstreams).map_err(|errors| errors.to_string())
}

fn one(text: &str) -> Upstream {
    let [upstream] = <[Upstream; 1]>::try_from(load(text).unwrap()).unwrap();
    upstream
}

fn urls(upstream: &Upstream) -> Vec<String> {
    upstream.reached.urls.iter().map(ToString::to_string).collect()
}

/// A key of an upstream with a text that leaves it out or says something else, and one that says it.
macro_rules! row {
    ($key:literal, $without:literal, $with:literal) => {
        (
            concat!("upstreams[].", $key),
            concat!("storage: filesystem\nupstreams: [{name: quay.io, ", $without, "}]"),
            concat!("storage: filesystem\nupstreams: [{name: quay.io, ", $with, "}]"),
        )
    };
}

const PROXY: &str = "storage: filesystem\nproxy: {remoteurl: 'http://x', username: a, password: b}";
const PROGRAM: &str = "storage: filesystem\nproxy: {remoteurl: 'http://x', exec: {command: /a}}";

/// Each key that works: a configuration without it, and one that it changes.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    (
        "proxy.remoteurl",
        PROXY,
        "storage: filesystem\nproxy: {remoteurl: 'http://y', username: a, password: b}",
    ),
    (
        "proxy.username",
        PROXY,
        "storage: filesystem\nproxy: {remoteurl: 'http://x', username: c, password: b}",
    ),
    (
        "proxy.password",
        PROXY,
        "storage: filesystem\nproxy: {remoteurl: 'http://x', username: a, password: c}",
    ),
    (
        "proxy.exec.command",
        PROGRAM,
        "storage: filesystem\nproxy: {remoteurl: 'http://x', exec: {command: /b}}",
    ),
    (
        "proxy.exec.lifetime",
        PROGRAM,
        "storage: filesystem\nproxy: {remoteurl: 'http://x', exec: {command: /a, lifetime: 9s}}",
    ),
    ("upstreams", "storage: filesystem", "storage: filesystem\nupstreams: [{name: quay.io}]"),
    (
        "upstreams[].name",
        "storage: filesystem\nupstreams: [{name: quay.io}]",
        "storage: filesystem\nupstreams: [{name: ghcr.io}]",
    ),
    row!("urls", "", "urls: ['http://x']"),
    row!("prefix", "", "prefix: q"),
    row!("namespaces", "", "namespaces: [q]"),
    row!("hostnames", "", "hostnames: [q]"),
    row!("addr", "", "addr: ':5001'"),
    row!("accounts", "", "accounts: [{username: a, password: b}]"),
    row!("hosts", "", "hosts: [q]"),
    row!("ca", "", "ca: /c"),
    row!("proxy", "", "proxy: 'http://p'"),
    row!("connecttimeout", "", "connecttimeout: 9s"),
    row!("answertimeout", "", "answertimeout: 9s"),
    row!("stalltimeout", "", "stalltimeout: 9s"),
    row!("concurrency", "", "concurrency: 9"),
    row!("freshness", "", "freshness: [{for: 9s}]"),
    row!("freshfor", "", "freshfor: 9s"),
    row!("tagbudget", "", "tagbudget: 9s"),
    row!("missbudget", "", "missbudget: 9s"),
    row!("missingfor", "", "missingfor: 9s"),
    row!("keepremovedtags", "", "keepremovedtags: false"),
    row!("askforpushed", "", "askforpushed: true"),
    row!("offline", "", "offline: true"),
    row!("username", "username: a, password: b", "username: c, password: b"),
    row!("password", "username: a, password: b", "username: a, password: c"),
    row!(
        "accounts[].username",
        "accounts: [{username: a, password: b}]",
        "accounts: [{username: c, password: b}]"
    ),
    row!(
        "accounts[].password",
        "accounts: [{username: a, password: b}]",
        "accounts: [{username: a, password: c}]"
    ),
    row!("accounts[].dockerconfig", "accounts: [{dockerconfig: /a}]", "accounts: [{dockerconfig: /b}]"),
    row!("accounts[].exec.command", "accounts: [{exec: {command: /a}}]", "accounts: [{exec: {command: /b}}]"),
    row!(
        "accounts[].exec.lifetime",
        "accounts: [{exec: {command: /a}}]",
        "accounts: [{exec: {command: /a, lifetime: 9s}}]"
    ),
    row!(
        "accounts[].repositories",
        "accounts: [{dockerconfig: /a}]",
        "accounts: [{dockerconfig: /a, repositories: [q]}]"
    ),
    row!("accounts[].hosts", "accounts: [{dockerconfig: /a}]", "accounts: [{dockerconfig: /a, hosts: [q]}]"),
    row!("freshness[].for", "freshness: [{for: 9s}]", "freshness: [{for: 8s}]"),
    row!("freshness[].tags", "freshness: [{for: 9s}]", "freshness: [{for: 9s, tags: q}]"),
    row!("freshness[].repositories", "freshness: [{for: 9s}]", "freshness: [{for: 9s, repositories: q}]"),
];

#[test]
fn distributions_proxy_has_the_root() {
    let upstream = one("proxy: {remoteurl: https://registry-1.docker.io, username: me, password: pw}\n");
    assert_eq!((upstream.prefix.clone(), upstream.has_library), (None, true));
    assert_eq!(upstream.reached.name, "docker.io");
    assert!(upstream.reached.quirks.only_manifest_gets_count);
    assert_eq!(upstream.namespaces[..2], ["docker.io", "index.docker.io"]);
    let [account] = upstream.reached.accounts.as_slice() else { panic!("one account") };
    let expected =
        CredentialSource::Password { username: "me".to_owned(), password: Secret::from("pw".to_owned()) };
    assert_eq!(account.source, expected);
    let upstream = one("proxy: {remoteurl: 'http://127.0.0.1:5000'}\n");
    assert_eq!((upstream.reached.name.as_str(), upstream.has_library), ("127.0.0.1:5000", false));
    assert!(upstream.reached.accounts.is_empty());
    assert_eq!(load("proxy: {username: me, password: pw}\n"), Ok(Vec::new()));
}

#[test]
fn a_program_goes_before_a_password_as_in_registry_3() {
    let text =
        "proxy: {remoteurl: https://x, username: me, password: pw, exec: {command: /bin/h, lifetime: 0}}\n";
    let lifetime = Some(Duration::ZERO);
    let expected = CredentialSource::Helper { command: "/bin/h".into(), lifetime };
    assert_eq!(one(text).reached.accounts, [plain_account(expected)]);
}

#[test]
fn a_known_name_needs_nothing_more() {
    let upstream = one("upstreams: [{name: ghcr.io}]\n");
    assert_eq!(upstream.prefix, Some("ghcr.io".parse().unwrap()));
    assert_eq!(urls(&upstream), ["https://ghcr.io"]);
    assert_eq!(upstream.asked, UpstreamSettings::default());
    let error = load("upstreams: [{name: registry.lab}]\n").unwrap_err();
    assert!(error.contains("\"upstreams[].urls\" is missing"), "{error}");
}

#[test]
fn without_a_file_four_are_there() {
    let nothing = Environment::from_iter([] as [(OsString, OsString); 0]);
    let loaded = Config::builtin(Path::new("/data"), &nothing).unwrap();
    let names: Vec<&str> =
        loaded.config.upstreams.iter().map(|upstream| upstream.reached.name.as_str()).collect();
    assert_eq!(names, ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"]);
    assert!(loaded.config.upstreams.iter().all(|upstream| upstream.prefix.is_some()));
    assert_eq!(load("").unwrap(), Vec::new());
}

#[test]
fn everything_can_be_said() {
    let upstream = one("\
upstreams:
  - name: lab
    urls: [https://a.lab/v2/hub, 'http://b.lab:5000']
    prefix: mirrors/lab
    namespaces: [old.lab]
    hostnames: [Lab.Example]
    addr: 127.0.0.1:5001
    username: u
    password: p
    accounts:
      - {dockerconfig: /etc/docker.json, repositories: [team/**], hosts: [b.lab]}
      - exec: {command: /bin/helper}
    hosts: [minio.lab]
    ca: /etc/ca.pem
    proxy: http://proxy.lab:3128
    connecttimeout: 1s
    answertimeout: 2s
    stalltimeout: 3s
    concurrency: 4
    freshness:
      - {tags: nightly-*, for: 5s}
      - {tags: X.Y.Z, repositories: mirrors/lab/**, for: ever}
    freshfor: 6s
    tagbudget: 7s
    missbudget: 8s
    missingfor: 9s
    keepremovedtags: false
    askforpushed: true
    offline: true
");
    assert_eq!(upstream.prefix, Some("mirrors/lab".parse().unwrap()));
    assert_eq!(urls(&upstream), ["https://a.lab/v2/hub", "http://b.lab:5000"]);
    assert_eq!(upstream.namespaces, ["lab", "old.lab"]);
    assert_eq!(upstream.host_names, ["lab.example"]);
    assert_eq!(upstream.addr.unwrap().to_string(), "127.0.0.1:5001");
    let reached = upstream.reached;
    assert_eq!(reached.accounts.len(), 3);
    assert_eq!(reached.accounts[1].hosts, ["b.lab"]);
    assert_eq!(reached.accounts[1].repositories, ["team/**".parse().unwrap()]);
    assert_eq!((reached.hosts, reached.ca_file), (vec!["minio.lab".to_owned()], Some("/etc/ca.pem".into())));
    let seconds = |duration: Duration| duration.as_secs();
    let timeouts = [reached.connect_timeout, reached.answer_timeout, reached.stall_timeout].map(seconds);
    assert_eq!((timeouts, reached.concurrency), ([1, 2, 3], 4));
    let asked = upstream.asked;
    assert_eq!(asked.freshness.len(), 3);
    assert_eq!(asked.freshness[0].fresh_for, Freshness::For(Duration::from_secs(5)));
    assert_eq!(
        (&asked.freshness[1].tags, asked.freshness[1].fresh_for),
        (&TagPattern::ExactVersion, Freshness::ForEver)
    );
    assert_eq!(asked.fresh_for, Freshness::For(Duration::from_secs(6)));
    assert_eq!([asked.tag_budget, asked.miss_budget, asked.missing_for].map(seconds), [7, 8, 9]);
    assert!(!asked.keeps_removed_tags && asked.asks_for_pushed && asked.offline);
}

#[test]
fn mistakes_are_said_with_their_places() {
    for (text, expected) in [
        ("upstreams: [{urls: ['https://x']}]\n", "\"upstreams[].name\" is missing"),
        ("proxy: {remoteurl: 'https://u:secret@x'}\n", "must not hold a user or a password"),
        (
            "proxy: {remoteurl: registry-1.docker.io}\n",
            "can't be read as a URL: relative URL without a base; write it with its scheme",
        ),
        ("upstreams: [{name: a, urls: ['ftp://x']}]\n", "must begin with https:// or http://"),
        ("upstreams: [{name: quay.io}, {name: quay.io, prefix: q}]\n", "another upstream has already"),
        (
            "upstreams: [{name: quay.io}, {name: gcr.io, prefix: quay.io}]\n",
            "is quay.io, which another upstream",
        ),
        (
            "proxy: {remoteurl: 'https://x'}\nupstreams: [{name: quay.io, prefix: /}]\n",
            "to a second upstream",
        ),
        ("upstreams: [{name: quay.io, username: me}]\n", "is there without a password"),
        ("upstreams: [{name: quay.io, password: pw}]\n", "is there without a username"),
        ("upstreams: [{name: quay.io, accounts: [{hosts: [x]}]}]\n", "must say in one way who it is"),
        (
            "upstreams: [{name: quay.io, freshness: [{tags: x}]}]\n",
            "\"upstreams[].freshness[].for\" is missing",
        ),
        ("upstreams: [{name: quay.io, freshness: [{for: soon}]}]\n", "write a duration such as 10m, or ever"),
        ("upstreams: [{name: quay.io, concurrency: 0}]\n", "must be between 1 and 1024"),
        ("upstreams: [{name: quay.io, answertimeout: 0s}]\n", "must be longer than nothing"),
        ("upstreams: [{name: quay.io, missbudget: -1s}]\n", "must not be negative"),
        ("upstreams: [{name: My Registry, urls: ['https://x']}]\n", "write one, since the name can't be it"),
        ("upstreams: [{name: quay.io, hostnames: ['x:80']}]\n", "write a host's name without a port"),
        ("upstreams: [{name: quay.io, freshnes: 1}]\n", "did you mean \"freshness\""),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(expected) && error.starts_with("config.yml:"), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

/// How most caches of Docker Hub are started: the image and one variable.
#[test]
fn the_built_in_upstream_gives_way_to_the_proxy_of_a_variable() {
    let named = |url: &str| -> Vec<(String, bool)> {
        let environment = [("REGISTRY_PROXY_REMOTEURL".into(), url.into())].into_iter().collect();
        let upstreams = Config::builtin(Path::new("/data"), &environment).unwrap().config.upstreams;
        upstreams.into_iter().map(|upstream| (upstream.reached.name, upstream.prefix.is_none())).collect()
    };
    let hub = named("https://registry-1.docker.io");
    let hubs: Vec<_> = hub.iter().filter(|(name, _)| name == "docker.io").collect();
    assert_eq!(hubs, [&("docker.io".to_owned(), true)]);
    // Another registry has the root, and those that are built in their prefixes.
    assert_eq!(named("https://r.example.com").len(), hub.len() + 1);
}
