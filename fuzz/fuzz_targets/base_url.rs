//! The address by which a client reached the registry, as proxies tell it: it stands in a quoted string of the
//! challenge, and clients send passwords there.
//!
//! The input is the headers `Host`, `Forwarded`, `X-Forwarded-Host` and `X-Forwarded-Proto`, one a line.

#![no_main]

use http::{HeaderName, HeaderValue, Request};
use larder_server::fuzzing::base_url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut request = Request::builder().uri("/v2/");
    let names = ["host", "forwarded", "x-forwarded-host", "x-forwarded-proto"];
    for (name, line) in names.into_iter().zip(data.split(|&byte| byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request = request.header(HeaderName::from_static(name), value);
        }
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    for is_tls in [false, true] {
        let url = base_url(&parts, is_tls);
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).expect("a scheme");
        assert!(
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        );
    }
});
