//! Blobs that the kernel sends from their files on plain connections: what clients see is the same.

use std::os::unix::fs::FileExt as _;

use crate::support::*;

/// Longer than three of the pieces that are sent at once, and not a multiple of anything.
const LENGTH: usize = (3 << 20) + 4321;

async fn with_large_blob(server: &Server) -> (String, Vec<u8>) {
    with_blob_of(server, LENGTH).await
}

async fn with_blob_of(server: &Server, length: usize) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = (0..length as u32).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect();
    let digest = server.push_blob("lab/app", &bytes).await;
    (format!("/v2/lab/app/blobs/{digest}"), bytes)
}

#[tokio::test]
async fn whole_and_in_part_on_one_connection() {
    let server = Server::open().await;
    let (path, bytes) = with_large_blob(&server).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        let whole = client.ask(&get(path.as_str())).await;
        assert_eq!(whole.header("Content-Length"), Some(LENGTH.to_string().as_str()));
        assert!(whole.body == bytes, "other bytes than were pushed");
        // Around the end of the first piece, and from there to the end.
        for (range, expected) in [
            ("bytes=1048575-1048576", &bytes[1_048_575..1_048_577]),
            ("bytes=1000000-1200000", &bytes[1_000_000..=1_200_000]),
            ("bytes=1048577-", &bytes[1_048_577..]),
        ] {
            let part = client.ask(&get(path.as_str()).with("Range", range)).await;
            assert_eq!(part.status, 206, "{range}");
            assert!(part.body == expected, "{range}: other bytes than were pushed");
        }
        let headed = client.ask(&head(path.as_str())).await;
        assert_eq!(headed.header("Content-Length"), Some(LENGTH.to_string().as_str()));
    }
}

/// Large parts, which the kernel sends, between small ones and headers, which are written.
#[tokio::test]
async fn several_ranges_of_all_sizes() {
    let server = Server::open().await;
    let (path, bytes) = with_large_blob(&server).await;
    let ranges = [(0, 9), (100_000, 2_400_000), (7, 7), (40_000, 90_000), (2_500_000, LENGTH - 1)];
    let asked: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let reply = server.ask(get(path.as_str()).with("Range", format!("bytes={}", asked.join(",")))).await;
    assert_eq!(reply.status, 206);
    let boundary = reply.header("Content-Type").unwrap().split_once("boundary=").unwrap().1.to_owned();
    let mut expected = Vec::new();
    for (at, (first, last)) in ranges.iter().enumerate() {
        let start = if at == 0 { "" } else { "\r\n" };
        expected.extend(
            format!(
                "{start}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {first}-{last}/{LENGTH}\r\n\r\n"
            )
            .bytes(),
        );
        expected.extend(&bytes[*first..=*last]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").bytes());
    assert!(reply.body == expected, "other bytes than were asked for");
}

/// Requests that are sent before the first is answered are answered in order.
#[tokio::test]
async fn requests_in_a_row() {
    let server = Server::open().await;
    let (path, bytes) = with_large_blob(&server).await;
    let mut client = server.connect().await;
    let requests = [get(path.as_str()), head(path.as_str()), get("/v2/"), get(path.as_str())];
    client.send(requests.iter().flat_map(Request::to_bytes).collect::<Vec<u8>>()).await;
    for request in &requests {
        let reply = client.reply(request.is_head()).await;
        assert_eq!(reply.status, 200);
        assert!(request.is_head() || reply.body == b"{}" || reply.body == bytes);
    }
}

/// The disk has less than the blob: the client must not take what it got for the whole.
#[tokio::test]
async fn a_file_that_was_cut_short_cuts_the_connection() {
    // More than the sockets' buffers hold, so that much of it is still to be sent when the file shrinks.
    const LENGTH: usize = 32 << 20;
    let server = Server::open().await;
    let (path, bytes) = with_blob_of(&server, LENGTH).await;
    let mut client = server.connect().await;
    // The answer's head promises the whole length; then the file shrinks under the download.
    client.send(get(path.as_str()).to_bytes()).await;
    client.wait_for(1).await;
    let digest = path.rsplit_once('/').unwrap().1.parse().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(server.blob_path(&digest)).unwrap();
    file.set_len(0).unwrap();
    let (received, _) = client.rest().await;
    let end_of_head = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = &received[end_of_head..];
    assert!(body.len() < LENGTH, "it was cut");
    assert!(bytes.starts_with(body), "what came before the cut is the blob's");
    // The next client of the server is served.
    file.set_len(LENGTH as u64).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    assert!(server.ask(get(path.as_str())).await.body == bytes);
}

/// Who leaves in the middle, or reads nothing, holds up nobody.
#[tokio::test]
async fn a_client_that_takes_nothing_or_leaves() {
    let server = Server::open().await;
    let (path, bytes) = with_large_blob(&server).await;
    let mut idle = server.connect().await;
    idle.send(get(path.as_str()).to_bytes()).await;
    idle.wait_for(1).await;
    let mut leaving = server.connect().await;
    leaving.send(get(path.as_str()).to_bytes()).await;
    leaving.wait_for(1).await;
    drop(leaving);
    assert!(server.ask(get(path.as_str())).await.body == bytes);
    assert!(idle.reply(false).await.body == bytes, "and when it reads at last, everything is there");
}
