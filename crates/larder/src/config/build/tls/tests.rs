use crate::config::typed::CertificateSource;
use crate::config::{Config, Environment};

/// As the rows of all other keys: the key, and files with and without it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    (
        "http.tls.certificate",
        TLS,
        "storage: filesystem\nhttp: {tls: {certificate: d, key: k, clientcas: [a]}}",
    ),
    ("http.tls.key", TLS, "storage: filesystem\nhttp: {tls: {certificate: c, key: l, clientcas: [a]}}"),
    ("http.tls.clientcas", TLS, "storage: filesystem\nhttp: {tls: {certificate: c, key: k, clientcas: [b]}}"),
    (
        "http.tls.clientauth",
        TLS,
        "storage: filesystem\n\
         http: {tls: {certificate: c, key: k, clientcas: [a], clientauth: request-client-cert}}",
    ),
    (
        "http.tls.minimumtls",
        TLS,
        "storage: filesystem\nhttp: {tls: {certificate: c, key: k, clientcas: [a], minimumtls: tls1.3}}",
    ),
    (
        "http.tls.ciphersuites",
        TLS,
        "storage: filesystem\n\
         http: {tls: {certificate: c, key: k, clientcas: [a], ciphersuites: [TLS_AES_128_GCM_SHA256]}}",
    ),
    ("http.tls.auto", "storage: filesystem", "storage: filesystem\nhttp: {tls: {auto: true}}"),
    (
        "http.tls.names",
        "storage: filesystem\nhttp: {tls: {auto: true}}",
        "storage: filesystem\nhttp: {tls: {auto: true, names: [registry.lan]}}",
    ),
];

const TLS: &str = "storage: filesystem\nhttp: {tls: {certificate: c, key: k, clientcas: [a]}}";

fn load(tls: &str) -> Result<(Option<CertificateSource>, Vec<String>), String> {
    let text = format!("version: 0.1\nstorage: filesystem\nhttp: {{tls: {{{tls}}}}}");
    let loaded = Config::from_yaml(&text, "config.yml", &Environment::default());
    let loaded = loaded.map_err(|errors| errors.to_string())?;
    Ok((loaded.config.http.tls.map(|tls| tls.source), loaded.warnings))
}

#[test]
fn names_are_hosts_and_addresses() {
    let (source, _) = load("auto: true, names: [NAS.lan, '[fd00::1]', 192.0.2.1]").unwrap();
    let names = ["nas.lan", "fd00::1", "192.0.2.1"].map(str::to_owned).to_vec();
    assert_eq!(source, Some(CertificateSource::Own { names }));
    for name in ["https://nas.lan", "nas.lan:5000", "*.lan", "''"] {
        let error = load(&format!("auto: true, names: ['{name}']")).unwrap_err();
        assert!(error.contains("neither a host's name nor an address"), "{error}");
    }
}

#[test]
fn there_is_one_certificate() {
    let error = load("auto: true, certificate: c, key: k").unwrap_err();
    assert!(error.contains("\"http.tls.auto\" can't be true where http.tls.certificate"), "{error}");
    assert_eq!(load("auto: false").unwrap().0, None);
    let (source, warnings) = load("names: [nas.lan]").unwrap();
    assert_eq!(source, None);
    assert!(warnings[0].contains("has no effect without http.tls.auto"), "{warnings:?}");
}
