use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::outlet::Outlet;

/// How long a closing connection reads what the client still sends.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a client may take nothing of what is sent to it. As long as one may send nothing of an
/// upload; after that it holds a connection and an open blob for nobody.
const LONGEST_STALL: Duration = Duration::from_secs(15 * 60);

/// A connection that closes so that the client can read the last answer.
///
/// An answer may be given before the request's body was read: 401 to a blob of gigabytes. Closing
/// over unread bytes makes the kernel reset the connection, and the reset overtakes the answer: the
/// client then sees a broken pipe where it should see a challenge. So closing first says "no more
/// from here" and reads on for a moment.
pub(crate) struct Lingering {
    stream: TcpStream,
    outlet: Option<Arc<Outlet>>,
    closing: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(crate) fn new(stream: TcpStream) -> Lingering {
        Lingering { stream, outlet: None, closing: None, stalled: None }
    }

    /// One whose bodies may hold this outlet's tickets.
    pub(crate) fn with_outlet(stream: TcpStream, outlet: Arc<Outlet>) -> Lingering {
        Lingering { outlet: Some(outlet), ..Lingering::new(stream) }
    }
}

impl Lingering {
    fn unless_stalled(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST_STALL)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Writes what lies in front of a ticket, or has the kernel send what a ticket in front stands for.
fn write_or_send(
    stream: &mut TcpStream,
    outlet: &Outlet,
    context: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let plain = Outlet::before_ticket(slices);
    if plain == slices.len() {
        return Pin::new(stream).poll_write_vectored(context, slices);
    }
    let Some(first) = slices.first() else { return Poll::Ready(Ok(0)) };
    loop {
        ready!(stream.poll_write_ready(context))?;
        let written = stream.try_io(Interest::WRITABLE, || match Outlet::ticket_of(first) {
            Some(ticket) => outlet.send(ticket, first.len(), &*stream),
            // A file follows: the head waits for it, to travel in the same packet.
            None => Ok(rustix::net::send(&*stream, first, SendFlags::MORE | SendFlags::NOSIGNAL)?),
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Lingering { stream, outlet, .. } = &mut *self;
        let written = match outlet {
            None => Pin::new(stream).poll_write_vectored(context, slices),
            Some(outlet) => write_or_send(stream, outlet, context, slices),
        };
        self.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(outlet) = &self.outlet {
            outlet.check()?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.closing = Some(Box::pin(tokio::time::sleep(PATIENCE)));
        }
        let mut sink = [0; 16 << 10];
        loop {
            if let Some(deadline) = &mut self.closing
                && deadline.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut sink);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
