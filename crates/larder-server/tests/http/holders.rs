//! Clients that are known by their certificates, over real TLS.

use std::sync::Arc;

use larder_server::{CertificateName, ClientCertificates, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::support::*;

/// Who signs clients' certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, common_name: &str, host: &str) -> Shown {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// A server whose clients are known by this part of certificates of this authority.
async fn start(authority: &Authority, required: bool, known_by: Option<CertificateName>) -> Server {
    let server = Setup { tls: true, ..Setup::gate(GateKind::Certificates) }.start().await;
    let path = server.directory.path().join("authority.pem");
    write(&path, authority.0.pem().as_bytes());
    let clients = Some(ClientCertificates { authorities: vec![path], required, known_by });
    let files = TlsFiles { clients, ..certificate(server.directory.path()) };
    assert!(server.tls.as_ref().unwrap().reload(files));
    server
}

/// One request over a connection of its own; `None` when the handshake or the connection fails.
async fn ask(server: &Server, shown: Option<&Shown>, request: Request) -> Option<Reply> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(server.directory.path().join("certificate.pem")).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, server.tcp().await);
    let mut client = Client::over(within(stream).await.ok()?);
    client.send_what_is_taken(&request.to_bytes()).await;
    client.reply_or_end(request.is_head()).await
}

async fn status(server: &Server, shown: Option<&Shown>, request: Request) -> u16 {
    ask(server, shown, request).await.expect("an answer").status
}

fn push(name: &str) -> Request {
    post(format!("/v2/{name}/blobs/uploads/?digest={LAYER_DIGEST}"), LAYER)
}

#[tokio::test]
async fn a_certificate_is_an_account_that_rules_can_name() {
    let authority = Authority::new();
    let server = start(&authority, false, Some(CertificateName::CommonName)).await;
    let robot = authority.sign("robot", "robot.lab");
    let stranger = authority.sign("stranger", "robot");
    assert_eq!(status(&server, Some(&robot), get("/v2/")).await, 200, "so no client asks for a password");
    assert_eq!(status(&server, Some(&robot), push("team/app")).await, 201);
    let blob = format!("/v2/team/app/blobs/{LAYER_DIGEST}");
    assert_eq!(status(&server, Some(&robot), get(blob.as_str())).await, 200);
    let denied = ask(&server, Some(&robot), delete(blob.as_str())).await.unwrap();
    assert_eq!(denied.refusal(), (403, "DENIED".into()));
    let reason = "config.yml:2, rule 2 forbids certificate:robot to delete in team/app; whoever administers this registry can allow it";
    assert_eq!(denied.json()["errors"][0]["detail"], reason);
    assert_eq!(status(&server, Some(&robot), push("other/app")).await, 403);
    // Verified, and yet nobody whom a rule knows.
    let denied = ask(&server, Some(&stranger), get(blob.as_str())).await.unwrap();
    assert_eq!(
        denied.json()["errors"][0]["detail"],
        "no rule lets certificate:stranger pull in team/app; whoever administers this registry can allow it"
    );
    // Whoever shows a password is known by that.
    let alice = get(blob.as_str()).basic(ALICE.0, ALICE.1);
    assert_eq!(status(&server, Some(&stranger), alice.clone()).await, 200);
    assert_eq!(status(&server, Some(&robot), push("team/app").basic(ALICE.0, ALICE.1)).await, 403);
    assert_eq!(status(&server, Some(&robot), get(blob.as_str()).basic(ALICE.0, "wrong")).await, 401);
    // A certificate is asked for, and not demanded.
    assert_eq!(status(&server, None, get(blob.as_str())).await, 401);
    assert_eq!(status(&server, None, alice).await, 200);
    // Behind a trusted proxy it is the proxy that has shown it.
    let forwarded = get(blob.as_str()).with("X-Forwarded-For", "203.0.113.7");
    assert_eq!(status(&server, Some(&robot), forwarded).await, 401);
}

#[tokio::test]
async fn who_is_known_by_what_is_a_setting() {
    let authority = Authority::new();
    let node = authority.sign("anything", "node.lab");
    for (known_by, expected) in [
        (Some(CertificateName::Dns), 201),
        (Some(CertificateName::CommonName), 403),
        // It doesn't name him at all.
        (Some(CertificateName::Email), 401),
        // It opens the door and nothing else, as with registry:2.
        (None, 401),
    ] {
        let server = start(&authority, true, known_by).await;
        assert_eq!(status(&server, Some(&node), push("team/app")).await, expected, "{known_by:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    for required in [true, false] {
        let server = start(&authority, required, Some(CertificateName::CommonName)).await;
        let forged = other.sign("robot", "robot.lab");
        assert!(ask(&server, Some(&forged), get("/v2/")).await.is_none(), "{required}");
        assert_eq!(ask(&server, None, get("/healthz")).await.is_some(), !required);
        let robot = authority.sign("robot", "robot.lab");
        assert_eq!(status(&server, Some(&robot), get("/v2/")).await, 200);
    }
}
