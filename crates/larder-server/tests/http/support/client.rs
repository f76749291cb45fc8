//! Raw HTTP/1.1: what is sent is exactly what the test says, what came back is seen as it came.

use std::pin::Pin;

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::within;

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A connection.
pub(crate) struct Client {
    stream: Pin<Box<dyn Stream>>,
    received: Vec<u8>,
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunk: Option<usize>,
}

/// A response as it came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Status line and headers, to the last byte before the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

fn request(method: &'static str, target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request { method, target: target.into(), headers: Vec::new(), body: body.into(), chunk: None }
}

pub(crate) fn get(target: impl Into<String>) -> Request {
    request("GET", target, "")
}

pub(crate) fn head(target: impl Into<String>) -> Request {
    request("HEAD", target, "")
}

pub(crate) fn options(target: impl Into<String>) -> Request {
    request("OPTIONS", target, "")
}

pub(crate) fn delete(target: impl Into<String>) -> Request {
    request("DELETE", target, "")
}

pub(crate) fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    request("POST", target, body)
}

pub(crate) fn put(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    request("PUT", target, body)
}

pub(crate) fn patch(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    request("PATCH", target, body)
}

pub(crate) fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl Request {
    /// One more header line, also of a name that is there already.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Request {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn basic(self, user: &str, password: &str) -> Request {
        let value = format!("Basic {}", base64(&format!("{user}:{password}")));
        self.with("Authorization", value)
    }

    /// The body goes out in chunks of this size, without a Content-Length.
    pub(crate) fn chunked(mut self, size: usize) -> Request {
        self.chunk = Some(size);
        self
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend(b"Host: registry.lab\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        match self.chunk {
            Some(size) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in self.body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
                    bytes.extend(piece);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
            None => {
                if matches!(self.method, "POST" | "PUT" | "PATCH") || !self.body.is_empty() {
                    bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
                }
                bytes.extend(b"\r\n");
                bytes.extend(&self.body);
            }
        }
        bytes
    }
}

impl Client {
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Client {
        Client { stream: Box::pin(stream), received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
        within(self.stream.flush()).await.unwrap();
    }

    /// Sends as much as the server takes: it may answer and close before the end.
    pub(crate) async fn send_what_is_taken(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) async fn half_close(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// The same, where the server may have closed already.
    pub(crate) async fn half_close_if_open(&mut self) {
        let _ = within(self.stream.shutdown()).await;
    }

    pub(crate) async fn ask(&mut self, request: &Request) -> Reply {
        self.send(request.to_bytes()).await;
        self.reply(request.is_head()).await
    }

    /// The next response.
    pub(crate) async fn reply(&mut self, to_head: bool) -> Reply {
        self.reply_or_end(to_head).await.expect("the server closed without an answer")
    }

    /// The next response, or `None` when the server closed instead.
    pub(crate) async fn reply_or_end(&mut self, to_head: bool) -> Option<Reply> {
        let head = loop {
            let end = loop {
                if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at;
                }
                if !self.receive().await {
                    assert_eq!(String::from_utf8_lossy(&self.received), "", "a response is cut in its head");
                    return None;
                }
            };
            let head = String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
            let head = head.trim_end_matches("\r\n").to_owned();
            // `100 Continue` only announces.
            if !head.starts_with("HTTP/1.1 1") {
                break head;
            }
        };
        let mut reply =
            Reply { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: Vec::new() };
        assert_eq!(reply.header("Transfer-Encoding"), None, "{}", reply.head);
        if to_head || matches!(reply.status, 204 | 304) {
            return Some(reply);
        }
        let length: Option<usize> = reply.header("Content-Length").map(|text| text.parse().unwrap());
        while length.is_none_or(|length| self.received.len() < length) {
            if !self.receive().await {
                assert_eq!(length, None, "a response is cut in its body: {}", reply.head);
                break;
            }
        }
        let length = length.unwrap_or(self.received.len());
        reply.body = self.received.drain(..length).collect();
        Some(reply)
    }

    /// All bytes until the server closes, and whether it closed in order.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let ended = within(self.stream.read_to_end(&mut self.received)).await;
        (std::mem::take(&mut self.received), ended.is_ok())
    }

    /// Whether these words are in what comes before the server closes; it need not have closed yet.
    pub(crate) async fn rest_has(&mut self, words: &str) -> bool {
        loop {
            if String::from_utf8_lossy(&self.received).contains(words) {
                return true;
            }
            if !self.receive().await {
                return false;
            }
        }
    }

    /// Whether the server closes without a further byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.rest().await.0.is_empty()
    }

    /// Waits until at least this many unread bytes are there.
    pub(crate) async fn wait_for(&mut self, count: usize) {
        while self.received.len() < count {
            assert!(self.receive().await, "the server closed");
        }
    }

    async fn receive(&mut self) -> bool {
        matches!(within(self.stream.read_buf(&mut self.received)).await, Ok(count) if count > 0)
    }
}

impl Reply {
    /// The value of a header, whose name must be spelled as on the wire.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// The head without its Date, which is the only line that no test can know.
    pub(crate) fn undated(&self) -> String {
        let lines: Vec<&str> = self.head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
        assert_eq!(lines.len() + 1, self.head.split("\r\n").count(), "there is one Date: {}", self.head);
        lines.join("\n")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The codes of the error envelope, whose form is checked on the way.
    pub(crate) fn codes(&self) -> Vec<String> {
        assert_eq!(self.header("Content-Type"), Some("application/json; charset=utf-8"), "{}", self.head);
        let errors = self.json()["errors"].as_array().expect("a list of errors").clone();
        assert!(!errors.is_empty());
        let codes = errors.iter().map(|error| {
            assert!(error["message"].is_string(), "{error}");
            self.check_explained(error);
            error["code"].as_str().expect("a code").to_owned()
        });
        codes.collect()
    }

    /// Whoever is refused is told why and, after a semicolon, what to do. Only the challenge at the base says nothing.
    fn check_explained(&self, error: &serde_json::Value) {
        let detail = error.get("detail").unwrap_or_else(|| panic!("no detail: {error}"));
        if !(400..500).contains(&self.status) || (detail.is_null() && error["code"] == "UNAUTHORIZED") {
            return;
        }
        let told = detail.as_str().or_else(|| detail["reason"].as_str()).unwrap_or_default();
        let (seen, fix) =
            told.split_once("; ").unwrap_or_else(|| panic!("no fix after a semicolon: {error}"));
        assert!(seen.len() > 10 && fix.len() > 10, "{error}");
    }

    /// The status and the one code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.codes().join(" "))
    }

    /// The `Range` of an upload answer.
    pub(crate) fn range(&self) -> &str {
        self.header("Range").expect("a Range")
    }

    pub(crate) fn location(&self) -> String {
        let location = self.header("Location").expect("a Location");
        assert!(location.starts_with('/') && !location.starts_with("//"), "not relative: {location}");
        location.to_owned()
    }
}
