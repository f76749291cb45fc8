//! A connection to each kind of address.

use std::net::SocketAddr;

use crate::check::{Told, Visit};
use crate::finding::{Hop, Row, Stage};
use crate::net::{DialTrouble, connect};
use crate::target::authority;

const STAGE: Stage = Stage::Connect;

/// Where registries listen: what to look at when nothing listens where it should.
const USUAL_PORTS: [u16; 4] = [443, 5000, 80, 8080];

/// The first address that takes a connection.
pub(crate) async fn check(visit: &mut Visit<'_, '_>, addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let families = [
        ("IPv4", addresses.iter().find(|address| address.is_ipv4())),
        ("IPv6", addresses.iter().find(|address| address.is_ipv6())),
    ];
    let (mut reached, mut missed) = (Vec::new(), Vec::new());
    for (family, address) in families {
        let Some(address) = address else { continue };
        match connect(*address).await {
            Ok(_) => reached.push((family, *address)),
            Err(trouble) => missed.push((family, *address, trouble)),
        }
    }
    let Some((_, first)) = reached.first().copied() else {
        if let Some((_, address, trouble)) = missed.into_iter().next() {
            nothing_answers(visit, address, &trouble).await;
        }
        return None;
    };
    let by: Vec<String> = reached.iter().map(|(family, address)| format!("{family} ({address})")).collect();
    visit.good(STAGE, format!("a connection is taken by {}", by.join(" and ")));
    // localhost is both everywhere, and clients try the other one at once.
    for (family, address, trouble) in missed.into_iter().filter(|_| !visit.target.is_loopback()) {
        let (record, host) = (if family == "IPv6" { "AAAA" } else { "A" }, visit.target.host.clone());
        let told = Told::warning(
            Hop::Network,
            format!("{host} also has the {family} address {}, which doesn't answer: {trouble}", address.ip()),
            "clients that try this address first hang before they take the other one",
            format!("remove the {record} record of {host}, or make {address} answer"),
        );
        visit.find(STAGE, Row::AddressDead, told);
    }
    Some(first)
}

async fn nothing_answers(visit: &mut Visit<'_, '_>, address: SocketAddr, trouble: &DialTrouble) {
    let host = visit.target.host.clone();
    let (row, told) = match trouble {
        DialTrouble::Refused => (Row::Refused, refused(visit, address).await),
        DialTrouble::TimedOut => (
            Row::ConnectTimeout,
            Told::failure(
                Hop::Network,
                format!("{address}: {trouble}"),
                "a firewall drops the packets, or the address is the router's outer one and the router doesn't turn packets of \
                 its own network around",
                format!(
                    "let port {} through the firewall; inside the own network let {host} be the registry's inner address",
                    address.port()
                ),
            ),
        ),
        other => (
            Row::NoRoute,
            Told::failure(
                Hop::Network,
                format!("{address}: {other}"),
                "this machine has no route to the network of that address, such as a cluster's inner one",
                "publish the registry on an address that clients reach: a load balancer or a port of the host",
            ),
        ),
    };
    visit.find(STAGE, row, told);
}

async fn refused(visit: &Visit<'_, '_>, address: SocketAddr) -> Told {
    let mut open = Vec::new();
    for port in USUAL_PORTS.into_iter().filter(|port| *port != address.port()) {
        if connect(SocketAddr::new(address.ip(), port)).await.is_ok() {
            open.push(port);
        }
    }
    let seen = format!("{address} refuses connections");
    let named = if visit.target.port.is_some() {
        "the port of the image's name"
    } else {
        "the port that clients take when an image's name has none"
    };
    let host = &visit.target.host;
    match open.first() {
        None => Told::failure(
            Hop::Registry,
            seen,
            format!("nothing listens on {named}: the registry isn't running, or listens elsewhere"),
            "start it, and look at its log for `listening on`: ss -tlnp | grep LISTEN",
        ),
        Some(port) => Told::failure(
            Hop::Client,
            format!("{seen}, but port {port} is open"),
            format!("{named} is not the one that the registry listens on"),
            format!("write the port into the image's name: {}/…", authority(host, Some(*port))),
        ),
    }
}
