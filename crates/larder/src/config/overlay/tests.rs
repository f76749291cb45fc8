use super::*;
use crate::config::{Config, Loaded, yaml};
use std::ffi::OsString;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// What stands at `path` after the variables have been laid over the file, in flow form.
fn overlaid(file: &str, variables: &[(&str, &str)], path: &str) -> String {
    let mut root = yaml::parse(file, &yaml::Source::File("config.yml".into())).value.unwrap();
    let mut report = Report::default();
    apply(&mut root, &environment(variables), Start::File, &mut report);
    let remarks = report.finish().unwrap_or_else(|errors| panic!("{variables:?}: {errors}"));
    assert_eq!(remarks.warnings, Vec::<String>::new(), "{variables:?}");
    root.entry_at(path).map_or_else(|| "(none)".to_owned(), |entry| entry.value.flow_text())
}

#[test]
fn variables_and_what_they_set() {
    let purging = "storage:\n  maintenance:\n    uploadpurging:\n      enabled: true\n      age: 1h\n";
    let endpoint = "notifications:\n  endpoints:\n  - {name: a, url: http://a}\n";
    for (file, variables, path, expected) in [
        // Sections by upper-cased key, created when the file lacks them.
        ("", vec![("REGISTRY_HTTP_ADDR", ":80")], "http.addr", ":80"),
        ("http: {addr: :1}", vec![("REGISTRY_HTTP_ADDR", ":80")], "http.addr", ":80"),
        ("http:", vec![("REGISTRY_HTTP_TLS_MINIMUMTLS", "tls1.3")], "http.tls.minimumtls", "tls1.3"),
        // The value is YAML and replaces the whole field.
        ("", vec![("REGISTRY_LOG_ACCESSLOG_DISABLED", "yes")], "log.accesslog.disabled", "yes"),
        ("", vec![("REGISTRY_HTTP_ADDR", "abc #d")], "http.addr", "abc"),
        ("http: {addr: :1, net: tcp}", vec![("REGISTRY_HTTP", "{addr: :2}")], "http", "{addr: :2}"),
        ("http: {addr: :1}", vec![("REGISTRY_HTTP_ADDR", "null")], "http.addr", ""),
        // Text that is no YAML, or means a map, is text where text is wanted.
        ("", vec![("REGISTRY_HTTP_SECRET", "@s3cr{t: x")], "http.secret", "@s3cr{t: x"),
        ("", vec![("REGISTRY_HTTP_SECRET", "a: b")], "http.secret", "a: b"),
        ("", vec![("REGISTRY_PROXY_PASSWORD", "[x")], "proxy.password", "[x"),
        // A whole section as a name, and keys below it afterwards.
        ("storage: {s3: {bucket: b}}", vec![("REGISTRY_STORAGE", "inmemory")], "storage", "inmemory"),
        (
            "",
            vec![("REGISTRY_AUTH_HTPASSWD_REALM", "r"), ("REGISTRY_AUTH", "htpasswd")],
            "auth",
            "{htpasswd: {realm: r}}",
        ),
        // Nested maps of the file, which registry:2 refuses to touch.
        (
            purging,
            vec![("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", "false")],
            "storage.maintenance.uploadpurging",
            "{enabled: false, age: 1h}",
        ),
        (
            "",
            vec![("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")],
            "storage.maintenance.readonly",
            "{enabled: true}",
        ),
        (
            "",
            vec![("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\": true}")],
            "storage.maintenance.readonly.enabled",
            "true",
        ),
        // Free maps: an existing name in any case, else a new one in lower case.
        (
            "http: {headers: {X-Foo: [a]}}",
            vec![("REGISTRY_HTTP_HEADERS_X-FOO", "[b]")],
            "http.headers",
            "{X-Foo: [b]}",
        ),
        ("", vec![("REGISTRY_HTTP_HEADERS_X-FOO", "[b]")], "http.headers", "{x-foo: [b]}"),
        ("", vec![("REGISTRY_LOG_FIELDS_SERVICE", "r")], "log.fields.service", "r"),
        ("", vec![("REGISTRY_STORAGE_GCS_KEYFILE", "/k")], "storage.gcs.keyfile", "/k"),
        // Lists: the whole, an item, the item after the last; scalars too, which registry:3 leaves empty.
        ("", vec![("REGISTRY_HTTP_TLS_CLIENTCAS", "[/a, /b]")], "http.tls.clientcas", "[/a, /b]"),
        (
            "",
            vec![("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/a"), ("REGISTRY_HTTP_TLS_CLIENTCAS_1", "/b")],
            "http.tls.clientcas",
            "[/a, /b]",
        ),
        (
            "http: {tls: {clientcas: [/a]}}",
            vec![("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/z")],
            "http.tls.clientcas",
            "[/z]",
        ),
        (
            endpoint,
            vec![
                ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://z"),
                ("REGISTRY_NOTIFICATIONS_ENDPOINTS_1_NAME", "b"),
            ],
            "notifications.endpoints",
            "[{name: a, url: http://z}, {name: b}]",
        ),
        // Go's names for what files call otherwise, and the files' own names.
        (
            "",
            vec![("REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES", "true")],
            "notifications.events.includereferences",
            "true",
        ),
        ("", vec![("REGISTRY_HEALTH_FILECHECKERS_0_FILE", "/f")], "health.file", "[{file: /f}]"),
        ("", vec![("REGISTRY_HEALTH_FILE_0_FILE", "/f")], "health.file", "[{file: /f}]"),
        ("", vec![("REGISTRY_HEALTH_HTTPCHECKERS_0_URI", "u")], "health.http", "[{uri: u}]"),
        ("", vec![("REGISTRY_HEALTH_TCPCHECKERS_0_ADDR", "a")], "health.tcp", "[{addr: a}]"),
        ("", vec![("REGISTRY_LOG_HOOKS_0_MAILOPTIONS_FROM", "a")], "log.hooks", "[{options: {from: a}}]"),
        ("", vec![("REGISTRY_REDIS_OPTIONS_ADDRS", "[a]")], "redis.addrs", "[a]"),
        ("", vec![("REGISTRY_REDIS_ADDRS", "[a]")], "redis.addrs", "[a]"),
        ("", vec![("REGISTRY_LOGLEVEL", "debug")], "loglevel", "debug"),
    ] {
        assert_eq!(overlaid(file, &variables, path), expected, "{variables:?} over {file:?}");
    }
}

