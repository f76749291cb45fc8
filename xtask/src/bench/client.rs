//! A client that keeps its connections and throws bodies away: for large bodies, for HEAD (which wrk waits for a
//! body after) and for the look at one whole answer before and after each run. Over TLS it is rustls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest as _, Sha256};

use super::cpu::Meter;
use super::load::Done;
use crate::failure::{Context, Failure, Result, fail};
use crate::http::{read_head, read_line};

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// Longest that a read or a write may stall. docker-registry walks its whole directory for a page of the catalog.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Clone)]
pub(super) struct Target {
    /// `address:port`
    pub(super) host: String,
    /// `None` for plain HTTP.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// A request without a body.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

/// What came back, but for the body, of which length and hash remain.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) length: u64,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub(super) struct Connection {
    host: String,
    reader: BufReader<Stream>,
}

/// What a client needs to trust an authority's servers; HTTP/1.1 alone.
pub(super) fn trusting(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).context(ca.display())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new() }
    }

    pub(super) fn head(path: impl Into<String>) -> Self {
        Self { method: "HEAD", ..Self::get(path) }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub(super) fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(&target.host).context(format!("connecting to {}", target.host))?;
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        stream.set_write_timeout(Some(STALL_LIMIT))?;
        stream.set_nodelay(true)?;
        let stream = match &target.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let address = target.host.rsplit_once(':').context("a host with its port")?.0;
                let name = ServerName::try_from(address.to_owned())?;
                let connection = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Self { host: target.host.clone(), reader: BufReader::with_capacity(BUFFER_BYTES, stream) })
    }

    /// Sends a request and reads its answer to the end, giving the body away piece by piece.
    pub(super) fn exchange(&mut self, request: &Request, mut sink: impl FnMut(&[u8])) -> Result<Reply> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.reader.get_mut().write_all(head.as_bytes())?;
        self.reader.get_mut().flush()?;
        let (status, headers) = read_head(&mut self.reader)?;
        let mut reply = Reply { status, headers, length: 0 };
        if request.method == "HEAD" || matches!(status, 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = read_line(&mut self.reader)?;
                let size = u64::from_str_radix(line.trim(), 16).context(format!("chunk size {line:?}"))?;
                self.pass(size, &mut sink)?;
                read_line(&mut self.reader)?;
                reply.length += size;
                if size == 0 {
                    return Ok(reply);
                }
            }
        }
        let length = reply.header("content-length").context("Content-Length, or chunks")?;
        reply.length = length.parse().context(format!("Content-Length {length:?}"))?;
        self.pass(reply.length, &mut sink)?;
        Ok(reply)
    }

    /// Reads so many bytes of a body.
    fn pass(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> Result {
        let mut missing = length;
        while missing > 0 {
            let piece = self.reader.fill_buf()?;
            if piece.is_empty() {
                fail!("the body was cut, {missing} of {length} bytes are missing");
            }
            let taken = piece.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            sink(piece.get(..taken).unwrap_or_default());
            self.reader.consume(taken);
            missing -= taken as u64;
        }
        Ok(())
    }
}

/// One answer with its body's digest.
pub(super) fn fetch(target: &Target, request: &Request) -> Result<(Reply, String)> {
    let doing = || format!("{} {}{}", request.method, target.host, request.path);
    let mut hash = Sha256::new();
    let reply = Connection::open(target)?.exchange(request, |piece| hash.update(piece)).context(doing())?;
    Ok((reply, format!("sha256:{}", hex::encode(hash.finalize()))))
}

/// Sends a request over and over on so many connections, each answered `status`, until the time is over and the
/// answers under way have been read. The connections stand before the clock and the meter start.
pub(super) fn load(
    target: &Target,
    request: &Request,
    status: u16,
    connections: usize,
    time: Duration,
    meter: Meter,
) -> Result<Done> {
    let open: Vec<Connection> = (0..connections).map(|_| Connection::open(target)).collect::<Result<_>>()?;
    // A TLS connection's first exchange ends its handshake.
    let mut warm = Vec::with_capacity(connections);
    for mut connection in open {
        if target.tls.is_some() {
            connection.exchange(&Request { method: "HEAD", ..request.clone() }, |_| ())?;
        }
        warm.push(connection);
    }
    let cpu = meter.cpu_seconds()?;
    let start = Instant::now();
    let outcomes: Vec<Result<(u64, u64)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = warm
            .into_iter()
            .map(|mut connection| {
                scope.spawn(move || {
                    let (mut requests, mut bytes) = (0, 0);
                    while requests == 0 || start.elapsed() < time {
                        let reply = connection.exchange(request, |_| ())?;
                        if reply.status != status {
                            fail!(
                                "{} {} answered {}, not {status}",
                                request.method,
                                request.path,
                                reply.status
                            );
                        }
                        requests += 1;
                        bytes += reply.length;
                    }
                    Ok((requests, bytes))
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|ended| ended.unwrap_or_else(|_| Err(Failure::new("a client's thread panicked"))))
            .collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut done = Done { requests: 0, bytes: 0, seconds, cpu_seconds: meter.cpu_seconds()? - cpu };
    for outcome in outcomes {
        let (requests, bytes) = outcome?;
        done.requests += requests;
        done.bytes += bytes;
    }
    Ok(done)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
