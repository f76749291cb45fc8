use std::fs::File;

use super::*;
use crate::cli::ThisRegistry;
use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

const FILE_WITH_EVERYTHING: &str =
    "# the team\n\nada:$2y$05$x\n  bob:{SHA}abc  \nno colon here\nada:second\n";

fn write(path: &Path, text: &str) {
    File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

/// Runs a command on `path` with the password in a file, as an operator's script would.
fn run_on(
    path: &Path,
    user: impl FnOnce(UsersFile, PasswordSource) -> User,
    given: &str,
) -> Result<(String, bool), UserError> {
    let mut password_file = tempfile::NamedTempFile::new().unwrap();
    password_file.write_all(given.as_bytes()).unwrap();
    let source =
        PasswordSource { password_file: Some(password_file.path().to_owned()), password_stdin: false };
    let command = user(UsersFile { file: Some(path.to_owned()), ..UsersFile::default() }, source);
    let mut output = Vec::new();
    let code = run(&command, &Environment::default(), false, &mut output)?;
    Ok((String::from_utf8(output).unwrap(), format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)))
}

fn add_to(path: &Path, name: &str, given: &str) -> Result<String, UserError> {
    let name = name.to_owned();
    run_on(path, |users, password| User::Add { name, password, users }, given).map(|(said, _)| said)
}

fn verify_in(path: &Path, name: &str, given: &str) -> (String, bool) {
    let name = name.to_owned();
    run_on(path, |users, password| User::Verify { name, password, users }, given).unwrap()
}

