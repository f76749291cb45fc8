use super::*;
use crate::certificates::TlsChoice;
use clap::{CommandFactory, error::ErrorKind};

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    CommandLine::try_parse_from(rewrite(words(line))).map(|line| line.command)
}

#[test]
fn the_definition_is_sound() {
    CommandLine::command().debug_assert();
}

#[test]
fn forms_of_the_registry_image() {
    for (given, expected) in [
        ("", "larder serve"),
        ("larder", "larder serve"),
        ("registry", "registry serve"),
        ("larder /etc/docker/registry/config.yml", "larder serve /etc/docker/registry/config.yml"),
        ("larder registry serve a.yml", "larder serve a.yml"),
        ("larder registry", "larder serve"),
        (
            "larder /bin/registry serve /etc/docker/registry/config.yml",
            "larder serve /etc/docker/registry/config.yml",
        ),
        ("larder /usr/local/bin/registry garbage-collect -m a.yml", "larder garbage-collect -m a.yml"),
        (
            "larder /entrypoint.sh /etc/docker/registry/config.yml",
            "larder serve /etc/docker/registry/config.yml",
        ),
        ("larder /entrypoint.sh registry serve a.yml", "larder serve a.yml"),
        ("larder registry --version", "larder --version"),
        ("larder registry -v", "larder --version"),
        ("larder ./registry", "larder ./registry"),
        ("/bin/registry serve a.yml", "/bin/registry serve a.yml"),
        ("larder a.yml b c", "larder serve a.yml b c"),
        ("larder help", "larder help"),
        ("larder config.yaml", "larder serve config.yaml"),
        ("larder .yml", "larder serve .yml"),
        ("larder serve config.yml", "larder serve config.yml"),
        ("larder serve", "larder serve"),
        ("larder -v", "larder --version"),
        ("larder --version", "larder --version"),
        ("larder -h", "larder -h"),
        ("larder config.yml.bak", "larder config.yml.bak"),
        ("larder garbage-collect -d config.yml", "larder garbage-collect -d config.yml"),
        ("larder user list", "larder user list"),
    ] {
        assert_eq!(rewrite(words(given)), words(expected), "{given:?}");
    }
}

#[test]
fn lines_and_what_they_mean() {
    let users = |file: &str| UsersFile { file: Some(file.into()), ..UsersFile::default() };
    let serve = |config: Option<&str>, data: Option<&str>| {
        let (config, data) = (config.map(PathBuf::from), data.map(PathBuf::from));
        Command::Serve(Serve { config, data, ..Serve::default() })
    };
    let collect = |dry_run, delete_untagged, quiet, ignored: &str| {
        let (config, ignored) = (Some("a.yml".into()), words(ignored));
        Command::GarbageCollect(GarbageCollect { config, dry_run, delete_untagged, quiet, ignored })
    };
    let tls = |choice, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Command::Serve(Serve { tls: TlsWords { tls: Some(choice), hosts }, ..Serve::default() })
    };
    for (line, expected) in [
        ("larder", serve(None, None)),
        ("larder a.yml", serve(Some("a.yml"), None)),
        ("larder serve --data /d", serve(None, Some("/d"))),
        ("larder serve --tls auto", tls(TlsChoice::Auto, &[])),
        ("larder serve --tls acme --name a.b --name c.d", tls(TlsChoice::Acme, &["a.b", "c.d"])),
        ("larder healthcheck", Command::Healthcheck { url: None }),
        ("larder healthcheck http://x", Command::Healthcheck { url: Some("http://x".to_owned()) }),
        (
            "larder a.yml b c",
            Command::Serve(Serve { config: Some("a.yml".into()), ignored: words("b c"), ..Serve::default() }),
        ),
        ("larder garbage-collect a.yml", collect(false, false, false, "")),
        ("larder garbage-collect -d -m a.yml", collect(true, true, false, "")),
        ("registry garbage-collect a.yml -dmq b", collect(true, true, true, "b")),
        ("larder garbage-collect --delete-untagged=true --dry-run a.yml", collect(true, true, false, "")),
        ("larder garbage-collect --delete-untagged=false --quiet a.yml", collect(false, false, true, "")),
        ("larder garbage-collect", Command::GarbageCollect(GarbageCollect::default())),
        (
            "larder gc --now --data d",
            Command::Gc {
                now: true,
                sweep: false,
                dry_run: false,
                registry: ThisRegistry { config: None, data: Some("d".into()) },
            },
        ),
        (
            "larder undo team/app:v1",
            Command::Undo {
                what: Some("team/app:v1".to_owned()),
                since: None,
                to: None,
                dry_run: false,
                registry: ThisRegistry::default(),
            },
        ),
        (
            "larder undo team --to 10m --dry-run",
            Command::Undo {
                what: Some("team".to_owned()),
                since: None,
                to: Some("10m".to_owned()),
                dry_run: true,
                registry: ThisRegistry::default(),
            },
        ),
        (
            "larder user add --file f ada --password-stdin",
            Command::User(User::Add {
                name: "ada".to_owned(),
                password: PasswordSource { password_file: None, password_stdin: true },
                users: users("f"),
            }),
        ),
        (
            "larder user verify ada --file f --password-file p",
            Command::User(User::Verify {
                name: "ada".to_owned(),
                password: PasswordSource { password_file: Some("p".into()), password_stdin: false },
                users: users("f"),
            }),
        ),
        (
            "larder user remove ada",
            Command::User(User::Remove { name: "ada".to_owned(), users: UsersFile::default() }),
        ),
        (
            "larder user list --data /d",
            Command::User(User::List {
                users: UsersFile {
                    file: None,
                    registry: ThisRegistry { config: None, data: Some("/d".into()) },
                },
            }),
        ),
        (
            "larder key create ci --scope team/**:pull,push --scope base:pull --user ada --expires 90d --config c",
            Command::Key(Key::Create {
                name: "ci".to_owned(),
                scope: vec!["team/**:pull,push".parse().unwrap(), "base:pull".parse().unwrap()],
                user: Some("ada".to_owned()),
                expires: Some(Duration::from_secs(90 * 24 * 3600)),
                place: ThisRegistry { config: Some("c".into()), data: None },
            }),
        ),
        (
            "larder key narrow --in team/app --may pull --for 2h",
            Command::Key(Key::Narrow {
                within: vec!["team/app".parse().unwrap()],
                may: Some("pull".parse().unwrap()),
                during: Some(Duration::from_secs(7200)),
                key_file: None,
            }),
        ),
    ] {
        assert_eq!(parse(line).unwrap_or_else(|error| panic!("{line}: {error}")), expected, "{line}");
    }
}

