//! `http.tls`: where the certificate comes from, and what is asked of clients.

use std::path::PathBuf;

use super::super::report::Mistake;
use super::super::typed::{CertificateSource, ClientAuth, MinimumTls, Tls};
use super::super::value::Value;
use super::Reader;

impl Reader<'_> {
    pub(super) fn tls(&mut self) -> Option<Tls> {
        let client_cas: Vec<PathBuf> =
            self.texts("http.tls.clientcas").into_iter().map(PathBuf::from).collect();
        let (own, ordered) = (self.own_certificate(), self.ordered_certificate());
        let mut sources = [self.certificate_files()?, own, ordered?].into_iter().flatten();
        let source = match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            (Some(_), Some(_)) => {
                self.too_many_certificates();
                return None;
            }
            (None, _) => {
                if !client_cas.is_empty() {
                    let why = "clients can show certificates only where there is TLS";
                    let origin = self.section_origin("http.tls.clientcas");
                    self.report.error(&origin, Mistake::Missing { key: "http.tls.certificate", why });
                }
                return None;
            }
        };
        Some(Tls {
            source,
            client_auth: self.client_auth(client_cas.is_empty()),
            client_name: self.client_name(client_cas.is_empty()),
            client_cas,
            minimum_tls: self.minimum_tls(),
            cipher_suites: self.cipher_suites(),
        })
    }

    /// The outer `None` says that one of the two lacks the other, which has been reported.
    fn certificate_files(&mut self) -> Option<Option<CertificateSource>> {
        match (self.text("http.tls.certificate"), self.text("http.tls.key")) {
            (Some((certificate, _)), Some((key, _))) => {
                Some(Some(CertificateSource::Files { certificate: certificate.into(), key: key.into() }))
            }
            (None, None) => Some(None),
            (Some((_, origin)), None) => {
                let why = "a certificate needs its private key";
                self.report.error(origin, Mistake::Missing { key: "http.tls.key", why });
                None
            }
            (None, Some((_, origin))) => {
                let why =
                    "a key alone encrypts nothing, and registry:2 would serve plain HTTP without a word";
                self.report.error(origin, Mistake::Missing { key: "http.tls.certificate", why });
                None
            }
        }
    }

    /// Larder's own authority, if it is asked for.
    fn own_certificate(&mut self) -> Option<CertificateSource> {
        const NAMES: &str = "http.tls.names";
        let is_asked_for = self.boolean("http.tls.auto", false);
        let mut names = Vec::new();
        for item in self.set_value(NAMES).map(Value::items).unwrap_or_default() {
            let Some(name) = item.scalar() else { continue };
            let name = name.trim_matches(['[', ']']);
            if !larder_certificates::usable(name) {
                let problem = format!(
                    "holds {name:?}, which is neither a host's name nor an address; write it without scheme and port"
                );
                self.invalid(NAMES, &item.origin, problem);
            }
            names.push(name.to_ascii_lowercase());
        }
        if !is_asked_for && !names.is_empty() {
            let sentence = "\"http.tls.names\" has no effect without http.tls.auto: true.";
            self.report.warn(&self.section_origin(NAMES), sentence);
        }
        is_asked_for.then_some(CertificateSource::Own { names })
    }

    /// registry:3 refuses two, too; registry:2 takes the first.
    fn too_many_certificates(&mut self) {
        let has_files = self.text("http.tls.certificate").is_some();
        let (key, other) = match (has_files, self.boolean("http.tls.auto", false)) {
            (true, true) => ("http.tls.auto", "http.tls.certificate names another one"),
            (true, false) => ("http.tls.letsencrypt", "http.tls.certificate names another one"),
            (false, _) => ("http.tls.letsencrypt", "http.tls.auto makes another one"),
        };
        let problem = match key {
            "http.tls.auto" => format!("can't be true where {other}: leave one of them out"),
            _ => format!("can't order a certificate where {other}: leave one of them out"),
        };
        self.invalid(key, &self.section_origin(key), problem);
    }

    fn client_auth(&mut self, without_authorities: bool) -> ClientAuth {
        const KEY: &str = "http.tls.clientauth";
        let words = [
            ("require-and-verify-client-cert", ClientAuth::RequireAndVerify),
            ("verify-client-cert-if-given", ClientAuth::VerifyIfGiven),
            ("require-any-client-cert", ClientAuth::RequireAny),
            ("request-client-cert", ClientAuth::Request),
        ];
        if let Some((_, origin)) = self.text(KEY).filter(|_| without_authorities) {
            self.report.warn(origin, "\"http.tls.clientauth\" has no effect without http.tls.clientcas.");
        }
        self.word(KEY, &words).unwrap_or(ClientAuth::RequireAndVerify)
    }

    pub(super) fn minimum_tls_is_13(&self) -> bool {
        self.word("http.tls.minimumtls", &[("tls1.3", ())]).is_some()
    }

    fn minimum_tls(&mut self) -> MinimumTls {
        const KEY: &str = "http.tls.minimumtls";
        if let Some((text, origin)) = self.text(KEY)
            && (text.eq_ignore_ascii_case("tls1.0") || text.eq_ignore_ascii_case("tls1.1"))
        {
            let sentence =
                format!("\"{KEY}\" is {text}, which is broken; the oldest version offered is TLS 1.2.");
            self.report.warn(origin, sentence);
        }
        if self.minimum_tls_is_13() { MinimumTls::Tls13 } else { MinimumTls::Tls12 }
    }
}

#[cfg(test)]
pub(in crate::config::build) mod tests;
