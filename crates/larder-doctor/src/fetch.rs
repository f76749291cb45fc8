//! One question to a Larder: what `larder problems` and its like print.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, DATE};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::check::http_date;
use crate::machine::Machine;
use crate::net::{
    Ask, Client, DialTrouble, Endpoint, Scheme, TlsTrouble, Trouble, Trust, Verdict, connect, handshake,
    resolve,
};
use crate::secret::Login;
use crate::target::Target;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl FetchError {
    pub(crate) fn new(words: String) -> FetchError {
        FetchError(words)
    }
}

/// An answer: its status and its body as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The body, 4 MiB at most.
    pub body: String,
}

/// Asks for a path. A login is sent only to a server whose certificate is believed, to the machine itself, or where
/// `http://` was written down.
///
/// # Errors
/// No connection, a certificate that isn't believed, no answer.
pub async fn fetch(target: &Target, path: &str, login: Option<&Login>) -> Result<Fetched, FetchError> {
    let machine = Machine::here();
    let trust =
        Arc::new(trust_of(&[], Some(&machine), &target.authority(), SystemTime::now()).map_err(failed)?);
    let client = way_to(target, trust).await?;
    let ask = match login {
        Some(login) => Ask::get(path).header(AUTHORIZATION, &login.basic()),
        None => Ask::get(path),
    };
    let answer = client.ask(ask).await.map_err(|trouble| FetchError(trouble.to_string()))?;
    Ok(Fetched { status: answer.status.as_u16(), body: answer.text() })
}

/// The time at a registry, by the `Date` of its answer; `None` if it has none. Of a server that isn't believed it is not
/// taken.
///
/// # Errors
/// No connection, no answer.
pub async fn time_at(target: &Target) -> Result<Option<SystemTime>, FetchError> {
    let trust = Arc::new(trust_of(&[], None, &target.authority(), SystemTime::now()).map_err(failed)?);
    let client = way_to(target, trust).await?;
    let answer = client.ask(Ask::get("/v2/")).await.map_err(|trouble| FetchError(trouble.to_string()))?;
    Ok(answer.header(DATE).and_then(http_date))
}

fn failed(error: std::io::Error) -> FetchError {
    FetchError(error.to_string())
}

/// Whom a machine believes about a registry.
pub(crate) fn trust_of(
    authorities: &[PathBuf],
    machine: Option<&Machine>,
    authority: &str,
    now: SystemTime,
) -> std::io::Result<Trust> {
    let mut roots = RootCertStore::empty();
    // A machine without authorities believes nobody, which the verdict then says.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in authorities {
        let pem = std::fs::read(path)
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        if certificates.is_empty() {
            let message = format!("{} holds no certificate in PEM form", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
        roots.add_parsable_certificates(certificates);
    }
    let by_file = machine.map(|machine| machine.authorities(authority)).unwrap_or_default();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Trust { roots, by_file, now: UnixTime::since_unix_epoch(since) })
}

/// A way to a registry that may be believed: TLS, or what was written down as plain or is the machine itself.
pub(crate) async fn way_to(target: &Target, trust: Arc<Trust>) -> Result<Client, FetchError> {
    let scheme = target.scheme.unwrap_or(Scheme::Https);
    let port = target.port.unwrap_or(scheme.default_port());
    let words = |trouble: DialTrouble| FetchError(format!("{}: {trouble}", target.authority()));
    let mut last = DialTrouble::Refused;
    for address in resolve(&target.host, port).await.map_err(words)? {
        let stream = match connect(address).await {
            Ok(stream) => stream,
            Err(trouble) => {
                last = trouble;
                continue;
            }
        };
        let way = |scheme| Client {
            endpoint: Endpoint { scheme, host: target.host.clone(), port },
            address,
            trust: Arc::clone(&trust),
        };
        if scheme == Scheme::Http {
            return Ok(way(Scheme::Http));
        }
        return match handshake(stream, &target.host, &trust).await {
            Ok((_, seen)) => match seen.verdict {
                Verdict::Trusted | Verdict::TrustedByFile(_) => Ok(way(Scheme::Https)),
                _ => Err(FetchError(format!(
                    "the certificate of {} isn't believed: larder doctor {} says why",
                    target.authority(),
                    target.authority()
                ))),
            },
            Err(TlsTrouble::NotTls | TlsTrouble::Closed)
                if target.scheme.is_none() && target.is_loopback() =>
            {
                Ok(way(Scheme::Http))
            }
            Err(trouble) => Err(FetchError(Trouble::Tls(trouble).to_string())),
        };
    }
    Err(words(last))
}