#[test]
fn lines_that_are_refused() {
    for (line, expected) in [
        ("larder serve a.yml --data /d", ErrorKind::ArgumentConflict),
        ("larder user add ada secret", ErrorKind::UnknownArgument),
        ("larder user add ada --password-stdin --password-file p", ErrorKind::ArgumentConflict),
        ("larder user list --file f --data d", ErrorKind::ArgumentConflict),
        ("larder user list --file f --config c", ErrorKind::ArgumentConflict),
        ("larder problems registry.lan --config c", ErrorKind::ArgumentConflict),
        ("larder status --server registry.lan --data d", ErrorKind::ArgumentConflict),
        ("larder user add", ErrorKind::MissingRequiredArgument),
        ("larder key create ci", ErrorKind::MissingRequiredArgument),
        ("larder key create ci --scope team/**", ErrorKind::ValueValidation),
        ("larder key create ci --scope team/**:fly", ErrorKind::ValueValidation),
        ("larder key narrow --may fly", ErrorKind::ValueValidation),
        ("larder key list --config c --data d", ErrorKind::ArgumentConflict),
        ("larder frobnicate", ErrorKind::InvalidSubcommand),
    ] {
        assert_eq!(parse(line).map_err(|error| error.kind()), Err(expected), "{line}");
    }
}

#[test]
fn whoever_started_with_a_configuration_names_the_same_to_every_command_about_it() {
    for line in [
        "status",
        "problems",
        "problems --clients",
        "cache status",
        "cache warm a",
        "warm a",
        "gc",
        "undo",
        "undo --to 10m",
        "history a:1",
        "du",
        "maintenance on",
        "maintenance off",
        "maintenance status",
        "retention plan",
        "retention run",
        "verify",
        "backup d",
        "import a",
        "export a d",
        "doctor --server",
        "key list",
        "key revoke a",
        "key create a --scope b:pull",
        "user list",
        "user add a",
        "user remove a",
        "user verify a",
        "access explain a pull b",
    ] {
        for way in ["--config c", "--data d"] {
            let line = format!("larder {line} {way}");
            parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn the_version_is_one_line() {
    let error = parse("larder -v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayVersion);
    assert_eq!(error.to_string(), format!("larder {}\n", env!("CARGO_PKG_VERSION")));
}
