use crate::config::{Config, Environment, Loaded};
use std::{io::Write as _, path::PathBuf};

/// A file with each of these texts, and where they are.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::File::create(directory.path().join(name)).unwrap().write_all(content).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

const URL: &str = "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL";
const URL_FILE: &str = "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL_FILE";

/// A configuration whose one working secret is an endpoint's URL, written like this.
fn load(url: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let text = format!(
        "version: 0.1\nstorage: filesystem\nnotifications: {{endpoints: [{{name: a, url: {url}}}]}}\n"
    );
    Config::from_yaml(&text, "config.yml", &environment).map_err(|errors| errors.to_string())
}

fn read(loaded: &Loaded) -> Vec<PathBuf> {
    loaded.files.iter().map(|file| file.path.clone()).collect()
}

fn url(loaded: &Loaded) -> &str {
    &loaded.config.notifications.as_ref().unwrap().endpoints[0].url
}

#[test]
fn a_file_in_the_place_of_a_secret() {
    let files = Files::new(&[("url", b"http://u:p@a\n"), ("other", b"http://other\r\n\r\n")]);
    let (path, other) = (files.path("url"), files.path("other"));
    let loaded = load(&format!("{{file: {}}}", path.display()), &[]).unwrap();
    assert_eq!((url(&loaded), read(&loaded)), ("http://u:p@a", vec![path]));
    // By variable, over nothing, over the secret itself and over another file.
    for written in ["''", "http://in-the-file", "{file: /nowhere}"] {
        let loaded = load(written, &[(URL_FILE, &other.display().to_string())]).unwrap();
        assert_eq!((url(&loaded), read(&loaded)), ("http://other", vec![other.clone()]), "{written}");
    }
    // The secret's own variable goes before a file that the config file names.
    let loaded = load("{file: /nowhere}", &[(URL, "http://variable")]).unwrap();
    assert_eq!((url(&loaded), loaded.files.len()), ("http://variable", 0));
    // A variable that is there and empty is none.
    let loaded = load("''", &[(URL, ""), (URL_FILE, &other.display().to_string())]).unwrap();
    assert_eq!(url(&loaded), "http://other");
}

#[test]
fn files_that_are_mistakes() {
    let long = vec![b'x'; (64 << 10) + 1];
    let files = Files::new(&[("empty", b"\n"), ("binary", b"\xff\xfe"), ("long", &long)]);
    let at = |name: &str| files.path(name).display().to_string();
    for (name, problem) in [
        ("missing", "which can't be read: No such file or directory (os error 2)"),
        ("empty", "which is empty"),
        ("binary", "which can't be read: stream did not contain valid UTF-8"),
        ("long", "which can't be read: it has more than 65536 bytes"),
    ] {
        let written = format!("{{file: {}}}", at(name));
        let key = "\"notifications.endpoints[].url\" comes from";
        let expected = format!("config.yml:3:51: {key} {}, {problem}", at(name));
        assert_eq!(load(&written, &[]).unwrap_err(), expected);
        let expected = format!("{URL_FILE}: {key} {}, {problem}", at(name));
        assert_eq!(load("''", &[(URL_FILE, &at(name))]).unwrap_err(), expected);
    }
}

#[test]
fn both_variables_are_one_too_many() {
    let error = load("''", &[(URL, "http://a"), (URL_FILE, "/run/secrets/url")]).unwrap_err();
    assert_eq!(
        error,
        format!("{URL_FILE}: \"notifications.endpoints[].url\" is set by {URL} already; keep one of the two")
    );
}

#[test]
fn what_is_no_secret_and_no_file() {
    for written in ["{file: }", "{file: [/a]}", "{file: /a, hunter2: b}", "{hunter2: /a}", "[hunter2]"] {
        let error = load(written, &[]).unwrap_err();
        assert!(error.contains("must be a URL, or {file: PATH} for a file that holds it, not"), "{error}");
        assert_eq!((error.lines().count(), error.contains("hunter2")), (1, false), "{error}");
    }
    // Only secrets come from files.
    let error = Config::from_yaml(
        "version: 0.1\nstorage: filesystem\nhttp: {addr: {file: /a}}\n",
        "config.yml",
        &Environment::default(),
    );
    assert!(error.unwrap_err().to_string().contains("\"http.addr\" must be text, not a map"));
    let loaded = load("http://a", &[("REGISTRY_HTTP_ADDR_FILE", "/a")]).unwrap();
    assert!(loaded.warnings[0].contains("REGISTRY_HTTP_ADDR_FILE: sets no key"), "{:?}", loaded.warnings);
}

#[test]
fn files_for_what_has_no_effect_are_left_alone() {
    let loaded = load("http://a", &[("REGISTRY_HTTP_SECRET_FILE", "/nowhere/at/all")]).unwrap();
    assert_eq!(read(&loaded), Vec::<PathBuf>::new());
    assert!(loaded.notes[0].contains("\"http.secret\" has no effect"), "{:?}", loaded.notes);
}