#[test]
fn items_are_applied_in_the_order_of_their_numbers() {
    let names: Vec<String> = (0..12).map(|index| format!("REGISTRY_HTTP_TLS_CLIENTCAS_{index}")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(overlaid("", &variables, "http.tls.clientcas"), "[x, x, x, x, x, x, x, x, x, x, x, x]");
}

#[test]
fn variables_that_set_nothing_are_warnings() {
    let kubernetes = "Kubernetes makes such variables for a service named \"registry\"";
    for (name, value, expected) in [
        ("REGISTRY_HTTP_ADR", ":80", "did you mean REGISTRY_HTTP_ADDR?"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOT_DIRECTORY", "/x", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY?"),
        ("REGISTRY_http_addr", ":80", "did you mean REGISTRY_HTTP_ADDR?"),
        ("REGISTRY_HTTP__ADDR", ":80", "did you mean REGISTRY_HTTP_ADDR?"),
        ("REGISTRY_HTTP_ADDR_MORE", ":80", "sets no key and is ignored"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_ONE_URL", ":80", "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL?"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_-1_URL", ":80", "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL?"),
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000", kubernetes),
        ("REGISTRY_PORT_5000_TCP_ADDR", "10.0.0.1", kubernetes),
        ("REGISTRY_SERVICE_HOST", "10.0.0.1", kubernetes),
        // These two are fatal in registry:2, since they hit a map.
        ("REGISTRY_AUTH_PORT", "tcp://10.0.0.1:5000", "sets no key and is ignored"),
        ("REGISTRY_STORAGE_PORT", "tcp://10.0.0.1:5000", "sets no key and is ignored"),
        ("REGISTRY_SOMETHING_ELSE_ENTIRELY", "{", "sets no key and is ignored."),
        ("REGISTRY_VERSION", "0.2", "only the file itself can say its version"),
        ("REGISTRY_", "x", "sets no key and is ignored"),
    ] {
        let loaded =
            Config::from_yaml("version: 0.1\nstorage: filesystem\n", "c.yml", &environment(&[(name, value)]));
        let Loaded { warnings, .. } = loaded.unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("{name}: ")), "{warnings:?}");
        assert!(warnings[0].contains(expected), "{name}: {warnings:?}");
    }
}

#[test]
fn variables_that_are_mistakes() {
    for (variables, expected) in [
        (
            vec![("REGISTRY_HTTP_TLS_CLIENTCAS_2", "/x")],
            "REGISTRY_HTTP_TLS_CLIENTCAS_2: the item number 2 leaves a gap: \"http.tls.clientcas\" has 0 items, \
             counted from 0",
        ),
        (
            vec![("REGISTRY_LOG_ACCESSLOG_DISABLED", "maybe")],
            "REGISTRY_LOG_ACCESSLOG_DISABLED: \"log.accesslog.disabled\" must be true or false, not other text",
        ),
        (
            vec![("REGISTRY_HTTP", "{adr: :80}")],
            "REGISTRY_HTTP: unknown key \"adr\" below \"http\"; did you mean \"addr\"?",
        ),
        (
            vec![("REGISTRY_STORAGE_S3_BUCKET", "b")],
            "REGISTRY_STORAGE_S3_BUCKET: \"storage\" must name exactly one driver, and names \"filesystem\" \
             (c.yml:2:10) and \"s3\" (REGISTRY_STORAGE_S3_BUCKET)",
        ),
        (
            vec![("REGISTRY_PROXY_REMOTEURL", "registry-1.docker.io")],
            "REGISTRY_PROXY_REMOTEURL: \"proxy.remoteurl\" can't be read as a URL: ",
        ),
    ] {
        let loaded =
            Config::from_yaml("version: 0.1\nstorage: filesystem\n", "c.yml", &environment(&variables));
        let errors = loaded.expect_err(expected).to_string();
        assert!(errors.lines().any(|line| line.starts_with(expected)), "{variables:?}: {errors}");
    }
    let loaded = Config::from_yaml(
        "version: 0.1\nstorage: filesystem\n",
        "c.yml",
        &environment(&[("REGISTRY_LOG_ACCESSLOG_DISABLED", "{")]),
    );
    let errors = loaded.unwrap_err().to_string();
    assert!(errors.starts_with("REGISTRY_LOG_ACCESSLOG_DISABLED: not YAML"), "{errors}");
}
