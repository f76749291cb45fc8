use proptest::prelude::*;

use super::*;
use crate::error::HashKind;
use crate::testing::USERS;

fn parse(content: &[u8]) -> Result<UserTable, Vec<UsersFileMistake>> {
    UserTable::parse(Path::new("/auth/htpasswd"), content).map_err(|error| match error {
        AuthError::UsersFileMistaken { mistakes, .. } => mistakes,
        other => panic!("{other}"),
    })
}

fn admits(table: &UserTable, user: &str, password: &str) -> bool {
    table.find(user).unwrap().1.matches(&password.into()).unwrap()
}

#[test]
fn users_of_the_real_htpasswd_get_in() {
    let table = parse(USERS.as_bytes()).unwrap();
    assert_eq!(table.user_count(), 2);
    assert!(admits(&table, "alice", "pass:word"));
    assert!(admits(&table, "bob", "s3cret"));
    assert!(!admits(&table, "bob", "S3cret"));
    assert!(!admits(&table, "bob", ""));
    assert!(table.contains("bob") && !table.contains("Bob") && !table.contains(""));
}

#[test]
fn all_versions_of_bcrypt_name_the_same_computation() {
    // jBCrypt's test vector for "a", and the same as other libraries would write it.
    let rest = "06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
    for version in ["2a", "2b", "2y"] {
        let table = parse(format!("u:${version}${rest}").as_bytes()).unwrap();
        assert!(admits(&table, "u", "a"), "{version}");
        assert!(!admits(&table, "u", "b"), "{version}");
    }
}

#[test]
fn bits_without_meaning_in_salt_and_hash_are_ignored_as_go_does() {
    // The last character of the salt holds two bits of it and four of nothing: `O` is 01 0000, `P` is 01 0001.
    let table = parse(b"u:$2a$06$m0CrhHm10qJ3lXRY.5zDGP3rS2KdeeWLuGmsfGlMfOxih58VYVfxe").unwrap();
    assert!(admits(&table, "u", "a"));
}

#[test]
fn passwords_count_by_their_first_72_bytes() {
    // `htpasswd -nbB -C 4 long` with 80 times `x`.
    let table = parse(b"long:$2y$04$tqPx2hguEhwPjPzgyjTTReGoGadwWA1kLmzhWB/MaKe0LSRYA1uwG").unwrap();
    for (length, expected) in [(71, false), (72, true), (73, true), (80, true), (4000, true)] {
        assert_eq!(admits(&table, "long", &"x".repeat(length)), expected, "{length}");
    }
}

#[test]
fn lines_as_registry_2_reads_them() {
    let hash = "$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My";
    let content = format!(
        "\u{feff}# users\r\n\r\n  bob:{hash}  \r\n\t# carol:x\nwith space:{hash}\nmore:{hash}:Full Name\nküche:{hash}"
    );
    let table = parse(content.as_bytes()).unwrap();
    assert_eq!(table.user_count(), 4);
    for user in ["bob", "with space", "more", "küche"] {
        assert!(admits(&table, user, "s3cret"), "{user}");
    }
    for empty in ["", "\n", "# nobody\n\n"] {
        assert_eq!(parse(empty.as_bytes()).unwrap().user_count(), 0);
    }
}

#[test]
fn of_two_lines_for_one_user_the_later_counts() {
    let table = parse(
        b"u:$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe\n\
          u:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My",
    )
    .unwrap();
    assert_eq!(table.user_count(), 1);
    assert!(admits(&table, "u", "s3cret") && !admits(&table, "u", "a"));
}

#[test]
fn lines_that_can_never_work_are_mistakes() {
    let tail = "yyL.4KO5LhGAyhXrqai31.2CaxJe5xIWEOm6sI5Fr0o4PE81qHzde";
    let cases = [
        ("u:$apr1$H5Q.SWBn$97aTJuvAwftul7NOvgbn.0".into(), LineProblem::OtherHash(HashKind::Apr1)),
        ("u:{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=".into(), LineProblem::OtherHash(HashKind::Sha1)),
        ("u:iJQkuUSq2uZ0A".into(), LineProblem::OtherHash(HashKind::UnixCrypt)),
        ("u:$1$abc$def".into(), LineProblem::OtherHash(HashKind::Md5Crypt)),
        ("u:$5$sYEB5$56HAFFWC".into(), LineProblem::BrokenShaCrypt),
        ("u:$6$ZbpoU$zADDKRYt".into(), LineProblem::BrokenShaCrypt),
        ("u:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ".into(), LineProblem::BrokenArgon2),
        (format!("u:$2x$05${tail}"), LineProblem::OtherHash(HashKind::FaultyBcrypt)),
        (format!("u: $2y$05${tail}"), LineProblem::OtherHash(HashKind::PlainOrUnknown)),
        ("u:hunter2".into(), LineProblem::OtherHash(HashKind::PlainOrUnknown)),
        ("u:".into(), LineProblem::OtherHash(HashKind::PlainOrUnknown)),
        (format!("u:$2y$03${tail}"), LineProblem::Cost(3)),
        (format!("u:$2y$18${tail}"), LineProblem::Cost(18)),
        (format!("u:$2y$99${tail}"), LineProblem::Cost(99)),
        (format!("u:$2y$5${tail}"), LineProblem::BrokenBcrypt),
        (format!("u:$2y$+5${tail}"), LineProblem::BrokenBcrypt),
        (format!("u:$2y$05${tail}x"), LineProblem::BrokenBcrypt),
        ("u:$2y$05$yyL.4KO5LhGA".into(), LineProblem::BrokenBcrypt),
        (format!("u:$2y$05${}é", tail.get(..51).unwrap()), LineProblem::BrokenBcrypt),
        (format!("u:$2y$05$!{}", tail.get(1..).unwrap()), LineProblem::BrokenBcrypt),
    ];
    for (line, problem) in cases {
        let mistakes = parse(format!("# x\n{line}\n").as_bytes()).unwrap_err();
        assert_eq!(mistakes, [UsersFileMistake { line: 2, user: Some("u".into()), problem }], "{line}");
    }
    for (line, problem) in [
        (&b"hunter2"[..], LineProblem::NoColon),
        (b":$2y$05$x", LineProblem::NoUser),
        (b"\xff:x", LineProblem::NotUtf8),
    ] {
        assert_eq!(parse(line).unwrap_err(), [UsersFileMistake { line: 1, user: None, problem }]);
    }
}

