//! A server whose every answer a test decides, and which remembers what it was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::{BlobStream, Upstream as _, UpstreamError};
use larder_oci::{Digest, Reference, RepoName};
use larder_upstream::{RemoteRegistry, Settings};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const IMAGE: &str = "library/nginx";
pub(crate) const BLOB: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection is closed.
    cut_after: Option<usize>,
    /// Bytes of the body after which nothing more comes.
    stall_after: Option<usize>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl Reply {
    pub(crate) fn new(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), cut_after: None, stall_after: None }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply { body: body.into(), ..Reply::new(200) }
    }

    pub(crate) fn manifest(body: &str) -> Reply {
        Reply::ok(body).with("content-type", MANIFEST_TYPE).with("docker-content-digest", BLOB)
    }

    pub(crate) fn challenge(value: impl Into<String>) -> Reply {
        Reply::new(401).with("www-authenticate", value)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(self, body: &str) -> Reply {
        Reply { body: body.into(), ..self }
    }

    pub(crate) fn cut_after(self, bytes: usize) -> Reply {
        Reply { cut_after: Some(bytes), ..self }
    }

    pub(crate) fn stall_after(self, bytes: usize) -> Reply {
        Reply { stall_after: Some(bytes), ..self }
    }
}

/// A server; it ends with the test's runtime.
pub(crate) struct Peer {
    scheme: &'static str,
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Peer {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Peer {
        Peer::start_at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn start_at(
        at: &str,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Peer {
        Peer::start_behind("http", at, answer, |stream| std::future::ready(Ok(stream))).await
    }

    /// One whose connections are opened in a way of their own, such as by a TLS handshake.
    pub(crate) async fn start_behind<S, O>(
        scheme: &'static str,
        at: &str,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> O + Send + 'static,
    ) -> Peer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        O: Future<Output = io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answer, known) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, known) = (Arc::clone(&answer), Arc::clone(&known));
                let opened = open(stream);
                tokio::spawn(async move {
                    if let Ok(stream) = opened.await {
                        serve(stream, &*answer, &known).await;
                    }
                });
            }
        });
        Peer { scheme, address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Request::line).collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        settings([self])
    }

    pub(crate) fn client(&self) -> Arc<RemoteRegistry> {
        RemoteRegistry::new(self.settings()).unwrap()
    }
}

pub(crate) fn settings<'a>(peers: impl IntoIterator<Item = &'a Peer>) -> Settings {
    settings_of(peers.into_iter().map(Peer::url))
}

pub(crate) fn settings_of(urls: impl IntoIterator<Item = String>) -> Settings {
    let mut settings = Settings::new("lab", urls.into_iter().map(|url| url.parse().unwrap()).collect());
    settings.connect_timeout = Duration::from_secs(2);
    settings.answer_timeout = Duration::from_secs(4);
    settings.stall_timeout = Duration::from_millis(300);
    settings
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(dyn Fn(&Request) -> Reply + Send + Sync),
    known: &Mutex<Vec<Request>>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read(&mut stream, &mut buffer).await else { return };
        known.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
        if !reply.headers.iter().any(|(name, _)| name == "content-length") {
            head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
        }
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        if request.method == "HEAD" {
            continue;
        }
        let end = reply.cut_after.or(reply.stall_after).unwrap_or(reply.body.len());
        if stream.write_all(&reply.body[..end]).await.is_err() || reply.cut_after.is_some() {
            return;
        }
        if reply.stall_after.is_some() {
            std::future::pending::<()>().await;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, target, headers, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while buffer.len() < length {
        stream.read_buf(buffer).await.ok()?;
    }
    request.body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
    Some(request)
}

pub(crate) fn repository() -> RepoName {
    IMAGE.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn blob() -> Digest {
    BLOB.parse().unwrap()
}

/// A manifest's bytes as text.
pub(crate) async fn manifest(client: &RemoteRegistry) -> Result<Option<String>, UpstreamError> {
    let fetched = client.manifest(&repository(), &tag("latest")).await?;
    Ok(fetched.map(|fetched| String::from_utf8(fetched.bytes.to_vec()).unwrap()))
}

/// A blob's bytes to their end, or up to a failure.
pub(crate) async fn drain(stream: &mut BlobStream) -> (Vec<u8>, Option<UpstreamError>) {
    let mut bytes = Vec::new();
    loop {
        match stream.chunks.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}
