use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::connection::Connection;
use crate::doors::Door;
use crate::listener::{Accepted, Listener};
use crate::metrics::Metrics;
use crate::places::Places;
use crate::tls::Tls;

/// The pause after an accept failed for want of file descriptors: the error would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that has its port but doesn't answer yet.
pub struct BoundServer {
    listener: Listener,
    tls: Option<Tls>,
    door: Option<Arc<Door>>,
    /// Whether whoever comes is the user of this machine that the kernel tells, and no proxy for others.
    knows_users: bool,
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
    /// The debug listener's port can't be had.
    #[error("can't listen on {address} for health and metrics; choose another address with http.debug.addr")]
    BindDebug {
        /// `host:port` as configured.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The port for a certificate authority's questions can't be had.
    #[error(
        "can't listen on {address}, where the certificate authority asks; choose another address with http.tls.letsencrypt.addr, or leave it out: \
         the authority then asks at the registry's own port"
    )]
    BindChallenges {
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
        let listener =
            Listener::of_port(host, port, |address, source| ServeError::Bind { address, source }).await?;
        Ok(BoundServer { listener, tls, door: None, knows_users: false })
    }

    /// Makes a socket file and listens on it (`http.net: unix`). One that nobody listens on any more is
    /// replaced; ours is removed in the end.
    pub fn bind_unix(path: &Path, tls: Option<Tls>) -> Result<BoundServer, ServeError> {
        let listener = Listener::unix(path)
            .map_err(|source| ServeError::Bind { address: path.display().to_string(), source })?;
        Ok(BoundServer { listener, tls, door: None, knows_users: false })
    }

    /// Listens on the one socket that systemd has passed to this process. To be called once, and only
    /// where `LISTEN_PID` and `LISTEN_FDS` say that there is one.
    pub fn passed_by_systemd(tls: Option<Tls>) -> Result<BoundServer, ServeError> {
        let listener = Listener::passed()
            .map_err(|source| ServeError::Bind { address: "systemd's socket".to_owned(), source })?;
        Ok(BoundServer { listener, tls, door: None, knows_users: false })
    }

    /// The same, with nothing but one upstream's images behind it.
    pub fn for_door(self, door: Door) -> BoundServer {
        BoundServer { door: Some(Arc::new(door)), ..self }
    }

    /// The same, for commands of this machine: who runs them is told to the audit log.
    pub(crate) fn for_commands(self) -> BoundServer {
        BoundServer { knows_users: true, ..self }
    }

    /// Where it listens: tells the port when 0 was asked for. None on a socket file.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
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
        let places = Arc::new(Places::default());
        let cut = CancellationToken::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = places.wait(|| app.options().limits.connections) => {}
            }
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Accepted { stream, address, is_local, uid } = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            // Through a socket file everybody comes from one place.
            let most = if is_local { usize::MAX } else { app.options().limits.connections_per_address };
            let Some(place) = places.take(address.ip(), most) else {
                app.refuse_crowd(address.ip(), most);
                if let Some(metrics) = &app.observers.metrics {
                    metrics.refuse_connection();
                }
                continue;
            };
            let open = app.observers.metrics.as_ref().map(Metrics::open);
            let connection = Connection {
                app: Arc::clone(&app),
                stream,
                address,
                tls: self.tls.clone(),
                door: self.door.clone(),
                uid: uid.filter(|_| self.knows_users),
                watcher: graceful.watcher(),
                stop: stop.clone(),
            };
            let cut = cut.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = connection.serve() => {}
                    () = cut.cancelled() => {}
                }
                drop((place, open));
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
        let connections = places.taken();
        // Cut in an orderly way: an upload still writes what it had received, to go on from there later.
        cut.cancel();
        tasks.wait().await;
        Err(ServeError::DrainTimeout { connections, seconds: drain.as_secs() })
    }
}

pub(crate) async fn pause_after(error: &io::Error) {
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
/// path, at `host:port` or at a socket file's path, by hand, because nothing else of an HTTP client is needed here.
pub async fn probe(address: &str, path: &str) -> io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(5);
    tokio::time::timeout(PATIENCE, ask(address, path))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn ask(address: &str, path: &str) -> io::Result<bool> {
    if address.starts_with('/') {
        return ask_over(UnixStream::connect(address).await?, "localhost", path).await;
    }
    ask_over(TcpStream::connect(address).await?, address, path).await
}

async fn ask_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> io::Result<bool> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    // A TLS port says 400 to plain HTTP: it is alive, and that is what was asked.
    Ok(head.ends_with(b" 200") || head.ends_with(b" 400"))
}
