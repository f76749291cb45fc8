//! What stands before an upstream and spoils its answers: an HTTP/1.1 proxy that counts what is asked of it.
//!
//! One request a connection. What it does to answers can be changed at any time ([`Front::set`]); unplugged, its
//! port refuses connections.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::{Context, Result};
use crate::http::{read_head, read_line};
use crate::places::{LOOPBACK, free_port};

/// How long a connection may stall; also how long a black hole holds one.
const STALL: Duration = Duration::from_secs(60);
const PIECE: usize = 16 << 10;

/// What happens to requests.
#[derive(Clone, Debug, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// Connections are taken and requests are read, and that is all.
    BlackHole,
    /// Answers come so much later.
    Late(Duration),
    /// Each answer has this status and these headers instead.
    Status(u16, Vec<(String, String)>),
    /// Bodies end after so many bytes, with the length that they should have had. `times`: only so often.
    Cut { after: u64, times: u64 },
    /// One byte of each body is another one.
    Corrupt,
    /// The last byte of each body is missing, and from its length too.
    Short,
    /// Bodies come at so many bytes a second.
    Slow(u64),
    /// Blobs are to be had elsewhere.
    Redirect(String),
    /// Only who has this token is let through; it is given out there.
    Token { realm: String, token: String },
    /// Answers each request with this token: a token service.
    TokenService(String),
    /// As `Token`, and each token is good for one request; so many were let through.
    ExpiringToken { realm: String, used: Arc<AtomicU64> },
    /// Its token service.
    ExpiringTokenService(Arc<AtomicU64>),
}

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    /// Bytes of the body that were sent in answer.
    pub(super) sent: Arc<AtomicU64>,
}

