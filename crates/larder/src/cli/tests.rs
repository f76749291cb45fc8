use super::*;
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
    let users = |file: &str| UsersFile { file: Some(file.into()), data: None };
    let serve = |config: Option<&str>, data: Option<&str>| {
        Command::Serve(Serve { config: config.map(PathBuf::from), data: data.map(PathBuf::from) })
    };
    for (line, expected) in [
        ("larder", serve(None, None)),
        ("larder a.yml", serve(Some("a.yml"), None)),
        ("larder serve --data /d", serve(None, Some("/d"))),
        ("larder healthcheck", Command::Healthcheck { url: None }),
        ("larder healthcheck http://x", Command::Healthcheck { url: Some("http://x".to_owned()) }),
        ("larder garbage-collect -d -m a.yml", Command::GarbageCollect { arguments: words("-d -m a.yml") }),
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
            Command::User(User::List { users: UsersFile { file: None, data: Some("/d".into()) } }),
        ),
        (
            "larder key create ci --scope team/**:pull,push --scope base:pull --user ada --expires 90d --config c",
            Command::Key(Key::Create {
                name: "ci".to_owned(),
                scope: vec!["team/**:pull,push".parse().unwrap(), "base:pull".parse().unwrap()],
                user: Some("ada".to_owned()),
                expires: Some(Duration::from_secs(90 * 24 * 3600)),
                place: KeyPlace { config: Some("c".into()), data: None },
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
fn the_version_is_one_line() {
    let error = parse("larder -v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayVersion);
    assert_eq!(error.to_string(), format!("larder {}\n", env!("CARGO_PKG_VERSION")));
}
