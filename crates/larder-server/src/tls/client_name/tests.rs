use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::CertificateName::{CommonName, Dns, Email, Uri};
use super::*;

fn certificate(names: &[(DnType, &str)], alternatives: Vec<SanType>) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    for (kind, name) in names {
        parameters.distinguished_name.push(kind.clone(), *name);
    }
    parameters.subject_alt_names = alternatives;
    parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn a_holder_is_named_once_or_not_at_all() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let all = certificate(
        &[(DnType::OrganizationName, "Lab"), (DnType::CommonName, "build robot")],
        vec![
            dns("robot.lab"),
            uri("spiffe://lab/robot"),
            email("robot@lab"),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ],
    );
    let cases =
        [(CommonName, "build robot"), (Dns, "robot.lab"), (Email, "robot@lab"), (Uri, "spiffe://lab/robot")];
    for (part, name) in cases {
        assert_eq!(part.holder(&all).as_deref(), Some(name), "{part:?}");
    }
    let bare = certificate(&[(DnType::OrganizationName, "Lab")], vec![dns("a.lab"), dns("b.lab")]);
    for part in [CommonName, Dns, Email, Uri] {
        assert_eq!(part.holder(&bare), None, "{part:?}");
    }
    for name in ["", " robot", "a\nb", "a,b", "x".repeat(257).as_str()] {
        let certificate = certificate(&[(DnType::CommonName, name)], Vec::new());
        assert_eq!(CommonName.holder(&certificate), None, "{name:?}");
    }
    assert_eq!(CommonName.holder(&CertificateDer::from(vec![0x30, 0x80])), None);
}
