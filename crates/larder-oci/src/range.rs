//! The `Range` request header, RFC 9110 section 14, as registries need it.
//!
//! Three choices follow registry:2 and the conformance suite where the RFC leaves one: a header that
//! can't be understood is answered 416 instead of being ignored, ranges that together ask for more
//! than the whole content are answered with the whole content, and so is every range of empty
//! content: containerd asks for `bytes=0-` before it knows the size, and an empty file is a layer too.

/// The most ranges answered in one response. containers/image asks for up to 1,024 when it pulls
/// zstd:chunked layers; more than that is answered with the whole content.
pub const MAX_RANGES: usize = 1024;

/// A stretch of bytes that lies within the content: `start < end <= size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Bytes in the range: at least one.
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// What a `Range` header asks for of content of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything: 200.
    Whole,
    /// One stretch: 206 with `Content-Range`.
    Single(ByteRange),
    /// Several, in the order asked, none dropped or merged: 206 `multipart/byteranges`.
    Several(Vec<ByteRange>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

impl RangeRequest {
    /// Reads the header's value for content of `size` bytes.
    pub fn parse(header: &str, size: u64) -> RangeRequest {
        let Some(specs) = header.trim().strip_prefix("bytes=") else {
            return RangeRequest::Unsatisfiable;
        };
        let mut ranges = Vec::new();
        let mut asked = 0_usize;
        for spec in specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
            asked += 1;
            if asked > MAX_RANGES {
                return RangeRequest::Whole;
            }
            match parse_spec(spec, size) {
                Spec::Within(range) => ranges.push(range),
                Spec::Outside => {}
                Spec::Malformed => return RangeRequest::Unsatisfiable,
            }
        }
        let total: u128 = ranges.iter().map(|range| u128::from(range.length())).sum();
        match ranges.as_slice() {
            [] if size == 0 && asked > 0 => RangeRequest::Whole,
            [] => RangeRequest::Unsatisfiable,
            [only] => RangeRequest::Single(*only),
            _ if total > u128::from(size) => RangeRequest::Whole,
            _ => RangeRequest::Several(ranges),
        }
    }
}

enum Spec {
    Within(ByteRange),
    Outside,
    Malformed,
}

/// One of `first-last`, `first-`, `-length`.
fn parse_spec(spec: &str, size: u64) -> Spec {
    let Some((first, last)) = spec.split_once('-') else { return Spec::Malformed };
    let (start, end) = match (first.trim(), last.trim()) {
        ("", last) => match parse_number(last) {
            Some(length) => (size.saturating_sub(length), size),
            None => return Spec::Malformed,
        },
        (first, "") => match parse_number(first) {
            Some(start) => (start, size),
            None => return Spec::Malformed,
        },
        (first, last) => match (parse_number(first), parse_number(last)) {
            (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(size)),
            _ => return Spec::Malformed,
        },
    };
    if start < end { Spec::Within(ByteRange { start, end }) } else { Spec::Outside }
}

/// Digits only (no sign), saturating: a number past every size is past the end, not an error.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
