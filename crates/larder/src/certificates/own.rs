//! The certificate that Larder makes for itself (`http.tls.auto`), at the start and whenever it is due.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use larder_certificates::{Authority, AuthorityError, Keeper, Provided, Trouble, Validity, of_this_machine};
use larder_server::{OwnAuthority, Tls};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{CertificateSource, Config};

/// Where the authority lies, in the data directory: a backup has it.
const DIRECTORY: &str = "larder/tls";

/// Larder's own authority, and what its certificate has to name.
pub(super) struct OwnCertificate {
    authority: Authority,
    /// As the operator knows them; what the machine knows is asked each time, since addresses change.
    names: Mutex<Vec<String>>,
    renamed: Notify,
    offered: OwnAuthority,
    /// From when to when the authority counts, which nothing renews.
    authority_validity: Validity,
}

/// The authority of this configuration's data directory, made or not.
pub(super) fn own_authority(config: &Config) -> Authority {
    Authority::at(config.storage.root_directory.join(DIRECTORY), SystemTime::now)
}

impl OwnCertificate {
    /// Has the certificate made if it is due; `None` where it isn't asked for.
    ///
    /// # Errors
    /// The authority can't be used, or nothing can be written.
    pub(super) fn open(config: &Config) -> Result<Option<Arc<OwnCertificate>>, AuthorityError> {
        let Some(names) = names(config) else { return Ok(None) };
        let authority = own_authority(config);
        let provided = provide(&authority, &names)?;
        tell(&provided);
        tracing::info!(
            sha256 = provided.fingerprint,
            "clients have to trust this registry's own authority, once; the page /setup says how, for each"
        );
        let authority_validity = provided.authority_validity;
        let offered = OwnAuthority { certificate: provided.authority, fingerprint: provided.fingerprint };
        let (names, renamed) = (Mutex::new(names), Notify::new());
        Ok(Some(Arc::new(OwnCertificate { authority, names, renamed, offered, authority_validity })))
    }

    /// Whom clients have to trust.
    pub(super) fn authority(&self) -> OwnAuthority {
        self.offered.clone()
    }

    /// Whether the authority itself is near its end.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let names = ["this registry's own authority".to_owned()];
        let fix = "remove larder/tls/ca.crt and ca.key from the data directory and start again: there will be a new authority, which every \
                   client has to trust anew";
        self.authority_validity.trouble(Keeper::Operator, &names, fix, SystemTime::now())
    }

    /// Takes up what a changed configuration calls this registry.
    pub(super) fn name_anew(&self, config: &Config) {
        let Some(names) = names(config) else { return };
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        self.renamed.notify_one();
    }

    /// Makes another certificate whenever it is due, and has it shown, until `stop` is cancelled. What fails leaves the old one
    /// in use, and is tried again at the next look.
    pub(super) async fn keep(self: Arc<Self>, tls: Tls, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.renamed.notified() => {}
                () = tokio::time::sleep(Authority::LOOK_EVERY) => {}
            }
            let (this, tls) = (Arc::clone(&self), tls.clone());
            if tokio::task::spawn_blocking(move || this.look(&tls)).await.is_err() {
                tracing::error!("looking after the certificate failed; it is not renewed any more");
                return;
            }
        }
    }

    fn look(&self, tls: &Tls) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match provide(&self.authority, &names) {
            Ok(provided) if provided.is_new => {
                tell(&provided);
                tls.read_again();
            }
            Ok(_) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(
                    %error, cause = cause.unwrap_or_default(),
                    "the certificate is due and could not be made; the one from before stays in use"
                );
            }
        }
    }
}

fn provide(authority: &Authority, names: &[String]) -> Result<Provided, AuthorityError> {
    let all: Vec<String> = of_this_machine().into_iter().chain(names.iter().cloned()).collect();
    authority.provide(&all)
}

fn tell(provided: &Provided) {
    let end = humantime::format_rfc3339_seconds(provided.validity.end).to_string();
    if provided.is_new {
        tracing::info!(
            names = provided.names.join(" "),
            end,
            "a certificate was made by this registry's own authority; a name that is missing goes into http.tls.names"
        );
    }
}

/// What the configuration calls this registry; `None` where no certificate is to be made.
fn names(config: &Config) -> Option<Vec<String>> {
    let CertificateSource::Own { names } = &config.http.tls.as_ref()?.source else { return None };
    let public = config.http.host.as_ref().and_then(|url| url.host());
    let listening =
        Some(config.http.addr.host.as_str()).filter(|host| !matches!(*host, "" | "0.0.0.0" | "::"));
    let doors = config.upstreams.iter().flat_map(|upstream| &upstream.host_names).map(String::as_str);
    let further = names.iter().map(String::as_str).chain(public).chain(listening).chain(doors);
    Some(further.map(|name| name.trim_matches(['[', ']']).to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(more: &str) -> Config {
        let text =
            format!("version: 0.1\nstorage: filesystem\nhttp: {{tls: {{auto: true, names: [a.lan]}}{more}}}");
        Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap().config
    }

    #[test]
    fn the_certificate_names_what_the_configuration_calls_the_registry() {
        assert_eq!(names(&config("")), Some(vec!["a.lan".to_owned()]));
        let more = ", host: 'https://R.example.com:5000', addr: '[fd00::1]:5000'";
        assert_eq!(names(&config(more)).unwrap(), ["a.lan", "r.example.com", "fd00::1"]);
        assert_eq!(names(&config(", addr: '0.0.0.0:5000'")).unwrap(), ["a.lan"]);
    }
}