pub(super) struct Front {
    pub(super) host: String,
    port: u16,
    state: Arc<State>,
    acceptor: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

struct State {
    /// `host:port` of what stands behind.
    backend: String,
    fault: Mutex<Fault>,
    seen: Mutex<Vec<Seen>>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.split('?').next() == Some(path)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Front {
    pub(super) fn before(backend: &str) -> Result<Self> {
        let port = free_port(LOOPBACK)?;
        let state = State { backend: backend.to_owned(), fault: Mutex::default(), seen: Mutex::default() };
        let host = format!("{LOOPBACK}:{port}");
        let mut front = Self { host, port, state: Arc::new(state), acceptor: None };
        front.plug()?;
        Ok(front)
    }

    pub(super) fn set(&self, fault: Fault) {
        *lock(&self.state.fault) = fault;
    }

    /// Everything that came since this was last asked.
    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.state.seen))
    }

    /// Everything that came since then, left in place.
    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// Connections are refused from here on.
    pub(super) fn unplug(&mut self) {
        if let Some((stop, acceptor)) = self.acceptor.take() {
            stop.store(true, Ordering::SeqCst);
            // Wakes it up, so that it sees that it is to end.
            drop(TcpStream::connect((LOOPBACK, self.port)));
            drop(acceptor.join());
        }
    }

    pub(super) fn plug(&mut self) -> Result {
        if self.acceptor.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind((LOOPBACK, self.port)).context(format!("port {}", self.port))?;
        let (stop, state) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.state));
        let stopped = Arc::clone(&stop);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&state)) else { continue };
                // Whatever goes wrong on a connection is what its other end sees.
                std::thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        self.acceptor = Some((stop, acceptor));
        Ok(())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl State {
    fn serve(&self, client: &TcpStream) -> Result {
        client.set_read_timeout(Some(STALL))?;
        client.set_write_timeout(Some(STALL))?;
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client);
        let (method, path, headers) = read_request(&mut reader)?;
        let seen = Seen { method, path, headers, sent: Arc::default() };
        lock(&self.seen).push(seen.clone());
        let fault = lock(&self.fault).clone();
        match &fault {
            Fault::BlackHole => {
                // Until the client gives up.
                drop(reader.read(&mut [0]));
                return Ok(());
            }
            Fault::Late(time) => std::thread::sleep(*time),
            Fault::Status(status, headers) => {
                let body = br#"{"errors":[{"code":"UNKNOWN","message":"spoilt"}]}"#;
                return answer(client, &seen, *status, headers, body);
            }
            Fault::Redirect(elsewhere) if seen.path.contains("/blobs/") => {
                let location = format!("http://{elsewhere}{}", seen.path);
                return answer(client, &seen, 307, &[("Location".into(), location)], b"");
            }
            Fault::Token { realm, token }
                if seen.header("authorization") != Some(&format!("Bearer {token}")) =>
            {
                let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"upstream\"");
                return answer(client, &seen, 401, &[("WWW-Authenticate".into(), challenge)], b"");
            }
            Fault::ExpiringToken { realm, used } => {
                let good = format!("Bearer {}", token_after(used.load(Ordering::SeqCst)));
                if seen.header("authorization") != Some(&good) {
                    let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"upstream\"");
                    return answer(client, &seen, 401, &[("WWW-Authenticate".into(), challenge)], b"");
                }
                used.fetch_add(1, Ordering::SeqCst);
            }
            Fault::ExpiringTokenService(used) => {
                let token = token_after(used.load(Ordering::SeqCst));
                // What it says of the time is wrong.
                let body = format!("{{\"token\":\"{token}\",\"expires_in\":300}}");
                return answer(client, &seen, 200, &[], body.as_bytes());
            }
            Fault::TokenService(token) => {
                let body = format!("{{\"token\":\"{token}\",\"expires_in\":300}}");
                return answer(client, &seen, 200, &[], body.as_bytes());
            }
            _ => {}
        }
        self.forward(client, &seen, &fault)
    }

    /// Asks what stands behind, and hands its answer on, spoilt.
    fn forward(&self, mut client: &TcpStream, seen: &Seen, fault: &Fault) -> Result {
        let backend = TcpStream::connect(&self.backend)?;
        backend.set_read_timeout(Some(STALL))?;
        let mut head = format!("{} {} HTTP/1.1\r\n", seen.method, seen.path);
        for (name, value) in &seen.headers {
            if !["host", "connection", "authorization"].contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("Host: {}\r\nConnection: close\r\n\r\n", self.backend));
        (&backend).write_all(head.as_bytes())?;
        let mut reader = BufReader::new(&backend);
        let (status, mut headers) = read_head(&mut reader)?;
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("connection"));
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let mut length: u64 = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        // A HEAD has no body to spoil, whatever length it tells of.
        let spoils = seen.method == "GET" && (200..300).contains(&status) && length > 0;
        if spoils && matches!(fault, Fault::Short) {
            length -= 1;
            for (_, value) in
                headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                *value = length.to_string();
            }
        }
        client.write_all(head_of(status, &headers).as_bytes())?;
        if seen.method == "HEAD" {
            return Ok(());
        }
        let cut = match fault {
            Fault::Cut { after, .. } if spoils && self.cuts() => *after,
            _ => u64::MAX,
        };
        let (start, mut piece, mut sent) = (Instant::now(), vec![0; PIECE], 0);
        while sent < length.min(cut) {
            let most = usize::try_from((length.min(cut) - sent).min(PIECE as u64))?;
            let read = reader.read(piece.get_mut(..most).context("a piece")?)?;
            let bytes = piece.get_mut(..read).context("a piece")?;
            if bytes.is_empty() {
                break;
            }
            if spoils && matches!(fault, Fault::Corrupt) && sent == 0 {
                bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            }
            client.write_all(bytes)?;
            sent += read as u64;
            seen.sent.store(sent, Ordering::SeqCst);
            if let Fault::Slow(rate) = fault {
                let due = Duration::from_secs_f64(sent as f64 / *rate as f64);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        Ok(())
    }

    /// Whether one more body may be cut, which is then counted.
    fn cuts(&self) -> bool {
        match &mut *lock(&self.fault) {
            Fault::Cut { times, .. } if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }
}

fn token_after(used: u64) -> String {
    format!("token-{used}")
}

type Request = (String, String, Vec<(String, String)>);

fn read_request(reader: &mut BufReader<&TcpStream>) -> Result<Request> {
    let line = read_line(reader)?;
    let mut words = line.split(' ');
    let method = words.next().context("a method")?.to_owned();
    let path = words.next().context("a path")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok((method, path, headers));
        }
        let (name, value) = line.split_once(':').context("a header")?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn answer(
    mut client: &TcpStream,
    seen: &Seen,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> Result {
    let mut headers = headers.to_vec();
    headers.push(("Content-Length".into(), body.len().to_string()));
    headers.push(("Content-Type".into(), "application/json".into()));
    client.write_all(head_of(status, &headers).as_bytes())?;
    if seen.method != "HEAD" {
        client.write_all(body)?;
    }
    Ok(())
}

fn head_of(status: u16, headers: &[(String, String)]) -> String {
    let mut head = format!("HTTP/1.1 {status} Spoken\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
