use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::connection::Connection;
use crate::tls::Tls;

/// Connections at once; further ones wait in the kernel's queue. Each costs a few kilobytes when idle.
const MOST_CONNECTIONS: usize = 10_000;

/// Connections that wait to be accepted: docker opens a new one for each request.
const ACCEPT_QUEUE: u32 = 4096;

/// The pause after an accept failed for want of file descriptors: the error would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that has its port but doesn't answer yet.
pub struct BoundServer {
    listener: TcpListener,
    tls: Option<Tls>,
}

/// Why the server can't start, or didn't end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The name can't be resolved.
    #[error("the address {address} can't be resolved")]
    Resolve {
        /// `host:port` as configured.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The port can't be had.
    #[error("can't listen on {address}; choose another address with http.addr or REGISTRY_HTTP_ADDR")]
    Bind {
        /// `host:port` as configured.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// Requests were still running when the time to drain was over.
    #[error("{connections} connections were still busy after {seconds} s and were cut")]
    DrainTimeout {
        /// How many.
        connections: usize,
        /// The time they had, in seconds.
        seconds: u64,
    },
}

impl BoundServer {
    /// Takes the port. An empty host means every interface, IPv6 and IPv4.
    pub async fn bind(host: &str, port: u16, tls: Option<Tls>) -> Result<BoundServer, ServeError> {
        let address = format!("{host}:{port}");
        let listener = if host.is_empty() {
            // A kernel without IPv6 refuses the first.
            listen((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => listen((Ipv4Addr::UNSPECIFIED, port).into()),
            })
        } else {
            let resolved = tokio::net::lookup_host((host.trim_matches(['[', ']']), port))
                .await
                .map_err(|source| ServeError::Resolve { address: address.clone(), source })?;
            let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
            for each in resolved {
                outcome = listen(each);
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        };
        let listener = listener.map_err(|source| ServeError::Bind { address, source })?;
        Ok(BoundServer { listener, tls })
    }

    /// Where it listens: tells the port when 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is cancelled; then takes no more connections and lets running requests
    /// end, for at most `drain`.
    pub async fn serve(
        self,
        app: Arc<App>,
        stop: CancellationToken,
        drain: Duration,
    ) -> Result<(), ServeError> {
        let graceful = GracefulShutdown::new();
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let cut = CancellationToken::new();
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let connection = Connection {
                app: Arc::clone(&app),
                stream,
                // An IPv4 client of an IPv6 socket is an IPv4 client.
                address: SocketAddr::new(address.ip().to_canonical(), address.port()),
                tls: self.tls.as_ref().map(Tls::acceptor),
                watcher: graceful.watcher(),
                stop: stop.clone(),
            };
            let cut = cut.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = connection.serve() => {}
                    () = cut.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(self.listener);
        tasks.close();
        let drained = async {
            graceful.shutdown().await;
            tasks.wait().await;
        };
        if tokio::time::timeout(drain, drained).await.is_ok() {
            return Ok(());
        }
        let connections = MOST_CONNECTIONS.saturating_sub(places.available_permits());
        // Cut in an orderly way: an upload still writes what it had received, to go on from there later.
        cut.cancel();
        tasks.wait().await;
        Err(ServeError::DrainTimeout { connections, seconds: drain.as_secs() })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A restart must not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

async fn pause_after(error: &io::Error) {
    // A client that gave up while it waited is no concern of ours.
    let is_clients = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !is_clients {
        tracing::error!(%error, "a connection could not be accepted; raise the limit of open files if this persists");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Asks a server on this machine whether it is alive, for a container's health check: `GET` of a
/// path, by hand, because nothing else of an HTTP client is needed here.
pub async fn probe(address: &str, path: &str) -> io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(5);
    tokio::time::timeout(PATIENCE, ask(address, path))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn ask(address: &str, path: &str) -> io::Result<bool> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    // A TLS port says 400 to plain HTTP: it is alive, and that is what was asked.
    Ok(head.ends_with(b" 200") || head.ends_with(b" 400"))
}
