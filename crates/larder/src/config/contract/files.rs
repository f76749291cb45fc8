//! Real files: how a house runs registry:2, and what distribution's own repository starts it with.

use super::*;
use crate::config::{Auth, Level};

/// A house's cache of Docker Hub, started by `docker run` with its `-e` flags.
const HOUSE: &str = include_str!("house.yml");
const HOUSE_VARIABLES: [(&str, &str); 3] = [
    ("REGISTRY_AUTH", "htpasswd"),
    ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
    ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
];

/// The keys of distribution's `config-dev.yml`.
const DEVELOPMENT: &str = include_str!("development.yml");

/// The keys of distribution's `config-cache.yml`.
const CACHE: &str = include_str!("cache.yml");

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::from_yaml(text, "config.yml", &environment).map_err(|errors| errors.to_string())
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load(text, variables).unwrap()
}

#[test]
fn a_house_and_its_flags() {
    let Loaded { config, warnings, notes, .. } = loaded(HOUSE, &HOUSE_VARIABLES);
    assert_eq!(
        config.auth,
        Auth::Htpasswd { realm: "Registry Realm".to_owned(), path: "/auth/htpasswd".into() }
    );
    assert_eq!(config.storage.root_directory, PathBuf::from("/var/lib/registry"));
    let [upstream] = config.upstreams.as_slice() else { panic!("one upstream") };
    assert_eq!(upstream.reached.name, "hub.example.com");
    assert_eq!(config.http.addr.to_string(), ":5000");
    assert_eq!(config.log.fields, [("service".to_owned(), "registry-dockerhub-cache".to_owned())]);
    assert_eq!(warnings, Vec::<String>::new());
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.contains("dockerd shows no login to a mirror"), "{note}");
    // The flags alone, without a file, as the image is most often run.
    let environment = HOUSE_VARIABLES.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let Loaded { config, warnings, notes, .. } =
        Config::builtin(std::path::Path::new("/var/lib/registry"), &environment).unwrap();
    assert_eq!(
        config.auth,
        Auth::Htpasswd { realm: "Registry Realm".to_owned(), path: "/auth/htpasswd".into() }
    );
    assert_eq!((warnings, notes), (Vec::new(), Vec::new()));
}

#[test]
fn distributions_development_file() {
    let Loaded { config, warnings, notes, .. } = loaded(DEVELOPMENT, &[]);
    assert_eq!(config.log.level, Level::Debug);
    assert!(config.log.access_log_disabled && config.storage.delete_enabled);
    assert!(!config.storage.upload_purging.enabled);
    assert_eq!(config.notifications, None);
    assert_eq!(config.http.debug.unwrap().metrics_path.as_deref(), Some("/metrics"));
    let said = [warnings, notes].concat();
    let starts = [
        "config.yml:9:3: \"log.hooks\" is ignored.",
        "config.yml:42:1: \"redis\" is ignored.",
        "config.yml:26:5: \"storage.cache\" has no effect",
    ];
    assert_eq!(said.len(), starts.len(), "{said:?}");
    for (sentence, start) in said.iter().zip(starts) {
        assert!(sentence.starts_with(start), "{sentence}");
    }
}

#[test]
fn distributions_cache_file() {
    let Loaded { config, warnings, notes, .. } = loaded(CACHE, &[]);
    assert_eq!(config.storage.root_directory, PathBuf::from("/var/lib/registry-cache"));
    assert_eq!(config.http.debug.unwrap().addr.to_string(), "localhost:5001");
    assert_eq!((warnings.len(), config.health.len()), (0, 1));
    let [upstream] = config.upstreams.as_slice() else { panic!("one upstream") };
    assert_eq!((upstream.reached.name.as_str(), upstream.reached.accounts.len()), ("docker.io", 1));
    for (start, sentence) in
        ["\"storage.cache\"", "\"storage.tag\"", "\"http.secret\""].iter().zip(without_places(notes))
    {
        assert!(sentence.starts_with(start), "{sentence}");
    }
}

/// What is printed of them makes the same configuration, and shows no password.
#[test]
fn what_is_in_force_of_them() {
    for (text, variables) in [(HOUSE, HOUSE_VARIABLES.as_slice()), (DEVELOPMENT, &[]), (CACHE, &[])] {
        let loaded = loaded(text, variables);
        let page = loaded.effective();
        assert!(!page.contains("asecret") && !page.contains("an example token"), "{page}");
        assert!(!page.contains("password: password"), "{page}");
        if !text.contains("password") {
            assert_eq!(load(&page, &[]).unwrap().config, loaded.config, "{page}");
        }
    }
}

/// Whoever reaches a cache of registry:2 can't change it: he could put his own image in the place of the upstream's.
#[test]
fn a_cache_without_auth_takes_no_pushes() {
    let is_open_proxy =
        |text: &str| loaded(&format!("version: 0.1\nstorage: filesystem\n{text}"), &[]).config.is_open_proxy;
    let proxy = "proxy: {remoteurl: https://registry-1.docker.io}";
    assert!(is_open_proxy(proxy));
    assert!(is_open_proxy(&format!("{proxy}\nauth: none")));
    assert!(!is_open_proxy(&format!("{proxy}\nauth: {{htpasswd: {{realm: r, path: /p}}}}")));
    assert!(!is_open_proxy("proxy: {remoteurl: ''}"));
    assert!(!is_open_proxy("upstreams: [{name: docker.io, prefix: /}]"), "it isn't registry:2's");
}
