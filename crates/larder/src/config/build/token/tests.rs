use crate::config::{Auth, Config, Environment};
use larder_auth::{ExternalSettings, Realm, SigningAlgorithm};

/// Each key, a file without it, and one with it.
pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    (
        "auth.token.realm",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: x, service: s, issuer: i, jwks: /k}}",
    ),
    (
        "auth.token.service",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: x, issuer: i, jwks: /k}}",
    ),
    (
        "auth.token.issuer",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: x, jwks: /k}}",
    ),
    (
        "auth.token.jwks",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /x}}",
    ),
    (
        "auth.token.rootcertbundle",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k, rootcertbundle: /b}}",
    ),
    (
        "auth.token.signingalgorithms",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k, signingalgorithms: [RS256]}}",
    ),
    (
        "auth.token.autoredirect",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k, autoredirect: true}}",
    ),
    (
        "auth.token.autoredirectpath",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k, autoredirect: true}}",
        "storage: filesystem\nauth: {token: {realm: r, service: s, issuer: i, jwks: /k, autoredirect: true, \
         autoredirectpath: /x}}",
    ),
];

const WHOLE: &str = "realm: https://a/token, service: s, issuer: i, rootcertbundle: /b";

fn loaded(token: &str, environment: &[(&str, &str)]) -> Result<ExternalSettings, Vec<String>> {
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /r}}}}\nhttp: {{addr: :5000}}\nauth: {{token: {{{token}}}}}\n"
    );
    let environment: Environment =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    match Config::from_yaml(&text, "config.yml", &environment) {
        Ok(loaded) => match loaded.config.auth {
            Auth::Token(settings) => Ok(settings),
            other => panic!("{other:?}"),
        },
        Err(mistakes) => Err(mistakes.0.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn the_whole_section_is_read_from_the_file_and_from_variables() {
    let settings = loaded(WHOLE, &[]).unwrap();
    let all = SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm);
    assert_eq!(settings.realm, Realm::Url("https://a/token".to_owned()));
    assert_eq!((settings.service.as_str(), settings.issuer.as_str()), ("s", "i"));
    assert_eq!((settings.certificates, settings.key_set), (Some("/b".into()), None));
    assert_eq!(settings.algorithms, all);
    let settings = loaded(
        WHOLE,
        &[
            ("REGISTRY_AUTH_TOKEN_JWKS", "/k"),
            ("REGISTRY_AUTH_TOKEN_ISSUER", "other"),
            ("REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS", "[ES256]"),
            ("REGISTRY_AUTH_TOKEN_AUTOREDIRECT", "true"),
        ],
    )
    .unwrap();
    assert_eq!((settings.issuer.as_str(), settings.key_set), ("other", Some("/k".into())));
    assert_eq!(settings.algorithms, [SigningAlgorithm::Es256]);
    assert_eq!(settings.realm, Realm::SameHost { path: "/auth/token".to_owned() });
    let settings =
        loaded(&format!("{WHOLE}, autoredirect: true, autoredirectpath: /t, signingalgorithms: []"), &[]);
    let settings = settings.unwrap();
    assert_eq!(settings.realm, Realm::SameHost { path: "/t".to_owned() });
    assert_eq!(settings.algorithms, all);
}

#[test]
fn what_is_missing_or_wrong_is_said_together() {
    for (token, expected) in [
        (
            "",
            &["auth.token.realm", "auth.token.service", "auth.token.issuer", "auth.token.rootcertbundle"][..],
        ),
        ("realm: r, service: s, issuer: i", &["rootcertbundle"]),
        ("service: s, issuer: i, jwks: /k", &["auth.token.realm"]),
        ("realm: r, service: s, issuer: i, jwks: /k, signingalgorithms: [ES25]", &["did you mean \"ES256\""]),
        ("realm: r, service: s, issuer: i, jwks: /k, autoredirect: true, autoredirectpath: t", &["a slash"]),
    ] {
        let mistakes = loaded(token, &[]).unwrap_err();
        assert_eq!(mistakes.len(), expected.len(), "{token}: {mistakes:?}");
        for (mistake, expected) in std::iter::zip(&mistakes, expected) {
            assert!(mistake.contains(expected), "{token}: {mistake}");
        }
    }
}
