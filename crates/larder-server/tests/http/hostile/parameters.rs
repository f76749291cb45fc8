//! Parameters of the query.

use super::{Case, otherwise, refused};
use crate::support::*;

pub(super) fn cases(upload: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "a".repeat(60_000);
    for n in
        ["-1", "abc", "1.5", "1e3", "%00", "%D9%A1", "18446744073709551616", "-0", "0x1", "1;2", "%ff", &long]
    {
        for path in ["/v2/_catalog", "/v2/lab/app/tags/list"] {
            let target = format!("{path}?n={n}");
            cases.push(refused(&target, get(&target).to_bytes(), 400, "PAGINATION_NUMBER_INVALID"));
        }
    }
    // A number all the same, or not looked at.
    for query in [
        "n=18446744073709551615",
        "n=5&n=abc",
        "n=%2B5",
        "last=%0d%0aX-Injected:%201",
        "last=%00",
        "last=%ff%fe",
        "last=../../../etc/passwd",
        "last='%20OR%201=1--",
        "last=%25&n=1",
        "%zz&=&&&;;=%00",
        "N=abc",
        "?????",
    ] {
        for path in ["/v2/_catalog", "/v2/lab/app/tags/list"] {
            let target = format!("{path}?{query}");
            cases.push(otherwise(&target, get(&target).to_bytes(), 200));
        }
    }
    cases.push(otherwise("a long last", get(format!("/v2/_catalog?last={long}")).to_bytes(), 200));
    for last in ["abc", "sha256:", "%00", "..", "sha256:%0d%0aX-Injected:%201"] {
        let target = format!("/v2/lab/app/referrers/{LAYER_DIGEST}?last={last}");
        cases.push(refused(&target, get(&target).to_bytes(), 400, "DIGEST_INVALID"));
    }
    for kind in ["%0d%0aX-Injected:%201", "%00", "'--", "%ff", &long] {
        let target = format!("/v2/lab/app/referrers/{LAYER_DIGEST}?artifactType={kind}");
        cases.push(otherwise(&target, get(&target).to_bytes(), 200));
    }
    for digest in
        ["", "abc", "sha256:", "..", "%00", "sha256:..%2F..%2F", "md5:0", "%0d%0aX-Injected:%201", &long]
    {
        let finish = format!("{upload}?digest={digest}");
        cases.push(refused(&finish, put(&finish, "x").to_bytes(), 400, "DIGEST_INVALID"));
        let at_once = format!("/v2/lab/app/blobs/uploads/?digest={digest}");
        cases.push(refused(&at_once, post(&at_once, "x").to_bytes(), 400, "DIGEST_INVALID"));
    }
    for algorithm in ["", "md5", "SHA256", "%00", "..", &long] {
        let target = format!("/v2/lab/app/blobs/uploads/?digest-algorithm={algorithm}");
        cases.push(refused(&target, post(&target, "").to_bytes(), 400, "DIGEST_INVALID"));
    }
    // A mount that can't be becomes an upload.
    for query in [
        "mount=..&from=..".to_owned(),
        "mount=%00&from=%00".to_owned(),
        format!("mount={LAYER_DIGEST}&from=..%2F..%2F..%2Fetc"),
        format!("mount={LAYER_DIGEST}&from=a%0d%0aX-Injected:%201"),
        format!("mount={LAYER_DIGEST}&from={long}"),
        format!("mount={long}"),
        "mount=%ff&from=%ff".to_owned(),
    ] {
        let target = format!("/v2/lab/app/blobs/uploads/?{query}");
        cases.push(otherwise(&target, post(&target, "").to_bytes(), 202));
    }
    for tag in ["", "..", "-a", "%00", "a%0d%0aX-Injected:%201", "a%2Fb", "%ff", &"a".repeat(129)] {
        let target = format!("/v2/lab/app/manifests/{}?tag={tag}", digest_of(image(OCI_MANIFEST)));
        let request = put(&target, image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
        cases.push(refused(&target, request.to_bytes(), 400, "TAG_INVALID"));
    }
    let thousand = vec!["tag=a"; 1000].join("&");
    let target = format!("/v2/lab/app/manifests/{}?{thousand}", digest_of(image(OCI_MANIFEST)));
    cases.push(refused("a thousand tags", put(target, image(OCI_MANIFEST)).to_bytes(), 414, "TAG_INVALID"));
    cases
}
