use std::sync::{Arc, Mutex};

use larder_notify::{EndpointSettings, Generation, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// An endpoint that takes everything, and remembers it.
pub(crate) struct Webhook {
    url: String,
    taken: Arc<Mutex<Vec<Message>>>,
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Message {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Webhook {
    pub(crate) async fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let messages = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&messages)));
            }
        });
        Webhook { url, taken }
    }

    /// Notifications for this endpoint alone.
    pub(crate) fn settings(&self, generation: Generation, include_references: bool) -> Settings {
        let endpoint = EndpointSettings {
            name: "hook".into(),
            url: self.url.clone(),
            headers: http::HeaderMap::new(),
            timeout: std::time::Duration::from_secs(10),
            threshold: 10,
            backoff: std::time::Duration::from_millis(10),
            ignored_media_types: Vec::new(),
            ignored_actions: Vec::new(),
        };
        Settings {
            endpoints: vec![endpoint],
            generation,
            include_references,
            source: "lab:5000".into(),
            queue_events: 1000,
            queue_bytes: 1 << 20,
        }
    }

    /// Everything that came, once there is so much.
    pub(crate) async fn messages(&self, count: usize) -> Vec<Message> {
        eventually(|| async { self.taken.lock().unwrap().len() >= count }).await;
        self.taken.lock().unwrap().clone()
    }
}

async fn take(stream: TcpStream, messages: Arc<Mutex<Vec<Message>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        messages.lock().unwrap().push(Message { head, body: String::from_utf8(body).unwrap() });
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }
}
