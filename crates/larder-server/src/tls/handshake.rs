//! The handshake of a registry that gets its certificate by ACME: the authority's own questions are answered, and whoever comes before there is a
//! certificate waits for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use larder_certificates::{ChallengeCertificate, Challenges};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ClientHello};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::live::{SetUp, Tls};

/// How long a client waits for the first certificate. An order takes seconds; docker and all other Go clients give a handshake ten.
const FIRST_CERTIFICATE: Duration = Duration::from_secs(8);

/// What RFC 8737 calls the protocol in which an authority asks.
const ACME: &[u8] = b"acme-tls/1";

/// A fatal alert, `internal_error` (RFC 8446, section 6). The clients' words for it are those that they have for every server that gets its
/// certificate by ACME and has none yet.
const NO_CERTIFICATE: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// What has become of a handshake.
pub(crate) enum Shaken<S> {
    /// A client, and the set-up that it has met.
    Client(Box<(TlsStream<S>, SetUp)>),
    /// An authority that has seen what it wanted to see.
    Proven,
    /// There is no certificate yet.
    NoCertificate,
}

impl Tls {
    /// Shakes hands with whoever has connected.
    pub(crate) async fn shake<S>(&self, mut stream: S) -> io::Result<Shaken<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let set_up = self.set_up();
        let Some(challenges) = self.challenges() else {
            let Some(acceptor) = set_up.acceptor() else { return Ok(Shaken::NoCertificate) };
            return Ok(Shaken::Client(Box::new((acceptor.accept(stream).await?, set_up))));
        };
        let start = LazyConfigAcceptor::new(Acceptor::default(), &mut stream).await?;
        if let Some(asked) = asked(&start.client_hello(), challenges) {
            let shown = asked.ok_or_else(|| io::Error::other("nothing is being proven for this name"))?;
            start.into_stream(proof(shown).map_err(io::Error::other)?).await?.shutdown().await?;
            return Ok(Shaken::Proven);
        }
        let accepted = start.accepted;
        let waited = match set_up.config() {
            Some(_) => Some(set_up),
            None => self.first_certificate(challenges).await,
        };
        let Some((set_up, config)) = waited.and_then(|set_up| Some((set_up.clone(), set_up.config()?)))
        else {
            stream.write_all(&NO_CERTIFICATE).await?;
            stream.shutdown().await?;
            return Ok(Shaken::NoCertificate);
        };
        let shaken = tokio_rustls::StartHandshake::from_parts(accepted, stream).into_stream(config).await?;
        Ok(Shaken::Client(Box::new((shaken, set_up))))
    }

    /// The first set-up with a certificate, if it comes in time. After an order that has failed nobody waits for the next.
    async fn first_certificate(&self, challenges: &Challenges) -> Option<SetUp> {
        tokio::select! {
            set_up = self.with_certificate() => Some(set_up),
            () = challenges.rested() => None,
            () = tokio::time::sleep(FIRST_CERTIFICATE) => None,
        }
    }
}

/// What an authority is to be shown; the outer `None` says that it is no authority who asks.
fn asked(hello: &ClientHello<'_>, challenges: &Challenges) -> Option<Option<ChallengeCertificate>> {
    let mut offered = hello.alpn()?;
    let (Some(ACME), None) = (offered.next(), offered.next()) else { return None };
    Some(hello.server_name().and_then(|name| challenges.of_name(name)))
}

/// Nothing but the proof is said in that protocol, and nobody is asked for a certificate.
fn proof(shown: ChallengeCertificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // Not as other certificates are loaded: rustls would refuse the critical extension, which is what this one is for.
    let key = provider.key_provider.load_private_key(shown.key)?;
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![shown.certificate], key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME.to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
