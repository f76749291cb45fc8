use larder_doctor::Row;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::*;

#[tokio::test]
async fn an_address_that_swallows_packets_is_told_from_one_that_refuses() {
    // Nobody accepts, and there is room for next to none: the kernel then drops what else wants in.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("an address");
    let _listener = socket.listen(1).expect("it listens");
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let connecting = tokio::spawn(TcpStream::connect(address));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        waiting.push(connecting);
    }
    let visited = visit(&format!("http://{address}"), reading()).await;
    visited.found(
        "the firewall",
        Row::ConnectTimeout,
        "network",
        "firewall drops the packets",
        "through the firewall",
    );
    assert_eq!(visited.exit_code, 11);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_network_without_a_way_to_it_is_named() {
    // The one address to which no system connects, whatever its routes.
    let visited = visit("http://255.255.255.255:5000", reading()).await;
    visited.found("the network", Row::NoRoute, "network", "no route", "load balancer");
    assert_eq!(visited.exit_code, 11);
}

#[tokio::test]
async fn a_handshake_that_fails_for_another_reason_than_the_certificate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let refusing = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 512];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
            // An alert: fatal, handshake_failure (RFC 8446, 6).
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
        }
    });
    let visited = visit(&format!("https://{address}"), reading()).await;
    refusing.abort();
    visited.found("the alert", Row::TlsFailed, "", "", "");
    assert_eq!(visited.exit_code, 12);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_taken_and_never_answered_is_a_registry_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let hanging = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    let visited = visit(&format!("http://{address}"), reading()).await;
    hanging.abort();
    visited.found(
        "the hanging registry",
        Row::SlowFirstByte,
        "in front",
        "behind it hangs",
        "whether the registry",
    );
    assert_eq!(visited.exit_code, 13);
}
