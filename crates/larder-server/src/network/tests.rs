use super::*;

#[test]
fn ranges() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.1.2.3/8", "10.255.0.1", "9.255.255.255"),
        ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.9"),
        ("fc00::/7", "fdff::1", "fe00::1"),
        ("::1", "::1", "::2"),
        ("192.168.0.0/16", "::ffff:192.168.3.4", "::ffff:192.169.3.4"),
    ] {
        let network: Network = network.parse().unwrap();
        assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
        assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
    }
    for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "proxy", "10.0.0.0/8/8"]
    {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
}

#[test]
fn private_ranges_are_all_read() {
    let private = Network::private();
    assert_eq!(private.len(), PRIVATE.len());
    let is_private = |text: &str| private.iter().any(|network| network.contains(text.parse().unwrap()));
    assert!(
        ["127.0.0.1", "172.17.0.1", "192.168.1.1", "fd12::1", "::1", "10.9.8.7"].into_iter().all(is_private)
    );
    assert!(!["203.0.113.9", "172.32.0.1", "2001:db8::1", "8.8.8.8"].into_iter().any(is_private));
}
