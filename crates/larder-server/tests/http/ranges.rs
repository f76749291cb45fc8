//! Ranges: resumed downloads, lazy pulling, zstd:chunked.

use crate::support::*;

#[tokio::test]
async fn one_range_of_a_blob() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let path = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    let satisfiable = [
        ("bytes=0-0", "bytes 0-0/11", "h"),
        ("bytes=0-1", "bytes 0-1/11", "he"),
        ("bytes=6-", "bytes 6-10/11", "world"),
        ("bytes=0-", "bytes 0-10/11", "hello world"),
        ("bytes=-5", "bytes 6-10/11", "world"),
        ("bytes=-100", "bytes 0-10/11", "hello world"),
        ("bytes=10-99999999999999999999999", "bytes 10-10/11", "d"),
        ("bytes=4-6", "bytes 4-6/11", "o w"),
        // One of two lies outside: the other is answered alone.
        ("bytes=0-1,50-60", "bytes 0-1/11", "he"),
    ];
    for (range, content_range, body) in satisfiable {
        let reply = server.ask(get(path.as_str()).with("Range", range)).await;
        let expected = format!(
            "HTTP/1.1 206 Partial Content\nContent-Length: {}\nAccept-Ranges: bytes\n\
             Cache-Control: max-age=31536000\nDocker-Content-Digest: {LAYER_DIGEST}\n\
             Etag: \"{LAYER_DIGEST}\"\nContent-Type: application/octet-stream\n\
             Content-Range: {content_range}\nDocker-Distribution-Api-Version: registry/2.0",
            body.len()
        );
        assert_eq!(reply.undated(), expected, "{range}");
        assert_eq!(reply.text(), body, "{range}");
        let headed = server.ask(head(path.as_str()).with("Range", range)).await;
        assert_eq!(headed.undated(), expected, "HEAD {range}");
    }
}

#[tokio::test]
async fn what_can_not_be_satisfied_says_so_and_leaves_the_connection_usable() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    let path = format!("/v2/lab/app/blobs/{LAYER_DIGEST}");
    let mut client = server.connect().await;
    for range in
        ["bytes=11-", "bytes=11-20,30-40", "bytes=5-2", "bytes=-0", "abc", "items=0-1", "bytes=", "bytes=a-b"]
    {
        let reply = client.ask(&get(path.as_str()).with("Range", range)).await;
        let body = "{\"errors\":[{\"code\":\"RANGE_INVALID\",\"message\":\"invalid content range\",\
            \"detail\":\"the content has 11 bytes; ask for bytes=0-10\"}]}\n";
        assert_eq!(
            reply.undated(),
            format!(
                "HTTP/1.1 416 Range Not Satisfiable\nContent-Type: application/json; charset=utf-8\n\
                 Content-Length: {}\nContent-Range: bytes */11\nDocker-Distribution-Api-Version: registry/2.0",
                body.len()
            ),
            "{range}"
        );
        assert_eq!(reply.text(), body);
        // The trap of registry:2: its 416 has the blob's length and no body, and the next answer never comes.
        assert_eq!(client.ask(&get(path.as_str())).await.body, LAYER, "after {range}");
    }
}

/// Go answers this 200, and containerd asks for `bytes=0-` without knowing the size.
#[tokio::test]
async fn an_empty_blob_is_whole_whatever_range_is_asked_of_it() {
    let server = Server::open().await;
    let digest = server.push_blob("lab/app", b"").await;
    for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
        let reply = server.ask(get(format!("/v2/lab/app/blobs/{digest}")).with("Range", range)).await;
        assert_eq!((reply.status, reply.header("Content-Length")), (200, Some("0")), "{range}");
    }
}

/// containerd's parallel fetch asks for ranges of manifests too.
#[tokio::test]
async fn ranges_of_manifests() {
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    let whole = image(OCI_MANIFEST);
    let size = whole.len();
    for (range, from, to) in [("bytes=0-", 0, size), ("bytes=10-19", 10, 20), ("bytes=-7", size - 7, size)] {
        let reply = server.ask(get("/v2/lab/app/manifests/one").with("Range", range)).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("Content-Range"), Some(format!("bytes {from}-{}/{size}", to - 1).as_str()));
        assert_eq!(reply.header("Content-Type"), Some(OCI_MANIFEST));
        assert_eq!(reply.header("Docker-Content-Digest"), Some(digest_of(&whole).as_str()));
        assert_eq!(reply.text(), whole[from..to]);
    }
    let reply = server.ask(get("/v2/lab/app/manifests/one").with("Range", format!("bytes={size}-"))).await;
    assert_eq!(reply.status, 416);
    assert_eq!(reply.header("Content-Range"), Some(format!("bytes */{size}").as_str()));
}

