//! Manifests that are none, or too much.

use super::{Case, otherwise, refused};
use crate::support::*;

fn push(manifest: impl Into<Vec<u8>>) -> Vec<u8> {
    let target =
        "/v2/lab/app/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000";
    // By a digest that nothing has: what is read well enough to be compared is refused for that, and not stored.
    put(target, manifest).with("Content-Type", OCI_MANIFEST).to_bytes()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let good = image(OCI_MANIFEST);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let field = |text: String| good.replacen('{', &format!("{{\"x\":{text},"), 1);
    let unreadable: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("not JSON", b"<html>".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a number", b"2".to_vec()),
        ("cut", good.as_bytes()[..100].to_vec()),
        ("two documents", [good.as_bytes(), good.as_bytes()].concat()),
        ("deep arrays", deep("[", "]").into_bytes()),
        ("deep objects", deep("{\"a\":", "}").into_bytes()),
        ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("no UTF-8", [good.as_bytes(), b"\xff"].concat()),
        ("a zero in a type", with("vnd.oci.image.config", "\\u0000").into_bytes()),
        ("zeros", vec![0; 1000]),
        (
            "a key twice",
            with("\"schemaVersion\":2,", "\"schemaVersion\":2,\"schemaVersion\":2,").into_bytes(),
        ),
        ("two configs", with("\"config\":", "\"config\":null,\"config\":").into_bytes()),
        ("a negative size", with("\"size\":11", "\"size\":-11").into_bytes()),
        ("a fractional size", with("\"size\":11", "\"size\":11.5").into_bytes()),
        ("a size as text", with("\"size\":11", "\"size\":\"11\"").into_bytes()),
        ("a size of 2^64", with("\"size\":11", "\"size\":18446744073709551616").into_bytes()),
        ("no size", with(",\"size\":11", "").into_bytes()),
        ("version as text", with("\"schemaVersion\":2", "\"schemaVersion\":\"2\"").into_bytes()),
        ("version 2.0", with("\"schemaVersion\":2", "\"schemaVersion\":2.0").into_bytes()),
        ("version -2", with("\"schemaVersion\":2", "\"schemaVersion\":-2").into_bytes()),
        ("version 3", with("\"schemaVersion\":2", "\"schemaVersion\":3").into_bytes()),
        ("no version", with("\"schemaVersion\":2,", "").into_bytes()),
        ("a type that is a number", with(&format!("\"{OCI_MANIFEST}\""), "7").into_bytes()),
        ("a type that splits", with(OCI_MANIFEST, "a/b\\r\\nX-Injected: 1").into_bytes()),
        ("another type", with(OCI_MANIFEST, "text/html").into_bytes()),
        ("no config", with("\"config\"", "\"konfig\"").into_bytes()),
        (
            "config null",
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":null}}"#).into_bytes(),
        ),
        (
            "layers that are no list",
            with("\"layers\":[", "\"y\":[").replacen('{', "{\"layers\":{},", 1).into_bytes(),
        ),
        ("a layer that is none", with("\"layers\":[", "\"layers\":[{},").into_bytes()),
        (
            "100,000 layers that are none",
            with("\"layers\":[", &format!("\"layers\":[{}", "{},".repeat(100_000))).into_bytes(),
        ),
        ("a digest that climbs", with(LAYER_DIGEST, "sha256:../../../../etc/passwd").into_bytes()),
        ("an upper-case digest", with(LAYER_DIGEST, &LAYER_DIGEST.to_uppercase()).into_bytes()),
        (
            "a digest of another algorithm",
            with(LAYER_DIGEST, "md5:d41d8cd98f00b204e9800998ecf8427e").into_bytes(),
        ),
        ("an annotation that is no text", good.replacen('{', "{\"annotations\":{\"a\":1},", 1).into_bytes()),
        ("annotations that are a list", good.replacen('{', "{\"annotations\":[],", 1).into_bytes()),
        ("a subject that is none", good.replacen('{', "{\"subject\":{},", 1).into_bytes()),
        ("a lone surrogate", good.replacen('{', "{\"annotations\":{\"a\":\"\\ud800\"},", 1).into_bytes()),
        ("an index in an image", good.replacen('{', "{\"manifests\":[],", 1).into_bytes()),
        ("an index without manifests", with(OCI_MANIFEST, OCI_INDEX).into_bytes()),
    ];
    for (what, manifest) in unreadable {
        cases.push(refused(what, push(manifest), 400, "MANIFEST_INVALID"));
    }
    // Read, however odd, and refused for its digest only.
    for (what, manifest) in [
        ("good", good.clone()),
        ("a size of 2^64-1", with("\"size\":11", "\"size\":18446744073709551615")),
        ("100,000 numbers", field(format!("[{}1]", "1,".repeat(100_000)))),
        (
            "layers null",
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"a/b","digest":"{CONFIG_DIGEST}","size":2}},"layers":null}}"#
            ),
        ),
        // What isn't looked at is skipped without a stack, so its depth costs nothing.
        ("a deep unknown field", field(deep("[", "]"))),
        ("a number without end", field("9".repeat(400))),
        ("a number out of range", field("1e999999".into())),
        ("an unknown key twice", good.replacen('{', "{\"x\":1,\"x\":2,", 1)),
        ("a zero in an annotation", good.replacen('{', "{\"annotations\":{\"a\\u0000\":\"\\u0000\"},", 1)),
    ] {
        cases.push(refused(what, push(manifest), 400, "DIGEST_INVALID"));
    }
    let capitals = good.replacen('{', "{\"Config\":1,\"MANIFESTS\":[],", 1);
    cases.push(refused("keys in capitals", push(capitals), 400, "MANIFEST_INVALID"));
    // As many layers as fit, all missing: looked up and named, some of them.
    let layers: Vec<String> = (0..20_000)
        .map(|at| format!(r#"{{"mediaType":"a/b","digest":"sha256:{at:064x}","size":1}}"#))
        .collect();
    let many = with("\"layers\":[", &format!("\"layers\":[{},", layers.join(",")));
    let request = put("/v2/lab/app/manifests/bad", many).with("Content-Type", OCI_MANIFEST);
    cases.push(refused("20,000 missing layers", request.to_bytes(), 400, "MANIFEST_BLOB_UNKNOWN"));
    // Blobs are bytes: whatever they hold is taken, and no type is asked for.
    let target = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of([0; 1000]));
    cases.push(otherwise(
        "zeros as a blob",
        post(target, [0; 1000]).with("Content-Type", "text/html").to_bytes(),
        201,
    ));
    // curl's -d says that it is a form.
    let target = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of("a=b"));
    let form = post(target, "a=b").with("Content-Type", "application/x-www-form-urlencoded");
    cases.push(otherwise("a blob that says it is a form", form.to_bytes(), 201));
    cases
}
