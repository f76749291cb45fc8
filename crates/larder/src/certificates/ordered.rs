//! The certificate that an authority signs on order (`http.tls.letsencrypt`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use larder_certificates::{Acme, AcmeSettings, Proof};
use larder_server::{ChallengeServer, ServeError, Tls};
use tokio_util::sync::CancellationToken;

use crate::config::{CertificateSource, Config, OrderedCertificate};

/// Where account and certificate lie in the data directory: a backup has them.
const DIRECTORY: &str = "larder/acme";

/// What is ordered, if something is.
pub(crate) fn wanted(config: &Config) -> Option<&OrderedCertificate> {
    match &config.http.tls.as_ref()?.source {
        CertificateSource::Ordered(ordered) => Some(ordered),
        CertificateSource::Files { .. } | CertificateSource::Own { .. } => None,
    }
}

/// The same, as who orders it wants to know it.
pub(super) fn settings(ordered: &OrderedCertificate, config: &Config) -> AcmeSettings {
    AcmeSettings {
        directory_url: ordered.directory_url.clone(),
        directory_authorities: ordered.directory_ca.clone(),
        email: ordered.email.clone(),
        hosts: ordered.hosts.clone(),
        proof: if ordered.addr.is_some() { Proof::Http } else { Proof::TlsAlpn },
        first_pause: ordered.retry,
        kept_in: match &ordered.cache {
            Some(cache) => beside_what_is_there(cache),
            None => config.storage.root_directory.join(DIRECTORY),
        },
    }
}

/// registry:2 keeps a file there and registry:3 a directory. What they have written is neither read nor touched.
fn beside_what_is_there(cache: &Path) -> PathBuf {
    if cache.is_file() {
        let mut name = cache.as_os_str().to_owned();
        name.push(".larder");
        return name.into();
    }
    cache.join("larder")
}

/// Who orders, where something is to be ordered.
pub(super) fn open(config: &Config) -> Option<Arc<Acme>> {
    let ordered = wanted(config)?;
    Some(Arc::new(Acme::new(settings(ordered, config), SystemTime::now)))
}

/// Answers the authority, and orders whenever there is a reason, until `stop` is cancelled.
///
/// # Errors
/// The port for the authority's questions can't be had.
pub(super) async fn keep(
    acme: &Arc<Acme>,
    config: &Config,
    tls: Tls,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    if let Some(addr) = wanted(config).and_then(|ordered| ordered.addr.as_ref()) {
        let server = ChallengeServer::bind(&addr.host, addr.port).await?;
        let address = server.address().map(|address| address.to_string()).unwrap_or_default();
        tracing::info!("a certificate authority's questions are answered at {address}");
        tokio::spawn(server.serve(acme.challenges(), stop.clone()));
    }
    let show = move || {
        tls.read_again();
    };
    tokio::spawn(Arc::clone(acme).keep(show, stop.clone()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(more: &str) -> Config {
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /d}}}}\nhttp: {{tls: {{letsencrypt: {{hosts: [a.example.com]{more}}}}}}}"
        );
        Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap().config
    }

    #[test]
    fn what_is_kept_lies_in_the_data_directory_or_beside_what_registry_2_has_kept() {
        let place = |config: &Config| settings(wanted(config).unwrap(), config).certificate();
        let default = "/d/larder/acme/acme-v02.api.letsencrypt.org-directory/certificate.pem";
        assert_eq!(place(&config("")), Path::new(default));
        let directory = tempfile::tempdir().unwrap();
        let named = |name: &str| config(&format!(", cachefile: '{}'", directory.path().join(name).display()));
        let authority = "acme-v02.api.letsencrypt.org-directory/certificate.pem";
        assert_eq!(place(&named("cache")), directory.path().join("cache/larder").join(authority));
        larder_storage::replace_file(&directory.path().join("cache"), b"{}", None).unwrap();
        assert_eq!(place(&named("cache")), directory.path().join("cache.larder").join(authority));
    }

    #[test]
    fn an_address_for_questions_decides_how_is_proven() {
        let proof = |config: &Config| settings(wanted(config).unwrap(), config).proof;
        assert_eq!(proof(&config("")), Proof::TlsAlpn);
        assert_eq!(proof(&config(", addr: ':80'")), Proof::Http);
    }
}
