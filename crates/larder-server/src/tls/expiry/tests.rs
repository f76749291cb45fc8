use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::metrics::Metrics;
use crate::tls::TlsFiles;

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate of a year that ends in so many days.
fn ending_in(days: u32, directory: &Path) -> TlsFiles {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    };
    let end = SystemTime::now() + DAY * days;
    let mut params = rcgen::CertificateParams::new(vec!["nas.lan".to_owned()]).unwrap();
    (params.not_before, params.not_after) = ((end - DAY * 365).into(), end.into());
    let key = rcgen::KeyPair::generate().unwrap();
    TlsFiles {
        certificate: write("certificate.pem", params.self_signed(&key).unwrap().pem()),
        key: write("key.pem", key.serialize_pem()),
        keeper: Keeper::Operator,
        clients: None,
        only_tls13: false,
        cipher_suites: Vec::new(),
        http2: true,
    }
}

#[test]
fn what_ends_soon_is_a_trouble_until_it_is_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let tls = Tls::load(ending_in(100, directory.path())).unwrap();
    assert_eq!(tls.trouble(now), None);
    assert_eq!(tls.watched().noticed, Nearness::Far);
    ending_in(5, directory.path());
    assert!(tls.read_again());
    tls.look();
    assert_eq!(tls.watched().noticed, Nearness::Week);
    let trouble = tls.trouble(now).unwrap();
    assert!(trouble.reason.starts_with("the certificate of nas.lan ends in 4 days"), "{trouble:?}");
    assert!(
        trouble.fix.contains(&directory.path().join("certificate.pem").display().to_string()),
        "{trouble:?}"
    );
    assert_eq!(tls.trouble(now + DAY * 6).unwrap().kind, "certificate-ended");
    ending_in(100, directory.path());
    assert!(tls.read_again());
    tls.look();
    assert_eq!((tls.trouble(now), tls.watched().noticed), (None, Nearness::Far));
}

#[test]
fn the_end_is_a_metric() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls::load(ending_in(100, directory.path())).unwrap();
    let metrics = Arc::new(Metrics::new("0"));
    assert!(!metrics.text().unwrap().contains("larder_certificate"));
    let end = tls.shown().unwrap().validity.end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    metrics.show_certificate(tls, None);
    let text = metrics.text().unwrap();
    assert!(text.contains(&format!("\nlarder_certificate_not_after_timestamp_seconds {end}\n")), "{text}");
}
