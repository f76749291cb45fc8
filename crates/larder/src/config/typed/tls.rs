use std::path::PathBuf;
use std::time::Duration;

use larder_server::{CertificateName, CipherSuite};

use super::ListenAddress;

/// `http.tls`, where there is a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Where it comes from.
    pub(crate) source: CertificateSource,
    /// PEM files with the authorities that sign clients' certificates; empty when clients aren't asked for one.
    pub(crate) client_cas: Vec<PathBuf>,
    /// What is asked of clients when there are such authorities.
    pub(crate) client_auth: ClientAuth,
    /// By what of his certificate a client is known; absent where it only opens the door.
    pub(crate) client_name: Option<CertificateName>,
    /// The oldest version offered.
    pub(crate) minimum_tls: MinimumTls,
    /// The cipher suites of TLS 1.2 that are offered; all of them when empty.
    pub(crate) cipher_suites: Vec<CipherSuite>,
}

/// Where the registry's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// From the operator.
    Files {
        /// PEM file with the certificate and its chain.
        certificate: PathBuf,
        /// PEM file with its private key.
        key: PathBuf,
    },
    /// From an authority of Larder's own, in the data directory (`http.tls.auto`).
    Own {
        /// Names and addresses of this registry that this machine doesn't know of.
        names: Vec<String>,
    },
    /// From an authority that speaks ACME (`http.tls.letsencrypt`).
    Ordered(OrderedCertificate),
}

/// `http.tls.letsencrypt`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderedCertificate {
    /// The names that it is for, in lower case; at least one.
    pub(crate) hosts: Vec<String>,
    /// Whom the authority writes to.
    pub(crate) email: Option<String>,
    /// Where it is kept; in the data directory when absent.
    pub(crate) cache: Option<PathBuf>,
    /// The `https` address of the authority's directory.
    pub(crate) directory_url: String,
    /// A PEM file with the authorities that vouch for the directory, beside the system's.
    pub(crate) directory_ca: Option<PathBuf>,
    /// Where the authority's questions by HTTP-01 are answered; absent where it asks at the registry's own port.
    pub(crate) addr: Option<ListenAddress>,
    /// The pause after a first failure.
    pub(crate) retry: Duration,
}

/// `http.tls.clientauth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// A certificate is required and must be signed by one of the authorities.
    RequireAndVerify,
    /// A certificate may be left out; one that is shown must be signed.
    VerifyIfGiven,
    /// A certificate is required, whoever signed it.
    RequireAny,
    /// A certificate is asked for; neither its absence nor its signer matters.
    Request,
}

/// `http.tls.minimumtls`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MinimumTls {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}
