use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

/// How the registry proves that a name leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// TLS-ALPN-01 (RFC 8737): on the registry's own port, which the authority reaches as 443.
    TlsAlpn,
    /// HTTP-01 (RFC 8555, section 8.3): on an address of its own, which the authority reaches as 80.
    Http,
}

impl Proof {
    /// The port of the name that the authority connects to; none of them can be told another one.
    pub fn port(self) -> u16 {
        match self {
            Proof::TlsAlpn => 443,
            Proof::Http => 80,
        }
    }

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Proof::TlsAlpn => "tls-alpn-01",
            Proof::Http => "http-01",
        }
    }
}

/// What an authority that asks right now has to be answered. All clones are one; empty while nothing is ordered.
#[derive(Clone, Default)]
pub struct Challenges {
    asked: Arc<RwLock<Vec<Asked>>>,
    /// Whether an order has failed and the next one is not yet begun.
    resting: Arc<watch::Sender<bool>>,
}

enum Asked {
    Certificate { name: String, shown: ChallengeCertificate },
    Token { token: String, answer: String },
}

/// The certificate that answers TLS-ALPN-01. Nobody but the authority that asks believes it.
pub struct ChallengeCertificate {
    /// Itself.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl ChallengeCertificate {
    /// For a name and the SHA-256 of what is to be proven (RFC 8737, section 3).
    ///
    /// # Errors
    /// The name can't stand in a certificate.
    pub fn make(name: &str, digest: &[u8]) -> Result<ChallengeCertificate, rcgen::Error> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(ChallengeCertificate { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }
}

impl Challenges {
    /// What a client is shown that asks for this name and speaks `acme-tls/1` alone.
    pub fn of_name(&self, name: &str) -> Option<ChallengeCertificate> {
        let asked = self.asked.read().unwrap_or_else(PoisonError::into_inner);
        asked.iter().find_map(|one| match one {
            Asked::Certificate { name: its, shown } if its.eq_ignore_ascii_case(name) => {
                Some(ChallengeCertificate {
                    certificate: shown.certificate.clone(),
                    key: shown.key.clone_key(),
                })
            }
            _ => None,
        })
    }

    /// What is answered at `/.well-known/acme-challenge/<token>`.
    pub fn of_token(&self, token: &str) -> Option<String> {
        let asked = self.asked.read().unwrap_or_else(PoisonError::into_inner);
        asked.iter().find_map(|one| match one {
            Asked::Token { token: its, answer } if its == token => Some(answer.clone()),
            _ => None,
        })
    }

    /// Returns as soon as, or if, an order has failed and the next one waits: whoever waits for a certificate waits in vain.
    pub async fn rested(&self) {
        // Both ends are ours: the other one lives as long as this one.
        let _ = self.resting.subscribe().wait_for(|resting| *resting).await;
    }

    /// Says so, or that an order is under way.
    pub fn set_resting(&self, is_resting: bool) {
        self.resting.send_replace(is_resting);
    }

    /// Has this certificate shown to whoever asks for the name in the authority's protocol.
    pub fn show_certificate(&self, name: &str, shown: ChallengeCertificate) -> Shown {
        self.show(Asked::Certificate { name: name.to_owned(), shown })
    }

    /// Has this answered to whoever asks for the token.
    pub fn show_token(&self, token: &str, answer: &str) -> Shown {
        self.show(Asked::Token { token: token.to_owned(), answer: answer.to_owned() })
    }

    fn show(&self, asked: Asked) -> Shown {
        self.asked.write().unwrap_or_else(PoisonError::into_inner).push(asked);
        Shown(self.clone())
    }
}

/// As long as it lives, the answers of this order are given; orders follow one after the other.
#[must_use]
pub struct Shown(Challenges);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.asked.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::certificate::X509Certificate;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn an_answer_is_given_as_long_as_it_is_asked_for() {
        let challenges = Challenges::default();
        assert!(challenges.of_name("a.example.com").is_none());
        let made = ChallengeCertificate::make("a.example.com", &[7; 32]).expect("made");
        let shown = challenges.show_certificate("a.example.com", made);
        assert!(
            challenges.of_name("A.example.com").is_some() && challenges.of_name("b.example.com").is_none()
        );
        drop(shown);
        assert!(challenges.of_name("a.example.com").is_none());
        let _shown = challenges.show_token("token", "answer");
        assert_eq!(challenges.of_token("token"), Some("answer".to_owned()));
        assert_eq!(challenges.of_token("other"), None);
    }

    #[test]
    fn the_certificate_is_as_rfc_8737_wants_it() {
        let made = ChallengeCertificate::make("a.example.com", &[7; 32]).expect("made");
        let (_, parsed) = X509Certificate::from_der(&made.certificate).expect("a certificate");
        let identifier = parsed
            .iter_extensions()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .expect("the extension");
        assert!(identifier.critical);
        assert_eq!(identifier.value, [&[4, 32][..], &[7; 32]].concat());
        let names = parsed.subject_alternative_name().expect("readable").expect("there");
        assert_eq!(names.value.general_names.len(), 1);
    }
}
