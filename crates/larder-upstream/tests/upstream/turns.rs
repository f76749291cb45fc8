use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::Upstream as _;
use larder_upstream::RemoteRegistry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::support::*;

fn client(peer: &Peer, concurrency: usize) -> Arc<RemoteRegistry> {
    let mut settings = peer.settings();
    settings.concurrency = concurrency;
    RemoteRegistry::new(settings).unwrap()
}

#[tokio::test]
async fn one_download_more_than_may_be_out_waits_until_another_ends_and_questions_do_not() {
    let peer = Peer::start(|request| {
        let is_download = request.method == "GET" && request.target.contains("/blobs/");
        if is_download { Reply::ok("0123456789").stall_after(0) } else { Reply::manifest("{}") }
    })
    .await;
    let client = client(&peer, 2);
    let is_download = |line: &&String| line.starts_with("GET") && line.contains("/blobs/");
    let downloads = || peer.lines().iter().filter(is_download).count();
    let first = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
    let second = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.blob(&repository(), &blob(), 0).await.unwrap().unwrap() }
    });
    // Every one of these is a round trip, in which a third download would have been seen.
    for _ in 0..20 {
        manifest(&client).await.unwrap().unwrap();
        client.head_manifest(&repository(), &tag("latest")).await.unwrap().unwrap();
        client.blob_size(&repository(), &blob()).await.unwrap().unwrap();
    }
    assert!(!waiting.is_finished());
    assert_eq!(downloads(), 2);
    drop(first);
    let third = waiting.await.unwrap();
    assert_eq!(downloads(), 3);
    drop((second, third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_downloads_are_out_than_the_operator_allows() {
    let peer = Peer::start(|_| Reply::ok("0123456789")).await;
    let client = client(&peer, 3);
    let (out, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all = (0..40).map(|_| {
        let (client, out, most) = (Arc::clone(&client), Arc::clone(&out), Arc::clone(&most));
        tokio::spawn(async move {
            let mut stream = client.blob(&repository(), &blob(), 0).await.unwrap().unwrap();
            most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            assert_eq!(drain(&mut stream).await.0, b"0123456789");
            out.fetch_sub(1, Ordering::SeqCst);
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(peer.asked().len(), 40);
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn questions_have_a_bound_of_their_own() {
    // Tells of each request, and answers one for each permit.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut asked) = mpsc::unbounded_channel();
    let answers = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&answers);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (tell, permits) = (tell.clone(), Arc::clone(&permits));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        tell.send(()).unwrap();
                        permits.acquire().await.unwrap().forget();
                        stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                    }
                }
            });
        }
    });
    let mut settings = settings_of([url]);
    settings.concurrency = 1;
    settings.answer_timeout = Duration::from_secs(60);
    let client = RemoteRegistry::new(settings).unwrap();
    let questions: Vec<_> = (0..70)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { manifest(&client).await.unwrap().unwrap() })
        })
        .collect();
    for _ in 0..64 {
        asked.recv().await.unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_millis(200), asked.recv()).await.is_err());
    // Each answer lets the next one ask.
    answers.add_permits(1);
    asked.recv().await.unwrap();
    answers.add_permits(69);
    for question in questions {
        assert_eq!(question.await.unwrap(), "{}");
    }
}
