use std::path::Path;

use larder_certificates::Keeper;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::TlsFiles;

const NAME: &str = "a.example.com";

/// Believes everybody, as an authority does that looks for a proof.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a client was shown, and agreed on. It stays until the other side has said all that it has to say.
struct Met {
    certificate: CertificateDer<'static>,
    protocol: Option<Vec<u8>>,
    _stream: tokio_rustls::client::TlsStream<DuplexStream>,
}

/// What a client that offers these protocols is shown.
async fn shown(stream: DuplexStream, protocols: &[&[u8]]) -> io::Result<Met> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(NAME).unwrap();
    let client = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let session = client.get_ref().1;
    let certificate = session.peer_certificates().unwrap()[0].clone();
    let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Met { certificate, protocol, _stream: client })
}

fn files(directory: &Path) -> TlsFiles {
    let both = directory.join("certificate.pem");
    TlsFiles {
        certificate: both.clone(),
        key: both,
        keeper: Keeper::Acme,
        clients: None,
        only_tls13: false,
        cipher_suites: Vec::new(),
        http2: true,
    }
}

fn issue(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let pem = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
    larder_storage::replace_file(&files(directory).certificate, pem.as_bytes(), None).unwrap();
    made.cert.der().clone()
}

#[tokio::test]
async fn an_authority_is_shown_the_proof_and_everybody_else_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = issue(directory.path());
    let challenges = Challenges::default();
    let tls = Tls::load_proving(files(directory.path()), Some(challenges.clone())).unwrap();
    let proof = ChallengeCertificate::make(NAME, &[7; 32]).unwrap();
    let expected = proof.certificate.clone();
    let proving = challenges.show_certificate(NAME, proof);

    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (shaken, met) = tokio::join!(tls.shake(ours), shown(theirs, &[ACME]));
    assert!(matches!(shaken.unwrap(), Shaken::Proven));
    let met = met.unwrap();
    assert_eq!((met.certificate, met.protocol), (expected, Some(ACME.to_vec())));

    // Whoever offers something else, too, is no authority.
    for protocols in [&[b"h2".as_slice(), b"http/1.1"][..], &[ACME, b"h2"], &[]] {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (shaken, met) = tokio::join!(tls.shake(ours), shown(theirs, protocols));
        assert!(matches!(shaken.unwrap(), Shaken::Client(_)));
        assert_eq!(met.unwrap().certificate, certificate, "{protocols:?}");
    }

    drop(proving);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (shaken, met) = tokio::join!(tls.shake(ours), shown(theirs, &[ACME]));
    assert!(shaken.err().unwrap().to_string().contains("nothing is being proven"));
    assert!(met.is_err());
}

#[tokio::test]
async fn a_client_that_comes_before_the_certificate_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls::load_proving(files(directory.path()), Some(Challenges::default())).unwrap();
    assert!(tls.shown().is_none());
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let issued = async {
        let certificate = issue(directory.path());
        assert!(tls.read_again());
        certificate
    };
    let (shaken, met, certificate) = tokio::join!(tls.shake(ours), shown(theirs, &[]), issued);
    assert!(matches!(shaken.unwrap(), Shaken::Client(_)));
    assert_eq!(met.unwrap().certificate, certificate);
    // What is lost later stays in use.
    larder_storage::replace_file(&files(directory.path()).certificate, b"nothing", None).unwrap();
    assert!(!tls.read_again());
    assert!(tls.shown().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_in_vain_is_told_so_in_the_alert_that_others_send() {
    let directory = tempfile::tempdir().unwrap();
    let challenges = Challenges::default();
    let tls = Tls::load_proving(files(directory.path()), Some(challenges.clone())).unwrap();
    let mut waited = Vec::new();
    for is_resting in [false, true] {
        challenges.set_resting(is_resting);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let start = tokio::time::Instant::now();
        let (shaken, met) = tokio::join!(tls.shake(ours), shown(theirs, &[]));
        waited.push(start.elapsed().as_secs());
        assert!(matches!(shaken.unwrap(), Shaken::NoCertificate));
        assert!(met.err().unwrap().to_string().contains("InternalError"));
    }
    assert_eq!(waited, [FIRST_CERTIFICATE.as_secs(), 0], "after a failure there is nothing to wait for");
}

#[tokio::test]
async fn the_plain_port_answers_the_token_and_nothing_else() {
    let challenges = Challenges::default();
    let _proving = challenges.show_token("token", "token.thumbprint");
    let server = crate::ChallengeServer::bind("127.0.0.1", 0).await.unwrap();
    let (address, stop) = (server.address().unwrap(), tokio_util::sync::CancellationToken::new());
    let serving = tokio::spawn(server.serve(challenges.clone(), stop.clone()));
    for (request, expected) in [
        ("GET /.well-known/acme-challenge/token", "token.thumbprint"),
        ("GET /.well-known/acme-challenge/other", "This port answers nothing but"),
        ("POST /.well-known/acme-challenge/token", "This port answers nothing but"),
        ("GET /v2/", "This port answers nothing but"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(expected), "{request}: {answer}");
    }
    stop.cancel();
    serving.await.unwrap();
}
