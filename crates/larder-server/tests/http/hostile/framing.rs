//! Requests whose frame is broken: lengths that lie, encodings that contradict each other, heads without end.
//! What is no HTTP request is answered by the protocol alone, without the registry's envelope.

use super::{Case, otherwise, refused};

fn patch_with(lines: &str, body: &str) -> Vec<u8> {
    let path = "/v2/lab/app/blobs/uploads/6b3c9a93-af5d-473f-a4ce-9710022185cd";
    format!("PATCH {path} HTTP/1.1\r\nHost: registry.lab\r\n{lines}\r\n\r\n{body}").into_bytes()
}

fn manifest_with(lines: &str, body: &str) -> Vec<u8> {
    format!("PUT /v2/lab/app/manifests/bad HTTP/1.1\r\nHost: registry.lab\r\n{lines}\r\n\r\n{body}")
        .into_bytes()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in ["abc", "-1", "+5", "5, 6", "18446744073709551616", "0x5", "5 5", "", "\u{661}"] {
        cases.push(otherwise(length, patch_with(&format!("Content-Length: {length}"), "hello"), 400));
    }
    let lines = [
        ("Content-Length: 5\r\nContent-Length: 6", "hello"),
        ("Transfer-Encoding: gzip", "hello"),
        ("Transfer-Encoding: identity", "hello"),
        ("Transfer-Encoding: xchunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, gzip", "5\r\nhello\r\n0\r\n\r\n"),
        ("X Y: z", ""),
        (": z", ""),
        ("X-A: a\0b", ""),
        ("X-A", ""),
        (" X-A: folded", ""),
        ("X-A: a\r\n folded: b", ""),
    ];
    for (line, body) in lines {
        cases.push(otherwise(line, patch_with(line, body), 400));
    }
    // Bodies that end early, or are no chunks. The manifest is read whole before it is judged.
    for (lines, body) in [
        ("Content-Length: 100", "{}"),
        ("Content-Length: 1", ""),
        ("Transfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "-1\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\nhello"),
        ("Transfer-Encoding: chunked", "ffffffffffffffff\r\nhello"),
        ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhel"),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked", "\r\n\r\n"),
    ] {
        let what = format!("{lines} {body}");
        cases.push(refused(what, manifest_with(lines, body), 400, "BLOB_UPLOAD_INVALID"));
    }
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000));
    let lines = "Transfer-Encoding: chunked";
    cases.push(refused("a long extension", manifest_with(lines, &extension), 400, "BLOB_UPLOAD_INVALID"));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X-Trailer: a\r\n".repeat(2000));
    cases.push(refused("2,000 trailers", manifest_with(lines, &trailers), 400, "BLOB_UPLOAD_INVALID"));
    // More is there than was announced: it is the next request, and no good one. One trailer is passed over.
    cases.push(refused(
        "too short",
        manifest_with("Content-Length: 2", "{}GARBAGE"),
        400,
        "MANIFEST_INVALID",
    ));
    let smuggled = "2\r\n{}\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n";
    cases.push(refused("trailers", manifest_with(lines, smuggled), 400, "MANIFEST_INVALID"));
    // Announced beyond what is taken.
    let claims = "Content-Length: 18446744073709551615";
    cases.push(otherwise("2^64-1 bytes", manifest_with(claims, "{}"), 431));
    let claims = "Content-Length: 9223372036854775807";
    cases.push(refused("2^63-1 bytes", manifest_with(claims, "{}"), 413, "MANIFEST_INVALID"));
    // Both: chunked counts, the length is dropped (RFC 9112 section 6.3), and nothing may follow on the connection.
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked";
    cases.push(refused("both", manifest_with(both, "2\r\n{}\r\n0\r\n\r\n"), 400, "MANIFEST_INVALID"));
    for (what, request, status) in [
        ("no version", "GET /v2/\r\n\r\n".to_owned(), 400),
        ("version 9.9", "GET /v2/ HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("version 2.0", "GET /v2/ HTTP/2.0\r\n\r\n".to_owned(), 400),
        ("a method that is none", "G@T /v2/ HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("nothing but lines", "\r\n\r\n\r\nx\r\n\r\n".to_owned(), 400),
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), 400),
        ("zeros", "\0\0\0\0\r\n\r\n".to_owned(), 400),
        ("a long method", format!("{} /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(8192)), 405),
        ("connect", "CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("options of all", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("no host and HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("one host twice", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("bare line feeds", "GET /v2/ HTTP/1.1\nHost: a\n\n".to_owned(), 200),
        ("101 headers", format!("GET /v2/ HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(101)), 431),
        ("a head of 1 MB", format!("GET /v2/ HTTP/1.1\r\nX-A: {}\r\n\r\n", "a".repeat(1 << 20)), 431),
        ("a head without end", format!("GET /v2/ HTTP/1.1\r\n{}", "X-A: b\r\n".repeat(90_000)), 431),
        (
            "a large head",
            format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(100 << 10)),
            200,
        ),
    ] {
        cases.push(otherwise(what, request, status));
    }
    cases
}
