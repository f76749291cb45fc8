//! Manifests and blobs on their way out: conditions, ranges, multipart.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, RANGE,
};
use http::{HeaderMap, Response, StatusCode};
use larder_core::Growing;
use larder_oci::{ByteRange, Digest, ErrorCode, RangeRequest};

use crate::body::Body;
use crate::condition::{self, Verdict};
use crate::error::{ApiError, error_response};
use crate::respond::{DOCKER_CONTENT_DIGEST, header};

/// Headers of an answer with content: its own seven, those that every answer has, and room for one's own.
const USUAL_HEADERS: usize = 12;

/// Content under a digest, to be served whole or in part.
pub(crate) struct Content<'a> {
    pub(crate) digest: Digest,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: ContentBytes,
    /// Whether it may be kept for a year: what a digest names never changes.
    pub(crate) immutable: bool,
}

/// Where the bytes are.
pub(crate) enum ContentBytes {
    Memory(Bytes),
    File {
        file: Arc<File>,
        size: u64,
    },
    /// Still arriving.
    Growing(Arc<Growing>),
    /// Not here: good for an answer to HEAD only.
    Elsewhere {
        size: u64,
    },
}

impl ContentBytes {
    pub(crate) fn size(&self) -> u64 {
        match self {
            ContentBytes::Memory(bytes) => bytes.len() as u64,
            ContentBytes::File { size, .. } | ContentBytes::Elsewhere { size } => *size,
            ContentBytes::Growing(growing) => growing.size(),
        }
    }

    fn append_to(&self, body: &mut Body, range: ByteRange) {
        match self {
            ContentBytes::Memory(bytes) => {
                let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len());
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).clamp(start, bytes.len());
                body.push_bytes(bytes.slice(start..end));
            }
            ContentBytes::File { file, .. } => body.push_file(file, range),
            ContentBytes::Growing(growing) => body.push_growing(growing, range),
            ContentBytes::Elsewhere { .. } => body.push_elsewhere(range.length()),
        }
    }
}

impl Content<'_> {
    /// The response to a GET or HEAD with these headers.
    pub(crate) fn respond(&self, request: &HeaderMap) -> Response<Body> {
        match condition::judge(request, &self.digest) {
            Verdict::Proceed => self.respond_with_range(request),
            Verdict::NotModified => self.response(StatusCode::NOT_MODIFIED, Body::empty()),
            Verdict::PreconditionFailed => error_response(&[ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                ErrorCode::Denied,
                format!("If-Match names other content than {}; fetch it without the condition", self.digest),
            )]),
        }
    }

    fn respond_with_range(&self, request: &HeaderMap) -> Response<Body> {
        let size = self.bytes.size();
        let asked = match request.get(RANGE).map(HeaderValue::to_str) {
            Some(Ok(text)) if condition::range_counts(request, &self.digest) => {
                RangeRequest::parse(text, size)
            }
            _ => RangeRequest::Whole,
        };
        match asked {
            RangeRequest::Whole => {
                let mut body = Body::empty();
                self.bytes.append_to(&mut body, ByteRange { start: 0, end: size });
                let mut response = self.response(StatusCode::OK, body);
                response.headers_mut().insert(CONTENT_TYPE, header(self.media_type));
                response
            }
            RangeRequest::Single(range) => {
                let mut body = Body::empty();
                self.bytes.append_to(&mut body, range);
                let mut response = self.response(StatusCode::PARTIAL_CONTENT, body);
                response.headers_mut().insert(CONTENT_TYPE, header(self.media_type));
                response.headers_mut().insert(CONTENT_RANGE, header(&content_range(range, size)));
                response
            }
            RangeRequest::Several(ranges) => self.respond_with_several(&ranges, size),
            RangeRequest::Unsatisfiable => {
                let mut response = error_response(&[ApiError::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    ErrorCode::RangeInvalid,
                    format!("the content has {size} bytes; ask for bytes=0-{}", size.saturating_sub(1)),
                )]);
                response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{size}")));
                response
            }
        }
    }

    /// Exactly one part per range, in the order asked: containers/image counts them.
    fn respond_with_several(&self, ranges: &[ByteRange], size: u64) -> Response<Body> {
        let boundary = format!("{:032x}", rand::random::<u128>());
        let mut body = Body::empty();
        for (at, range) in ranges.iter().enumerate() {
            let start = if at == 0 { "" } else { "\r\n" };
            body.push_bytes(format!(
                "{start}--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                self.media_type,
                content_range(*range, size)
            ));
            self.bytes.append_to(&mut body, *range);
        }
        body.push_bytes(format!("\r\n--{boundary}--\r\n"));
        let mut response = self.response(StatusCode::PARTIAL_CONTENT, body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, header(&format!("multipart/byteranges; boundary={boundary}")));
        response
    }

    fn response(&self, status: StatusCode, body: Body) -> Response<Body> {
        let length = body.length();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_LENGTH, length.into());
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        if self.immutable {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000"));
        }
        // The digest is the entity tag without its quotes.
        let tag = Bytes::from(format!("\"{}\"", self.digest));
        let shared = |bytes| HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""));
        headers.insert(DOCKER_CONTENT_DIGEST, shared(tag.slice(1..tag.len().saturating_sub(1))));
        headers.insert(ETAG, shared(tag));
        response
    }
}

fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}