fn htpasswd_tool(arguments: &[&str], path: &Path, input: &str) -> bool {
    let mut child = Command::new("htpasswd")
        .args(
            arguments
                .iter()
                .map(|argument| if *argument == "FILE" { path.as_os_str() } else { argument.as_ref() }),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("apache2-utils must be installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

#[test]
fn edits_keep_what_they_do_not_concern() {
    for (edit, expected) in [
        (
            "add carol",
            "# the team\n\nada:$2y$05$x\n  bob:{SHA}abc  \nno colon here\nada:second\ncarol:HASH\n",
        ),
        ("add ada", "# the team\n\nada:HASH\n  bob:{SHA}abc  \nno colon here\n"),
        ("add bob", "# the team\n\nada:$2y$05$x\nbob:HASH\nno colon here\nada:second\n"),
        ("remove bob", "# the team\n\nada:$2y$05$x\nno colon here\nada:second\n"),
        ("remove ada", "# the team\n\n  bob:{SHA}abc  \nno colon here\n"),
        ("remove nobody", FILE_WITH_EVERYTHING),
    ] {
        let mut users = Htpasswd::parse(FILE_WITH_EVERYTHING);
        match edit.split_once(' ') {
            Some(("add", name)) => drop(users.set(name, format!("{name}:HASH"))),
            Some((_, name)) => drop(users.remove(name)),
            None => unreachable!("{edit}"),
        }
        assert_eq!(users.text(), expected, "{edit}");
    }
    assert_eq!(Htpasswd::parse(FILE_WITH_EVERYTHING).names(), ["ada", "bob"]);
    // A last line without a break, as registry:2 itself writes, doesn't swallow the next.
    let mut users = Htpasswd::parse("docker:x");
    users.set("ada", "ada:HASH".to_owned());
    assert_eq!(users.text(), "docker:x\nada:HASH\n");
    assert_eq!(Htpasswd::parse("a:b\r\n# c\r\n").text(), "a:b\r\n# c\r\n");
}

#[test]
fn names_that_are_refused() {
    for (name, expected) in [
        ("", "it is empty"),
        ("a:b", "a colon ends the name"),
        ("a\nb", "a control character"),
        ("a\u{7f}", "a control character"),
        ("#ada", "for a comment"),
        (" ada", "white space"),
        ("ada\u{a0}", "white space"),
        (&"x".repeat(256), "longer than 255 bytes"),
        ("anonymous", "in access rules"),
        ("authenticated", "in access rules"),
    ] {
        let error = check_name(name).expect_err(name).to_string();
        assert!(error.contains(expected), "{name:?}: {error}");
    }
    for name in ["ada", "ada@example.com", "Ada Lovelace", "ädä", "a#b"] {
        assert!(check_name(name).is_ok(), "{name}");
    }
}

#[test]
fn passwords_that_are_refused() {
    let from = |bytes: &[u8]| Password::from_reader(bytes, PasswordError::Stdin);
    for (bytes, expected) in [
        (&b""[..], "the password is empty"),
        (b"\n", "the password is empty"),
        (b"\r\n", "the password is empty"),
        (b"one\ntwo\n", "holds a line break"),
        (b"one\n\n", "holds a line break"),
        (b"a\0b", "holds a NUL byte"),
        (b"\xff", "is not UTF-8"),
        (&[b'x'; 73], "has 73 bytes, and bcrypt ignores all after the 72nd"),
        (&[b'x'; 10_000], "has 4096 bytes"),
    ] {
        let error = from(bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (bytes, expected) in [
        (&b"secret\n"[..], "secret"),
        (b"secret\r\n", "secret"),
        (b" two words ", " two words "),
        (&[b'x'; 72], &"x".repeat(72)),
    ] {
        assert_eq!(from(bytes).unwrap(), password(expected));
    }
    assert_eq!(format!("{:?}", password("secret")), "Password(***)");
}

#[test]
fn users_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("larder").join("users.htpasswd");
    assert!(add_to(&path, "ada", "first\n").unwrap().starts_with("added user \"ada\" to "));
    assert!(add_to(&path, "bob", "second").unwrap().starts_with("added user \"bob\" to "));
    assert!(add_to(&path, "ada", "third").unwrap().starts_with("user \"ada\" existed in "));
    assert!(fs::read_to_string(&path).unwrap().starts_with("ada:$2y$10$"));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);

    assert_eq!(run_on(&path, |users, _| User::List { users }, "").unwrap().0, "ada\nbob\n");
    for (name, given, expected, right) in [
        ("ada", "third", "the password of user \"ada\" is right\n", true),
        ("ada", "first", "the password of user \"ada\" is wrong\n", false),
        ("carol", "x", "there is no user \"carol\"\n", false),
    ] {
        assert_eq!(verify_in(&path, name, given), (expected.to_owned(), right));
    }
    let remove = |name: &str| {
        let name = name.to_owned();
        run_on(&path, |users, _| User::Remove { name, users }, "").map(|(said, _)| said)
    };
    assert!(remove("ada").unwrap().starts_with("removed user \"ada\" from "));
    assert!(matches!(remove("ada"), Err(UserError::UnknownUser { .. })));
    assert_eq!(run_on(&path, |users, _| User::List { users }, "").unwrap().0, "bob\n");
}

#[test]
fn a_missing_file_is_made_by_add_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    assert!(matches!(run_on(&path, |users, _| User::List { users }, ""), Err(UserError::Io { .. })));
    let remove = |users, _| User::Remove { name: "ada".to_owned(), users };
    assert!(matches!(run_on(&path, remove, ""), Err(UserError::UnknownUser { .. })));
    assert!(!path.try_exists().unwrap());
    assert!(matches!(add_to(&path, "a:b", "secret"), Err(UserError::Name { .. })));
    assert!(matches!(add_to(&path, "ada", ""), Err(UserError::Password(PasswordError::Empty))));
    assert!(!path.try_exists().unwrap());
}

#[test]
fn hashes_that_are_refused_are_named() {
    for (hash, expected) in [
        ("$apr1$abc$def", "$apr1$"),
        ("{SHA}abc=", "SHA-1"),
        ("$5$abc", "sha-crypt hash is cut off"),
        ("$6$rounds=10$a$b", "sha-crypt hash is cut off"),
        ("$1$abc", "MD5"),
        ("$2x$10$abc", "$2x$"),
        ("$argon2id$x", "argon2 hash is cut off"),
        ("$2y$10$short", "damaged"),
        ("", "unknown kind"),
        ("plain", "unknown kind"),
    ] {
        let users = Htpasswd::parse(&format!("bob:{{SHA}}x\nada:{hash}\n"));
        let verdict = users.verify(Path::new("users"), "ada", &password("x")).unwrap();
        let Verdict::Refused(why) = &verdict else { panic!("{hash}: {verdict:?}") };
        assert!(why.contains(expected), "{hash}: {why}");
        assert!(verdict.sentence("ada").contains("larder user add"));
    }
}

#[test]
fn the_htpasswd_tool_and_larder_read_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    assert!(htpasswd_tool(&["-i", "-c", "-B", "-C", "5", "FILE", "theirs"], &path, "one word\n"));
    assert!(htpasswd_tool(&["-i", "-m", "FILE", "md5"], &path, "x\n"));
    add_to(&path, "ours", "größer, 72 bytes at most").unwrap();
    assert!(htpasswd_tool(&["-i", "-B", "-C", "5", "FILE", "late"], &path, "later\n"));

    for (name, given) in [("theirs", "one word"), ("ours", "größer, 72 bytes at most"), ("late", "later")] {
        assert!(verify_in(&path, name, given).1, "{name}");
        assert!(!verify_in(&path, name, "wrong").1, "{name}");
        assert!(htpasswd_tool(&["-i", "-v", "FILE", name], &path, &format!("{given}\n")), "{name}");
        assert!(!htpasswd_tool(&["-i", "-v", "FILE", name], &path, "wrong\n"), "{name}");
    }
    assert!(verify_in(&path, "md5", "x").0.contains("$apr1$"));
    assert!(htpasswd_tool(&["-D", "FILE", "ours"], &path, ""));
    assert_eq!(run_on(&path, |users, _| User::List { users }, "").unwrap().0, "theirs\nmd5\nlate\n");
}

#[test]
fn mode_owner_and_links_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    let link = directory.path().join("link");
    write(&path, "# team\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    // Only root can give a file away; as anybody else this test holds for our own.
    let given_away = std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_ok();

    add_to(&link, "ada", "secret").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    if given_away {
        assert_eq!((metadata.uid(), metadata.gid()), (12_345, 54_321));
    }
    let left: Vec<OsString> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("staged")), "{left:?}");
}

