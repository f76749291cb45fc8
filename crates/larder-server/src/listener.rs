//! Where connections come from: a TCP port, a socket file, or a socket that systemd has opened.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

use crate::server::ServeError;

/// Connections that wait to be accepted: docker opens a new one for each request.
const ACCEPT_QUEUE: u32 = 4096;

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: i32 = 3;

pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A socket file.
pub(crate) struct UnixSocket {
    listener: UnixListener,
    /// To be removed in the end, if we made it.
    made: Option<PathBuf>,
}

/// A connection that was taken.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// Who is at the other end. Through a socket file it is somebody on this machine.
    pub(crate) address: SocketAddr,
    pub(crate) is_local: bool,
    /// Which of this machine's users that is, if the kernel tells it.
    pub(crate) uid: Option<u32>,
}

impl Listener {
    /// Takes a port. `taken` says that it can't be had, by the address in words and the reason.
    pub(crate) async fn of_port(
        host: &str,
        port: u16,
        taken: impl FnOnce(String, io::Error) -> ServeError,
    ) -> Result<Listener, ServeError> {
        let address = format!("{host}:{port}");
        match Listener::tcp(host, port).await {
            Ok(Ok(listener)) => Ok(listener),
            Ok(Err(source)) => Err(taken(address, source)),
            Err(source) => Err(ServeError::Resolve { address, source }),
        }
    }

    /// Takes the port. An empty host means every interface, IPv6 and IPv4. The outer error says that the
    /// name can't be resolved, the inner one that the port can't be had.
    async fn tcp(host: &str, port: u16) -> io::Result<io::Result<Listener>> {
        if host.is_empty() {
            // A kernel without IPv6 refuses the first.
            let listener = listen((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => listen((Ipv4Addr::UNSPECIFIED, port).into()),
            });
            return Ok(listener.map(Listener::Tcp));
        }
        let resolved = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?;
        let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
        for each in resolved {
            outcome = listen(each);
            if outcome.is_ok() {
                break;
            }
        }
        Ok(outcome.map(Listener::Tcp))
    }

    /// Makes the socket file, in the place of one that nobody listens on any more. Its mode is what the
    /// umask leaves of 0777, as with registry:2.
    pub(crate) fn unix(path: &Path) -> io::Result<Listener> {
        remove_if_stale(path)?;
        let listener = UnixListener::bind(path)?;
        Ok(Listener::Unix(UnixSocket { listener, made: Some(path.to_owned()) }))
    }

    /// Takes the one socket that systemd has passed to this process. To be called once.
    pub(crate) fn passed() -> io::Result<Listener> {
        #[expect(unsafe_code, reason = "sd_listen_fds(3) makes the descriptor ours; nothing else takes it")]
        let socket = unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) };
        let tcp = std::net::TcpListener::from(socket);
        tcp.set_nonblocking(true)?;
        if tcp.local_addr().is_ok() {
            return Ok(Listener::Tcp(TcpListener::from_std(tcp)?));
        }
        let unix = StdUnixListener::from(OwnedFd::from(tcp));
        unix.local_addr()?;
        Ok(Listener::Unix(UnixSocket { listener: UnixListener::from_std(unix)?, made: None }))
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An IPv4 client of an IPv6 socket is an IPv4 client.
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                Ok(Accepted { stream, address, is_local: false, uid: None })
            }
            Listener::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                // To the kernel a stream is a stream: what is done with a connection (read, write, peek,
                // sendfile, shutdown) doesn't depend on its family, so one type serves for both.
                let stream = std::net::TcpStream::from(OwnedFd::from(stream.into_std()?));
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Ok(Accepted { stream: TcpStream::from_std(stream)?, address, is_local: true, uid })
            }
        }
    }

    /// The port's address; none of a socket file.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Some(path) = &self.made
            && let Err(error) = remove(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the socket file could not be removed");
        }
    }
}

/// Removes a socket file on which nobody listens; leaves everything else for `bind` to complain of.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a socket's name, which holds no data")]
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A restart must not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}
