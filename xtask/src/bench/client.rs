//! A client that keeps its connections and throws bodies away: for large bodies, for HEAD (which wrk waits for a
//! body after), for pushes, and for the look at one whole answer before and after each run. Over TLS it is rustls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use crate::failure::{Context, Result, fail};
use crate::http::{read_head, read_line};

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// A body up to this goes out with the head, in one piece.
const SMALL_BODY_BYTES: u64 = 64 << 10;
/// The size of a chunk, which is what docker sends a layer in.
const CHUNK_BYTES: usize = 32 << 10;
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

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Not even a length, as GET and HEAD have it.
    None,
    /// With its length.
    Whole(Content),
    /// `Transfer-Encoding: chunked`, as docker sends layers.
    Chunked(Content),
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
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: Body::None }
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
        let mut reply = self.begin(request)?;
        if request.method == "HEAD" || matches!(reply.status, 204 | 304) {
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

    /// Sends a request and reads the head of its answer; [`some`](Self::some) then gives the body.
    pub(super) fn begin(&mut self, request: &Request) -> Result<Reply> {
        // A server may refuse before it has read the whole body; what it says is worth more than the broken pipe.
        let sent = self.send(request);
        match read_head(&mut self.reader) {
            Ok((status, headers)) => Ok(Reply { status, headers, length: 0 }),
            Err(failure) => sent.and(Err(failure)),
        }
    }

    /// At most so many bytes of what comes next; nothing at the connection's end.
    pub(super) fn some(&mut self, most: usize, sink: impl FnOnce(&[u8])) -> Result<usize> {
        let piece = self.reader.fill_buf()?;
        let taken = piece.len().min(most);
        sink(piece.get(..taken).unwrap_or_default());
        self.reader.consume(taken);
        Ok(taken)
    }

    fn send(&mut self, request: &Request) -> Result {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &request.body {
            Body::None => {}
            Body::Whole(content) => head.push_str(&format!("Content-Length: {}\r\n", content.length())),
            Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        let stream = self.reader.get_mut();
        let mut head = head.into_bytes();
        match &request.body {
            Body::None => stream.write_all(&head)?,
            Body::Whole(content) if content.length() <= SMALL_BODY_BYTES => {
                content.pieces().for_each(|piece| head.extend_from_slice(piece));
                stream.write_all(&head)?;
            }
            Body::Whole(content) => {
                stream.write_all(&head)?;
                content.pieces().try_for_each(|piece| stream.write_all(piece))?;
            }
            Body::Chunked(content) => {
                stream.write_all(&head)?;
                for chunk in content.pieces().flat_map(|piece| piece.chunks(CHUNK_BYTES)) {
                    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                    stream.write_all(&framed)?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
        }
        Ok(stream.flush()?)
    }

    /// Reads so many bytes of a body.
    fn pass(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> Result {
        let mut missing = length;
        while missing > 0 {
            let most = usize::try_from(missing).unwrap_or(usize::MAX);
            let taken = self.some(most, &mut *sink)?;
            if taken == 0 {
                fail!("the body was cut, {missing} of {length} bytes are missing");
            }
            missing -= taken as u64;
        }
        Ok(())
    }
}

/// One answer with its body's digest.
pub(super) fn fetch(target: &Target, request: &Request) -> Result<(Reply, String)> {
    let mut hash = Sha256::new();
    let reply = ask(target, request, |piece| hash.update(piece))?;
    Ok((reply, format!("sha256:{}", hex::encode(hash.finalize()))))
}

/// One answer with its body, which must be small.
pub(super) fn fetch_whole(target: &Target, request: &Request) -> Result<(Reply, Vec<u8>)> {
    let mut body = Vec::new();
    let reply = ask(target, request, |piece| body.extend_from_slice(piece))?;
    Ok((reply, body))
}

fn ask(target: &Target, request: &Request, sink: impl FnMut(&[u8])) -> Result<Reply> {
    let doing = || format!("{} {}{}", request.method, target.host, request.path);
    Connection::open(target)?.exchange(request, sink).context(doing())
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
