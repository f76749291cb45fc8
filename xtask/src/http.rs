//! A small blocking HTTP/1.1 client, one connection per request. It is ours because the rings must see exactly
//! what is on the wire: a body that ends early is an error here, never a short success.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::failure::{Context, Result, fail};

/// Longest that a read or a write may stall.
const STALL_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Http {
    /// `host:port`
    pub(crate) address: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) enum Body<'a> {
    Whole(&'a [u8]),
    /// `Transfer-Encoding: chunked`, as docker sends layers.
    Chunked(&'a [u8]),
}

impl Http {
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Answer> {
        let doing = || format!("{method} http://{}{path}", self.address);
        let stream = TcpStream::connect(&self.address).context(doing())?;
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        stream.set_write_timeout(Some(STALL_LIMIT))?;
        stream.set_nodelay(true)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &body {
            Body::Whole(bytes) if bytes.is_empty() && matches!(method, "GET" | "HEAD") => {}
            Body::Whole(bytes) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
            Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        // A server may answer and close before it has read the whole body; its answer counts then.
        let written = write_request(&stream, &head, &body);
        match read_answer(&stream, method) {
            Ok(answer) => Ok(answer),
            Err(read) => {
                written.context(doing())?;
                Err(read).context(doing())
            }
        }
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send("GET", path, headers, Body::Whole(&[]))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Fails unless the status is one of these, quoting the body.
    pub(crate) fn expect(self, doing: &str, statuses: &[u16]) -> Result<Self> {
        if !statuses.contains(&self.status) {
            fail!(
                "{doing} answered {}, not {statuses:?}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            );
        }
        Ok(self)
    }

    /// The `Location` as a path with its query, wherever it points.
    pub(crate) fn location(&self) -> Result<String> {
        Ok(path_of(self.header("location").context("Location header")?)?.to_owned())
    }
}

fn write_request(mut stream: &TcpStream, head: &str, body: &Body<'_>) -> Result {
    stream.write_all(head.as_bytes())?;
    match body {
        Body::Whole(bytes) => stream.write_all(bytes)?,
        Body::Chunked(bytes) => {
            for chunk in bytes.chunks(32 * 1024) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
    }
    Ok(stream.flush()?)
}

fn read_answer(stream: &TcpStream, method: &str) -> Result<Answer> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    loop {
        let (status, headers) = read_head(&mut reader)?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && !matches!(status, 204 | 304) {
            answer.body = read_body(&mut reader, &answer)?;
        }
        return Ok(answer);
    }
}

/// The status and the headers of one answer.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let status_line = read_line(reader)?;
    let status: u16 = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context(format!("status line {status_line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').context(format!("header line {line:?}"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead, answer: &Answer) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).context(format!("chunk size {size:?}"))?;
            let got = reader.take(size).read_to_end(&mut body)?;
            if got as u64 != size {
                fail!("the body was cut inside a chunk, after {} bytes", body.len());
            }
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match answer.header("content-length") {
        Some(length) => {
            let length: u64 = length.parse().context(format!("Content-Length {length:?}"))?;
            reader.take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                fail!("the body was cut after {} of {length} bytes", body.len());
            }
        }
        None => {
            reader.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

/// The value of `name="value"` in a header such as a challenge.
pub(crate) fn quoted_parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0)
}

/// The path and query that a `Location` names, wherever it points.
pub(crate) fn path_of(location: &str) -> Result<&str> {
    match location.split_once("://") {
        None => Ok(location),
        Some((_, rest)) => match rest.find('/') {
            Some(slash) => Ok(rest.split_at(slash).1),
            None => fail!("Location {location:?} has no path"),
        },
    }
}

pub(crate) fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if reader.take(64 * 1024).read_line(&mut line)? == 0 {
        fail!("the connection was closed before the answer was whole");
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
