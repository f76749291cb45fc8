//! `http.tls.letsencrypt`: a certificate that is ordered.

use std::net::IpAddr;
use std::time::Duration;

use larder_certificates::LETS_ENCRYPT;

use super::super::report::Mistake;
use super::super::typed::{CertificateSource, ListenAddress, OrderedCertificate};
use super::super::value::Value;
use super::{Reader, listen_address};

const SECTION: &str = "http.tls.letsencrypt";
const HOSTS: &str = "http.tls.letsencrypt.hosts";

/// Each of these says that a certificate is wanted. The others only say how, and registry:2 passes over them alone.
const ASKING: [&str; 4] =
    ["http.tls.letsencrypt.cachefile", "http.tls.letsencrypt.email", HOSTS, "http.tls.letsencrypt.addr"];

/// Authorities count failures by the hour.
const RETRY: Duration = Duration::from_secs(300);

impl Reader<'_> {
    /// The outer `None` says that there is a mistake, which has been reported.
    pub(super) fn ordered_certificate(&mut self) -> Option<Option<CertificateSource>> {
        if !ASKING.iter().any(|key| self.set_value(key).is_some()) {
            for key in ["http.tls.letsencrypt.directoryurl", "http.tls.letsencrypt.directoryca"] {
                if let Some((_, origin)) = self.text(key) {
                    self.report.warn(origin, format!("{key:?} has no effect without {HOSTS}."));
                }
            }
            return Some(None);
        }
        let hosts = self.hosts_of_certificate();
        let directory_url = self.directory_url();
        let ordered = OrderedCertificate {
            email: self.email(),
            cache: self.text("http.tls.letsencrypt.cachefile").map(|(path, _)| path.into()),
            directory_url: directory_url?,
            directory_ca: self.text("http.tls.letsencrypt.directoryca").map(|(path, _)| path.into()),
            addr: self.challenge_addr(),
            retry: self.seconds("http.tls.letsencrypt.retry", RETRY),
            hosts: hosts?,
        };
        self.warn_of_private_names(&ordered);
        Some(Some(CertificateSource::Ordered(ordered)))
    }

    /// In lower case, each once.
    fn hosts_of_certificate(&mut self) -> Option<Vec<String>> {
        let mut hosts = Vec::new();
        let mut is_good = true;
        for item in self.set_value(HOSTS).map(Value::items).unwrap_or_default() {
            let Some(host) = item.scalar() else { continue };
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            let problem = if name.starts_with("*.") {
                format!(
                    "holds {host:?}; a name with * is proven by DNS records, which Larder can't change: write each name out, or let another program \
                     get the certificate and name its files in http.tls.certificate and key"
                )
            } else if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
                format!(
                    "holds {host:?}; a certificate is ordered for names: for an address there is http.tls.auto"
                )
            } else if !larder_certificates::usable(&name) {
                format!("holds {host:?}, which is no host's name; write it without scheme and port")
            } else {
                if !hosts.contains(&name) {
                    hosts.push(name);
                }
                continue;
            };
            is_good = false;
            self.invalid(HOSTS, &item.origin, problem);
        }
        if hosts.is_empty() && is_good {
            let why = "the names that clients call this registry by, as a list. registry:2 orders for every name that a client asks for when there are \
                       none, and so can be made to use up the authority's limits";
            self.report.error(&self.section_origin(SECTION), Mistake::Missing { key: HOSTS, why });
        }
        (is_good && !hosts.is_empty()).then_some(hosts)
    }

    fn email(&mut self) -> Option<String> {
        const KEY: &str = "http.tls.letsencrypt.email";
        let Some((email, origin)) = self.text(KEY) else {
            let sentence = format!(
                "{KEY:?} is not set: an authority that writes to its users when something is wrong can't."
            );
            self.report.warn(&self.section_origin(SECTION), sentence);
            return None;
        };
        let email = email.strip_prefix("mailto:").unwrap_or(email);
        let is_good =
            email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
                && !email.contains(|each: char| each.is_whitespace() || matches!(each, ',' | '?'));
        if !is_good {
            self.invalid(KEY, origin, format!("is {email:?}, which is no mailbox such as you@example.com"));
        }
        Some(email.to_owned())
    }

    fn directory_url(&mut self) -> Option<String> {
        const KEY: &str = "http.tls.letsencrypt.directoryurl";
        let Some((url, origin)) = self.text(KEY) else { return Some(LETS_ENCRYPT.to_owned()) };
        let parsed = url.parse::<http::Uri>().ok();
        let is_good = parsed.is_some_and(|url| {
            url.scheme_str() == Some("https")
                && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if !is_good {
            let problem = "must be the https address of an ACME directory, such as https://ca.lan:9000/acme/acme/directory; a private authority that \
                           vouches for it goes into directoryca";
            self.invalid(KEY, origin, problem);
        }
        is_good.then(|| url.to_owned())
    }

    fn challenge_addr(&mut self) -> Option<ListenAddress> {
        const KEY: &str = "http.tls.letsencrypt.addr";
        let (text, origin) = self.text(KEY)?;
        let address = listen_address(text);
        match &address {
            None => self.invalid(KEY, origin, format!("is {text:?}; write host:port, such as :80")),
            Some(_) if self.text("http.addr").is_some_and(|(registrys, _)| registrys == text) => {
                let problem =
                    "is http.addr itself; the authority asks for plain HTTP here, at a port of its own";
                self.invalid(KEY, origin, problem);
            }
            Some(_) => {}
        }
        address
    }

    /// Let's Encrypt never signs what isn't in the public DNS.
    fn warn_of_private_names(&mut self, ordered: &OrderedCertificate) {
        const PRIVATE: [&str; 5] = ["local", "lan", "internal", "localhost", "arpa"];
        if !ordered.directory_url.contains("letsencrypt.org") {
            return;
        }
        let is_private =
            |host: &&String| host.rsplit_once('.').is_none_or(|(_, last)| PRIVATE.contains(&last));
        if let Some(host) = ordered.hosts.iter().find(is_private) {
            let sentence = format!(
                "{HOSTS:?} holds {host:?}, which isn't a name of the public DNS: Let's Encrypt refuses it. http.tls.auto serves it, or an authority of your \
                 own (directoryurl)."
            );
            self.report.warn(&self.section_origin(HOSTS), sentence);
        }
    }
}

#[cfg(test)]
pub(in crate::config::build) mod tests;
