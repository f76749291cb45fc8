use proptest::prelude::*;

use super::*;

/// Of the reference implementation's tests: `password`, salt `somesalt`.
const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// `openssl passwd -5 -salt saltstring`, of `pass:word`.
const SHA256: &str = "$5$saltstring$k5AkE8gbX1mS.W4GecYo2j82Sjq/zjkaTYVU.8TvmC5";
/// `openssl passwd -6 -salt 0123456789abcdef`, of `s3cret`.
const SHA512: &str = "$6$0123456789abcdef$QaL63Cx/fSzlgAogrcSGcy5hvrsSg1dlthiou8XkG8WRUEyaU5DtBqyHZd0wrQ/HXIgQDRNcrS5yWC8NAJjy21";

fn matches(hash: &str, password: &str) -> bool {
    PasswordHash::parse(hash).unwrap().matches(&password.into()).unwrap()
}

#[test]
fn hashes_of_other_programs() {
    let cases = [
        (ARGON2ID, "password"),
        (SHA256, "pass:word"),
        (SHA512, "s3cret"),
        // openssl again, with rounds of its own, and the specification's vector.
        (
            "$6$rounds=2000$abc$f8SlMcskrAMRtij6YCTkDkAcUAxeO8kFSfmKFeHNWGAIz9Wh2BV1TtXsL177v0azNsiOtFzEHVoyxwTRNqFXx/",
            "x",
        ),
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        ("$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My", "s3cret"),
    ];
    for (hash, password) in cases {
        assert!(matches(hash, password), "{hash}");
        assert!(!matches(hash, &format!("{password}x")), "{hash}");
        assert!(!matches(hash, ""), "{hash}");
    }
}

#[test]
fn a_password_longer_than_is_read_is_wrong() {
    use sha_crypt::PasswordHasher as _;
    let long = "x".repeat(LONGEST_PASSWORD);
    let params = sha_crypt::Params::new(FEWEST_ROUNDS).unwrap();
    let hasher = ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, params);
    let hash = hasher.hash_password_with_salt(long.as_bytes(), b"0123456789ab").unwrap().to_string();
    assert!(matches(&hash, &long));
    assert!(!matches(&hash, &format!("{long}x")), "its beginning is not it");
}

#[test]
fn what_begins_well_and_ends_badly() {
    let sha512 = SHA512.rsplit_once('$').unwrap();
    let cases = [
        ("$5$".to_owned(), LineProblem::BrokenShaCrypt),
        ("$6$$".to_owned(), LineProblem::BrokenShaCrypt),
        (SHA256[..SHA256.len() - 1].to_owned(), LineProblem::BrokenShaCrypt),
        (format!("{SHA512}x"), LineProblem::BrokenShaCrypt),
        (SHA512.replace("$6$", "$5$"), LineProblem::BrokenShaCrypt),
        (SHA512.replace("0123456789abcdef", "0123456789abcdefg"), LineProblem::BrokenShaCrypt),
        (SHA512.replace("$6$", "$6$rounds=$"), LineProblem::BrokenShaCrypt),
        (SHA512.replace("$6$", "$6$rounds=+5000$"), LineProblem::BrokenShaCrypt),
        (SHA512.replace("$6$", "$6$rounds=99999999999$"), LineProblem::BrokenShaCrypt),
        (format!("{}${}é", sha512.0, &sha512.1[..84]), LineProblem::BrokenShaCrypt),
        (SHA512.replace("$6$", "$6$rounds=999$"), LineProblem::Rounds(999)),
        (SHA512.replace("$6$", "$6$rounds=999999999$"), LineProblem::Rounds(999_999_999)),
        ("$argon2".to_owned(), LineProblem::BrokenArgon2),
        ("$argon2id$".to_owned(), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("argon2id", "argon2x"), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("v=19", "v=20"), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("m=256", "m=1"), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("t=2", "t=0"), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("$c29tZXNhbHQ", "$c2E"), LineProblem::BrokenArgon2),
        (ARGON2ID.replace("m=256", "m=1048576"), LineProblem::Argon2TooDear),
        (ARGON2ID.replace("m=256,t=2", "m=262144,t=100"), LineProblem::Argon2TooDear),
        (ARGON2ID.replace("m=256,t=2,p=1", "m=65536,t=1,p=1000"), LineProblem::Argon2TooDear),
    ];
    for (text, problem) in cases {
        assert_eq!(PasswordHash::parse(&text).err(), Some(problem), "{text}");
    }
}

#[test]
fn an_unknown_user_costs_what_most_known_ones_do() {
    let bcrypt = |cost: &str| format!("$2y${cost}$yyL.4KO5LhGAyhXrqai31.2CaxJe5xIWEOm6sI5Fr0o4PE81qHzde");
    let argon2 = Cost::Argon2 { variant: Variant::Id, version: 19, kib: 256, passes: 2, lanes: 1 };
    let cases = [
        (vec![], Cost::Bcrypt { cost: DEFAULT_COST }),
        (vec![bcrypt("05")], Cost::Bcrypt { cost: 5 }),
        (vec![bcrypt("05"), bcrypt("12")], Cost::Bcrypt { cost: 12 }),
        (vec![bcrypt("05"), bcrypt("12"), bcrypt("05")], Cost::Bcrypt { cost: 5 }),
        (vec![SHA512.into(), SHA512.into(), bcrypt("12")], Cost::Sha512Crypt { rounds: 5000 }),
        (vec![SHA256.into()], Cost::Sha256Crypt { rounds: 5000 }),
        (vec![ARGON2ID.into(), bcrypt("12")], argon2),
    ];
    for (texts, cost) in cases {
        let hashes: Vec<_> = texts.iter().map(|text| PasswordHash::parse(text).unwrap()).collect();
        let stand_in = prevailing_stand_in(hashes.iter());
        assert_eq!(stand_in.cost, cost, "{texts:?}");
        assert_eq!(PasswordHash::parse(&stand_in.text).as_ref(), Ok(&stand_in), "it is a hash like others");
        assert!(!stand_in.matches(&"x".into()).unwrap(), "and nobody's");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "\\$(2b|5|6|argon2id|argon2i)\\$(v=19|rounds=[0-9]{0,10}|[0-9]{2}|)\\$?(m=[0-9]{1,6},t=[0-9]{1,3},p=[0-9]{1,4})?\\$?[./A-Za-z0-9+é]{0,22}\\$?[./A-Za-z0-9+]{0,88}",
    ) {
        if let Ok(hash) = PasswordHash::parse(&text) {
            let masked = format!("{hash:?}");
            prop_assert!(!masked.contains('$'));
        }
    }
}
