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
        assert_eq!(reached_by(&parts(headers), *is_tls, true), *expected, "{headers:?}");
    }
}

#[test]
fn a_token_server_at_the_registrys_own_host_is_reached_by_tls_unless_a_proxy_says_otherwise() {
    for (headers, expected) in [
        (&[("host", "reg.lab:5000")][..], "https://reg.lab:5000"),
        (&[("host", "reg.lab"), ("x-forwarded-proto", "http")], "http://reg.lab"),
        (&[("host", "reg.lab"), ("x-forwarded-proto", "gopher")], "https://reg.lab"),
        (&[("host", "a\"b")], "https://localhost"),
    ] {
        assert_eq!(redirect_base(&parts(headers)), expected, "{headers:?}");
    }
}

#[test]
fn nobody_but_a_trusted_proxy_says_how_the_client_reached_us() {
    let claims = [("host", "reg.lab"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
    assert_eq!(reached_by(&parts(&claims), false, false), "http://reg.lab");
    let claims = [("host", "reg.lab"), ("forwarded", "proto=https;host=evil")];
    assert_eq!(reached_by(&parts(&claims), false, false), "http://reg.lab");
}

#[test]
fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
    let private = Network::private();
    let one: &[Network] = &["192.0.2.1".parse().unwrap()];
    type Headers = &'static [(&'static str, &'static str)];
    let cases: &[(Headers, &str, &[Network], &str)] = &[
        (&[], "203.0.113.5", &private, "203.0.113.5"),
        (&[("x-forwarded-for", "198.51.100.7")], "10.0.0.2", &private, "198.51.100.7"),
        // What the client itself wrote stands before.
        (&[("x-forwarded-for", "1.1.1.1, 198.51.100.7")], "10.0.0.2", &private, "198.51.100.7"),
        (&[("x-forwarded-for", "1.1.1.1, 198.51.100.7, 10.0.0.9")], "10.0.0.2", &private, "198.51.100.7"),
        (
            &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.7")],
            "10.0.0.2",
            &private,
            "198.51.100.7",
        ),
        // Everybody in the house: the farthest.
        (&[("x-forwarded-for", "192.168.1.4,10.0.0.9")], "10.0.0.2", &private, "192.168.1.4"),
        // From somebody who is no proxy it is a claim.
        (&[("x-forwarded-for", "198.51.100.7")], "203.0.113.5", &private, "203.0.113.5"),
        (&[("x-forwarded-for", "198.51.100.7")], "10.0.0.2", &[], "10.0.0.2"),
        (&[("x-forwarded-for", "198.51.100.7, 10.0.0.9")], "192.0.2.1", one, "10.0.0.9"),
        (&[("x-forwarded-for", "unknown")], "10.0.0.2", &private, "10.0.0.2"),
        (&[("x-forwarded-for", "198.51.100.7, garbage, 10.0.0.9")], "10.0.0.2", &private, "10.0.0.9"),
        (&[("x-forwarded-for", "")], "10.0.0.2", &private, "10.0.0.2"),
        (&[("x-forwarded-for", "198.51.100.7:1234")], "10.0.0.2", &private, "198.51.100.7"),
        (&[("x-forwarded-for", "2001:db8::7")], "fd00::2", &private, "2001:db8::7"),
        (&[("x-forwarded-for", "::ffff:198.51.100.7")], "10.0.0.2", &private, "198.51.100.7"),
        (&[("forwarded", "for=198.51.100.7;proto=https")], "10.0.0.2", &private, "198.51.100.7"),
        (&[("forwarded", "for=\"[2001:db8::7]:99\", for=10.0.0.9")], "10.0.0.2", &private, "2001:db8::7"),
        (&[("forwarded", "for=_hidden")], "10.0.0.2", &private, "10.0.0.2"),
        (
            &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "198.51.100.7")],
            "10.0.0.2",
            &private,
            "198.51.100.7",
        ),
    ];
    for (headers, peer, trusted, expected) in cases {
        let found = client(&parts(headers).headers, peer.parse().unwrap(), trusted);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{headers:?} from {peer}");
    }
}
