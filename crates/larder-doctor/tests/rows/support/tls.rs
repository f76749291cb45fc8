//! Certificates with faults.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Fault, Registry};

/// An authority, and the file that makes it known.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

/// What a server's certificate says.
pub(crate) struct Leaf {
    pub(crate) names: Vec<&'static str>,
    pub(crate) common_name: &'static str,
    /// Years.
    pub(crate) from: i32,
    pub(crate) until: i32,
    /// Where the issuer's certificate is to be had.
    pub(crate) issuer_url: Option<String>,
}

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf {
            names: vec!["127.0.0.1", "localhost"],
            common_name: "registry",
            from: 2020,
            until: 2099,
            issuer_url: None,
        }
    }
}

/// What a server shows: a chain, leaf first, and the leaf's key.
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params(name);
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority::of(params, key, certificate)
    }

    /// An authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params(name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Authority::of(params, key, certificate)
    }

    fn of(params: CertificateParams, key: KeyPair, certificate: rcgen::Certificate) -> Authority {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.crt");
        std::fs::write(&file, certificate.pem()).expect("written");
        Authority {
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
            file,
            _dir: dir,
        }
    }

    pub(crate) fn shows(&self, leaf: &Leaf) -> Shown {
        let (params, key) = (leaf.params(), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Shown { chain: vec![certificate.der().clone()], key }
    }
}

impl Leaf {
    fn params(&self) -> CertificateParams {
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, self.common_name);
        params.not_before = date_time_ymd(self.from, 1, 1);
        params.not_after = date_time_ymd(self.until, 1, 1);
        if let Some(url) = &self.issuer_url {
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], issuer_access(url)));
        }
        params
    }

    /// A certificate that vouches for itself.
    pub(crate) fn by_itself(&self) -> Shown {
        let key = KeyPair::generate().expect("a key");
        let certificate = self.params().self_signed(&key).expect("a certificate");
        Shown { chain: vec![certificate.der().clone()], key }
    }
}

/// AuthorityInfoAccessSyntax with one caIssuers URL (RFC 5280, 4.2.2.1), in DER.
fn issuer_access(url: &str) -> Vec<u8> {
    let wrap = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).expect("a short URL");
        [&[tag, length], content].concat()
    };
    let ca_issuers = wrap(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02]);
    let location = wrap(0x86, url.as_bytes());
    wrap(0x30, &wrap(0x30, &[ca_issuers, location].concat()))
}

impl Shown {
    /// A registry that shows this.
    pub(crate) async fn start(self, fault: Fault) -> Registry {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain, key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Registry::serve(fault, move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await.map_err(io::Error::other) }
        })
        .await
    }
}
