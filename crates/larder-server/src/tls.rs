use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_certificates::Keeper;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};

mod client_name;
mod expiry;
mod handshake;
mod live;
mod mixed_up;
mod suites;

pub use client_name::CertificateName;
pub(crate) use handshake::Shaken;
pub use live::Tls;
pub use suites::CipherSuite;

/// Where the parts of a TLS set-up are, and how strict it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by the ones that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who renews it.
    pub keeper: Keeper,
    /// Whose certificates clients may or must show.
    pub clients: Option<ClientCertificates>,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// The cipher suites of TLS 1.2 that are offered; all of them when empty.
    pub cipher_suites: Vec<CipherSuite>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// What is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Files with the authorities that count.
    pub authorities: Vec<PathBuf>,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
    /// What of a certificate its holder is known by; `None` where a certificate only opens the door.
    pub known_by: Option<CertificateName>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or holds nothing usable.
    #[error("{what} {} can't be used{hint}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it holds instead, if that can be told: a clause with its colon.
        hint: &'static str,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key don't go together, or are of a kind that isn't spoken.
    #[error("the certificate {} and the key {} can't be used together{hint}", certificate.display(), key.display())]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Whose the key is, if it isn't the certificate's: a clause with its colon.
        hint: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The client authorities can't be used.
    #[error("the client authorities can't be used: {0}")]
    Authorities(String),
}

/// What a file of client authorities holds, in words.
const CLIENT_AUTHORITY: &str = "the client authority";

impl TlsFiles {
    /// Whether the server starts without a certificate, which is got while it runs.
    fn is_made_later(&self) -> bool {
        self.keeper == Keeper::Acme
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = suites::offered(&self.cipher_suites, &provider.cipher_suites);
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let has_tls12 = provider.cipher_suites.iter().any(|suite| CipherSuite::from(*suite).is_of_tls12());
        let versions: &[&rustls::SupportedProtocolVersion] = if self.only_tls13 || !has_tls12 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let pair_with = |hint, source| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            hint,
            source,
        };
        let pair = |source| pair_with(String::new(), source);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(pair)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(Arc::clone(&provider))?),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| TlsError::File {
            what: "the TLS key",
            path: self.key.clone(),
            hint: if holds_nothing(&source) { mixed_up::no_key(&self.key) } else { "" },
            source,
        })?;
        let chain = certificates("the TLS certificate", &self.certificate)?;
        let mut config =
            builder.with_single_cert(chain.clone(), key.clone_key()).map_err(|source| match source {
                rustls::Error::InconsistentKeys(_) => {
                    pair_with(mixed_up::not_first(&chain, &key, &provider), source)
                }
                other => pair(other),
            })?;
        config.alpn_protocols =
            if self.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(Arc::new(config))
    }
}

impl ClientCertificates {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for path in &self.authorities {
            for certificate in certificates(CLIENT_AUTHORITY, path)? {
                roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| TlsError::Authorities(error.to_string()))
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| {
        let hint = if holds_nothing(&source) { mixed_up::no_certificate(path) } else { "" };
        TlsError::File { what, path: path.to_owned(), hint, source }
    };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() {
        return Err(failed(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Whether a file could be read and holds nothing of what is wanted.
fn holds_nothing(source: &rustls::pki_types::pem::Error) -> bool {
    matches!(source, rustls::pki_types::pem::Error::NoItemsFound)
}
