//! What TLS is set up from, and who sees to the certificate: the operator, Larder's own authority, or one that signs on order.

use std::error::Error;
use std::sync::Arc;

use larder_certificates::{Acme, Keeper, Trouble};
use larder_server::{
    CertificateTroubles, ClientCertificates, Metrics, OwnAuthority, ServeError, Tls, TlsFiles,
};
use tokio_util::sync::CancellationToken;

use crate::config::{self, CertificateSource, ClientAuth, Config, Environment, MinimumTls};

mod ordered;
mod own;

pub(crate) use ordered::wanted;
use own::{OwnCertificate, own_authority};

/// What `larder serve` may be told about TLS where no configuration says it.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsWords {
    /// Speak TLS: `auto` with a certificate of Larder's own authority, which clients trust as /setup says (http.tls.auto); `acme` with
    /// one that Let's Encrypt signs for --name (http.tls.letsencrypt).
    #[arg(long, value_enum)]
    pub(crate) tls: Option<TlsChoice>,
    /// With --tls acme: a name of this registry; may be given more than once.
    #[arg(long = "name", value_name = "NAME", required_if_eq("tls", "acme"), requires = "tls")]
    pub(crate) hosts: Vec<String>,
}

/// Where a certificate comes from that no configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TlsChoice {
    Auto,
    Acme,
}

impl TlsWords {
    /// The environment in which they have been said.
    pub(crate) fn said_in(&self, environment: &Environment) -> Environment {
        match self.tls {
            None => environment.clone(),
            Some(TlsChoice::Auto) => environment.with_own_certificate(),
            Some(TlsChoice::Acme) => environment.with_ordered_certificate(&self.hosts),
        }
    }
}

/// The certificate of this process and whoever renews it.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    /// What new connections are shown; none without TLS.
    pub(crate) tls: Option<Tls>,
    own: Option<Arc<OwnCertificate>>,
    ordered: Option<Arc<Acme>>,
}

impl Certificates {
    /// Reads the certificate, or has it made. One that is ordered need not be there yet.
    ///
    /// # Errors
    /// Files can't be used, or written.
    pub(crate) fn open(config: &Config) -> Result<Certificates, Box<dyn Error>> {
        if let Some(problem) = unusable_files(config) {
            return Err(problem.into());
        }
        let own = OwnCertificate::open(config)?;
        let ordered = ordered::open(config);
        let load =
            |tls| Tls::load_proving(tls_files(tls, config), ordered.as_ref().map(|acme| acme.challenges()));
        let tls = config.http.tls.as_ref().map(load).transpose()?;
        Ok(Certificates { tls, own, ordered })
    }

    /// Whom clients have to trust, if that is Larder itself.
    pub(crate) fn authority(&self) -> Option<OwnAuthority> {
        self.own.as_ref().map(|own| own.authority())
    }

    /// Who knows what is wrong beside the end of what is shown.
    pub(crate) fn troubles(&self) -> CertificateTroubles {
        let (own, ordered) = (self.own.clone(), self.ordered.clone());
        Arc::new(move || -> Vec<Trouble> {
            let own = own.as_ref().and_then(|own| own.trouble());
            own.into_iter().chain(ordered.as_ref().and_then(|acme| acme.trouble())).collect()
        })
    }

    /// Counts for the metrics.
    pub(crate) fn show_in(&self, metrics: &Metrics) {
        if let Some(tls) = &self.tls {
            metrics.show_certificate(tls.clone(), self.ordered.clone());
        }
    }

    /// Follows the files, and has what is due made or ordered, until `stop` is cancelled.
    ///
    /// # Errors
    /// A port can't be had.
    pub(crate) async fn keep(&self, config: &Config, stop: &CancellationToken) -> Result<(), ServeError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        tokio::spawn(tls.clone().follow(stop.clone()));
        if let Some(own) = &self.own {
            tokio::spawn(Arc::clone(own).keep(tls.clone(), stop.clone()));
        }
        if let Some(acme) = &self.ordered {
            ordered::keep(acme, config, tls.clone(), stop).await?;
        }
        Ok(())
    }

    /// Takes up what a changed configuration says. `false` if the files that it names can't be used; then it stays with those from before.
    pub(crate) fn take_up(&self, new: &Config) -> bool {
        if let Some(own) = &self.own {
            own.name_anew(new);
        }
        let is_usable = match (&self.tls, &new.http.tls) {
            (Some(handle), Some(tls)) => handle.reload(tls_files(tls, new)),
            _ => true,
        };
        if let (Some(acme), Some(ordered), true) = (&self.ordered, wanted(new), is_usable) {
            acme.take_up(ordered::settings(ordered, new));
        }
        is_usable
    }
}

/// What of a TLS set-up stays as it was at the start: whence the certificate comes, where it is kept, and where it is proven.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> bool {
    let source = |config: &Config| config.http.tls.as_ref().map(|tls| std::mem::discriminant(&tls.source));
    let place = |config: &Config| {
        let ordered = wanted(config)?;
        Some((ordered.cache.clone(), ordered.directory_url.clone(), ordered.addr.clone()))
    };
    source(old) != source(new) || place(old) != place(new)
}

/// What a start would refuse of the files that an order needs.
pub(crate) fn unusable_files(config: &Config) -> Option<String> {
    let settings = ordered::settings(wanted(config)?, config);
    settings.unusable_authorities().map(|problem| format!("http.tls.letsencrypt.directoryca: {problem}"))
}

/// The files of a TLS set-up: those that the configuration names, or those that Larder makes.
pub(crate) fn tls_files(tls: &config::Tls, config: &Config) -> TlsFiles {
    if !tls.client_cas.is_empty() && matches!(tls.client_auth, ClientAuth::Request | ClientAuth::RequireAny) {
        tracing::warn!(
            "http.tls.clientauth: Larder verifies every client certificate that is shown; \
             one that http.tls.clientcas doesn't vouch for is refused"
        );
    }
    let clients = (!tls.client_cas.is_empty()).then(|| ClientCertificates {
        authorities: tls.client_cas.clone(),
        required: match tls.client_auth {
            ClientAuth::RequireAndVerify | ClientAuth::RequireAny => true,
            ClientAuth::VerifyIfGiven | ClientAuth::Request => false,
        },
        known_by: tls.client_name,
    });
    let (certificate, key, keeper) = match &tls.source {
        CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone(), Keeper::Operator),
        CertificateSource::Own { .. } => {
            let both = own_authority(config).server();
            (both.clone(), both, Keeper::OwnAuthority)
        }
        CertificateSource::Ordered(ordered) => {
            let both = ordered::settings(ordered, config).certificate();
            (both.clone(), both, Keeper::Acme)
        }
    };
    TlsFiles {
        certificate,
        key,
        keeper,
        clients,
        only_tls13: tls.minimum_tls == MinimumTls::Tls13,
        cipher_suites: tls.cipher_suites.clone(),
        http2: !config.http.http2_disabled,
    }
}
