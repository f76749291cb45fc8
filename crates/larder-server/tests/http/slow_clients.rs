//! Clients that take their time, and too many of them: the others are served all the same.

use std::time::Duration;

use larder_server::{Limits, Options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;

use crate::support::*;

/// A third of them each: slow heads, slow bodies, slow readers.
const SLOW_CLIENTS: usize = 999;

/// Each client is an open file at both of its ends, and each reader's blob is one.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// What all slow clients together may cost, their own ends and the other tests of this process included: a quarter of a
/// megabyte for each, while what they ask for is eight.
const MOST_BYTES: u64 = 256 << 20;

/// What this process has in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A connection over which the kernel takes little that the client hasn't read.
async fn narrow(server: &Server) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    Client::over(within(socket.connect(server.address)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_clients_hurt_nobody() {
    allow_many_files();
    let server = Server::open().await;
    let large = server.push_blob("lab/app", vec![7; 8 << 20]).await;
    server.push_image("lab/app", "one").await;
    let before = resident_bytes();
    let mut slow = Vec::new();
    for at in 0..SLOW_CLIENTS {
        let mut client = narrow(&server).await;
        match at % 3 {
            0 => client.send("GET /v2/lab/app/manifests/one HTTP/1.1\r\nHost: x\r\nUser-Ag").await,
            1 => {
                let location = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
                let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
                client.send(format!("{head}a")).await;
            }
            _ => {
                client.send(get(format!("/v2/lab/app/blobs/{large}")).to_bytes()).await;
                // It has begun, and is read no further.
                client.wait_for(1).await;
            }
        }
        slow.push(client);
    }
    // Everybody else: new connections and an old one, reading and writing.
    let mut answered = 0;
    let mut steady = server.connect().await;
    for at in 0..50 {
        answered += usize::from(steady.ask(&get("/v2/lab/app/manifests/one")).await.status == 200);
        answered +=
            usize::from(server.ask(get(format!("/v2/lab/app/blobs/{LAYER_DIGEST}"))).await.body == LAYER);
        server.push_blob("lab/app", format!("layer {at}")).await;
        answered += 1;
    }
    assert_eq!(answered, 150);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MOST_BYTES, "a thousand slow clients cost {} MiB", grown >> 20);
    // The slow ones have lost nothing: each third goes on where it was.
    let mut head = slow.remove(0);
    head.send("ent: y\r\n\r\n").await;
    assert_eq!(head.reply(false).await.status, 200);
    let mut reader = slow.remove(1);
    assert_eq!(reader.reply(false).await.body.len(), 8 << 20);
    let mut body = slow.remove(0);
    body.send(vec![b'a'; 999_999]).await;
    assert_eq!(body.reply(false).await.range(), "0-999999");
}

/// Manifests of megabytes come from files as blobs do: whoever doesn't read them holds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_a_large_manifest_hold_no_memory() {
    allow_many_files();
    let server = Server::open().await;
    server.push_image("lab/app", "one").await;
    let note = format!("{{\"note\":\"{}\",", "x".repeat(3 << 20));
    let large = image(OCI_MANIFEST).replacen('{', &note, 1);
    server.push_manifest("lab/app", "large", &large).await;
    let before = resident_bytes();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = narrow(&server).await;
        client.send(get("/v2/lab/app/manifests/large").to_bytes()).await;
        client.wait_for(1).await;
        slow.push(client);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MOST_BYTES, "200 slow readers of 3 MiB cost {} MiB", grown >> 20);
    assert_eq!(slow.remove(0).reply(false).await.text(), large);
    let part = server.ask(get("/v2/lab/app/manifests/large").with("Range", "bytes=-100")).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &large.as_bytes()[large.len() - 100..]));
}

/// What lies in memory until it is taken is bounded for one address and for all, and what is short is answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_that_nobody_reads_hold_a_bounded_amount() {
    allow_many_files();
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    for at in 0..8 {
        let note = format!("{at}{}", "x".repeat(400 << 10));
        let manifest = referrer(&subject, "application/x", &note);
        server.push_manifest("lab/app", &digest_of(&manifest), &manifest).await;
    }
    let list = get(format!("/v2/lab/app/referrers/{subject}"));
    let length = server.ask(list.clone()).await.body.len();
    assert!(length > 3 << 20, "{length}");
    let before = resident_bytes();
    let mut slow = Vec::new();
    for _ in 0..120 {
        let mut client = narrow(&server).await;
        client.send(list.to_bytes()).await;
        client.wait_for(1).await;
        slow.push(client);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MOST_BYTES, "120 slow readers of {length} bytes cost {} MiB", grown >> 20);
    let refused = server.ask(list.clone()).await;
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("10")), "{}", refused.text());
    assert_eq!(server.ask(get("/v2/lab/app/manifests/one")).await.status, 200);
    assert_eq!(slow.remove(0).reply(false).await.body.len(), length);
    drop(slow);
    eventually(async || server.ask(list.clone()).await.status == 200).await;
}

async fn with_limits(limits: Limits) -> Server {
    let options = Options { limits, ..Setup::default().options };
    Setup { options, ..Setup::default() }.start().await
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let server = with_limits(Limits { connections_per_address: 2, ..Limits::default() }).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(&get("/v2/")).await.status, 200);
    }
    let mut third = server.connect().await;
    assert!(third.is_closed().await);
    assert_eq!(first.ask(&get("/v2/")).await.status, 200);
    drop(second);
    eventually(async || {
        let mut client = server.connect().await;
        client.send_what_is_taken(&get("/v2/").to_bytes()).await;
        client.rest_has("200 OK").await
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let server = with_limits(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    assert_eq!(first.ask(&get("/v2/")).await.status, 200);
    let mut second = server.connect().await;
    second.send(get("/v2/").to_bytes()).await;
    assert_eq!(first.ask(&get("/v2/")).await.status, 200);
    drop(first);
    assert_eq!(second.reply(false).await.status, 200);
}

#[tokio::test]
async fn the_times_and_sizes_are_the_configured_ones() {
    let limits = Limits {
        idle: Duration::from_secs(5),
        silence: Duration::from_secs(7),
        head_bytes: Limits::LEAST_HEAD_BYTES,
        ..Limits::default()
    };
    let server = with_limits(limits).await;
    let mut client = server.connect().await;
    client.send(get("/v2/").with("X-Long", "x".repeat(20_000)).to_bytes()).await;
    assert_eq!(client.reply(false).await.status, 431);
    let mut idle = server.connect().await;
    assert_eq!(idle.ask(&get("/v2/")).await.status, 200);
    let location = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
    let mut silent = server.connect().await;
    silent
        .send(format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    silent.wait_for(b"HTTP/1.1 100 Continue\r\n\r\n".len()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert!(idle.is_closed().await);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    let reply = silent.reply(false).await;
    assert_eq!(reply.refusal(), (408, "BLOB_UPLOAD_INVALID".into()));
    assert!(reply.text().contains("nothing was sent for 7 seconds"), "{}", reply.text());
}
