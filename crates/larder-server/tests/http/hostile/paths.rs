//! Names, tags, digests, sessions and paths that are none.

use super::{Case, get_raw, otherwise, refused};
use crate::support::*;

const HEX: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in names() {
        for target in [
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/manifests/one"),
            format!("/v2/{name}/blobs/{LAYER_DIGEST}"),
        ] {
            cases.push(refused(&target, get_raw(target.as_bytes()), 400, "NAME_INVALID"));
        }
    }
    for (reference, code) in references() {
        let target = format!("/v2/lab/app/manifests/{reference}");
        cases.push(refused(&target, get_raw(target.as_bytes()), 400, code));
    }
    for digest in digests() {
        for route in ["blobs", "referrers"] {
            let target = format!("/v2/lab/app/{route}/{digest}");
            cases.push(refused(&target, get_raw(target.as_bytes()), 400, "DIGEST_INVALID"));
        }
    }
    for id in sessions() {
        let target = format!("/v2/lab/app/blobs/uploads/{id}");
        cases.push(refused(&target, get_raw(target.as_bytes()), 404, "BLOB_UPLOAD_UNKNOWN"));
    }
    for target in routes() {
        cases.push(refused(&target, get_raw(target.as_bytes()), 404, "UNSUPPORTED"));
    }
    for target in
        ["/V2/", "/v1/", "//v2/", "/./v2/", "/etc/passwd", "/..%2f..%2fetc/passwd", "/v2;x/", "/%76%32x/"]
    {
        cases.push(otherwise(target, get_raw(target.as_bytes()), 404));
    }
    // Written otherwise, meant the same: documented successes.
    for target in ["/%76%32/", "/v2/?a=b", "/v2/#x", "http://evil.example/v2/", "/v2/lab%2Fapp/tags/list"] {
        cases.push(otherwise(target, get_raw(target.as_bytes()), 200));
    }
    // No request line at all.
    let longest = format!("/v2/{}", "a".repeat(70_000));
    cases.push(otherwise("a path of 70 kB", get_raw(longest.as_bytes()), 414));
    for target in [b"/v2/\xff/tags/list".as_slice(), b"/v2/a b/tags/list", b"/v2/a\0/tags/list", b"", b"v2/"]
    {
        cases.push(otherwise(String::from_utf8_lossy(target), get_raw(target), 400));
    }
    cases
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "..",
        "../..",
        "a/../b",
        ".",
        "./a",
        "a/.",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a-",
        "_a",
        "a_",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "a-_b",
        "A",
        "a/B",
        "%C3%A4",
        "%00",
        "a%00b",
        "%2e%2e",
        "%2E%2E%2Fetc",
        "a%2F..%2Fb",
        "a%2F%2Fb",
        "a%0d%0aX-Injected:%201",
        "%0a",
        "%ff",
        "%c0%ae%c0%ae",
        "a%",
        "a%2",
        "a%zz",
        "%252e%252e",
        "a%20b",
        "a+b",
        "a:5000/b",
        "a@b",
        "a%5Cb",
        "..%5C..",
        "_catalog",
        "_uploads",
        "a/_layers",
        "a/_manifests/tags",
        "a;b",
        "~",
        "*",
        "a'b",
        "$%7Bjndi:ldap%7D",
        "%E2%80%AEa",
        "%F0%9F%98%80",
        "a,b",
        "a=b",
        "ü",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("a".repeat(256));
    names.push("a/".repeat(127) + "abc");
    names.push("a".repeat(30_000));
    names.push("/".repeat(30_000));
    names.push("%2F".repeat(10_000));
    names
}

fn references() -> Vec<(String, &'static str)> {
    let tags = [
        "..",
        ".",
        "-a",
        ".a",
        "a%20b",
        "%00",
        "a%00",
        "%F0%9F%98%80",
        "a%0d%0aX-Injected",
        "a+b",
        "%5C",
        "a$",
    ];
    let mut references: Vec<(String, &'static str)> =
        tags.iter().map(|tag| ((*tag).to_owned(), "TAG_INVALID")).collect();
    references.push(("a".repeat(129), "TAG_INVALID"));
    references.push(("a".repeat(60_000), "TAG_INVALID"));
    references.push(("%ff".to_owned(), "NAME_INVALID"));
    references
        .extend(digests().into_iter().filter(|text| text.contains(':')).map(|text| (text, "DIGEST_INVALID")));
    references
}

fn digests() -> Vec<String> {
    vec![
        ":".into(),
        "sha256:".into(),
        format!(":{HEX}"),
        format!("sha256:{}", &HEX[1..]),
        format!("sha256:{HEX}0"),
        format!("sha256:{}", HEX.to_uppercase()),
        format!("SHA256:{HEX}"),
        format!("sha256:{}", "g".repeat(64)),
        format!("sha256:{}", "%00".repeat(64)),
        format!("sha256:{}", "é".repeat(32)),
        format!("sha256::{HEX}"),
        format!("sha256:{HEX}:{HEX}"),
        format!("@sha256:{HEX}"),
        format!("sha512:{HEX}"),
        format!("sha384:{HEX}{}", &HEX[..32]),
        format!("sha256+b64:{HEX}"),
        format!("sha256:{HEX}%0d%0aX-Injected:%201"),
        format!("..%2F..%2F:{HEX}").replace("%2F", "%5C"),
        "md5:d41d8cd98f00b204e9800998ecf8427e".into(),
        format!("sha256:{}", "a".repeat(60_000)),
    ]
}

fn sessions() -> Vec<String> {
    [
        "1",
        "..",
        "%2e%2e",
        "%00",
        "6B3C9A93-AF5D-473F-A4CE-9710022185CD",
        "6b3c9a93af5d473fa4ce9710022185cd",
        "%7B6b3c9a93-af5d-473f-a4ce-9710022185cd%7D",
        "urn:uuid:6b3c9a93-af5d-473f-a4ce-9710022185cd",
        "6b3c9a93-af5d-473f-a4ce-9710022185c",
        "6b3c9a93-af5d-473f-a4ce-9710022185cd0",
        "------------------------------------",
        "6b3c9a93-af5d-473f-a4ce-9710022185cd",
        "00000000-0000-0000-0000-000000000000",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn routes() -> Vec<String> {
    let mut routes: Vec<String> = [
        "/v2/a",
        "/v2/a/b/c",
        "/v2/a/uploads/x",
        "/v2/%",
        "/v2//",
        "/v2/a/",
        "/v2/lab/app/manifests/",
        "/v2/lab/app/blobs/",
        "/v2/lab/app/tags",
        "/v2/lab/app/tags/list/x",
        "/v2/manifests/x",
        "/v2/_catalog/x",
        "/v2/../v2/",
        "/v2/.",
        "/v2/%2e%2e/%2e%2e/etc/passwd",
        "/v2/lab/app/blobs/uploads/..%2Fx",
        "/v2/lab/app/blobs/uploads/a/b",
        "/v2/lab/app/_manifests/tags",
        "/v2/lab/app/manifests/one//",
        "/v2/_catalog//",
    ]
    .map(str::to_owned)
    .to_vec();
    routes.push(format!("/v2/{}", "/".repeat(60_000)));
    routes.push(format!("/v2/{}", "%2f".repeat(20_000)));
    routes.push(format!("/v2/{}", "a/".repeat(30_000)));
    routes
}
