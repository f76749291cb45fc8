//! Response bodies: pieces of memory and stretches of files.
//!
//! A blob stays a file and a range until its bytes are handed to the socket. On a plain HTTP/1 connection the
//! kernel sends them ([`outlet`](crate::outlet)), and a slow reader costs no buffer at all; elsewhere it costs one
//! piece of [`PIECE`] bytes, whatever the blob's size.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use larder_core::{Arrived, ArrivedFuture, Growing};
use larder_oci::ByteRange;
use tokio::task::JoinHandle;

use crate::long_answers::{Counted, LONG, Share};
use crate::outlet::{FilePiece, LONGEST_TICKET, Outlet};

/// How much of a file is read at a time. Each download in progress holds up to two pieces, however
/// slowly its client reads: larger ones would save a few system calls and cost memory under load.
const PIECE: u64 = 64 << 10;

/// The same for HTTP/2, where one connection may carry many downloads and sends frames of this size.
const HTTP2_PIECE: u64 = 16 << 10;

/// Smaller parts go out together. The 1,024 ranges of a zstd:chunked pull would otherwise be thousands
/// of tiny HTTP/2 frames, which careful clients take for an attack and answer by hanging up.
const TOGETHER: usize = 16 << 10;

/// Shorter stretches are read and written: as cheap, and they go out together with what stands around them.
const WORTH_SENDING: u64 = 32 << 10;

/// What the kernel reads ahead of a sequential reader unless told otherwise, in bytes.
const READ_AHEAD: u64 = 128 << 10;

/// A response body whose length is known from the start.
#[derive(Default)]
pub(crate) struct Body {
    parts: VecDeque<Part>,
    remaining: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// For more of the growing blob in front. Never locked: the mutex only makes the body something that may be looked
    /// at from several threads.
    waiting: Mutex<Option<ArrivedFuture>>,
    way: Way,
}

/// How the bytes leave.
#[derive(Default)]
enum Way {
    /// From memory, on a connection of their own: TLS.
    #[default]
    Memory,
    /// From memory, on one of many streams of a connection.
    Http2,
    /// Files go from the kernel to the socket.
    Outlet(Arc<Outlet>),
}

/// What a body gives to the connection at a time.
pub(crate) enum Piece {
    Memory(Bytes),
    File(FilePiece),
}

