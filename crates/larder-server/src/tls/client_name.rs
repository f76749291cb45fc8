use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The part of a client's certificate that names its holder (RFC 5280, sections 4.1.2.6 and 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The subject's common name.
    CommonName,
    /// The subject's alternative name of a host.
    Dns,
    /// The subject's alternative name of a mailbox.
    Email,
    /// The subject's alternative name as a URI, such as SPIFFE's.
    Uri,
}

/// The longest name that counts: what a common name may have at most is 64.
const LONGEST: usize = 256;

impl CertificateName {
    /// Who the certificate says that its holder is. It must say it once: of several names nobody can tell which is
    /// meant.
    pub(crate) fn holder(self, certificate: &CertificateDer<'_>) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut names = self.names(&certificate)?.into_iter();
        let (name, None) = (names.next()?, names.next()) else { return None };
        let is_usable = (1..=LONGEST).contains(&name.len())
            && name.trim() == name
            && !name.contains(|each: char| each.is_control() || each == ',');
        is_usable.then_some(name)
    }

    fn names(self, certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
        if self == CertificateName::CommonName {
            let names = certificate.subject().iter_common_name().map(|name| name.as_str().map(str::to_owned));
            return names.collect::<Result<_, _>>().ok();
        }
        let extension = certificate.subject_alternative_name().ok()??;
        let names = extension.value.general_names.iter().filter_map(|name| match (self, name) {
            (CertificateName::Dns, GeneralName::DNSName(name))
            | (CertificateName::Email, GeneralName::RFC822Name(name))
            | (CertificateName::Uri, GeneralName::URI(name)) => Some((*name).to_owned()),
            _ => None,
        });
        Some(names.collect())
    }
}

#[cfg(test)]
mod tests;
