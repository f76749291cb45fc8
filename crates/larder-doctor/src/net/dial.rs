use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// Longest that a connection may take: what Go's clients wait is 30 s, but a second on a network is long.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest that a name may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DialTrouble {
    /// The name has no address; the resolver's words.
    Name(String),
    /// Nothing listens.
    Refused,
    /// Nothing came back.
    TimedOut,
    /// The system knows no way there; its words.
    NoRoute(String),
    /// Something else; the system's words.
    Other(String),
}

impl std::fmt::Display for DialTrouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DialTrouble::Name(words) => write!(formatter, "its name has no address here ({words})"),
            DialTrouble::Refused => formatter.write_str("connection refused"),
            DialTrouble::TimedOut => {
                write!(formatter, "no answer within {} s", CONNECT_LIMIT.as_secs())
            }
            DialTrouble::NoRoute(words) | DialTrouble::Other(words) => formatter.write_str(words),
        }
    }
}

/// The addresses of a host, as the system's resolver gives them.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialTrouble> {
    let looked_up = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host((host, port))).await;
    match looked_up {
        Ok(Ok(addresses)) => {
            let mut found: Vec<SocketAddr> = Vec::new();
            for address in addresses {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            if found.is_empty() { Err(DialTrouble::Name("an empty answer".to_owned())) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(DialTrouble::Name(error.to_string())),
        Err(_) => Err(DialTrouble::Name(format!("no answer within {} s", RESOLVE_LIMIT.as_secs()))),
    }
}

/// A connection to one address.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, DialTrouble> {
    let stream = match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Err(_) => return Err(DialTrouble::TimedOut),
        Ok(Err(error)) => return Err(dial_trouble(&error)),
        Ok(Ok(stream)) => stream,
    };
    // A failure costs only a delay.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn dial_trouble(error: &io::Error) -> DialTrouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialTrouble::Refused,
        io::ErrorKind::TimedOut => DialTrouble::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => DialTrouble::NoRoute(error.to_string()),
        _ => DialTrouble::Other(error.to_string()),
    }
}