#[test]
fn mistakes_are_told_together_with_the_fix_and_without_the_secret() {
    let content = b"alice:$apr1$H5Q.SWBn$97aTJuvAwftul7NOvgbn.0\nhunter2\nb c:hunter2\n";
    let error = UserTable::parse(Path::new("/auth/htpasswd"), content).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/auth/htpasswd line 1, user \"alice\": the password is an MD5 hash ($apr1$, what `htpasswd` writes \
         without -B), and only bcrypt, argon2 and sha-crypt ($5$, $6$) are accepted; set the password anew: \
         larder user add alice\n\
         /auth/htpasswd line 2: it has no `:` between user and password hash; delete the line and add the \
         user: larder user add <user>\n\
         /auth/htpasswd line 3, user \"b c\": the password is plain text or an unknown kind of hash, and only \
         bcrypt, argon2 and sha-crypt ($5$, $6$) are accepted; set the password anew: larder user add <user>"
    );
    let error = UserTable::parse(Path::new("/f"), &b"hunter2\n".repeat(25)).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 21);
    assert!(error.ends_with("\n… and 5 more lines") && !error.contains("hunter2"), "{error}");
    let error = UserTable::parse(Path::new("/f"), &b"hunter2\n".repeat(20)).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 20);
}

#[test]
fn a_line_written_here_is_read_here() {
    let line = htpasswd_line("docker", &"s3cret".into(), 4, *b"0123456789abcdef").unwrap();
    assert!(line.starts_with("docker:$2y$04$") && line.len() == "docker:".len() + 60, "{line}");
    assert!(admits(&parse(line.as_bytes()).unwrap(), "docker", "s3cret"));
    assert_ne!(line, htpasswd_line("docker", &"s3cret".into(), 4, [0; 16]).unwrap());
}

#[test]
fn lines_that_can_not_be_written() {
    let longest = "x".repeat(72);
    assert!(htpasswd_line("u", &longest.as_str().into(), 4, [0; 16]).is_ok());
    let too_long = "x".repeat(73);
    let cases = [
        ("", "p", 4, "the user name is empty"),
        ("a:b", "p", 4, "can't hold `:`"),
        ("a\nb", "p", 4, "control characters"),
        ("#a", "p", 4, "begin with `#`"),
        (" a", "p", 4, "spaces around it"),
        ("a ", "p", 4, "spaces around it"),
        ("a", "", 4, "the password is empty"),
        ("a", too_long.as_str(), 4, "more than 72 bytes"),
        ("a", "p", 3, "must be 4 to 17, not 3"),
        ("a", "p", 18, "must be 4 to 17, not 18"),
    ];
    for (user, password, cost, reason) in cases {
        let error = htpasswd_line(user, &password.into(), cost, [0; 16]).unwrap_err();
        assert!(matches!(error, AuthError::LoginUnusable { .. }), "{user:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn secrets_and_hashes_mask_themselves() {
    let password = Password::from("hunter2");
    assert_eq!(format!("{password} {password:?}"), "[masked] [masked]");
    let table = format!("{:?}", parse(USERS.as_bytes()).unwrap());
    assert!(table.contains("[Bcrypt { cost: 4 }]") && !table.contains("$2"), "{table}");
}

#[test]
fn a_generated_password_is_registry_2s_shape() {
    let password = Password::generated([0xfb; 32]);
    assert_eq!(password.expose(), b"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
}

#[test]
fn files_of_the_real_htpasswd_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    for (index, (user, password)) in [("alice", "pass:word"), ("bob", "ü 1")].iter().enumerate() {
        let create = if index == 0 { "-cbB" } else { "-bB" };
        let run = std::process::Command::new("htpasswd")
            .args([create, "-C", "4"])
            .arg(&path)
            .args([user, password])
            .output();
        // Where apache2-utils isn't installed, the vectors above stand for it.
        let Ok(output) = run else { return };
        assert!(output.status.success(), "{output:?}");
    }
    let table = parse(&std::fs::read(&path).unwrap()).unwrap();
    assert!(admits(&table, "alice", "pass:word"));
    assert!(admits(&table, "bob", "ü 1"));

    // And the other way: what is written here satisfies the real one.
    let line = htpasswd_line("carol", &"s3cret".into(), 4, [9; 16]).unwrap();
    crate::testing::write(&path, line.as_bytes());
    let run = std::process::Command::new("htpasswd").arg("-vb").arg(&path).args(["carol", "s3cret"]).output();
    assert!(run.unwrap().status.success());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&content);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC{0,8}:?(\\$2[abxy]\\$[0-9]{0,3}\\$?)?[./A-Za-z0-9é]{0,54}\r?\n?){0,4}") {
        if let Err(mistakes) = parse(text.as_bytes()) {
            prop_assert!(!mistakes.is_empty());
            let error = AuthError::UsersFileMistaken { path: "f".into(), mistakes };
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
