//! TLS that writes down what it is shown, and what this machine thinks of it, before it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A handshake is two round trips; Go's clients give it 10 s.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Whom this machine believes.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// The system's authorities, and those that the caller named.
    pub(crate) roots: RootCertStore,
    /// Authorities that single programs have been given for this registry: (the file, its certificates).
    pub(crate) by_file: Vec<(String, Vec<CertificateDer<'static>>)>,
    /// The time by which certificates are judged.
    pub(crate) now: UnixTime,
}

/// What this machine thinks of a certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The system's authorities, or the caller's, vouch for it.
    Trusted,
    /// Only an authority in these files does.
    TrustedByFile(Vec<String>),
    /// Why it isn't believed.
    Refused(CertificateError),
    /// It can't even be read; rustls' words.
    Unreadable(String),
}

/// What a server showed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) verdict: Verdict,
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsTrouble {
    /// What came back is no TLS.
    NotTls,
    /// The other side ended the connection without a word, as a port that speaks something else does.
    Closed,
    /// Nothing came back.
    TimedOut,
    /// Something else; rustls' words.
    Other(String),
}

impl std::fmt::Display for TlsTrouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TlsTrouble::NotTls => formatter.write_str("the answer to a TLS hello is not TLS"),
            TlsTrouble::Closed => formatter.write_str("the connection was closed at the TLS hello"),
            TlsTrouble::TimedOut => {
                write!(formatter, "the TLS hello had no answer within {} s", HANDSHAKE_LIMIT.as_secs())
            }
            TlsTrouble::Other(words) => formatter.write_str(words),
        }
    }
}

impl Trust {
    /// Judges a chain (leaf first) for a name.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Verdict {
        let first = verify(&self.roots, chain, name, self.now);
        let Err(error) = first else { return Verdict::Trusted };
        if is_unknown_issuer(&error) {
            let vouching = self.by_file.iter().filter(|(_, certificates)| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates.iter().cloned());
                // A file that makes the authority known, but not the name right, has done its part.
                verify(&roots, chain, name, self.now).is_ok()
            });
            let files: Vec<String> = vouching.map(|(file, _)| file.clone()).collect();
            if !files.is_empty() {
                return Verdict::TrustedByFile(files);
            }
        }
        match error {
            Error::InvalidCertificate(why) => Verdict::Refused(why),
            other => Verdict::Unreadable(other.to_string()),
        }
    }
}

fn is_unknown_issuer(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

fn verify(
    roots: &RootCertStore,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let Some((leaf, others)) = chain.split_first() else { return Err(unknown) };
    // Only an empty store can't be built; nobody is known then.
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
    let Ok(verifier) = built else { return Err(unknown) };
    verifier.verify_server_cert(leaf, others, name, &[], now).map(drop)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A TLS connection over `stream`. It is made whatever the certificate: whoever sends a secret over it asks
/// [`Seen::verdict`] first.
pub(crate) async fn handshake(
    stream: TcpStream,
    host: &str,
    trust: &Arc<Trust>,
) -> Result<(TlsStream<TcpStream>, Seen), TlsTrouble> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| TlsTrouble::Other(error.to_string()))?;
    let recorder =
        Arc::new(Recorder { trust: Arc::clone(trust), seen: Mutex::new(None), provider: provider() });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsTrouble::Other(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A session that is taken up again shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, connector.connect(name, stream)).await {
        Err(_) => return Err(TlsTrouble::TimedOut),
        Ok(Err(error)) => return Err(tls_trouble(&error)),
        Ok(Ok(stream)) => stream,
    };
    let seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match seen {
        Some(seen) => Ok((stream, seen)),
        None => Err(TlsTrouble::Other("the server showed no certificate".to_owned())),
    }
}

fn tls_trouble(error: &std::io::Error) -> TlsTrouble {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(_)) => TlsTrouble::NotTls,
        Some(other) => TlsTrouble::Other(other.to_string()),
        None => match error.kind() {
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe => TlsTrouble::Closed,
            _ => TlsTrouble::Other(error.to_string()),
        },
    }
}

/// Takes every certificate, and keeps it with the verdict. Signatures are checked: who shows a certificate must hold
/// its key.
#[derive(Debug)]
struct Recorder {
    trust: Arc<Trust>,
    seen: Mutex<Option<Seen>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<CertificateDer<'static>> =
            std::iter::once(leaf).chain(others).map(|one| one.clone().into_owned()).collect();
        let verdict = self.trust.judge(&chain, name);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { chain, verdict });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
