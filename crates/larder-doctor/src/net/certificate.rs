//! What a certificate says of itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Of a certificate, what explains why it is or isn't believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The names and addresses that it is for (subjectAltName).
    pub(crate) names: Vec<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Whether it may vouch for others.
    pub(crate) is_authority: bool,
    /// Whether it names itself as its issuer.
    pub(crate) is_self_issued: bool,
    /// Where its issuer's certificate is to be had (Authority Information Access, RFC 5280, 4.2.2.1).
    pub(crate) issuer_url: Option<String>,
}

impl Certificate {
    /// Reads a certificate; `None` when it is none.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut names = Vec::new();
        let mut issuer_url = None;
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(alternatives) => {
                    names.extend(alternatives.general_names.iter().filter_map(name_text));
                }
                ParsedExtension::AuthorityInfoAccess(access) => {
                    issuer_url = access.accessdescs.iter().find_map(|described| {
                        let is_issuer = described.access_method.to_id_string() == CA_ISSUERS;
                        match &described.access_location {
                            GeneralName::URI(url) if is_issuer => Some((*url).to_owned()),
                            _ => None,
                        }
                    });
                }
                _ => {}
            }
        }
        Some(Certificate {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names,
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
            is_authority: parsed.is_ca(),
            is_self_issued: parsed.subject() == parsed.issuer(),
            issuer_url,
        })
    }
}

/// id-ad-caIssuers (RFC 5280, 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                return Some(std::net::IpAddr::from(four).to_string());
            }
            <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| std::net::IpAddr::from(sixteen).to_string())
        }
        _ => None,
    }
}

fn time(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
        // Before 1970 nothing of this existed; such a date only ever means "long ago".
        Err(_) => UNIX_EPOCH,
    }
}
