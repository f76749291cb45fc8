//! The names and addresses that this machine is reached by, as far as it knows them itself.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More would be a machine full of containers' bridges, and a handshake full of addresses.
const MOST_ADDRESSES: usize = 32;

/// `localhost`, the host's name, the same as mDNS has it, and the addresses of its interfaces but those that mean something on one link alone.
/// What can't be found out is left out.
pub fn of_this_machine() -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    if usable(&host) && host != "localhost" {
        if !host.contains('.') {
            names.push(format!("{host}.local"));
        }
        names.push(host);
    }
    names.extend(
        [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(|one| one.to_string()),
    );
    let read = |path: &str| fs::read_to_string(path).or_else(absent).unwrap_or_default();
    let four = ipv4_of(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::from);
    let six = ipv6_of(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::from);
    names.extend(four.chain(six).take(MOST_ADDRESSES).map(|address| address.to_string()));
    names
}

/// Whether a certificate can name it: an address, or a host's name of letters, digits and hyphens.
pub fn usable(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

/// Another system than Linux, or a sandbox.
fn absent(_: io::Error) -> io::Result<String> {
    Ok(String::new())
}

/// The kernel's table of routes lists each address of the machine as a route to itself: a line `|-- ADDRESS`, followed by
/// `/32 host LOCAL`. It is there twice.
fn ipv4_of(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in table.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !address.is_link_local()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// A line for each: the address in 32 digits, then the interface's number, the prefix, the scope (`00` is global).
fn ipv6_of(table: &str) -> Vec<Ipv6Addr> {
    const GLOBAL: &str = "00";
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == GLOBAL).then(|| Ipv6Addr::from(address))
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let four = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.7\n        /32 host LOCAL\n\
                    Local:\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(ipv4_of(four), [Ipv4Addr::new(192, 0, 2, 7)]);
        let six = "00000000000000000000000000000001 01 80 10 80       lo\n\
                   fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                   fd000000000000000000000000000002 04 40 00 82     eth0\n";
        assert_eq!(ipv6_of(six), ["fd00::2".parse::<Ipv6Addr>().expect("an address")]);
        assert!(ipv4_of("|--").is_empty() && ipv6_of("zz 01 80 00").is_empty());
    }

    #[test]
    fn what_a_certificate_can_name() {
        for name in ["nas", "nas.lan", "a-b.example.com", "192.0.2.1", "fd00::1"] {
            assert!(usable(name), "{name}");
        }
        for name in
            ["", ".", "a..b", "-a", "a-", "under_score", "nas.lan:5000", "*.lan", "ä", &"a".repeat(64)]
        {
            assert!(!usable(name), "{name}");
        }
        assert!(of_this_machine().iter().all(|name| usable(name)), "{:?}", of_this_machine());
        assert!(of_this_machine().contains(&"localhost".to_owned()));
    }
}
