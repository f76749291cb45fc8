use super::*;

fn parts(headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().uri("/v2/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn the_realm_is_where_the_client_reached_us() {
    type Headers = &'static [(&'static str, &'static str)];
    let cases: &[(Headers, bool, &str)] = &[
        (&[("host", "reg.lab:5000")], false, "http://reg.lab:5000"),
        (&[("host", "reg.lab")], true, "https://reg.lab"),
        (&[("host", "inner"), ("x-forwarded-proto", "https")], false, "https://inner"),
        (
            &[("host", "inner"), ("x-forwarded-proto", "https, http"), ("x-forwarded-host", "a, b")],
            false,
            "https://a",
        ),
        (
            &[
                ("host", "inner"),
                ("forwarded", "for=1;proto=https;host=\"reg:1\", for=2"),
                ("x-forwarded-host", "x"),
            ],
            false,
            "https://reg:1",
        ),
        (&[("host", "inner"), ("x-forwarded-proto", "javascript")], false, "http://inner"),
        (&[("host", "a\"b")], false, "http://localhost"),
        (&[("host", "[::1]:5000")], false, "http://[::1]:5000"),
        (&[], false, "http://localhost"),
    ];
    for (headers, is_tls, expected) in cases {
        assert_eq!(reached_by(&parts(headers), *is_tls), *expected, "{headers:?}");
    }
}
