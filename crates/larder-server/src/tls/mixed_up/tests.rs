#![expect(clippy::disallowed_methods, reason = "tests make the files that an operator brings")]

use std::path::PathBuf;

use larder_certificates::Keeper;

use crate::tls::TlsFiles;

/// What is said of a certificate's file and a key's with these contents.
fn said(certificate: &[u8], key: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let files = TlsFiles {
        certificate: put("c.pem", certificate),
        key: put("k.pem", key),
        keeper: Keeper::Operator,
        clients: None,
        only_tls13: false,
        cipher_suites: Vec::new(),
        http2: true,
    };
    files.load().map_or_else(|error| error.to_string(), |_| "taken".to_owned())
}

#[test]
fn each_mix_up_of_certificate_and_key_is_said_in_words() {
    let server = rcgen::generate_simple_self_signed(["registry.lab".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["authority.lab".to_owned()]).unwrap();
    let (certificate, key) = (server.cert.pem(), server.signing_key.serialize_pem());
    let (other_certificate, other_key) = (other.cert.pem(), other.signing_key.serialize_pem());
    let leaf_first = format!("{certificate}{other_certificate}");
    let leaf_last = format!("{other_certificate}{certificate}");
    assert_eq!(said(leaf_first.as_bytes(), key.as_bytes()), "taken");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, words) in [
        (leaf_last.as_bytes(), key.as_bytes(), "number 2 in the file and must be the first"),
        (certificate.as_bytes(), other_key.as_bytes(), "no certificate in the file is this key's"),
        (key.as_bytes(), key.as_bytes(), "it holds a private key; are"),
        (certificate.as_bytes(), certificate.as_bytes(), "it holds a certificate; are"),
        (certificate.as_bytes(), encrypted.as_bytes(), "it is encrypted"),
        (server.cert.der().as_ref(), key.as_bytes(), "it isn't PEM but DER; openssl x509"),
    ] {
        let said = said(certificate, key);
        assert!(said.contains(words), "{said} should hold {words}");
    }
}
