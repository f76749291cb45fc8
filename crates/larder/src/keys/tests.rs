use super::*;
use crate::config::Source;
use larder_auth::{AuthMode, Gate, Identity, Mode, Origin, Passwords, SigningKey};
use std::{net::Ipv4Addr, num::NonZeroUsize, os::unix::fs::PermissionsExt};

const BOB: &str = "bob:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My\n";

/// A data directory with one user, bob.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(home.path("larder")).unwrap();
        replace_file(&home.path("larder/users.htpasswd"), BOB.as_bytes(), None).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn place(&self) -> ThisRegistry {
        ThisRegistry { config: None, data: Some(self.directory.path().to_owned()) }
    }

    fn run(&self, command: &Key) -> Result<String, KeyError> {
        let mut output = Vec::new();
        run(command, &Environment::default(), false, &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn create(&self, name: &str, user: Option<&str>, expires: Option<Duration>) -> Result<String, KeyError> {
        self.run(&Key::Create {
            name: name.to_owned(),
            scope: vec!["team/**:pull,push".parse().unwrap()],
            user: user.map(str::to_owned),
            expires,
            place: self.place(),
        })
    }

    fn list(&self) -> String {
        self.run(&Key::List { place: self.place() }).unwrap()
    }

    fn revoke(&self, key: &str) -> Result<String, KeyError> {
        self.run(&Key::Revoke { key: key.to_owned(), place: self.place() })
    }

    fn config(&self) -> Config {
        config::load(&Source::BuiltIn(self.directory.path().to_owned()), &Environment::default())
            .unwrap()
            .config
    }

    fn gate(&self, keys: &Arc<Keys>) -> Gate {
        let clock: larder_auth::Clock = Arc::new(SystemTime::now);
        let users = Users::open(users_files(&self.config())).unwrap();
        let passwords =
            Arc::new(Passwords::new(Arc::new(users), [1; 32], NonZeroUsize::MIN, Arc::clone(&clock)));
        let (key, mode) = (SigningKey::from([1; 32]), Mode::AnonymousPull);
        let auth_mode = AuthMode::Token { service: "larder".into(), passwords, key, mode };
        Gate::new(auth_mode, clock).with_keys(Arc::clone(keys))
    }
}

/// `Authorization` for this key, as curl sends it.
fn header(key: &str) -> String {
    // Unpadded is taken as well, and needs no crate here.
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::from("Basic ");
    for chunk in format!("x:{key}").into_bytes().chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        let letters = (0..=chunk.len()).map(|at| LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char);
        encoded.extend(letters);
    }
    encoded
}

#[tokio::test]
async fn a_key_counts_as_soon_as_it_is_made_and_no_longer_when_it_is_revoked() {
    let home = Home::new();
    let keys = open(&home.config()).unwrap();
    let gate = home.gate(&keys);
    let key = home.create("ci", Some("bob"), None).unwrap();
    let credentials = header(key.trim());
    let identity = gate.identify(Some(&credentials), &Origin::at(Ipv4Addr::LOCALHOST.into())).await.unwrap();
    assert!(matches!(&identity, Identity::Key(holder) if &*holder.record().name == "ci"), "{identity:?}");
    assert!(gate.policy().push(&identity, &"team/app".parse().unwrap()).is_ok());
    assert!(gate.policy().push(&identity, &"other".parse().unwrap()).is_err());
    home.revoke("ci").unwrap();
    assert!(gate.identify(Some(&credentials), &Origin::at(Ipv4Addr::LOCALHOST.into())).await.is_err());
}

#[test]
fn the_list_tells_what_there_is_and_never_a_key() {
    let home = Home::new();
    let key = home.create("ci", Some("bob"), Some(Duration::from_secs(3600))).unwrap();
    home.create("robot-2", None, None).unwrap();
    let list = home.list();
    assert_eq!(list.lines().count(), 3, "{list}");
    let line = list.lines().find(|line| line.starts_with("ci ")).unwrap();
    assert!(
        line.contains(" bob ") && line.contains("team/**:pull,push") && line.ends_with("never"),
        "{line}"
    );
    let stored = fs::read_to_string(home.path("larder/keys.json")).unwrap();
    assert!(!list.contains(key.trim()) && !stored.contains(key.trim()));
    assert!(!stored.contains(&key.trim()[key.trim().len() - 20..]), "nor its private half");
    let mode = fs::metadata(home.path("larder/keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_last_use_is_written_down_at_the_latest_when_the_server_stops() {
    let home = Home::new();
    let key = home.create("ci", None, None).unwrap();
    let keys = open(&home.config()).unwrap();
    home.gate(&keys)
        .identify(Some(&header(key.trim())), &Origin::at(Ipv4Addr::LOCALHOST.into()))
        .await
        .unwrap();
    assert!(!home.path("larder/keys-used.json").try_exists().unwrap(), "using a key writes nothing");
    let stop = CancellationToken::new();
    stop.cancel();
    keep_last_uses(keys, uses_path(&home.config()), stop).await;
    assert!(!home.list().lines().nth(1).unwrap().ends_with("never"), "{}", home.list());
    let again = open(&home.config()).unwrap();
    assert_eq!(again.last_uses_if_changed(), None);
}

#[test]
fn what_can_not_be_done_is_said() {
    let home = Home::new();
    for name in ["", "a b", "key:x", "ä", &"x".repeat(101)] {
        assert!(matches!(home.create(name, None, None), Err(KeyError::Name(_))), "{name:?}");
    }
    assert!(matches!(home.create("ci", Some("eve"), None), Err(KeyError::NoSuchUser(_))));
    home.create("ci", None, None).unwrap();
    assert!(matches!(home.create("ci", None, None), Err(KeyError::Exists(_))));
    assert!(matches!(home.revoke("other"), Err(KeyError::Unknown(_))));
    let id = home.list().lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    home.revoke(&id).unwrap();
    assert_eq!(home.list().lines().count(), 1);
    replace_file(&home.path("larder/keys.json"), b"[]", None).unwrap();
    assert!(matches!(home.create("ci", None, None), Err(KeyError::Auth(_))), "what isn't understood is kept");
    assert!(open(&home.config()).is_err());
}

#[test]
fn a_key_is_narrowed_without_a_registry() {
    let home = Home::new();
    let key = home.create("ci", None, None).unwrap();
    let file = home.path("key");
    replace_file(&file, key.as_bytes(), None).unwrap();
    let narrow = |may: Option<&str>| {
        home.run(&Key::Narrow {
            within: Vec::new(),
            may: may.map(|may| may.parse().unwrap()),
            during: None,
            key_file: Some(file.clone()),
        })
    };
    let narrowed = narrow(Some("pull")).unwrap();
    assert!(narrowed.starts_with("larder_key_") && narrowed.len() > key.len());
    assert!(narrow(None).is_err(), "nothing was said");
}
