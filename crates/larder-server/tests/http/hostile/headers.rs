//! Headers that are read.

use super::{Case, otherwise, refused};
use crate::support::*;

pub(super) fn cases(upload: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let blob = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    for range in [
        "bytes=18446744073709551615-18446744073709551615",
        "bytes=--5",
        "bytes=0--1",
        "bytes=-",
        "bytes=-0",
        "bytes=+0-1",
        "bytes=0x0-0x1",
        "bytes 0-1",
        "BYTES=0-1",
        "bytes=0-1,a",
        "bytes=,,,,",
        "",
        "bytes=1-0,0-1",
    ] {
        cases.push(refused(range, get(&blob).with("Range", range).to_bytes(), 416, "RANGE_INVALID"));
    }
    for range in ["bytes=-18446744073709551616", "bytes=0-18446744073709551616", "bytes=,0-0,"] {
        cases.push(otherwise(range, get(&blob).with("Range", range).to_bytes(), 206));
    }
    let flood = format!("bytes={}", "0-,".repeat(40_000));
    cases.push(otherwise("40,000 ranges", get(&blob).with("Range", flood).to_bytes(), 200));
    let raw = |name: &str, value: &[u8]| {
        let head = format!("GET {blob} HTTP/1.1\r\nHost: registry.lab\r\n{name}: ");
        [head.as_bytes(), value, b"\r\n\r\n"].concat()
    };
    cases.push(otherwise("a range that is no text", raw("Range", b"bytes=0-\xff"), 200));
    for value in ["\"", "W/", ",,,,", "\"sha256:", "****", &"\"a\",".repeat(30_000)] {
        cases.push(otherwise(value, get(&blob).with("If-None-Match", value).to_bytes(), 200));
        cases.push(otherwise(value, get(&blob).with("If-Range", value).to_bytes(), 200));
        cases.push(refused(value, get(&blob).with("If-Match", value).to_bytes(), 412, "DENIED"));
    }
    for name in ["If-None-Match", "If-Range", "Accept", "User-Agent", "X-Forwarded-Host", "Forwarded"] {
        cases.push(otherwise(name, raw(name, b"\xff\xfe\x80"), 200));
    }
    for range in
        ["", "-", "0", "1-", "-1", "5-0", "0-18446744073709551616x", "bytes", "bytes=/", "\u{a0}0-1", "0-1-2"]
    {
        let request = patch(upload, "ab").with("Content-Range", range);
        cases.push(refused(range, request.to_bytes(), 416, "RANGE_INVALID"));
    }
    for range in ["0-18446744073709551615", "0-99999999999999999999999", "0-0", "0-2"] {
        let request = patch(upload, "ab").with("Content-Range", range);
        cases.push(refused(range, request.to_bytes(), 400, "SIZE_INVALID"));
    }
    let gap = patch(upload, "ab").with("Content-Range", "18446744073709551614-18446744073709551615");
    cases.push(refused("a gap of 2^64", gap.to_bytes(), 416, "RANGE_INVALID"));
    for kind in [
        "",
        "a",
        "/",
        "a/",
        "a/b/c",
        ";",
        "text/html",
        "application/vnd.oci.image.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json, text/html",
        "ä/ö",
        &format!("a/{}", "b".repeat(300)),
        &"a".repeat(100_000),
    ] {
        let request = put("/v2/lab/app/manifests/bad", image(OCI_MANIFEST)).with("Content-Type", kind);
        cases.push(refused(kind, request.to_bytes(), 400, "MANIFEST_INVALID"));
    }
    cases
}