#[tokio::test]
async fn several_ranges_are_several_parts() {
    let server = Server::open().await;
    server.push_blobs("lab/app").await;
    // Out of order and overlapping: neither sorted nor merged.
    let request = get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}")).with("Range", "bytes=6-8, 0-1, 1-2,20-30");
    let reply = server.ask(request).await;
    assert_eq!(reply.status, 206);
    let boundary = boundary(&reply);
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 6-8/11\r\n\r\nwor\r\n\
         --{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/11\r\n\r\nhe\r\n\
         --{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 1-2/11\r\n\r\nel\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("Content-Range"), None);
    assert_eq!(reply.header("Accept-Ranges"), Some("bytes"));
}

fn boundary(reply: &Reply) -> String {
    let kind = reply.header("Content-Type").unwrap();
    kind.strip_prefix("multipart/byteranges; boundary=").expect("byte ranges").to_owned()
}

/// containers/image counts the parts of its 1,024 ranges.
#[tokio::test]
async fn a_thousand_ranges_are_a_thousand_parts_in_order() {
    let server = Server::open().await;
    let bytes: Vec<u8> = (0..1_100_000_000_u64 / 1000).map(|at| (at % 251) as u8).collect();
    let digest = server.push_blob("lab/app", &bytes).await;
    let path = format!("/v2/lab/app/blobs/{digest}");
    // From the end to the front, so that sorting would be seen; ten digits a number make a header of 25 KB.
    let ranges: Vec<(usize, usize)> = (0..1024).rev().map(|at| (at * 1000, at * 1000 + at % 90)).collect();
    let list: Vec<String> = ranges.iter().map(|(first, last)| format!("{first:011}-{last:011}")).collect();
    let header = format!("bytes={}", list.join(","));
    assert!(header.len() > 24_000, "{}", header.len());
    let reply = server.ask(get(path.as_str()).with("Range", &header)).await;
    assert_eq!(reply.status, 206);
    let boundary = boundary(&reply);
    let mut expected = Vec::new();
    for (at, (first, last)) in ranges.iter().enumerate() {
        expected.extend(if at == 0 { b"".as_slice() } else { b"\r\n" });
        expected.extend(
            format!(
                "--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {first}-{last}/1100000\r\n\r\n"
            )
            .bytes(),
        );
        expected.extend(&bytes[*first..=*last]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").bytes());
    assert!(reply.body == expected, "the parts differ");
    // One more is answered with everything, which containers/image takes as well.
    let reply = server.ask(get(path.as_str()).with("Range", format!("{header},0-0"))).await;
    assert_eq!((reply.status, reply.body.len()), (200, 1_100_000));
    // And so is a list that asks for more than there is.
    let reply = server.ask(get(path.as_str()).with("Range", "bytes=0-,0-,0-")).await;
    assert_eq!((reply.status, reply.body.len()), (200, 1_100_000));
}

/// docker's resume after a cut, and containerd's open-ended ranges that it breaks off.
#[tokio::test]
async fn a_client_that_breaks_off_can_go_on_from_where_it_was() {
    let server = Server::open().await;
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|at| (at % 253) as u8).collect();
    let digest = server.push_blob("lab/app", &bytes).await;
    let request = get(format!("/v2/lab/app/blobs/{digest}"));
    let mut client = server.connect().await;
    client.send(request.clone().with("Range", "bytes=0-").to_bytes()).await;
    client.wait_for(1_000_000).await;
    drop(client);
    let reply = server.ask(request.with("Range", "bytes=3000000-")).await;
    assert_eq!(reply.status, 206);
    assert_eq!(reply.header("Content-Range"), Some("bytes 3000000-7999999/8000000"));
    assert!(reply.body == bytes[3_000_000..]);
}
