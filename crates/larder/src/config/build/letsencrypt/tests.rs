use std::time::Duration;

use crate::config::typed::{CertificateSource, ListenAddress, OrderedCertificate};
use crate::config::{Config, Environment};

const ONE: &str = "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd}}}";

/// As the rows of all other keys: the key, and files with and without it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("http.tls.letsencrypt.hosts", "storage: filesystem", ONE),
    (
        "http.tls.letsencrypt.email",
        ONE,
        "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: e@b.cd}}}",
    ),
    (
        "http.tls.letsencrypt.cachefile",
        ONE,
        "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd, cachefile: /c}}}",
    ),
    (
        "http.tls.letsencrypt.directoryurl",
        ONE,
        "storage: filesystem\n\
         http: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd, directoryurl: 'https://ca.lan/acme'}}}",
    ),
    (
        "http.tls.letsencrypt.directoryca",
        ONE,
        "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd, directoryca: /ca.pem}}}",
    ),
    (
        "http.tls.letsencrypt.addr",
        ONE,
        "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd, addr: ':80'}}}",
    ),
    (
        "http.tls.letsencrypt.retry",
        ONE,
        "storage: filesystem\nhttp: {tls: {letsencrypt: {hosts: [a.example.com], email: a@b.cd, retry: 10s}}}",
    ),
];

fn load(tls: &str) -> Result<(Option<CertificateSource>, Vec<String>), String> {
    let text = format!("version: 0.1\nstorage: filesystem\nhttp: {{addr: ':5000', tls: {{{tls}}}}}");
    let loaded = Config::from_yaml(&text, "config.yml", &Environment::default());
    let loaded = loaded.map_err(|errors| errors.to_string())?;
    Ok((loaded.config.http.tls.map(|tls| tls.source), loaded.warnings))
}

fn ordered(keys: &str) -> (OrderedCertificate, Vec<String>) {
    match load(&format!("letsencrypt: {{{keys}}}")).unwrap() {
        (Some(CertificateSource::Ordered(ordered)), warnings) => (ordered, warnings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_are_enough_and_the_rest_has_defaults() {
    let (found, warnings) = ordered("hosts: [R.example.com., b.example.com, r.example.com]");
    let expected = OrderedCertificate {
        hosts: ["r.example.com", "b.example.com"].map(str::to_owned).to_vec(),
        email: None,
        cache: None,
        directory_url: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        directory_ca: None,
        addr: None,
        retry: Duration::from_secs(300),
    };
    assert_eq!(found, expected);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("\"http.tls.letsencrypt.email\" is not set"), "{warnings:?}");
    let (found, warnings) = ordered("hosts: [a.b], email: 'mailto:you@example.com', addr: ':80', retry: 1s");
    assert_eq!(found.email.as_deref(), Some("you@example.com"));
    assert_eq!(found.addr, Some(ListenAddress { host: String::new(), port: 80 }));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn variables_set_it_too() {
    let variables = [("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0", "a.example.com")];
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let loaded = Config::from_yaml("version: 0.1\nstorage: filesystem", "config.yml", &environment).unwrap();
    let Some(CertificateSource::Ordered(found)) = loaded.config.http.tls.map(|tls| tls.source) else {
        panic!("nothing is ordered")
    };
    assert_eq!(found.hosts, ["a.example.com"]);
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    for (keys, expected) in [
        (
            "email: a@b.cd",
            "\"http.tls.letsencrypt.hosts\" is missing: the names that clients call this registry by",
        ),
        ("cachefile: /c, hosts: []", "\"http.tls.letsencrypt.hosts\" is missing"),
        ("hosts: ['*.example.com']", "a name with * is proven by DNS records"),
        ("hosts: [192.0.2.1]", "for an address there is http.tls.auto"),
        ("hosts: ['[fd00::1]']", "for an address there is http.tls.auto"),
        ("hosts: ['https://a.example.com']", "write it without scheme and port"),
        ("hosts: ['a.example.com:443']", "write it without scheme and port"),
        ("hosts: [a.b], email: me", "is no mailbox"),
        (
            "hosts: [a.b], directoryurl: 'http://ca.lan/directory'",
            "must be the https address of an ACME directory",
        ),
        (
            "hosts: [a.b], directoryurl: 'https://u:p@ca.lan/'",
            "must be the https address of an ACME directory",
        ),
        ("hosts: [a.b], addr: '80'", "write host:port, such as :80"),
        ("hosts: [a.b], addr: ':5000'", "is http.addr itself"),
        ("hosts: [a.b], retry: 5", "must be at least 1s"),
    ] {
        let error = load(&format!("letsencrypt: {{{keys}}}")).unwrap_err();
        assert!(error.contains(expected), "{keys}: {error}");
    }
}

#[test]
fn there_is_one_certificate() {
    let letsencrypt = "letsencrypt: {hosts: [a.example.com], email: a@b.cd}";
    let error = load(&format!("certificate: c, key: k, {letsencrypt}")).unwrap_err();
    assert!(
        error.contains("\"http.tls.letsencrypt\" can't order a certificate where http.tls.certificate"),
        "{error}"
    );
    let error = load(&format!("auto: true, {letsencrypt}")).unwrap_err();
    assert!(
        error.contains("\"http.tls.letsencrypt\" can't order a certificate where http.tls.auto"),
        "{error}"
    );
}

#[test]
fn what_orders_nothing_or_nothing_that_is_signed_is_pointed_out() {
    let (source, warnings) = load("letsencrypt: {directoryurl: 'https://ca.lan/acme'}").unwrap();
    assert!(
        source.is_none() && warnings[0].contains("has no effect without http.tls.letsencrypt.hosts"),
        "{warnings:?}"
    );
    assert!(load("letsencrypt: ").unwrap().0.is_none());
    for host in ["registry", "nas.lan", "nas.local"] {
        let (_, warnings) = ordered(&format!("hosts: [{host}], email: a@b.cd"));
        assert!(warnings[0].contains("Let's Encrypt refuses it"), "{warnings:?}");
    }
    let (_, warnings) = ordered("hosts: [nas.lan], email: a@b.cd, directoryurl: 'https://ca.lan/acme'");
    assert!(warnings.is_empty(), "{warnings:?}");
}