enum Part {
    Memory(Bytes),
    File {
        file: Arc<File>,
        range: ByteRange,
    },
    /// Of a blob that is still arriving.
    Growing {
        growing: Arc<Growing>,
        range: ByteRange,
    },
    /// Bytes that aren't here; nobody may ask for them.
    Elsewhere,
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body::default()
    }

    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Body {
        let mut body = Body::default();
        body.push_bytes(bytes);
        body
    }

    pub(crate) fn push_bytes(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.remaining += bytes.len() as u64;
            self.parts.push_back(Part::Memory(bytes));
        }
    }

    /// How much of it lies in memory in long pieces.
    pub(crate) fn held(&self) -> usize {
        let lengths =
            self.parts.iter().map(|part| if let Part::Memory(bytes) = part { bytes.len() } else { 0 });
        lengths.filter(|length| *length > LONG).sum()
    }

    /// Counts these until they are sent.
    pub(crate) fn count(&mut self, share: Share) {
        let share = Arc::new(share);
        for part in &mut self.parts {
            if let Part::Memory(bytes) = part
                && bytes.len() > LONG
            {
                *bytes = Counted::wrap(std::mem::take(bytes), &share);
            }
        }
    }

    pub(crate) fn push_file(&mut self, file: &Arc<File>, range: ByteRange) {
        if range.length() > 0 {
            self.remaining += range.length();
            self.parts.push_back(Part::File { file: Arc::clone(file), range });
        }
    }

    pub(crate) fn push_growing(&mut self, growing: &Arc<Growing>, range: ByteRange) {
        if range.length() > 0 {
            self.remaining += range.length();
            self.parts.push_back(Part::Growing { growing: Arc::clone(growing), range });
        }
    }

    /// A body that is as long as this and can't be sent: for the answer to a HEAD.
    pub(crate) fn push_elsewhere(&mut self, length: u64) {
        if length > 0 {
            self.remaining += length;
            self.parts.push_back(Part::Elsewhere);
        }
    }

    /// From here on the body is read as suits one of many streams on a connection.
    pub(crate) fn for_http2(&mut self) {
        self.way = Way::Http2;
    }

    /// From here on files leave through this outlet, which is that of the connection the body is written to.
    pub(crate) fn through(&mut self, outlet: &Arc<Outlet>) {
        self.way = Way::Outlet(Arc::clone(outlet));
    }

    fn piece(&self) -> u64 {
        match self.way {
            Way::Http2 => HTTP2_PIECE,
            Way::Memory | Way::Outlet(_) => PIECE,
        }
    }

    /// The next stretch of the file in front, for the kernel to send. `None` where it is to be read: because the
    /// connection has no outlet, because it is small, or because the disk would have to be waited for, which only a
    /// thread of its own may do.
    fn file_piece(&mut self) -> Option<FilePiece> {
        let Way::Outlet(outlet) = &self.way else { return None };
        let (file, range) = self.front_of_file().ok().flatten()?;
        let most = range.length().min(LONGEST_TICKET as u64);
        if self.reading.is_some() || most < WORTH_SENDING || !outlet.is_open() {
            return None;
        }
        let cached = cached_length(&file, range.start, most);
        if cached < WORTH_SENDING {
            return None;
        }
        let piece = outlet.piece(&file, ByteRange { start: range.start, end: range.start + cached })?;
        self.taken(cached);
        Some(piece)
    }

    /// Bytes still to come.
    pub(crate) fn length(&self) -> u64 {
        self.remaining
    }

    /// What can be read of the file in front; `None` where there is none, or nothing of it has arrived.
    fn front_of_file(&self) -> io::Result<Option<(Arc<File>, ByteRange)>> {
        Ok(match self.parts.front() {
            Some(Part::File { file, range }) => Some((Arc::clone(file), *range)),
            Some(Part::Growing { growing, range }) => {
                let at_hand = growing.at_hand()?.map(|(file, end)| (file, end.min(range.end)));
                let at_hand = at_hand.filter(|(_, end)| *end > range.start);
                at_hand.map(|(file, end)| (Arc::clone(file), ByteRange { start: range.start, end }))
            }
            Some(Part::Memory(_) | Part::Elsewhere) | None => None,
        })
    }

    /// Starts or finishes reading the next piece of the file in front.
    fn poll_file(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(reading) = &mut self.reading {
            let outcome = std::task::ready!(Pin::new(reading).poll(context));
            self.reading = None;
            return Poll::Ready(outcome.map_err(io::Error::other).and_then(|read| read));
        }
        let Some((file, range)) = self.front_of_file()? else { return self.poll_arrival(context) };
        let (offset, length) =
            (range.start, usize::try_from(range.length().min(self.piece())).unwrap_or(usize::MAX));
        if let Some(bytes) = read_cached(&file, offset, length) {
            return Poll::Ready(Ok(bytes));
        }
        self.reading = Some(tokio::task::spawn_blocking(move || read(&file, offset, length)));
        self.poll_file(context)
    }

    /// Waits for more of the growing blob in front. A failure is the end of the connection: its client must not take
    /// what it got for the whole.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(Part::Growing { growing, range }) = self.parts.front() else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner);
        let arrival = waiting.get_or_insert_with(|| growing.wait(*range));
        let arrived = std::task::ready!(arrival.as_mut().poll(context));
        *waiting = None;
        match arrived? {
            Arrived::Bytes(bytes) => Poll::Ready(Ok(bytes)),
            Arrived::Until(_) => self.poll_file(context),
        }
    }

    /// The next piece, however small; `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self.parts.front_mut() {
            None => Poll::Ready(Ok(None)),
            Some(Part::Memory(bytes)) => {
                let bytes = std::mem::take(bytes);
                self.parts.pop_front();
                self.remaining -= bytes.len() as u64;
                Poll::Ready(Ok(Some(bytes)))
            }
            Some(Part::Elsewhere) => {
                Poll::Ready(Err(io::Error::other("the body of an answer to HEAD was to be sent")))
            }
            Some(Part::File { .. } | Part::Growing { .. }) => {
                let bytes = std::task::ready!(self.poll_file(context))?;
                self.taken(bytes.len() as u64);
                Poll::Ready(Ok(Some(bytes)))
            }
        }
    }

    fn next_is_small(&self) -> bool {
        match self.parts.front() {
            None => false,
            Some(Part::Memory(bytes)) => bytes.len() < TOGETHER,
            Some(Part::File { range, .. }) => range.length() < TOGETHER as u64,
            // What is waited for must not hold up what is there.
            Some(Part::Growing { .. } | Part::Elsewhere) => false,
        }
    }

    fn taken(&mut self, length: u64) {
        self.remaining -= length;
        if let Some(Part::File { range, .. } | Part::Growing { range, .. }) = self.parts.front_mut() {
            range.start += length;
            if range.start >= range.end {
                self.parts.pop_front();
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        if let Some(piece) = self.file_piece() {
            return Poll::Ready(Some(Ok(Frame::data(Piece::File(piece)))));
        }
        let first = std::task::ready!(self.poll_piece(context)?);
        let Some(first) = first else { return Poll::Ready(None) };
        if first.len() >= TOGETHER || !self.next_is_small() {
            return Poll::Ready(Some(Ok(Frame::data(Piece::Memory(first)))));
        }
        let mut together = BytesMut::from(first);
        while together.len() < TOGETHER && self.next_is_small() {
            match self.poll_piece(context) {
                Poll::Ready(Ok(Some(bytes))) => together.extend_from_slice(&bytes),
                // What the disk is still busy with, or can't read, is met again at the next poll.
                Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(Piece::Memory(together.freeze())))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Piece::Memory(bytes) => bytes.remaining(),
            Piece::File(piece) => piece.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Piece::Memory(bytes) => bytes.chunk(),
            Piece::File(piece) => piece.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Piece::Memory(bytes) => bytes.advance(count),
            Piece::File(piece) => piece.advance(count),
        }
    }
}

/// How much of a stretch, from its start, can be sent without waiting for the disk. Looked at is a page in each
/// stretch of what the kernel reads ahead; between two pages that are there, one may be missing, which costs a
/// connection's neighbours the wait for one read.
fn cached_length(file: &File, start: u64, most: u64) -> u64 {
    use rustix::io::{ReadWriteFlags, preadv2};
    let is_there = |offset| {
        let mut byte = [0];
        preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) == Ok(1)
    };
    let mut reached = 0;
    while reached < most {
        // The last page of each step, and of the whole.
        let next = (reached + READ_AHEAD).min(most);
        if !is_there(start + next - 1) {
            break;
        }
        reached = next;
    }
    reached
}

/// What of a stretch is in the page cache already; `None` where the disk would have to be waited for.
fn read_cached(file: &File, offset: u64, length: usize) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut buffer = vec![0; length];
    let mut slices = [io::IoSliceMut::new(&mut buffer)];
    // Not every file system can tell; those that can't answer with an error and are read by a thread.
    let read = preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT).ok()?;
    if read == 0 {
        return None;
    }
    buffer.truncate(read);
    Some(buffer.into())
}

/// Reads a stretch, waiting for the disk. A file that ends early is an error: the client must not
/// take what it got for the whole.
fn read(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

#[cfg(test)]
mod tests;
