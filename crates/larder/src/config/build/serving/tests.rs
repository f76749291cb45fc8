use larder_server::CertificateName;

use crate::config::{Config, Environment};

/// As the rows of all other keys: the key, and files with and without it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[(
    "http.tls.clientname",
    "storage: filesystem\nhttp: {tls: {certificate: c, key: k, clientcas: [a]}}",
    "storage: filesystem\nhttp: {tls: {certificate: c, key: k, clientcas: [a], clientname: cn}}",
)];

#[test]
fn who_is_known_by_his_certificate_must_be_asked_for_one() {
    let load = |tls: &str| {
        let text =
            format!("version: 0.1\nstorage: filesystem\nhttp: {{tls: {{certificate: c, key: k, {tls}}}}}");
        let loaded = Config::from_yaml(&text, "config.yml", &Environment::default());
        loaded.map(|loaded| loaded.config.http.tls.unwrap().client_name).map_err(|errors| errors.to_string())
    };
    assert_eq!(load("clientcas: [a], clientname: URI"), Ok(Some(CertificateName::Uri)));
    assert_eq!(load("clientcas: [a], clientname: none"), Ok(None));
    assert_eq!(load("clientname: none"), Ok(None));
    assert!(load("clientname: dns").unwrap_err().contains("needs http.tls.clientcas"));
    assert!(load("clientcas: [a], clientname: ip").is_err());
}
