use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suites;

/// A cipher suite by the name that Go gives it (`http.tls.ciphersuites`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CipherSuite(SupportedCipherSuite);

// A suite is told from others by its number.
impl Eq for CipherSuite {}

impl CipherSuite {
    /// `None` for a name that means nothing here: rustls has only suites that are held safe.
    pub fn named(name: &str) -> Option<CipherSuite> {
        let suite = match name {
            "TLS_AES_128_GCM_SHA256" => suites::TLS13_AES_128_GCM_SHA256,
            "TLS_AES_256_GCM_SHA384" => suites::TLS13_AES_256_GCM_SHA384,
            "TLS_CHACHA20_POLY1305_SHA256" => suites::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            // Go has both spellings.
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
                suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            }
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
                suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            }
            _ => return None,
        };
        Some(CipherSuite(suite))
    }

    /// Whether it is of TLS 1.2. As in Go, a list restricts these alone: those of TLS 1.3 are always offered.
    pub fn is_of_tls12(self) -> bool {
        matches!(self.0, SupportedCipherSuite::Tls12(_))
    }
}

impl From<SupportedCipherSuite> for CipherSuite {
    fn from(suite: SupportedCipherSuite) -> CipherSuite {
        CipherSuite(suite)
    }
}

/// What is offered of `all` when these were chosen; all of them when none was.
pub(super) fn offered(chosen: &[CipherSuite], all: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    let is_offered = |suite: &SupportedCipherSuite| {
        chosen.is_empty()
            || matches!(suite, SupportedCipherSuite::Tls13(_))
            || chosen.contains(&CipherSuite(*suite))
    };
    all.iter().copied().filter(is_offered).collect()
}
