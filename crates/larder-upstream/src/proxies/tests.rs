use super::*;

fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, NoProxyUrl> {
    let lookup = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    };
    let mut settings = Settings::new("lab", Vec::new());
    settings.environment = EnvironmentProxies::read(lookup);
    Proxies::of_settings(&settings)
}

fn through(variables: &[(&str, &str)], url: &str) -> Option<String> {
    proxies(variables).unwrap().named(&url.parse().unwrap())
}

#[test]
fn each_scheme_has_its_variable_and_capitals_come_first() {
    let https = "https://registry.lab/v2/";
    let http = "http://registry.lab/v2/";
    let both = [("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://p:2")];
    assert_eq!(through(&both, https).as_deref(), Some("s:1"));
    assert_eq!(through(&both, http).as_deref(), Some("p:2"));
    assert_eq!(through(&[("http_proxy", "http://p:2")], https), None);
    assert_eq!(through(&[("https_proxy", "s:1")], https).as_deref(), Some("s:1"));
    let cases = [("https_proxy", "http://small:1"), ("HTTPS_PROXY", "http://large:1")];
    assert_eq!(through(&cases, https).as_deref(), Some("large:1"));
    // An empty one hides none, as in Go.
    assert_eq!(through(&[("HTTPS_PROXY", ""), ("https_proxy", "s:1")], https).as_deref(), Some("s:1"));
    let all = [("ALL_PROXY", "socks5://all:1"), ("HTTP_PROXY", "p:2")];
    assert_eq!(through(&all, https).as_deref(), Some("all:1"));
    assert_eq!(through(&all, http).as_deref(), Some("p:2"));
    assert_eq!(through(&[], https), None);
}

#[test]
fn no_proxy_means_what_it_means_to_go() {
    const WITHOUT: [(&str, &str); 20] = [
        ("registry.lab", "https://registry.lab/"),
        ("registry.lab", "https://REGISTRY.lab/"),
        ("a.b, Registry.Lab ,c", "https://registry.lab/"),
        ("lab", "https://registry.lab/"),
        (".lab", "https://registry.lab/"),
        ("*.lab", "https://a.registry.lab/"),
        ("registry.lab:443", "https://registry.lab/"),
        (".lab:5000", "https://registry.lab:5000/"),
        ("10.0.0.0/8", "https://10.200.0.1/"),
        ("10.1.2.3", "https://10.1.2.3:5000/"),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/"),
        ("fd00::/8", "https://[fd00::1]/"),
        ("fd00::1", "https://[fd00::1]:5000/"),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/"),
        ("*", "https://registry.lab/"),
        ("a.b,*", "https://10.1.2.3/"),
        ("bücher.example", "https://xn--bcher-kva.example/"),
        // This machine, whatever is said.
        ("", "https://localhost:5000/"),
        ("", "https://127.0.0.2:5000/"),
        ("", "https://[::1]:5000/"),
    ];
    const WITH: [(&str, &str); 13] = [
        ("registry.lab", "https://otherregistry.lab/"),
        (".registry.lab", "https://registry.lab/"),
        ("*.registry.lab", "https://registry.lab/"),
        ("registry.lab:5000", "https://registry.lab/"),
        (".lab:5000", "https://registry.lab:5001/"),
        ("registry.*", "https://registry.lab/"),
        ("10.0.0.0/8", "https://11.0.0.1/"),
        ("10.1.2.3:5000", "https://10.1.2.3/"),
        ("1.2.3", "https://10.1.2.3/"),
        ("fd00::1", "https://[fd00::2]/"),
        ("lab.", "https://registry.lab/"),
        (" ,:,.", "https://registry.lab/"),
        ("", "https://registry.lab/"),
    ];
    for (cases, expected) in [(&WITHOUT[..], None), (&WITH[..], Some("p:3128"))] {
        for (no_proxy, url) in cases {
            for variable in ["NO_PROXY", "no_proxy"] {
                let found = through(&[("HTTPS_PROXY", "http://p:3128"), (variable, no_proxy)], url);
                assert_eq!(found.as_deref(), expected, "{no_proxy:?} {url}");
            }
        }
    }
}

#[test]
fn what_is_no_proxy_is_refused_by_its_variable_and_never_shown() {
    for (value, variable) in [
        ("http://me:secret@[proxy", "HTTPS_PROXY"),
        ("ftp://me:secret@proxy", "https_proxy"),
        ("http://", "HTTP_PROXY"),
        ("socks4://me:secret@proxy", "all_proxy"),
        ("proxy:port", "http_proxy"),
    ] {
        let error = proxies(&[(variable, value)]).unwrap_err();
        assert_eq!(error, NoProxyUrl(Some(variable)), "{value}");
    }
    let found = proxies(&[("HTTPS_PROXY", "http://me:secret@proxy:3128"), ("NO_PROXY", "a")]).unwrap();
    assert!(!format!("{found:?}").contains("secret"));
    assert_eq!(found.hosts(), ["proxy"]);
    assert_eq!(found.named(&"https://b/".parse().unwrap()).as_deref(), Some("proxy:3128"));
    let read = EnvironmentProxies::read(|_| Some("http://me:secret@proxy:3128".to_owned()));
    assert!(!format!("{read:?}").replace("no_proxy: \"http://me:secret", "").contains("secret"), "{read:?}");
}
