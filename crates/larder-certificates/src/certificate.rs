use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::Validity;

/// What there is to know of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// From when to when it counts.
    pub validity: Validity,
    /// The identifier of the key that signed it, if it says so.
    pub(crate) signed_by: Option<Vec<u8>>,
    /// The number that its authority has given it, as DER has it.
    pub(crate) serial: Vec<u8>,
}

impl Certificate {
    /// Of the first certificate in a PEM text; what isn't one is none.
    pub fn of_pem(pem: &str) -> Option<Certificate> {
        Certificate::of_der(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
    }

    /// Of a certificate in DER.
    pub fn of_der(der: &[u8]) -> Option<Certificate> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let signed_by = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                Some(identifier.key_identifier.as_ref()?.0.to_vec())
            }
            _ => None,
        });
        let serial = parsed.tbs_certificate.raw_serial().to_vec();
        Some(Certificate { names: names(&parsed), validity: Validity::of(&parsed), signed_by, serial })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(IpAddr::from(four).to_string()),
            Err(_) => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}
