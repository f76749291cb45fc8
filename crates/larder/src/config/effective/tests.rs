use super::*;
use crate::config::{Environment, keys};
use std::path::Path;

fn load(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::from_yaml(text, "config.yml", &environment).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

#[test]
fn each_value_says_where_it_comes_from() {
    let text = "\
version: 0.1
loglevel: debug
log:
  fields: {service: registry, 'odd: name': '#1'}
storage:
  filesystem:
  cache: {blobdescriptor: inmemory}
auth:
  htpasswd:
    realm: The house's registry
    path: /auth/htpasswd
http:
  addr: ':5000'
  secret: hunter2
  headers: {X-Content-Type-Options: [nosniff]}
  trustedproxies: []
access:
  groups: {team: [ada, bob]}
  rules:
  - {who: team, may: [pull, push], in: 'team/**'}
  - who: anonymous
    may: pull
notifications:
  endpoints:
  - name: hook
    url: https://user:hunter2@hooks.example.com/T0/hunter2?token=hunter2
    headers: {Authorization: [Bearer hunter2]}
redis: {addr: 'redis:6379', password: hunter2}
middleware: {storage: [{name: cloudfront, options: {privatekey: hunter2, list: [{deep: hunter2}]}}]}
";
    let variables = [
        ("REGISTRY_HTTP_ADDR", ":80"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/a.pem"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c.pem"),
        ("REGISTRY_HTTP_TLS_KEY", "/k.pem"),
    ];
    let page = load(text, &variables).effective();
    assert!(!page.contains("hunter2"), "{page}");
    let lines: Vec<String> =
        page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "version: 0.1 # config.yml:1",
        "level: debug # config.yml:2",
        "service: registry # config.yml:4",
        "\"odd: name\": \"#1\" # config.yml:4",
        "rootdirectory: /var/lib/registry # default",
        "enabled: true # default",
        "blobdescriptor: inmemory # config.yml:7, no effect",
        "realm: \"The house's registry\" # config.yml:10",
        "addr: :80 # REGISTRY_HTTP_ADDR",
        "secret: \"********\" # config.yml:14, no effect",
        "X-Content-Type-Options: [nosniff] # config.yml:15",
        "trustedproxies: [] # config.yml:16",
        "clientcas: [/a.pem] # REGISTRY_HTTP_TLS_CLIENTCAS_0",
        "team: [ada, bob] # config.yml:18",
        "- who: team # config.yml:20",
        "may: [pull, push] # config.yml:20",
        "url: https://********@hooks.example.com/******** # config.yml:26",
        "Authorization: [\"********\"] # config.yml:27",
        "timeout: 1s # default",
        "password: \"********\" # config.yml:28, no effect",
        "privatekey: \"********\" # config.yml:29, no effect",
        "- deep: \"********\" # config.yml:29, no effect",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\n{page}");
    }
}

#[test]
fn the_built_in_configuration_says_so() {
    let loaded = Config::builtin(Path::new("/data"), &Environment::default()).unwrap();
    let page = loaded.effective();
    for expected in [
        "version: 0.1",
        "# built-in\n",
        "rootdirectory: /data",
        "# auth: built-in; who may push is in /data/larder/users.htpasswd\n",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    let page = load("version: 0.1\nstorage: filesystem\n", &[]).effective();
    assert!(page.contains("# no auth: everybody may do everything\n"), "{page}");
    let page = load("version: 0.1\nstorage: filesystem\nauth: none\n", &[]).effective();
    assert!(page.contains("\nauth:\n  none:\n"), "{page}");
}

/// Whoever pastes the page into a file has the same registry.
#[test]
fn what_is_printed_makes_the_same_configuration() {
    for text in [
        "version: 0.1\nstorage: filesystem\n",
        "version: 0.1\nstorage: {filesystem: {rootdirectory: '/a b: #c'}, delete: {enabled: yes}}\nauth: {none: }\n",
        "version: 0.1\nstorage: filesystem\nhttp: {addr: '[::1]:80', trustedproxies: ['::1', 10.0.0.0/8]}\n",
        "version: 0.1\nstorage: filesystem\nhttp: {tls: {certificate: /c, key: /k, clientcas: ['a,b', 'c: d']}}\n",
        "version: 0.1\nstorage: filesystem\nlog: {fields: {a: {b: [c, {d: e}]}, f: 'null', g: '', h: '~'}}\n",
        "version: 0.1\nstorage: filesystem\nauth: {htpasswd: {realm: r, path: /p}}\n\
         access: {groups: {g: [a]}, rules: [{who: g, may: all}, {who: [a, b], may_not: push, in: ['x/**', y]}]}\n",
        "version: 0.1\nstorage: filesystem\nhealth: {tcp: [{addr: 'a:1'}, {addr: 'b:1', timeout: 3s}]}\n",
        "version: 0.1\nstorage: filesystem\nhealth: {http: [{uri: 'http://a'}], storagedriver: {enabled: true}}\n",
    ] {
        let loaded = load(text, &[]);
        let page = loaded.effective();
        let again = load(&page, &[]);
        let (mut config, mut expected) = (again.config.clone(), loaded.config.clone());
        // The rules know the lines that they stand on.
        let (rules, expected_rules) = (config.access.take(), expected.access.take());
        assert_eq!(config, expected, "{page}");
        assert_eq!(rules.map(|access| access.groups), expected_rules.map(|access| access.groups), "{page}");
        // Everything is written now, and says the same.
        let without_origins = |page: &str| {
            let lines = page.lines().map(|line| line.split("  #").next().unwrap_or_default().trim_end());
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without_origins(&again.effective()), without_origins(&page));
    }
}

/// Whatever a key takes, if it is a secret it isn't shown.
#[test]
fn no_secret_is_shown() {
    let lists = "version: 0.1\nstorage: filesystem\nnotifications: {endpoints: [{name: a, url: 'http://a'}]}\n\
                 health: {http: [{uri: 'http://a'}]}\n";
    for key in keys::all() {
        let value = match key.kind {
            Kind::Secret => "hunter2",
            Kind::Url => "https://hunter2:hunter2@host/hunter2",
            Kind::SecretHeaders => "{X-Key: [hunter2]}",
            _ => continue,
        };
        let environment = [(key.variable().into(), value.into())].into_iter().collect();
        // What Larder can't do stops the start, and is told without the value.
        match Config::from_yaml(lists, "config.yml", &environment) {
            Ok(loaded) => {
                let page = loaded.effective();
                assert!(page.contains(&key.variable()) && !page.contains("hunter2"), "{}: {page}", key.path);
            }
            Err(errors) => assert!(!errors.to_string().contains("hunter2"), "{errors}"),
        }
    }
}

#[test]
fn urls_without_their_secrets() {
    for (url, expected) in [
        ("https://registry-1.docker.io", "https://registry-1.docker.io"),
        ("https://host:5000/", "https://host:5000/"),
        ("https://u:p@host:5000", "https://********@host:5000"),
        ("https://u:p@ss@host/a?b#c", "https://********@host/********"),
        ("https://host?token=x", "https://host/********"),
        ("not a url", "********"),
    ] {
        assert_eq!(masked_url(url), expected);
    }
}
