use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn private_and_special_addresses_are_not_public() {
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "198.18.0.1",
        "192.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    for address in
        ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
    {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn an_upstream_leads_to_the_open_internet_and_to_what_is_written_down() {
    let hub = url("https://registry-1.docker.io");
    let written = WrittenDown::new([&hub], &["minio.lab".to_owned()]);
    let admit = |to: &str| written.admit(&url(to), "https");
    assert_eq!(admit("https://cdn.example/x"), Ok(Reach::Public));
    assert_eq!(admit("https://1.1.1.1/x"), Ok(Reach::Public));
    assert_eq!(admit("https://registry-1.docker.io/x"), Ok(Reach::Anywhere));
    assert_eq!(admit("https://MINIO.lab:9000/x"), Ok(Reach::Anywhere));
    for private in ["https://127.0.0.1/", "https://[::1]/", "https://192.168.0.1:8443/", "https://0x7f.1/"] {
        assert!(matches!(admit(private), Err(Forbidden::Private(_))), "{private}");
    }
    assert!(matches!(admit("http://cdn.example/x"), Err(Forbidden::Plain(_))));
    assert!(matches!(admit("file:///etc/passwd"), Err(Forbidden::NoHost | Forbidden::Scheme(_))));
    assert!(matches!(admit("ftp://cdn.example/"), Err(Forbidden::Scheme(_))));
}

#[test]
fn an_address_that_is_written_down_is_reached_on_every_port() {
    let lab = url("http://127.0.0.1:5000");
    let written = WrittenDown::new([&lab], &[]);
    assert_eq!(written.admit(&url("http://127.0.0.1:9000/"), "http"), Ok(Reach::Anywhere));
    assert!(written.admit(&url("http://127.0.0.2:9000/"), "http").is_err());
}

#[test]
fn passwords_go_to_the_same_site_and_to_what_is_written_down() {
    let hub = url("https://registry-1.docker.io");
    let written = WrittenDown::new([&hub], &["tokens.example".to_owned()]);
    for (realm, may) in [
        ("https://auth.docker.io/token", true),
        ("https://tokens.example/", true),
        ("https://evil.example/token", false),
        ("https://docker.io.evil.example/token", false),
        ("https://1.1.1.1/token", false),
    ] {
        assert_eq!(written.may_learn_passwords(&url(realm)), may, "{realm}");
    }
    let address = url("http://127.0.0.1:5000");
    let written = WrittenDown::new([&address], &[]);
    assert!(written.may_learn_passwords(&url("http://127.0.0.1:5001/token")));
    assert!(!written.may_learn_passwords(&url("http://127.0.0.2:5001/token")));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_resolved() {
    let resolver =
        |except: &[&str]| PublicOnly { except: except.iter().map(|&host| host.to_owned()).collect() };
    let refused = resolver(&[]).resolve("localhost".parse().unwrap()).await.err().unwrap();
    assert!(refused.to_string().contains("private range"), "{refused}");
    // But for the proxy itself.
    assert!(resolver(&["localhost"]).resolve("localhost".parse().unwrap()).await.is_ok());
}
