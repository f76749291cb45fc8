//! One connection: which protocol it speaks, and its requests.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Peer};
use crate::doors::Door;
use crate::linger::Lingering;
use crate::local_user;
use crate::outlet::Outlet;
use crate::tls::{Shaken, Tls};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Streams that one HTTP/2 connection may have open: more than any client's parallel transfers. Each
/// may hold two pieces of a file that its client doesn't take.
const HTTP2_STREAMS: u32 = 64;

/// The first byte of a TLS record that holds a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a TLS client gets from the plain port. Go clients see `HTTP/` and say "server gave HTTP
/// response to HTTPS client", which is the truth, and at once: without an answer they would wait out
/// their handshake timeout on every operation.
const PLAIN_PORT: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTPS request to an HTTP server.\n";

/// What a plain client gets from the TLS port: Go's own words, which people search for.
const TLS_PORT: &str = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

pub(crate) struct Connection {
    pub(crate) app: Arc<App>,
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) door: Option<Arc<Door>>,
    /// The user of this machine whose command it is.
    pub(crate) uid: Option<u32>,
    pub(crate) watcher: Watcher,
    pub(crate) stop: CancellationToken,
}

impl Connection {
    /// Serves the connection until either side ends it.
    ///
    /// One that has got no request through when the server stops is simply closed: `watcher` only sees
    /// to what comes after the first byte and the handshake.
    pub(crate) async fn serve(self) {
        // Answers are written in one piece; waiting for more to send only delays them.
        let _ = self.stream.set_nodelay(true);
        let idle = self.app.options().limits.idle;
        let mut first = [0];
        let peeked = tokio::select! {
            () = self.stop.cancelled() => return,
            peeked = tokio::time::timeout(idle, self.stream.peek(&mut first)) => peeked,
        };
        match peeked {
            Ok(Ok(1)) => {}
            // Closed, broken or silent: a probe, nothing to answer.
            Ok(_) | Err(_) => return,
        }
        let speaks_tls = first == [TLS_HANDSHAKE];
        match self.tls {
            None if speaks_tls => {
                let words = "a client speaks TLS to this plain HTTP port; \
                             list the registry under its insecure registries, or set up http.tls";
                self.app.problems.note_hello(self.address.ip(), words, SystemTime::now());
                self.log_wrong_protocol(words);
                refuse(self.stream, PLAIN_PORT).await;
            }
            Some(_) if !speaks_tls => {
                let words = "a client speaks plain HTTP to this TLS port; use https://";
                self.app.problems.note_plain_to_tls(self.address.ip(), words, SystemTime::now());
                self.log_wrong_protocol(words);
                refuse(self.stream, TLS_PORT).await;
            }
            None => {
                let local_user = match self.uid {
                    Some(uid) => Some(local_user::named(uid).await.into()),
                    None => None,
                };
                let (address, door) = (self.address, self.door);
                let peer = Peer { address, is_tls: false, holder: None, local_user, door };
                let outlet = Outlet::new();
                let stream = Lingering::with_outlet(self.stream, Arc::clone(&outlet));
                serve(self.app, peer, stream, Some(outlet), self.watcher).await;
            }
            Some(tls) => {
                let shaken = tokio::select! {
                    () = self.stop.cancelled() => return,
                    shaken = tokio::time::timeout(HANDSHAKE, tls.shake(Lingering::new(self.stream))) => shaken,
                };
                match shaken {
                    Ok(Ok(Shaken::Client(shaken))) => {
                        let (stream, set_up) = *shaken;
                        let holder = set_up.holder(stream.get_ref().1);
                        let (address, door) = (self.address, self.door);
                        let peer = Peer { address, is_tls: true, holder, local_user: None, door };
                        serve(self.app, peer, stream, None, self.watcher).await;
                    }
                    Ok(Ok(Shaken::Proven)) => {
                        tracing::info!(client = %self.address, "the certificate authority has looked who is here");
                    }
                    Ok(Ok(Shaken::NoCertificate)) => {
                        let words = "a client came before there is a certificate and was turned away; it is on order, \
                                     and what goes wrong with that is in this log and among the problems";
                        if self.app.is_news_of(self.address.ip()) {
                            tracing::warn!(client = %self.address.ip(), "{words}");
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::info!(client = %self.address, %error, "a TLS handshake failed");
                    }
                    Err(_) => tracing::debug!(client = %self.address, "a TLS handshake took too long"),
                }
            }
        }
    }

    fn log_wrong_protocol(&self, words: &str) {
        if self.app.is_news_of(self.address.ip()) {
            tracing::warn!(client = %self.address.ip(), "{words}");
        } else {
            tracing::debug!(client = %self.address, "{words}");
        }
    }
}

async fn serve<S>(app: Arc<App>, peer: Peer, stream: S, outlet: Option<Arc<Outlet>>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = app.options();
    let limits = options.limits;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if options.http1_only {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.head_bytes)
        // Slices go to the connection as they are: what an outlet's tickets need, and no copy for the others.
        .writev(true)
        // As Go spells headers; some scripts compare them.
        .title_case_headers(true)
        // A client that half-closes still reads its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(limits.http2_head_bytes())
        .keep_alive_interval(limits.idle)
        .adaptive_window(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        let peer = peer.clone();
        move |request: http::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (app, outlet, peer) = (Arc::clone(&app), outlet.clone(), peer.clone());
            async move { Ok::<_, std::convert::Infallible>(app.answer(peer, outlet.as_ref(), request).await) }
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let mut connection = pin!(watcher.watch(connection));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = tokio::time::sleep(limits.idle) => {
            // hyper's own timer starts only when it knows which protocol is spoken.
            if !asked.load(Ordering::Relaxed) {
                return;
            }
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %peer.address, %error, "a connection ended early");
    }
}

/// Says one thing and closes.
async fn refuse(stream: TcpStream, answer: &str) {
    let mut stream = Lingering::new(stream);
    // A client that doesn't listen needs no answer.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
