use super::*;
use crate::cli::ThisRegistry;

const BOB: &str = "$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My";

/// A configuration with its users in a directory of its own.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new(access: &str) -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap() };
        let at = |name: &str| home.path(name).display().to_string();
        home.write("users", &format!("alice:{BOB}\nbob:{BOB}\n"));
        home.write("ci", &format!("robot:{BOB}\nbob:{BOB}\n"));
        home.write(
            "config.yml",
            &format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 auth: {{htpasswd: {{realm: R, path: {}}}}}\n{}",
                at("data"),
                at("users"),
                access.replace("CI_FILE", &at("ci"))
            ),
        );
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        larder_storage::replace_file(&self.path(name), content.as_bytes(), None).unwrap();
    }

    /// What the command prints, with `0` or `1` in front.
    fn explain(&self, user: &str, action: &str, repository: &str) -> String {
        let command = Access::Explain {
            user: user.into(),
            action: action.into(),
            repository: repository.into(),
            registry: ThisRegistry { config: Some(self.path("config.yml")), data: None },
        };
        let mut output = Vec::new();
        let code = run(&command, &Environment::default(), false, &mut output).unwrap();
        let code = if code == ExitCode::SUCCESS { 0 } else { 1 };
        format!("{code} {}", String::from_utf8(output).unwrap())
    }
}

const ACCESS: &str = "\
access:
  groups:
    team: [alice, bob]
    ci: {htpasswd: CI_FILE}
  rules:
    - {who: anonymous, may: pull, in: \"public/**\"}
    - {who: team, may: [pull, push], in: \"team/*\"}
    - {who: ci, may: all}
    - {who: bob, may_not: push, in: \"team/prod\"}
";

#[test]
fn what_is_explained() {
    let home = Home::new(ACCESS);
    let cases = [
        (
            ("alice", "push", "team/app"),
            "0 allowed: config.yml:10, rule 2 lets alice push in team/app\n\
             rules that apply:\n  config.yml:10, rule 2: team may pull, push in team/*\n",
        ),
        (
            ("bob", "push", "team/prod"),
            "1 denied: config.yml:12, rule 4 forbids bob to push in team/prod\n\
             rules that apply:\n  config.yml:10, rule 2: team may pull, push in team/*\n  \
             config.yml:12, rule 4: bob may not push in team/prod\n",
        ),
        (
            ("alice", "push", "team/a/b"),
            "1 denied: no rule lets alice push in team/a/b\nnear misses:\n  \
             config.yml:10, rule 2 would allow it if `team/*` reached team/a/b; `team/**` would\n  \
             config.yml:11, rule 3 would allow it for ci, and alice is none of them\n",
        ),
        (
            ("anonymous", "push", "public/app"),
            "1 denied: no rule lets anonymous push in public/app; log in with docker login\nnear misses:\n  \
             config.yml:9, rule 1 says that anonymous may pull here, and not push\n  \
             config.yml:11, rule 3 would allow it for ci, after a login\n",
        ),
        (("robot", "all", "x"), "0 allowed: config.yml:11, rule 3 lets robot do everything in x\n"),
        (("carol", "pull", "public/app"), "0 allowed: config.yml:9, rule 1 lets carol pull in public/app\n"),
    ];
    for ((user, action, repository), expected) in cases {
        let found = home.explain(user, action, repository);
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(home.explain("carol", "pull", "x").contains("no users file has a user \"carol\""));
}

#[test]
fn a_user_is_in_the_group_of_the_file_whose_password_counts() {
    let home = Home::new(ACCESS);
    assert!(home.explain("robot", "delete", "x").starts_with("0 "));
    assert!(home.explain("bob", "delete", "x").starts_with("1 "), "bob is the first file's");
}

#[test]
fn without_rules_the_mode_is_explained() {
    let home = Home::new("");
    assert_eq!(home.explain("bob", "push", "x"), "0 allowed: every user may do everything\n");
    assert_eq!(
        home.explain("anonymous", "pull", "x"),
        "1 denied: only users of this registry have access; log in with docker login\n"
    );
}
