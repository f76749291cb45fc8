//! Files that the kernel sends: `sendfile(2)` below an HTTP library that knows only slices of memory.
//!
//! On a plain HTTP/1 connection a blob's bytes need not pass through this process. hyper writes a body by asking
//! each piece for a slice and handing the slices, untouched, to the connection. A [`FilePiece`] gives it a *ticket*:
//! a slice of [`TICKETS`], memory that nobody ever reads or writes, whose address says which piece it stands for.
//! [`Lingering`](crate::linger::Lingering) knows a ticket when it sees one, and has the kernel send the same number of
//! bytes from the file.
//!
//! What holds this together:
//!
//! - Only a connection with an [`Outlet`] makes such pieces, and its own writer alone looks at them. TLS and HTTP/2
//!   have none: their bodies are read into memory.
//! - A ticket that isn't known is an error, and so is a piece that was taken as written without having been sent:
//!   the connection is cut. Nobody is ever sent the ticket's own bytes for a file's.
//! - A file that ends early is an error too.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Buf;
use larder_oci::ByteRange;

/// What one ticket stands for at most, in bytes. Larger ones save nothing any more: a socket takes no more at once.
pub(crate) const LONGEST_TICKET: usize = 1 << 20;

/// Pieces of one connection that may wait to be written. hyper holds 16 at most, and after the first full one none.
const WAITING: usize = 16;

/// What is read at a time on a file system whose files the kernel can't send, in bytes.
const COPIED_AT_ONCE: usize = 64 << 10;

/// Address space and nothing else: zeroed memory that is never touched has no pages.
static TICKETS: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; WAITING + LONGEST_TICKET]);

/// The way of files out of one connection.
pub(crate) struct Outlet {
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: [Option<Waiting>; WAITING],
    /// Something was taken as written that was never sent.
    has_lied: bool,
}

/// A stretch of a file on its way out.
struct Waiting {
    file: Arc<File>,
    offset: u64,
    /// Sent, and not yet taken off the piece.
    sent: usize,
}

/// A stretch of a file in a response body. Its bytes can't be had from it: they go from the file to the socket.
pub(crate) struct FilePiece {
    outlet: Arc<Outlet>,
    ticket: usize,
    remaining: usize,
}

/// Set once a file system has refused: from then on files are copied as everywhere else.
static REFUSED: AtomicBool = AtomicBool::new(false);

impl Outlet {
    pub(crate) fn new() -> Arc<Outlet> {
        Arc::new(Outlet { desk: Mutex::default() })
    }

    /// Whether files are worth giving to the kernel.
    pub(crate) fn is_open(&self) -> bool {
        !REFUSED.load(Ordering::Relaxed)
    }

    /// A piece for this stretch; `None` when too many are waiting.
    pub(crate) fn piece(self: &Arc<Outlet>, file: &Arc<File>, range: ByteRange) -> Option<FilePiece> {
        let remaining = usize::try_from(range.length()).ok()?;
        let mut desk = self.desk();
        let ticket = desk.waiting.iter().position(Option::is_none)?;
        let place = desk.waiting.get_mut(ticket)?;
        *place = Some(Waiting { file: Arc::clone(file), offset: range.start, sent: 0 });
        Some(FilePiece { outlet: Arc::clone(self), ticket, remaining })
    }

    /// Which piece this slice stands for, if it is a ticket.
    pub(crate) fn ticket_of(slice: &[u8]) -> Option<usize> {
        let from_start = slice.as_ptr().addr().checked_sub(TICKETS.as_ptr().addr())?;
        (from_start < WAITING && !slice.is_empty()).then_some(from_start)
    }

    /// How many of these slices lie in front of the first ticket.
    pub(crate) fn before_ticket(slices: &[IoSlice<'_>]) -> usize {
        slices.iter().position(|slice| Outlet::ticket_of(slice).is_some()).unwrap_or(slices.len())
    }

    /// Sends up to `most` bytes of the piece with this ticket. `WouldBlock` when the socket takes nothing now.
    pub(crate) fn send(&self, ticket: usize, most: usize, socket: impl AsFd) -> io::Result<usize> {
        let mut desk = self.desk();
        desk.check()?;
        let Some(waiting) = desk.waiting.get_mut(ticket).and_then(Option::as_mut) else {
            return Err(io::Error::other("a stretch of a file was to be sent that nobody had given"));
        };
        let mut offset = waiting.offset;
        let sent = match rustix::fs::sendfile(&socket, &waiting.file, Some(&mut offset), most) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                REFUSED.store(true, Ordering::Relaxed);
                copy(&waiting.file, waiting.offset, most, socket)?
            }
            sent => sent?,
        };
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before its blob does"));
        }
        waiting.offset += sent as u64;
        waiting.sent += sent;
        Ok(sent)
    }

    /// An error if anything was taken as written that wasn't sent.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.desk().check()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn check(&self) -> io::Result<()> {
        if self.has_lied {
            return Err(io::Error::other("a stretch of a file was taken as written and never sent"));
        }
        Ok(())
    }
}

/// What `sendfile` does, by hand, for what fits into one write.
fn copy(file: &File, offset: u64, most: usize, socket: impl AsFd) -> io::Result<usize> {
    let mut buffer = vec![0; most.min(COPIED_AT_ONCE)];
    let read = file.read_at(&mut buffer, offset)?;
    Ok(rustix::io::write(socket, buffer.get(..read).unwrap_or_default())?)
}

impl Buf for FilePiece {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        let end = self.ticket + self.remaining.min(LONGEST_TICKET);
        TICKETS.get(self.ticket..end).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.remaining = self.remaining.saturating_sub(count);
        let mut desk = self.outlet.desk();
        let Desk { waiting, has_lied } = &mut *desk;
        match waiting.get_mut(self.ticket).and_then(Option::as_mut) {
            Some(waiting) if waiting.sent >= count => waiting.sent -= count,
            Some(_) | None => *has_lied = true,
        }
    }
}

impl Drop for FilePiece {
    fn drop(&mut self) {
        if let Some(place) = self.outlet.desk().waiting.get_mut(self.ticket) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests;