#[test]
fn edits_at_the_same_time_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for user in 0..25 {
                    edit(path, |users| {
                        Ok(users.set(&format!("{writer}-{user}"), format!("{writer}-{user}:HASH")))
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(read(&path).unwrap().unwrap().names().len(), 100);
}

#[test]
fn the_default_file_lies_in_the_data_directory() {
    let environment: Environment = [("HOME".into(), "/home/ada".into())].into_iter().collect();
    for (users, may_use_system_directory, expected) in [
        (UsersFile { file: Some("f".into()), ..UsersFile::default() }, true, "f"),
        (of(None, Some("/d")), true, "/d/larder/users.htpasswd"),
        (UsersFile::default(), true, "/var/lib/registry/larder/users.htpasswd"),
        (UsersFile::default(), false, "/home/ada/.local/share/larder/larder/users.htpasswd"),
    ] {
        assert_eq!(
            users_path(&users, &environment, may_use_system_directory).unwrap(),
            PathBuf::from(expected)
        );
    }
}

fn of(config: Option<&Path>, data: Option<&str>) -> UsersFile {
    let registry = ThisRegistry { config: config.map(Into::into), data: data.map(Into::into) };
    UsersFile { file: None, registry }
}

#[test]
fn a_configuration_says_which_file_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yml");
    let set = |auth: &str| write(&config, &format!("version: 0.1\nstorage: filesystem\n{auth}"));
    set("auth: {htpasswd: {realm: r, path: /etc/larder/users}}\n");
    let variable = ("REGISTRY_CONFIGURATION_PATH".into(), config.clone().into());
    let environment: Environment = [variable].into_iter().collect();
    for (users, environment) in
        [(of(Some(&config), None), &Environment::default()), (UsersFile::default(), &environment)]
    {
        assert_eq!(users_path(&users, environment, true).unwrap(), PathBuf::from("/etc/larder/users"));
    }
    // Users in a file that nobody reads are worse than an error.
    set("");
    let refusal =
        users_path(&of(Some(&config), None), &Environment::default(), true).unwrap_err().to_string();
    assert!(refusal.contains("config.yml names no users file; say which one with --file"), "{refusal}");
}
