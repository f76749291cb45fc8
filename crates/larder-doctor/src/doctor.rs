//! Who is asked, what for, and with what.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::canary::repository_of;
use crate::check::Visit;
use crate::journal::Journal;
use crate::machine::Machine;
use crate::net::Trust;
use crate::secret::Login;
use crate::target::Target;

/// How far an examination goes, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a canary may be written.
    pub write: bool,
    /// The login to use. Sent only over a connection whose certificate is believed, or that was written down as plain.
    pub login: Option<Login>,
    /// Files with further authorities that count as the machine's own.
    pub authorities: Vec<PathBuf>,
    /// Seconds that a slow upload takes: longer than the timeouts that it is to find. Zero leaves it out.
    pub slow: Duration,
    /// The longest upload that is really sent, in bytes; longer ones are only announced.
    pub sent_at_most: u64,
    /// The time. Passed in, so that a wrong clock can be tested.
    pub clock: fn() -> SystemTime,
    /// Makes the canary's name and bytes different from every other's.
    pub seed: u64,
    /// The machine whose programs' files are read; `None` leaves them alone.
    pub machine: Option<Machine>,
    /// What the environment says about HTTP proxies: (variable, value), as it is set.
    pub environment: Vec<(String, String)>,
}

impl Default for Options {
    /// Reads only, with the machine's clock and authorities.
    fn default() -> Options {
        Options {
            write: false,
            login: None,
            authorities: Vec::new(),
            slow: Duration::from_secs(75),
            sent_at_most: 12 << 20,
            clock: SystemTime::now,
            seed: rand::random(),
            machine: None,
            environment: Vec::new(),
        }
    }
}

/// Examines one registry.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// Which one.
    pub target: Target,
    /// How.
    pub options: Options,
}

impl Doctor {
    /// Examines the registry, and writes down what is seen as it is seen.
    ///
    /// # Errors
    /// A file with authorities that can't be read. Whatever is wrong with the registry is a finding.
    pub async fn examine(&self, journal: &mut Journal<'_>) -> std::io::Result<()> {
        let trust = Arc::new(self.trust()?);
        let repository = repository_of(&self.target, self.options.seed).map_err(std::io::Error::other)?;
        let mut visit = Visit {
            target: &self.target,
            repository,
            options: &self.options,
            journal,
            trust,
            front: None,
            is_trusted: false,
        };
        visit.walk().await;
        Ok(())
    }

    fn trust(&self) -> std::io::Result<Trust> {
        let mut roots = RootCertStore::empty();
        // A machine without authorities believes nobody, which the verdict then says.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for path in &self.options.authorities {
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
        let machine = self.options.machine.as_ref();
        let by_file =
            machine.map(|machine| machine.authorities(&self.target.authority())).unwrap_or_default();
        let since = (self.options.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Trust { roots, by_file, now: UnixTime::since_unix_epoch(since) })
    }
}
