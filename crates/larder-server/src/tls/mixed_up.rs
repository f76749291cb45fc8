//! What is in a file of certificates or keys instead of what should be: the mistakes that people make, in words.

use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What is looked at of a file that holds nothing usable, in bytes. Chains and keys are shorter.
const LOOKED_AT: usize = 1 << 20;

/// Why a file has no certificate in it, as far as its content tells.
pub(super) fn no_certificate(path: &Path) -> &'static str {
    match content(path).as_deref() {
        Some(content) if has(content, "PRIVATE KEY-----") => {
            ": it holds a private key; are the certificate's file and the key's mixed up?"
        }
        Some(content) if has(content, "CERTIFICATE REQUEST-----") => {
            ": it holds a request, which an authority has to sign first"
        }
        Some([0x30, ..]) => {
            ": it isn't PEM but DER; openssl x509 -inform der -in FILE -out FILE.pem converts it"
        }
        _ => "",
    }
}

/// Why a file has no private key in it, as far as its content tells.
pub(super) fn no_key(path: &Path) -> &'static str {
    match content(path).as_deref() {
        Some(content) if has(content, "ENCRYPTED") => {
            ": it is encrypted, and a server has nobody to ask; openssl pkey -in FILE -out FILE.plain takes that off"
        }
        Some(content) if has(content, "CERTIFICATE-----") => {
            ": it holds a certificate; are the certificate's file and the key's mixed up?"
        }
        Some([0x30, ..]) => {
            ": it isn't PEM but DER; openssl pkey -inform der -in FILE -out FILE.pem converts it"
        }
        _ => "",
    }
}

/// Why a key isn't that of the first certificate of a chain.
pub(super) fn not_first(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> String {
    let is_its = |certificate: &CertificateDer<'static>| {
        CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), provider).is_ok()
    };
    match chain.iter().position(is_its) {
        Some(at) if at > 0 => format!(
            ": the key's own certificate is number {} in the file and must be the first, followed by those that lead to its root",
            at + 1
        ),
        _ => ": no certificate in the file is this key's".to_owned(),
    }
}

fn content(path: &Path) -> Option<Vec<u8>> {
    let mut content = std::fs::read(path).ok()?;
    content.truncate(LOOKED_AT);
    Some(content)
}

fn has(content: &[u8], words: &str) -> bool {
    content.windows(words.len()).any(|window| window == words.as_bytes())
}

#[cfg(test)]
mod tests;
