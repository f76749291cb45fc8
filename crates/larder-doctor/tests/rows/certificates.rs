use std::time::{Duration, SystemTime};

use larder_doctor::{Options, Row};

use crate::support::*;

fn knowing(authority: &Authority) -> Options {
    Options { authorities: vec![authority.file.clone()], ..reading() }
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_told_from_the_others() {
    let authority = Authority::new("Lab CA");
    let cases: Vec<(&str, Leaf, Row, &str, &str, &str)> = vec![
        (
            "run out",
            Leaf { from: 2020, until: 2021, ..Leaf::default() },
            Row::Expired,
            "registry",
            "run out",
            "renew it",
        ),
        (
            "too young",
            Leaf { from: 2090, ..Leaf::default() },
            Row::NotYetValid,
            "registry",
            "clock is ahead",
            "issue it again",
        ),
        (
            "another name",
            Leaf { names: vec!["other.lan"], ..Leaf::default() },
            Row::WrongName,
            "registry",
            "by its address",
            "subjectAltName=IP:127.0.0.1",
        ),
        (
            "Traefik's own",
            Leaf { names: vec!["x.traefik.default"], common_name: "TRAEFIK DEFAULT CERT", ..Leaf::default() },
            Row::WrongName,
            "proxy Traefik",
            "built-in certificate",
            "tls.certificates",
        ),
        (
            "no names",
            Leaf { names: vec![], common_name: "127.0.0.1", ..Leaf::default() },
            Row::NoNames,
            "registry",
            "legacy Common Name",
            "subjectAltName=IP:127.0.0.1",
        ),
    ];
    for (what, leaf, row, hop, cause, fix) in cases {
        let registry = authority.shows(&leaf).start(Fault::None).await;
        let visited = visit(&registry.host(), knowing(&authority)).await;
        visited.found(what, row, hop, cause, fix);
        assert_eq!(visited.exit_code, 12, "{what}");
    }
}

#[tokio::test]
async fn an_authority_that_nobody_knows_is_one_of_four_things() {
    let registry = Authority::new("Lab CA").shows(&Leaf::default()).start(Fault::None).await;
    visit(&registry.host(), reading()).await.found(
        "an own authority",
        Row::UnknownAuthority,
        "this machine",
        "signed by unknown authority",
        &format!("/etc/docker/certs.d/{}/ca.crt", registry.host()),
    );
    let registry = Leaf::default().by_itself().start(Fault::None).await;
    visit(&registry.host(), reading()).await.found(
        "its own authority",
        Row::SelfSigned,
        "this machine",
        "nobody else vouches",
        "/etc/docker/certs.d/",
    );
    let registry = Authority::new("Zscaler Root CA").shows(&Leaf::default()).start(Fault::None).await;
    visit(&registry.host(), reading()).await.found(
        "inspection",
        Row::Inspected,
        "network",
        "inspection of TLS",
        "out of the inspection",
    );
}

#[tokio::test]
async fn a_missing_intermediate_is_fetched_and_named() {
    let authority = Authority::new("Root CA");
    let intermediate = authority.intermediate("Intermediate CA");
    // The issuer's certificate, where the leaf says that it is.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let der = intermediate.certificate.to_vec();
    let giver = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.unwrap_or(0) > 0 {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", der.len());
                let _ = stream.write_all(&[head.as_bytes(), &der].concat()).await;
            }
        }
    });
    let leaf = Leaf { issuer_url: Some(format!("http://{address}/i.crt")), ..Leaf::default() };
    let registry = intermediate.shows(&leaf).start(Fault::None).await;
    let visited = visit(&registry.host(), knowing(&authority)).await;
    visited.found("the chain", Row::IncompleteChain, "registry", "CN=Intermediate CA", "fullchain.crt");
    giver.abort();
    let mut shown = intermediate.shows(&leaf);
    shown.chain.push(intermediate.certificate.clone());
    let registry = shown.start(Fault::None).await;
    visit(&registry.host(), knowing(&authority)).await.nothing("a whole chain");
}

#[tokio::test]
async fn a_wrong_clock_is_not_taken_for_a_wrong_certificate() {
    let authority = Authority::new("Lab CA");
    let leaf = Leaf { until: 2050, ..Leaf::default() };
    let registry = authority.shows(&leaf).start(Fault::None).await;
    let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(3_000_000_000);
    let visited = visit(&registry.host(), Options { clock, ..knowing(&authority) }).await;
    assert!(visited.findings.iter().all(|finding| finding.row == Row::ClockWrong), "{:?}", visited.findings);
    assert!(visited.findings[0].cause.contains("this machine's clock is wrong"), "{:?}", visited.findings);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_a_warning() {
    let authority = Authority::new("Lab CA");
    let leaf = Leaf { until: 2050, ..Leaf::default() };
    let registry = authority.shows(&leaf).start(Fault::Clock(734_000_000)).await;
    // A week before 2050.
    let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(2_524_608_000 - 7 * 24 * 3600);
    let visited = visit(&registry.host(), Options { clock, ..knowing(&authority) }).await;
    assert_eq!(visited.findings[0].row, Row::Expired, "{:?}", visited.findings);
    assert_eq!(visited.exit_code, 0);
}

#[tokio::test]
async fn the_wrong_scheme_is_named_both_ways() {
    let registry = Registry::start(Fault::None).await;
    let visited = visit(&format!("https://{}", registry.host()), reading()).await;
    visited.found(
        "plain HTTP",
        Row::PlainHttp,
        "registry",
        "gave HTTP response to HTTPS client",
        "insecure-registries",
    );
    let authority = Authority::new("Lab CA");
    let registry = authority.shows(&Leaf::default()).start(Fault::None).await;
    let visited = visit(&format!("http://{}", registry.host()), knowing(&authority)).await;
    visited.found(
        "TLS",
        Row::TlsOnHttpPort,
        "this machine",
        "http://",
        &format!("https://{}", registry.host()),
    );
    // Go's and nginx's servers say it in words.
    let says = Fault::Base(
        400,
        &[("content-type", "text/plain")],
        "Client sent an HTTP request to an HTTPS server.\n",
    );
    let registry = Registry::start(says).await;
    let visited = visit(&format!("http://{}", registry.host()), reading()).await;
    assert_eq!(visited.findings[0].row, Row::TlsOnHttpPort, "{:?}", visited.findings);
}

#[tokio::test]
async fn a_login_is_not_sent_to_whom_nobody_vouches_for() {
    let registry = Authority::new("Lab CA").shows(&Leaf::default()).start(Fault::Basic).await;
    let visited = visit(&registry.host(), writing()).await;
    assert!(visited.skipped.iter().any(|line| line.contains("isn't believed")), "{:?}", visited.skipped);
    assert!(!visited.good.iter().any(|line| line.contains("logged in")), "{:?}", visited.good);
    // Nor is he told to give one who has given one.
    let claims = |now| format!(r#"{{"sub":"","iat":{now},"exp":{},"access":[]}}"#, now + 300);
    let fault = Fault::Bearer { realm: "{tls}/token", claims };
    let registry = Authority::new("Lab CA").shows(&Leaf::default()).start(fault).await;
    let visited = visit(&format!("{}/team/app", registry.host()), writing()).await;
    assert!(
        !visited.findings.iter().any(|finding| finding.row == Row::ScopeMissing),
        "{:?}",
        visited.findings
    );
    assert!(
        visited.skipped.iter().any(|line| line.contains("mend the certificate first")),
        "{:?}",
        visited.skipped
    );
}
