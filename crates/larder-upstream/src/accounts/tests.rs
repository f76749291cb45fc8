use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn account(repositories: &[&str], source: CredentialSource) -> Account {
    let repositories = repositories.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Account::new(Some(AccountSettings { repositories, hosts: Vec::new(), source }))
}

fn of_user(name: &str) -> CredentialSource {
    CredentialSource::Password { username: name.to_owned(), password: Secret::from("p".to_owned()) }
}

fn expect(username: &str, password: &str) -> Credentials {
    Credentials::Password { username: username.to_owned(), password: Secret::from(password.to_owned()) }
}

fn put(path: &Path, text: &str) {
    use std::io::Write as _;
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// An executable file that nobody has open for writing any more.
fn script(path: &Path, text: &str) {
    put(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_account_that_is_meant_for_a_repository_goes_before_the_general_ones() {
    let accounts: Vec<Arc<Account>> = [
        account(&["team/**"], of_user("team")),
        account(&[], of_user("a")),
        account(&[], of_user("b")),
        Account::new(None),
    ]
    .map(Arc::new)
    .into();
    let labels = |repository: &str, hosts: bool| -> Vec<String> {
        let found = candidates(&accounts, &repository.parse().unwrap(), |_| hosts);
        found.iter().map(|(_, account)| account.label()).collect()
    };
    assert_eq!(labels("team/app", true), ["team", "anonymous"]);
    assert_eq!(labels("library/nginx", true), ["a", "b", "anonymous"]);
    assert_eq!(labels("library/nginx", false), ["anonymous"]);
}

#[tokio::test]
async fn dockers_config_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let with = |password: &str| {
        format!(r#"{{"auths": {{"x.example": {{"username": "ci", "password": "{password}"}}}}}}"#)
    };
    put(&path, &with("first"));
    let account = account(&[], CredentialSource::DockerConfig { path: path.clone() });
    assert_eq!(account.credentials("x.example").await.unwrap(), expect("ci", "first"));
    put(&path, &with("second one"));
    assert_eq!(account.credentials("x.example").await.unwrap(), expect("ci", "second one"));
    drop(directory);
    let error = account.credentials("x.example").await.unwrap_err();
    assert!(matches!(error, AccountError::File { .. }), "{error}");
}

#[tokio::test]
async fn dockers_config_is_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let encoded = STANDARD.encode("bob:s:e:c");
    put(
        &path,
        &format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{encoded}"}},
                "ghcr.io": {{"username": "amy", "password": "pw"}},
                "https://quay.io/v2/": {{"identitytoken": "refresh"}},
                "broken.example": {{"auth": "%%"}}}}, "credsStore": "x"}}"#
        ),
    );
    let account = account(&[], CredentialSource::DockerConfig { path });
    assert_eq!(account.credentials("registry-1.docker.io").await.unwrap(), expect("bob", "s:e:c"));
    assert_eq!(account.credentials("ghcr.io").await.unwrap(), expect("amy", "pw"));
    let refresh = Credentials::RefreshToken(Secret::from("refresh".to_owned()));
    assert_eq!(account.credentials("quay.io").await.unwrap(), refresh);
    for host in ["broken.example", "other.example"] {
        let error = account.credentials(host).await.unwrap_err();
        assert!(matches!(error, AccountError::Lacking { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_helper_is_asked_for_the_host_and_its_answer_counts_for_its_lifetime() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker-credential-test");
    let asked = directory.path().join("asked");
    script(
        &path,
        &format!(
            "#!/bin/sh\nhost=$(cat)\necho \"$1 $host\" >> {}\n\
             [ \"$host\" = unknown.example ] && {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
             [ \"$host\" = locked.example ] && {{ echo 'keychain is locked'; exit 1; }}\n\
             printf '{{\"ServerURL\":\"%s\",\"Username\":\"u\",\"Secret\":\"%s\"}}' \"$host\" \"$host\"\n",
            asked.display()
        ),
    );
    let helper = |lifetime| account(&[], CredentialSource::Helper { command: path.clone(), lifetime });
    let for_ever = helper(None);
    assert_eq!(for_ever.credentials("a.example").await.unwrap(), expect("u", "a.example"));
    assert_eq!(for_ever.credentials("a.example").await.unwrap(), expect("u", "a.example"));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "get a.example\n");
    for_ever.forget().await;
    assert_eq!(for_ever.credentials("a.example").await.unwrap(), expect("u", "a.example"));
    assert_eq!(fs::read_to_string(&asked).unwrap().lines().count(), 2);
    let for_once = helper(Some(Duration::ZERO));
    for_once.credentials("a.example").await.unwrap();
    for_once.credentials("a.example").await.unwrap();
    assert_eq!(fs::read_to_string(&asked).unwrap().lines().count(), 4);
    assert_eq!(for_once.credentials("unknown.example").await.unwrap(), Credentials::Anonymous);
    let error = for_once.credentials("locked.example").await.unwrap_err().to_string();
    assert!(error.ends_with("has failed: keychain is locked"), "{error}");
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_named() {
    let command = PathBuf::from("/nonexistent/docker-credential-none");
    let error = account(&[], CredentialSource::Helper { command, lifetime: None }).credentials("x").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/docker-credential-none"), "{error}");
}

#[test]
fn no_secret_is_shown() {
    let credentials = expect("ci", "hunter2");
    assert!(!format!("{credentials:?}").contains("hunter2"));
    let header = credentials.basic().unwrap();
    assert!(!format!("{header:?}").contains("aHVudGVy"), "{header:?}");
    assert_eq!(header, format!("Basic {}", STANDARD.encode("ci:hunter2")));
}
