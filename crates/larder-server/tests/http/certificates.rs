//! Certificates that change while the server runs, and the cipher suites that it offers.

use std::sync::Arc;

use larder_server::{CipherSuite, ClientCertificates, Tls, TlsFiles};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::support::*;

/// The certificate that a new connection is shown, and what was agreed on; `None` when the handshake fails.
async fn shown(
    server: &Server,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Option<(Vec<u8>, ProtocolVersion, String)> {
    let mut roots = RootCertStore::empty();
    for entry in std::fs::read_dir(server.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "root") {
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, server.tcp().await);
    let mut client = within(connecting).await.ok()?;
    let session = client.get_ref().1;
    let certificate = session.peer_certificates().unwrap()[0].to_vec();
    let agreed = (session.protocol_version().unwrap(), session.negotiated_cipher_suite().unwrap());
    // A server that wants a client's certificate says so only after the handshake of TLS 1.3.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    within(client.write_all(&get("/healthz").to_bytes())).await.ok()?;
    within(client.read_u8()).await.ok()?;
    Some((certificate, agreed.0, format!("{:?}", agreed.1.suite())))
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Makes another certificate in the same files, and lets clients trust it.
fn renew(server: &Server, name: &str) -> TlsFiles {
    let files = certificate(server.directory.path());
    trust(&files, name);
    files
}

fn trust(files: &TlsFiles, name: &str) {
    let pem = std::fs::read(&files.certificate).unwrap();
    write(&files.certificate.with_file_name(format!("{name}.root")), &pem);
}

async fn start() -> (Server, Tls, TlsFiles) {
    let server = Setup { tls: true, ..Setup::default() }.start().await;
    let tls = server.tls.clone().unwrap();
    let files = renew(&server, "first");
    assert!(tls.reload(files.clone()));
    (server, tls, files)
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (server, tls, _) = start().await;
    let first = shown(&server, BOTH).await.unwrap().0;
    let mut old_connection = server.connect().await;
    renew(&server, "second");
    // The first look sees that something has changed, the second that it stands still.
    tls.look();
    assert_eq!(shown(&server, BOTH).await.unwrap().0, first);
    tls.look();
    let second = shown(&server, BOTH).await.unwrap().0;
    assert_ne!(second, first);
    // Nothing more to do.
    tls.look();
    assert_eq!(shown(&server, BOTH).await.unwrap().0, second);
    old_connection.send([0x16]).await;
}

#[tokio::test]
async fn a_broken_pair_keeps_the_old_one_until_it_is_mended() {
    let (server, tls, files) = start().await;
    let first = shown(&server, BOTH).await.unwrap().0;
    let key = std::fs::read(&files.key).unwrap();
    for broken in [b"".as_slice(), b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        write(&files.key, broken);
        tls.look();
        tls.look();
        tls.look();
        assert_eq!(shown(&server, BOTH).await.unwrap().0, first);
        assert!(!tls.reload(files.clone()));
    }
    // Another key than the certificate's.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(&files.key, other.signing_key.serialize_pem().as_bytes());
    tls.look();
    tls.look();
    assert_eq!(shown(&server, BOTH).await.unwrap().0, first);
    // Files that aren't there are not taken up, and the old ones are still followed.
    let elsewhere = TlsFiles { key: "/nothing/there".into(), ..files.clone() };
    assert!(!tls.reload(elsewhere));
    write(&files.certificate, other.cert.pem().as_bytes());
    trust(&files, "other");
    tls.look();
    tls.look();
    assert_eq!(shown(&server, BOTH).await.unwrap().0, other.cert.der().to_vec());
    write(&files.key, &key);
}

/// Whom the server believes is read again, too.
#[tokio::test]
async fn client_authorities_are_followed() {
    let (server, tls, files) = start().await;
    assert!(shown(&server, BOTH).await.is_some());
    let authority = server.directory.path().join("authority.pem");
    write(&authority, &std::fs::read(&files.certificate).unwrap());
    let clients =
        Some(ClientCertificates { authorities: vec![authority.clone()], required: true, known_by: None });
    assert!(tls.reload(TlsFiles { clients, ..files.clone() }));
    assert!(shown(&server, BOTH).await.is_none());
    let clients =
        Some(ClientCertificates { authorities: vec![authority.clone()], required: false, known_by: None });
    assert!(tls.reload(TlsFiles { clients: clients.clone(), ..files.clone() }));
    assert!(shown(&server, BOTH).await.is_some());
    write(&authority, b"nothing");
    assert!(!tls.reload(TlsFiles { clients, ..files }));
    assert!(shown(&server, BOTH).await.is_some());
}

#[tokio::test]
async fn only_the_chosen_suites_are_offered() {
    let (server, tls, files) = start().await;
    let suite = |name| CipherSuite::named(name).unwrap();
    let chosen = vec![suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305")];
    assert!(tls.reload(TlsFiles { cipher_suites: chosen, ..files.clone() }));
    let (_, version, agreed) = shown(&server, TLS12).await.unwrap();
    assert_eq!(version, ProtocolVersion::TLSv1_2);
    assert_eq!(agreed, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
    // As in Go, TLS 1.3 has its own.
    assert_eq!(shown(&server, BOTH).await.unwrap().1, ProtocolVersion::TLSv1_3);
    // None of TLS 1.2 is left.
    let chosen = vec![suite("TLS_AES_128_GCM_SHA256")];
    assert!(tls.reload(TlsFiles { cipher_suites: chosen, ..files.clone() }));
    assert!(shown(&server, TLS12).await.is_none());
    assert!(shown(&server, BOTH).await.is_some());
    assert!(tls.reload(TlsFiles { only_tls13: true, ..files }));
    assert!(shown(&server, TLS12).await.is_none());
    assert_eq!(CipherSuite::named("TLS_RSA_WITH_RC4_128_SHA"), None);
}
