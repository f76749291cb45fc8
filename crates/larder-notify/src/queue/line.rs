//! A queued event on the disk: `<checksum> <number> <seconds since 1970> <JSON>`, the checksum over what follows it.

use larder_oci::Digest;

/// Hexadecimal digits of SHA-256 that stand before a line: enough to tell a torn one.
const CHECKSUM: usize = 16;

/// A line that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The event's number, from 1.
    pub(crate) number: u64,
    /// When it happened, in seconds since 1970.
    pub(crate) seconds: u64,
    /// The event as JSON.
    pub(crate) body: Vec<u8>,
}

/// Appends a line with its newline.
pub(super) fn write(to: &mut Vec<u8>, number: u64, seconds: u64, body: &[u8]) {
    let mut covered = format!("{number} {seconds} ").into_bytes();
    covered.extend_from_slice(body);
    to.extend_from_slice(checksum(&covered).as_bytes());
    to.push(b' ');
    to.append(&mut covered);
    to.push(b'\n');
}

/// Reads a line without its newline; `None` if it isn't whole.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    let (sum, rest) = line.split_at_checked(CHECKSUM)?;
    let covered = rest.strip_prefix(b" ")?;
    if checksum(covered).as_bytes() != sum {
        return None;
    }
    let mut parts = covered.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let (number, seconds) = (number()?, number()?);
    Some(Line { number, seconds, body: parts.next()?.to_vec() })
}

fn checksum(covered: &[u8]) -> String {
    let mut hex = Digest::sha256(covered).hex().to_string();
    hex.truncate(CHECKSUM);
    hex
}
