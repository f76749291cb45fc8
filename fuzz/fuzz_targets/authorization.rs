//! The `Authorization` header: what was read as user and password is what somebody meant who wrote it.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_auth::{Credentials, Login};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let credentials = Credentials::parse(value);
    match &credentials {
        Credentials::Basic { user, password } => {
            assert!(!user.contains(':'));
            let plain = [user.as_bytes(), b":", password.expose()].concat();
            assert_eq!(Credentials::parse(&format!("Basic {}", STANDARD.encode(plain))), credentials);
        }
        Credentials::Bearer(token) => {
            assert!(!token.expose().trim().is_empty());
            assert_eq!(Credentials::parse(&format!("bearer {}", token.expose())), credentials);
        }
        Credentials::OtherScheme | Credentials::Garbled => {}
    }
    let login = Login::from_authorization(Some(value));
    assert_eq!(login == Login::Anonymous, value.trim().is_empty());
});
