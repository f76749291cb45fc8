use proptest::prelude::*;

use super::*;

fn basic(user: &str, password: &[u8]) -> Credentials {
    Credentials::Basic { user: user.into(), password: password.to_vec().into() }
}

#[test]
fn header_values_as_clients_send_them() {
    let bearer = |token: &str| Credentials::Bearer(token.to_owned().into());
    let cases = [
        ("Basic Ym9iOnMzY3JldA==", basic("bob", b"s3cret")),
        ("basic Ym9iOnMzY3JldA==", basic("bob", b"s3cret")),
        ("BASIC   Ym9iOnMzY3JldA==  ", basic("bob", b"s3cret")),
        ("Basic\tYm9iOnMzY3JldA==", basic("bob", b"s3cret")),
        ("Basic Ym9iOnMzY3JldA", basic("bob", b"s3cret")),
        ("Basic YWxpY2U6cGFzczp3b3Jk", basic("alice", b"pass:word")),
        ("Basic OnRva2Vu", basic("", b"token")),
        ("Basic Og==", basic("", b"")),
        ("Basic PHRva2VuPjphYmM=", basic("<token>", b"abc")),
        ("Basic dTr/", basic("u", b"\xff")),
        ("Basic /zpw", Credentials::Garbled),
        ("Basic Ym9i", Credentials::Garbled),
        ("Basic Ym9i OnM=", Credentials::Garbled),
        ("Basic !", Credentials::Garbled),
        ("Basic", Credentials::Garbled),
        ("Basic ", Credentials::Garbled),
        ("Bearer a.b.c", bearer("a.b.c")),
        ("bearer  a.b.c ", bearer("a.b.c")),
        ("Bearer", Credentials::Garbled),
        ("Digest username=\"bob\"", Credentials::OtherScheme),
        ("Negotiate YII=", Credentials::OtherScheme),
        ("BasicYm9iOnMzY3JldA==", Credentials::OtherScheme),
        ("", Credentials::OtherScheme),
    ];
    for (value, expected) in cases {
        assert_eq!(Credentials::parse(value), expected, "{value}");
    }
    assert_eq!(
        Credentials::parse(&format!("Bearer {}", "x".repeat(LONGEST_VALUE_BYTES))),
        Credentials::Garbled
    );
}

#[test]
fn what_is_secret_does_not_show() {
    for (value, shown) in [
        ("Basic Ym9iOnMzY3JldA==", "Basic { user: \"bob\", password: [masked] }"),
        ("Bearer a.b.c", "Bearer([masked])"),
        ("Basic s3cret", "Garbled"),
    ] {
        assert_eq!(format!("{:?}", Credentials::parse(value)), shown);
    }
}

proptest! {
    #[test]
    fn any_value_is_read(value in "(?i:basic|bearer|\\PC{0,8})[ \t]{0,2}\\PC{0,60}") {
        let _ = Credentials::parse(&value);
    }

    #[test]
    fn what_a_client_encodes_is_what_is_read(user in "[^:]{0,20}", password in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut plain = user.clone().into_bytes();
        plain.push(b':');
        plain.extend(&password);
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain));
        prop_assert_eq!(Credentials::parse(&value), basic(&user, &password));
    }
}
