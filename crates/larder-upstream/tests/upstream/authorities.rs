#![expect(clippy::disallowed_methods, reason = "tests write what an operator has written")]

use std::path::PathBuf;
use std::sync::Arc;

use larder_core::UpstreamFailure;
use larder_upstream::{RemoteRegistry, TransportError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// A private authority, and the file that makes it known.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the lab's authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.crt");
        std::fs::write(&file, certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file, _dir: dir }
    }

    /// A server that shows a certificate of this authority, for 127.0.0.1 and registry.lab.
    pub(crate) async fn peer(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Peer {
        let names = ["127.0.0.1", "registry.lab"].map(str::to_owned);
        let (params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Peer::start_behind("https", "127.0.0.1:0", answer, move |stream| acceptor.accept(stream)).await
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named_and_nowhere_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let peer = authority.peer(|_| Reply::manifest("{}")).await;
    // The other has the same name and another key.
    for ca_file in [None, Some(other.file.clone())] {
        let mut settings = peer.settings();
        settings.ca_file = ca_file;
        let error = manifest(&RemoteRegistry::new(settings).unwrap()).await.unwrap_err();
        assert_eq!(error.failure, UpstreamFailure::Tls, "{error}");
        let words = format!("{} shows a certificate", peer.address);
        assert!(error.detail.starts_with(&words), "{error}");
        assert!(peer.asked().is_empty());
    }
    let error = manifest(&peer.client()).await.unwrap_err();
    assert!(error.detail.ends_with("name that authority's file as the upstream's ca"), "{error}");
    let mut settings = peer.settings();
    settings.ca_file = Some(authority.file.clone());
    let client = RemoteRegistry::new(settings).unwrap();
    assert_eq!(manifest(&client).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(peer.lines(), ["GET /v2/library/nginx/manifests/latest"]);
}

#[tokio::test]
async fn a_token_server_and_a_cdn_of_the_same_authority_are_trusted_too() {
    let authority = Authority::new();
    let tokens = authority.peer(|_| Reply::ok(r#"{"token":"t"}"#)).await;
    let cdn = authority.peer(|_| Reply::ok("abc")).await;
    let (realm, location) = (tokens.url(), cdn.url());
    let peer = authority
        .peer(move |request| match request.header("authorization") {
            Some("Bearer t") => Reply::new(307).with("location", location.clone()),
            _ => Reply::challenge(format!(r#"Bearer realm="{realm}/token""#)),
        })
        .await;
    let mut settings = peer.settings();
    settings.ca_file = Some(authority.file.clone());
    let client = RemoteRegistry::new(settings).unwrap();
    let mut stream = larder_core::Upstream::blob(&*client, &repository(), &blob(), 0).await.unwrap().unwrap();
    assert_eq!(drain(&mut stream).await.0, b"abc");
    assert_eq!((tokens.asked().len(), cdn.asked().len()), (1, 1));
}

#[test]
fn a_file_of_authorities_that_is_missing_or_holds_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, empty) = (dir.path().join("missing.crt"), dir.path().join("empty.crt"));
    std::fs::write(&empty, "no certificate\n").unwrap();
    for file in [missing, empty] {
        let mut settings = settings_of(["https://registry.lab".to_owned()]);
        settings.ca_file = Some(file.clone());
        let error = RemoteRegistry::new(settings).err().unwrap();
        assert!(matches!(error, TransportError::Authorities { .. }), "{error:?}");
        let expected =
            format!("the upstream lab: the certificate authorities in {} can't be read", file.display());
        assert_eq!(error.to_string(), expected);
    }
}
